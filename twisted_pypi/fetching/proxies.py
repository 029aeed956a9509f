"""Which HTTP proxy leads to an origin, if any. Pure.

The environment's variables are those that curl made customary: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`.
"""

from __future__ import annotations

from base64 import b64encode
from ipaddress import ip_address, ip_network

from attrs import field, frozen

from twisted_pypi.urls import Origin


@frozen
class Proxy:
    """An HTTP proxy. `authorization` is the value of `Proxy-Authorization` (RFC 9110, 11.7.2); nothing shows it."""

    origin: Origin
    authorization: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return str(self.origin)

    @property
    def headers(self) -> dict[str, str]:
        """What the proxy alone is to see."""
        return {} if self.authorization is None else {"Proxy-Authorization": self.authorization}


def basic(username: str, password: str) -> str:
    """Credentials as a header's value (RFC 7617), in UTF-8."""
    return f"Basic {b64encode(f'{username}:{password}'.encode()).decode('ascii')}"


@frozen
class ProxyRules:
    """The proxy for each scheme of an origin. `direct` are the entries of a `NO_PROXY`: no proxy leads there.

    An entry is a host name, which stands for what is below it too, or an address or network (CIDR), which stands for
    origins that are written as addresses; each may end with `:PORT`. `*` stands for everything.
    """

    http: Proxy | None = None
    https: Proxy | None = None
    direct: tuple[str, ...] = ()

    def proxy_for(self, origin: Origin) -> Proxy | None:
        """The proxy that leads to this origin; None: it is connected to."""
        proxy = self.https if origin.scheme == "https" else self.http
        if proxy is None or any(_names(entry, origin) for entry in self.direct):
            return None
        return proxy


NO_PROXIES = ProxyRules()


def entries(text: str) -> tuple[str, ...]:
    """The entries of a `NO_PROXY`, which commas or blanks part."""
    return tuple(text.lower().replace(",", " ").split())


def _names(entry: str, origin: Origin) -> bool:
    if entry == "*":
        return True
    host, port = _parted(entry)
    if port and port != str(origin.port):
        return False
    try:
        address = ip_address(origin.host)
    except ValueError:
        name = host.removeprefix("*").strip(".")
        return bool(name) and (origin.host == name or origin.host.endswith(f".{name}"))
    try:
        return address in ip_network(host, strict=False)
    except ValueError:
        return False


def _parted(entry: str) -> tuple[str, str]:
    """Host and port ("" for any) of `host`, `host:port`, `[address]:port` or a bare IPv6 address."""
    if entry.startswith("["):
        host, _, port = entry[1:].partition("]")
        return host, port.lstrip(":")
    host, _, port = entry.partition(":") if entry.count(":") == 1 else (entry, "", "")
    return host, port
