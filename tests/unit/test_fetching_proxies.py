"""Which proxy leads where: the environment's variables as curl made them customary, and an index's own key."""

from __future__ import annotations

import pytest

from twisted_pypi.environment import proxies_of, proxy_rules
from twisted_pypi.errors import ConfigError
from twisted_pypi.fetching.proxies import NO_PROXIES, Proxy, ProxyRules, entries
from twisted_pypi.settings import DIRECT, Credential, Remote
from twisted_pypi.urls import Origin, origin_of

PROXY = Proxy(Origin("http", "proxy.example", 3128))
SECRET = "hunter2"


def leads(direct: str, url: str) -> bool:
    return ProxyRules(PROXY, PROXY, entries(direct)).proxy_for(origin_of(url)) is not None


def test_each_scheme_has_its_own() -> None:
    rules = ProxyRules(https=PROXY)
    assert rules.proxy_for(origin_of("https://a.example/")) == PROXY
    assert rules.proxy_for(origin_of("http://a.example/")) is None


@pytest.mark.parametrize(
    ("direct", "url"),
    [
        ("*", "https://a.example/"),
        ("a.example", "https://a.example/"),
        ("A.Example", "https://a.example/"),
        ("example", "https://a.example/"),
        (".a.example", "https://b.a.example/"),
        (".a.example", "https://a.example/"),
        ("*.a.example", "https://b.a.example/"),
        ("x.example, a.example", "https://a.example/"),
        ("x.example a.example", "https://a.example/"),
        ("a.example:8443", "https://a.example:8443/"),
        ("10.0.0.0/8", "https://10.1.2.3/"),
        ("10.1.2.3", "https://10.1.2.3/"),
        ("10.1.2.3:444", "https://10.1.2.3:444/"),
        ("fd00::/8", "https://[fd00::1]/"),
        ("[fd00::1]:444", "https://[fd00::1]:444/"),
    ],
)
def test_no_proxy_leads_to_these(direct: str, url: str) -> None:
    assert not leads(direct, url)


@pytest.mark.parametrize(
    ("direct", "url"),
    [
        ("", "https://a.example/"),
        (",. ,", "https://a.example/"),
        ("a.example", "https://ba.example/"),
        ("a.example", "https://a.example.evil/"),
        ("b.a.example", "https://a.example/"),
        ("a.example:8443", "https://a.example/"),
        ("10.0.0.0/8", "https://11.1.2.3/"),
        ("10.0.0.0/8", "https://ten.example/"),
        ("2.3", "https://10.1.2.3/"),
        ("nonsense/99", "https://10.1.2.3/"),
    ],
)
def test_a_proxy_leads_to_these(direct: str, url: str) -> None:
    assert leads(direct, url)


def test_variables_in_either_case_of_which_the_lower_one_rules() -> None:
    environ = {
        "HTTPS_PROXY": "http://upper.example:1",
        "https_proxy": "lower.example:2",
        "HTTP_PROXY": "http://h.example",
    }
    assert proxies_of(environ) == ProxyRules(
        Proxy(Origin("http", "h.example", 80)), Proxy(Origin("http", "lower.example", 2))
    )


def test_all_proxy_stands_in_for_what_is_unset_or_empty() -> None:
    rules = proxies_of(
        {"ALL_PROXY": "http://all.example:1", "http_proxy": "", "https_proxy": "one.example", "no_proxy": "x"}
    )
    assert (str(rules.http), str(rules.https), rules.direct) == ("http://all.example:1", "http://one.example", ("x",))


def test_no_variables_no_proxies() -> None:
    assert proxies_of({"NO_PROXY": " "}) == NO_PROXIES == proxy_rules(DIRECT)


def test_credentials_are_decoded_and_shown_nowhere() -> None:
    rules = proxies_of({"HTTPS_PROXY": f"http://me:{SECRET}%40@proxy.example:3128"})
    assert rules.https is not None
    assert rules.https.headers == {"Proxy-Authorization": "Basic bWU6aHVudGVyMkA="}
    assert SECRET not in repr(rules)
    assert "bWU6" not in repr(rules)
    assert str(rules.https) == "http://proxy.example:3128"


def test_the_key_of_an_index_is_for_both_schemes_whatever_no_proxy_says() -> None:
    rules = proxy_rules(Remote("http://proxy.example:3128/", Credential("me", SECRET)))
    assert rules.http is rules.https
    assert rules.direct == ()
    assert rules.http is not None
    assert rules.http.headers == {"Proxy-Authorization": "Basic bWU6aHVudGVyMg=="}


@pytest.mark.parametrize(
    "value", [f"socks5://me:{SECRET}@proxy.example:1080", f"https://me:{SECRET}@proxy.example", "a b"]
)
def test_a_proxy_that_can_not_be_used_is_an_error_that_names_the_variable_and_no_secret(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        proxies_of({"HTTPS_PROXY": value})
    assert str(caught.value).startswith("HTTPS_PROXY: ")
    assert SECRET not in str(caught.value)
