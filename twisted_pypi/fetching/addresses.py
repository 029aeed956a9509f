"""Which addresses may be connected to, and a resolver that hands out no others: the judged address is the one used."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from zope.interface import implementer

_Address = IPv4Address | IPv6Address

# The IANA registries of special-purpose addresses, multicast and class E, whatever `ipaddress` of this version says.
_SPECIAL_V4 = tuple(
    ip_network(net)
    for net in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
)
_PRIVATE_V4 = tuple(
    ip_network(net) for net in ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
)
_PRIVATE_V6 = (IPv6Network("::1/128"), IPv6Network("fc00::/7"))
# Where clouds tell a machine its credentials, besides 169.254.0.0/16: addresses that look private, shared or global.
_METADATA = frozenset(map(ip_address, ("100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254")))
_NUMERIC = re.compile(r"(?:(?:0x[0-9a-f]*|[0-9]+)(?:\.|$)){1,4}", re.IGNORECASE)
_GLOBAL_V6 = IPv6Network("2000::/3")
_SPECIAL_V6 = tuple(IPv6Network(net) for net in ("2001::/23", "2001:db8::/32", "3fff::/20"))
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_TEREDO = IPv6Network("2001::/32")
_6TO4 = IPv6Network("2002::/16")


class Reach(Enum):
    """Which addresses a request may be connected to."""

    GLOBAL = "global"
    PRIVATE = "private"
    ANY = "any"

    def permits(self, address: str) -> bool:
        """Whether it may be connected to this numeric address: PRIVATE are private and global ones."""
        match self:
            case Reach.ANY:
                return True
            case Reach.PRIVATE:
                return is_global(address) or is_private(address)
        return is_global(address)

    def permits_host(self, host: str) -> bool:
        """Whether a proxy may be asked for this host, as far as can be told where the proxy resolves it."""
        match self:
            case Reach.ANY:
                return True
            case Reach.PRIVATE:
                return not is_literal(host) or self.permits(host)
        return not is_inside(host)


def is_global(address: str) -> bool:
    """Whether a numeric IPv4 or IPv6 address (with or without a zone) is globally routable unicast.

    An address that embeds IPv4 ones (mapped, NAT64 of RFC 6052 and 8215, 6to4, Teredo) is what they are. What is no
    address isn't global, nor is one at which a cloud serves metadata.
    """
    return _are(_ends(address), _is_global)


def is_private(address: str) -> bool:
    """Whether a numeric address, or what it embeds, is of a network of one's own: loopback (RFC 1122, 4291), private
    (RFC 1918, 4193) or shared (RFC 6598).

    None of these are link-local addresses, multicast, the unspecified address, and those at which clouds serve
    metadata.
    """
    return _are(_ends(address), _is_private)


def is_inside(host: str) -> bool:
    """Whether a host is written as an address that isn't globally routable, or as this machine's name (RFC 6761, 6.3).

    It is all that can be told of a host that a proxy resolves. Numbers in the forms that only `inet_aton` reads
    (`127.1`, `0x7f000001`) count as such addresses.
    """
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return is_literal(host) and not is_global(host)


def is_literal(host: str) -> bool:
    """Whether a host is written as an address, in whatever form."""
    return bool(_NUMERIC.fullmatch(host) or ":" in host)


def _are(addresses: Collection[_Address], kind: Callable[[_Address], bool]) -> bool:
    return bool(addresses) and _METADATA.isdisjoint(addresses) and all(map(kind, addresses))


def _is_global(address: _Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in net for net in _SPECIAL_V4)
    return address in _GLOBAL_V6 and not any(address in net for net in _SPECIAL_V6)


def _is_private(address: _Address) -> bool:
    return any(address in net for net in (_PRIVATE_V4 if isinstance(address, IPv4Address) else _PRIVATE_V6))


def _ends(address: str) -> tuple[_Address, ...]:
    """The addresses that packets to `address` may end up at; none for what is no address."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return ()
    return (parsed,) if isinstance(parsed, IPv4Address) else _embedded(parsed) or (parsed,)


def _embedded(address: IPv6Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that packets to `address` may end up at instead."""
    number = int(address)
    last = IPv4Address(number & 0xFFFFFFFF)
    if address in _MAPPED or any(address in net for net in _NAT64):
        return (last,)
    if address in _6TO4:
        return (IPv4Address(number >> 80 & 0xFFFFFFFF),)
    if address in _TEREDO:
        return (IPv4Address(number >> 64 & 0xFFFFFFFF), IPv4Address(int(last) ^ 0xFFFFFFFF))
    return ()


@implementer(IResolutionReceiver)
@define(eq=False)
class _Collector:
    """Gathers a resolution's addresses and tells when it is complete."""

    _complete: Callable[[list[IAddress]], object]
    _addresses: list[IAddress] = field(factory=list, init=False)

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:  # noqa: N802, N803
        pass

    def addressResolved(self, address: IAddress) -> None:  # noqa: N802
        self._addresses.append(address)

    def resolutionComplete(self) -> None:  # noqa: N802
        self._complete(self._addresses)


def resolve_host(resolver: IHostnameResolver, host: str) -> Deferred[list[str]]:
    """All addresses of a host name; empty when it has none."""
    found: Deferred[list[str]] = Deferred()

    def complete(addresses: list[IAddress]) -> None:
        found.callback([_text(address) for address in addresses])

    resolver.resolveHostName(_Collector(complete), host)
    return found


@implementer(IHostnameResolver)
@define(eq=False)
class JudgingResolver:
    """Hands on only the addresses that `permits` allows, those in `avoid` last. Where it allows none of a host's, they
    are put into `refused`."""

    _resolver: IHostnameResolver
    _permits: Callable[[str], bool]
    _avoid: Collection[str] = ()
    refused: list[str] = field(factory=list)

    def resolveHostName(  # noqa: N802
        self,
        resolutionReceiver: IResolutionReceiver,  # noqa: N803
        hostName: str,  # noqa: N803
        portNumber: int = 0,  # noqa: N803
        addressTypes: Sequence[type[IAddress]] | None = None,  # noqa: N803
        transportSemantics: str = "TCP",  # noqa: N803
    ) -> IHostResolution:
        """See `IHostnameResolver`."""

        def complete(addresses: list[IAddress]) -> None:
            permitted = [address for address in addresses if self._permits(_text(address))]
            for address in sorted(permitted, key=lambda address: _text(address) in self._avoid):
                resolutionReceiver.addressResolved(address)
            if not permitted:
                self.refused.extend(map(_text, addresses))
            resolutionReceiver.resolutionComplete()

        collector = _Collector(complete)
        resolution = self._resolver.resolveHostName(collector, hostName, portNumber, addressTypes, transportSemantics)
        resolutionReceiver.resolutionBegan(resolution)
        return resolution


@implementer(IReactorPluggableNameResolver)
class JudgedReactor:
    """What `HostnameEndpoint` needs of a reactor, with `resolver` in the place of the reactor's own."""

    def __init__(self, reactor: Any, resolver: IHostnameResolver) -> None:
        self.nameResolver = resolver
        self.callLater = reactor.callLater
        self.seconds = reactor.seconds
        self.connectTCP = reactor.connectTCP

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:  # noqa: N802
        """See `IReactorPluggableNameResolver`."""
        previous, self.nameResolver = self.nameResolver, resolver
        return previous


def _text(address: IAddress) -> str:
    return str(getattr(address, "host", ""))
