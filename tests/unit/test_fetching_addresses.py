"""Which addresses are global, and that a judged address is the one that is handed out."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import address as net
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from twisted.internet.testing import MemoryReactorClock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from twisted_pypi.fetching.addresses import JudgedReactor, JudgingResolver, Reach, is_global, is_private, resolve_host


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "192.0.1.1", "100.63.255.255", "100.128.0.0", "2606:4700::1"]
)
def test_global(address: str) -> None:
    assert is_global(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.127.255.255"),
        *("0.0.0.0", "0.1.2.3", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "2001:db8::1", "100::1"),
        *("2001:2::1", "3fff::1", "4000::1", "::127.0.0.1", "::8.8.8.8", "not an address", ""),
    ],
)
def test_not_global(address: str) -> None:
    assert not is_global(address)


EMBEDDINGS = [
    lambda v4: (0xFFFF << 32) | v4,
    lambda v4: (0x64FF9B << 96) | v4,
    lambda v4: (0x64FF9B0001 << 80) | v4,
    lambda v4: (0x2002 << 112) | (v4 << 80) | 1,
    lambda v4: (0x20010000 << 96) | (0x08080808 << 64) | (v4 ^ 0xFFFFFFFF),
    lambda v4: (0x20010000 << 96) | (v4 << 64) | (0x08080808 ^ 0xFFFFFFFF),
]


@given(st.ip_addresses(v=4), st.sampled_from(EMBEDDINGS))
def test_what_embeds_an_ipv4_address_is_judged_by_it(v4: IPv4Address, embed: object) -> None:
    assert is_global(str(IPv6Address(embed(int(v4))))) == is_global(str(v4))  # type: ignore[operator]


@given(st.ip_addresses())
def test_never_more_than_the_standard_library(address: IPv4Address | IPv6Address) -> None:
    judged = is_global(str(address))
    if judged and address.version == 4:
        assert address.is_global
        assert not address.is_multicast
    if address.is_private and address.version == 4:
        # 192.0.0.0/24 and such have exceptions in later versions of Python, never the other way round.
        assert not judged


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd12::1", "::ffff:10.0.0.1"),
        *("64:ff9b::a00:1", "2002:7f00:1::1"),
    ],
)
def test_private(address: str) -> None:
    assert is_private(address)
    assert Reach.PRIVATE.permits(address)
    assert not Reach.GLOBAL.permits(address)


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169.254", "169.254.170.2", "fe80::1", "fe80::a9fe:a9fe%eth0", "fd00:ec2::254", "fd20:ce::254"),
        *("100.100.100.200", "168.63.129.16", "192.0.0.192", "0.0.0.0", "::", "255.255.255.255", "224.0.0.1"),
        *("ff02::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::ffff:168.63.129.16"),
        *("fec0::1", "240.0.0.1", "", "localhost"),
    ],
)
def test_what_nobody_may_name_beyond_the_configured(address: str) -> None:
    assert not Reach.PRIVATE.permits(address)
    assert not Reach.GLOBAL.permits(address)
    assert Reach.ANY.permits(address)


@given(st.ip_addresses())
def test_no_address_is_both(address: IPv4Address | IPv6Address) -> None:
    assert not (is_private(str(address)) and is_global(str(address)))


@given(st.text(max_size=40))
def test_judges_anything(text: str) -> None:
    if is_global(text):
        ip_address(text.partition("%")[0])


@implementer(IHostResolution)
class Resolution:
    name = "host.example"

    def cancel(self) -> None:
        raise NotImplementedError


@implementer(IHostnameResolver)
class FixedResolver:
    """Knows one host, with these addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    def resolveHostName(  # noqa: N802
        self,
        resolutionReceiver: IResolutionReceiver,  # noqa: N803
        hostName: str,  # noqa: N803
        portNumber: int = 0,  # noqa: N803
        addressTypes: object = None,  # noqa: N803
        transportSemantics: str = "TCP",  # noqa: N803
    ) -> IHostResolution:
        resolution = Resolution()
        resolutionReceiver.resolutionBegan(resolution)
        for host in self.addresses:
            resolutionReceiver.addressResolved(net.IPv4Address("TCP", host, portNumber))
        resolutionReceiver.resolutionComplete()
        return resolution


def resolved(resolver: IHostnameResolver) -> list[str]:
    found: list[list[str]] = []
    looking: Deferred[list[str]] = resolve_host(resolver, "host.example")
    looking.addCallback(found.append)
    return found[0]


def test_only_permitted_addresses_are_handed_out_those_to_avoid_last() -> None:
    resolver = JudgingResolver(FixedResolver("8.8.4.4", "10.0.0.1", "8.8.8.8"), is_global, avoid=("8.8.4.4",))
    assert resolved(resolver) == ["8.8.8.8", "8.8.4.4"]
    assert resolver.refused == []


def test_where_no_address_is_permitted_they_are_told() -> None:
    resolver = JudgingResolver(FixedResolver("10.0.0.1", "169.254.169.254"), is_global)
    assert resolved(resolver) == []
    assert resolver.refused == ["10.0.0.1", "169.254.169.254"]


def test_interfaces() -> None:
    resolver = JudgingResolver(FixedResolver(), is_global)
    reactor = JudgedReactor(MemoryReactorClock(), resolver)
    verifyObject(IHostnameResolver, resolver)
    verifyObject(IReactorPluggableNameResolver, reactor)
    assert reactor.installNameResolver(FixedResolver()) is resolver
