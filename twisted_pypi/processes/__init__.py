"""`--workers N`: several processes take connections, one owns the cache."""
