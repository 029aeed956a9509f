"""Local directories of wheels and sdists as indexes: watched, read once, and answered for as if they were upstream."""
