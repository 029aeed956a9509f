"""A caching reverse proxy for the Python package index, as one Twisted daemon."""

__version__ = "0.1.0"
