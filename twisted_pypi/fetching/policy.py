"""What may be contacted, on whose behalf. Pure.

Configured origins may be, whatever their address. Others only if an index's page named the URL or an allowed origin
redirected to it, and only at globally routable addresses (`addresses` judges them when it connects), or also at
private ones if the index's own are private.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import Factory, field, frozen

from twisted_pypi.errors import UpstreamFailed
from twisted_pypi.fetching.credentials import Credential
from twisted_pypi.fetching.proxies import NO_PROXIES, ProxyRules
from twisted_pypi.fetching.tls import TlsPolicy
from twisted_pypi.urls import Origin, is_below, origin_of, without_secrets


@frozen
class IndexRules:
    """One index, as fetching knows it. `origins` are its configured origins; that of `url` always belongs to them.

    `tls` is for connections to those; None is the common one. `absent_status` says that something is lacking there.
    `proxies` lead to these and to whatever else is asked on the index's behalf. `index` is whose place it is: its own,
    if it is no mirror.
    """

    name: str
    url: str
    origins: frozenset[Origin] = frozenset()
    credential: Credential | None = field(default=None, repr=False)
    tls: TlsPolicy | None = None
    absent_status: frozenset[int] = frozenset()
    proxies: ProxyRules = NO_PROXIES
    index: str = field(default=Factory(lambda self: self.name, takes_self=True))

    def trusts(self, origin: Origin) -> bool:
        """Whether this is one of its configured origins."""
        return origin in self.origins or origin == origin_of(self.url)


@frozen
class OriginPolicy:
    """The rules of all indexes."""

    indexes: Mapping[str, IndexRules]

    def rules(self, index: str, url: str) -> IndexRules:
        """The rules of an index. Raises `UpstreamFailed` for an index that is not configured."""
        try:
            return self.indexes[index]
        except KeyError:
            raise UpstreamFailed(f"no index is called {index!r}", without_secrets(url)) from None

    def trusted(self, origin: Origin) -> bool:
        """Whether the origin is configured for any index: it may have any address."""
        return any(rules.trusts(origin) for rules in self.indexes.values())

    def away(self, index: str, target: str) -> str | None:
        """Whose the target of a redirect is: None, the index's own; the name of another index; "", of none.

        The same host over https is the index's own, as are the other places of the index.
        """
        rules, origin = self.rules(index, target), origin_of(target)
        if any(is_below(target, place.url) for place in self.indexes.values() if place.index == rules.index):
            return None
        other = next((other.name for other in self.indexes.values() if is_below(target, other.url)), "")
        upgraded = origin.scheme == "https" and origin.host == origin_of(rules.url).host
        return other if other or not (upgraded or rules.trusts(origin)) else None

    def enter(self, url: str, named: bool) -> Origin:
        """The origin of a URL to be asked first. Raises `UpstreamFailed` if it may not be."""
        try:
            origin = origin_of(url)
        except ValueError as error:
            raise UpstreamFailed(str(error), without_secrets(url)) from None
        if not named and not self.trusted(origin):
            raise UpstreamFailed(f"forbidden origin {origin}: neither configured nor named by a page", str(origin))
        return origin
