"""The options, declared once: flags, variables, keys of the file, help and defaults all derive from this table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from twisted_pypi import units
from twisted_pypi.pypi.names import route_pattern


@frozen
class Option:
    """One option.

    `parse` turns one text into a value and raises `ValueError`. `default` is such a text; "" is None (an empty tuple
    for a `repeatable`), and `absent` then says in the help what that means. A `flag` takes no value on the command
    line.
    """

    name: str
    metavar: str
    parse: Callable[[str], Any]
    default: str = ""
    absent: str = ""
    repeatable: bool = False
    flag: bool = False
    help: str = ""

    @property
    def attribute(self) -> str:
        """Its name as a Python identifier."""
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"PYPICACHE_{self.attribute.upper()}"

    def value_of(self, texts: tuple[str, ...]) -> Any:
        """The value of the given texts. Raises `ValueError`."""
        if self.repeatable:
            return tuple(self.parse(text) for text in texts)
        return self.parse(texts[-1]) if texts else None

    @property
    def default_texts(self) -> tuple[str, ...]:
        """The default, as texts for `value_of`."""
        return (self.default,) if self.default else ()


GROUPS: dict[str, tuple[Option, ...]] = {
    "Listening": (
        Option("port", "N", units.whole_number(0, 65535), "8080", help="TCP port; 0 picks a free one and logs it"),
        Option("interface", "ADDR", units.interface, "127.0.0.1", help="address to bind; 0.0.0.0 or :: for all"),
        Option(
            "listen",
            "ENDPOINT",
            units.words,
            repeatable=True,
            help="Twisted server endpoint instead of port and interface, as in ssl:443:... unix:... systemd:...",
        ),
        Option("tls-certificate", "FILE", units.words, absent="plain HTTP", help="PEM file: serve HTTPS, with this"),
        Option("tls-key", "FILE", units.words, absent="in --tls-certificate", help="PEM file of its private key"),
        Option("prefix", "PATH", units.prefix, "/", help="serve everything below this path"),
        Option(
            "base-url",
            "URL",
            units.base_url,
            absent="scheme and Host of the request",
            help="address of this server in the documents that need absolute links",
        ),
    ),
    "Upstream": (
        Option("index-url", "URL", units.address, absent="the public index", help="the last index asked"),
        Option(
            "extra-index-url",
            "URL",
            units.address,
            repeatable=True,
            help="an index asked before --index-url; the first that has a project owns its name",
        ),
        Option(
            "extra-index-ttl",
            "DUR",
            units.duration,
            absent="--index-ttl",
            repeatable=True,
            help="freshness of the first --extra-index-url's pages, of the second's ...",
        ),
        Option(
            "files-url",
            "URL",
            units.plain_url,
            absent="the index's file host",
            help="/packages/PATH here is URL/packages/PATH there",
        ),
        Option("file-host", "HOST[:PORT]", units.host, repeatable=True, help="a further host of files"),
        Option("npm-url", "URL", units.address, absent="no npm", help="an npm registry, served below /npm/"),
        Option("connect-timeout", "DUR", units.positive_duration, "5s", help="time to connect"),
        Option("read-timeout", "DUR", units.positive_duration, "10s", help="time between two reads"),
        Option("max-fetches", "N", units.whole_number(1, 10_000), "32", help="file transfers at once"),
        Option("ca-file", "FILE", units.path, absent="system trust", help="PEM file of trusted authorities"),
        Option("insecure-host", "HOST[:PORT]", units.host, repeatable=True, help="certificate is not checked"),
        Option("offline", "", units.boolean, "off", flag=True, help="never contact upstream"),
    ),
    "Cache": (
        Option(
            "cache-dir",
            "DIR",
            units.path,
            absent="$CACHE_DIRECTORY, else $XDG_CACHE_HOME/pypicache",
            help="where everything is kept",
        ),
        Option("cache-size", "SIZE", units.size, "50G", help="limit of the directory; 0 stores no files"),
        Option("max-file-size", "SIZE", units.unless("none", units.size), "none", help="larger files aren't stored"),
        Option(
            "min-free",
            "SIZE",
            units.size,
            absent="1G, or 5 % of the disk if that is less",
            help="space to leave on the disk",
        ),
        Option("memory", "SIZE", units.size, "64M", help="hot pages and small files kept in memory"),
        Option("inactive", "DUR", units.positive_duration, "180d", help="drop what was not asked for in this time"),
        Option("index-ttl", "DUR", units.duration, "5m", help="freshness of pages; 0 revalidates each time"),
        Option("not-found-ttl", "DUR", units.duration, "1m", help="freshness of a 404, at most --index-ttl"),
        Option("stale-wait", "DUR", units.duration, "1s", help="wait for upstream while a stale copy is at hand"),
        Option(
            "max-stale",
            "DUR",
            units.unless("unlimited", units.duration),
            "unlimited",
            help="how old a stale copy may be served",
        ),
    ),
    "Clients": (
        Option("allow", "CIDR", units.network, absent="any", repeatable=True, help="clients served; others get 403"),
        Option(
            "trusted-proxy",
            "CIDR",
            units.network,
            absent="none",
            repeatable=True,
            help="whose X-Forwarded-For, -Proto and -Host are believed",
        ),
        Option("htpasswd", "FILE", units.words, absent="anybody", help="users served, with bcrypt; others get 401"),
        Option(
            "max-connections",
            "N",
            units.whole_number(1, 1_000_000),
            absent="what the limit of open files allows",
            help="connections at once; idle ones make way",
        ),
        Option(
            "max-client-connections",
            "N",
            units.whole_number(0, 1_000_000),
            "256",
            help="connections of one address (IPv6: /64) at once; 0 is no limit",
        ),
        Option("admin-token", "TOKEN", units.secret, absent="none", help="allows to purge; better set in the file"),
        Option("admin-token-file", "FILE", units.words, absent="none", help="holds the admin token"),
        Option("grace", "DUR", units.duration, "10s", help="time for running answers after SIGTERM"),
    ),
    "Operation": (
        Option("workers", "N", units.whole_number(1, 64), "1", help="processes that take connections"),
        Option("config", "FILE", units.path, help="TOML file of options, without the dashes"),
        Option("access-log", "PATH", units.log_path, "-", help="- is stdout, none is off"),
        Option("access-log-format", "FORMAT", units.log_format, "text", help="text, or json: an object a line"),
        Option("log-level", "LEVEL", units.log_level, "info", help="debug, info, warn, error or critical"),
    ),
}

OPTIONS: tuple[Option, ...] = tuple(option for group in GROUPS.values() for option in group)

FILE_OPTIONS: tuple[Option, ...] = tuple(option for option in OPTIONS if option.name != "config")
"""What may stand in the file: a file does not name another."""

INDEX_OPTIONS: tuple[Option, ...] = (
    Option("url", "URL", units.address),
    Option("path", "DIR", units.words),
    Option("routes", "PATTERN", route_pattern, repeatable=True),
    Option("files-url", "URL", units.plain_url),
    Option("file-hosts", "HOST[:PORT]", units.host, repeatable=True),
    Option("ttl", "DUR", units.duration),
    Option("not-found-ttl", "DUR", units.duration),
    Option("absent-status", "STATUS", units.absent_status, repeatable=True),
    Option("mirrors", "URL", units.address, repeatable=True),
    Option("proxy", "URL", units.proxy),
    Option("ca-file", "FILE", units.words),
    Option("client-certificate", "FILE", units.words),
    Option("client-key", "FILE", units.words),
    Option("insecure", "", units.boolean, "off", flag=True),
    Option("metadata", "", units.boolean, "on", flag=True),
)
"""The keys of an `[[index]]` table of the file, besides its name and the credentials."""

_SHARED_KEYS = (
    *("url", "ttl", "not-found-ttl", "absent-status", "proxy"),
    *("ca-file", "client-certificate", "client-key", "insecure"),
)
NPM_OPTIONS: tuple[Option, ...] = (
    Option("path", "PATH", units.prefix, "/npm/"),
    *(option for option in INDEX_OPTIONS if option.name in _SHARED_KEYS),
)
"""The keys of an `[[npm]]` table of the file, besides the credentials."""

SECRET_KEYS = ("username", "password", "token")
"""Credentials in the file; each also as `KEY-env` (a variable) and `KEY-file`."""

CREDENTIAL_KEYS = tuple(f"{key}{suffix}" for key in SECRET_KEYS for suffix in ("", "-env", "-file"))

INDEX_KEYS = ("name", *(option.name for option in INDEX_OPTIONS), *CREDENTIAL_KEYS)
"""All keys of an `[[index]]` table."""

NPM_KEYS = (*(option.name for option in NPM_OPTIONS), *CREDENTIAL_KEYS)
"""All keys of an `[[npm]]` table."""
