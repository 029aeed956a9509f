"""Tells twistd of `twistd pypicache`; the rest is imported when it is asked for."""

from twisted.application.service import ServiceMaker

pypicache = ServiceMaker(
    "pypicache", "twisted_pypi.tap", "A caching reverse proxy for the Python package index.", "pypicache"
)
