"""What to serve: pages (small, mutable, revalidated) and files (large, immutable, verified)."""
