"""The proxies that the environment names, and those that an index does, as fetching knows them."""

from __future__ import annotations

from collections.abc import Mapping

from twisted_pypi import units
from twisted_pypi.errors import ConfigError
from twisted_pypi.fetching.proxies import NO_PROXIES, Proxy, ProxyRules, basic, entries
from twisted_pypi.settings import Remote
from twisted_pypi.urls import origin_of


def proxies_of(environ: Mapping[str, str]) -> ProxyRules:
    """What `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say. The lower-case ones rule, as with curl.

    Raises `ConfigError` for a proxy that can't be used: to go without it would be a bypass. No secret is repeated.
    """
    everywhere = _proxy(environ, "all_proxy")
    http, https = _proxy(environ, "http_proxy"), _proxy(environ, "https_proxy")
    _, direct = _value(environ, "no_proxy")
    return ProxyRules(http or everywhere, https or everywhere, entries(direct))


def proxy_rules(remote: Remote) -> ProxyRules:
    """One proxy for everything, or, for `settings.DIRECT`, none."""
    if not remote.url:
        return NO_PROXIES
    credential = remote.credential
    authorization = basic(credential.username, credential.password) if credential is not None else None
    proxy = Proxy(origin_of(remote.url), authorization)
    return ProxyRules(proxy, proxy)


def _value(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """The name under which a variable is there, and what it holds; "" when it isn't."""
    found = next((spelling for spelling in (name, name.upper()) if environ.get(spelling, "").strip()), "")
    return found, environ.get(found, "").strip()


def _proxy(environ: Mapping[str, str], variable: str) -> Proxy | None:
    name, text = _value(environ, variable)
    if not text:
        return None
    try:
        address = units.proxy(text if "://" in text else f"http://{text}")
        proxy = Proxy(origin_of(address.url)) if address.url else None
    except ValueError:
        told = 'a proxy is named as in http://proxy.example:3128 (an index with proxy = "none" does without)'
        raise ConfigError(name, told) from None
    if proxy is None or not (address.username or address.password):
        return proxy
    return Proxy(proxy.origin, basic(address.username, address.password))
