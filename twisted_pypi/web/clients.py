"""Who asks, and what exactly: the request as a value, and the checks that come before any answer.

Forwarded headers are believed only as far as they come from trusted proxies: of `X-Forwarded-For` the rightmost hop
that is none of them, of the other two the last value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import parse_qs

from attrs import frozen

from twisted_pypi.answers import Asker
from twisted_pypi.errors import BadPath
from twisted_pypi.web.site import CacheRequest

Networks = tuple[IPv4Network | IPv6Network, ...]

MAX_HOPS = 32
"""Hops of `X-Forwarded-For` that are looked at, from the right."""

UNIX = ""
"""The address of a client on a UNIX socket, which file permissions let in."""

_HOST = re.compile(r"(?:[A-Za-z0-9._~-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_TARGET = re.compile(r"/[!-\"$-~]*")  # "#" would begin a fragment, which stays with the client
_NO_CACHE = re.compile(r"(?:^|,)\s*no-cache\s*(?:,|$)", re.IGNORECASE)
_CONTROL = re.compile(r"%(?:[01][0-9A-Fa-f]|7[Ff])")


@frozen
class Ask:
    """One request as far as answers depend on it.

    `target` is the request target as it came, `path` its path, still percent-encoded. `peer` is the other end of the
    connection, `client` who stands behind it. `scheme` and `host` are those that the client used. `headers` are
    by lower-case name, repeated ones joined as a list (RFC 9110, 5.3).
    """

    method: str
    target: str
    path: str
    query: str
    protocol: str
    peer: str
    client: str
    scheme: str
    host: str
    headers: Mapping[str, str]

    def header(self, name: str) -> str:
        """A request header by its lower-case name, "" when absent."""
        return self.headers.get(name, "")

    def parameter(self, name: str) -> str:
        """The first value of a query parameter, "" when absent."""
        return parse_qs(self.query).get(name, [""])[0] if self.query else ""

    @property
    def head(self) -> bool:
        """Whether only the head of the answer is wanted."""
        return self.method == "HEAD"

    def asker(self) -> Asker:
        """What caching may know of it. `Range` counts for GET alone (RFC 9110, 14.2)."""
        headers, head = self.headers, self.head
        directives = headers.get("cache-control") or headers.get("pragma")
        return Asker(
            client=self.client,
            no_cache=directives is not None and _NO_CACHE.search(directives) is not None,
            head=head,
            range="" if head else headers.get("range", ""),
            if_range=headers.get("if-range", ""),
        )


@lru_cache(maxsize=4096)
def is_within(client: str, nets: Networks) -> bool:
    """Whether an address lies in one of the networks. IPv4 in an IPv6 address counts as IPv4."""
    address = _address(client)
    return address is not None and any(address in net for net in nets)


def is_allowed(client: str, allow: Networks) -> bool:
    """Whether `--allow` lets the client in. Without networks everybody is; so is the UNIX socket's client."""
    return not allow or client == UNIX or is_within(client, allow)


def is_trusted(peer: str, trusted: Networks) -> bool:
    """Whether the other end is a proxy whose forwarded headers are believed."""
    return bool(trusted) and (peer == UNIX or is_within(peer, trusted))


def read_ask(request: CacheRequest, trusted: Networks) -> Ask:
    """The request as a value. Never raises: `check` says what is wrong with it."""
    target = request.uri.decode("latin-1")
    path, _, query = target.partition("?")
    peer = str(getattr(request.getClientAddress(), "host", UNIX))  # type: ignore[no-untyped-call]
    headers = request.fields
    client, scheme, host = peer, "https" if request.isSecure() else "http", headers.get("host", "")
    if is_trusted(peer, trusted):
        client = effective_client(peer, headers.get("x-forwarded-for", ""), trusted)
        scheme = _forwarded(headers, "x-forwarded-proto", scheme, re.compile("https?"))
        host = _forwarded(headers, "x-forwarded-host", host, _HOST)
    return Ask(
        method=request.method.decode("latin-1"),
        target=target,
        path=path,
        query=query,
        protocol=request.clientproto.decode("latin-1"),
        peer=peer,
        client=client,
        scheme=scheme,
        host=host or _local(request.host),
        headers=headers,
    )


def effective_client(peer: str, forwarded: str, trusted: Networks) -> str:
    """The rightmost hop of `X-Forwarded-For` that is no trusted proxy, given that `peer` is one.

    A hop that is no address ends the search: the one to its right is the last that a proxy vouched for.
    """
    client = peer
    for hop in reversed(forwarded.split(",")[-MAX_HOPS:]):
        address = _address(_without_port(hop.strip()))
        if address is None:
            break
        client = str(address)
        if not is_within(client, trusted):
            break
    return client


def check(ask: Ask) -> None:
    """Refuse what no client of ours sends. Raises `BadPath`.

    Not exactly one valid `Host` (RFC 9112, 3.2), targets other than in origin form, control characters in any form.
    """
    host = ask.headers.get("host")
    # Of several, joined, the comma is not valid.
    if ask.protocol == "HTTP/1.1" if host is None else not _HOST.fullmatch(host):
        raise BadPath("A request must have exactly one Host header, which is a host")
    if not _TARGET.fullmatch(ask.target):
        raise BadPath("The request target must be an absolute path on this server")
    if "%" in ask.path and _CONTROL.search(ask.path):
        raise BadPath("The path holds control characters")


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _without_port(hop: str) -> str:
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def _forwarded(headers: Mapping[str, str], name: str, otherwise: str, allowed: re.Pattern[str]) -> str:
    value = headers.get(name, "").rpartition(",")[2].strip()
    return value if allowed.fullmatch(value) else otherwise


def _local(address: Any) -> str:
    """The host of a request that names none (HTTP/1.0): the address that it came in on."""
    host = str(getattr(address, "host", "localhost"))
    port = getattr(address, "port", None)
    bracketed = f"[{host}]" if ":" in host else host
    return f"{bracketed}:{port}" if port is not None else bracketed
