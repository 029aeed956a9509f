"""`--npm-url` and the `[[npm]]` tables of the file: every key, and every way to get one wrong."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from twisted_pypi import preflight
from twisted_pypi.announcing import start_block
from twisted_pypi.commands.check_config import npm_lines
from twisted_pypi.errors import Absent, ConfigError
from twisted_pypi.fetching.identity import TlsIdentity
from twisted_pypi.model import Alternatives
from twisted_pypi.mounts import mounts_of
from twisted_pypi.npm.mount import NpmMount
from twisted_pypi.options import CREDENTIAL_KEYS, NPM_KEYS
from twisted_pypi.portions import upstream_settings
from twisted_pypi.settings import DIRECT, Credential, Registry
from unit.test_config import SECRET, failure, load, settings

URL = "https://npm.example/"


def table(keys: str = "", url: str = URL) -> str:
    return f"[[npm]]\nurl = '{url}'\n{keys}\n"


def registry(keys: str, environ: dict[str, str] | None = None) -> Registry:
    (found,) = settings(None, environ, table(keys)).npm
    return found


SAMPLES: dict[str, tuple[str, str, Any]] = {
    "ttl": ("'1h'", "ttl", 3600),
    "not-found-ttl": ("7", "not_found_ttl", 7),
    "absent-status": ("[403, 404]", "absent_status", {403, 404}),
    "proxy": ("'none'", "proxy", DIRECT),
    "ca-file": ("'ca.pem'", "tls", TlsIdentity("/etc/ca.pem")),
    "client-certificate": ("'/c.pem'", "tls", TlsIdentity(certificate="/c.pem")),
    "client-key": ("'/k.pem'\nclient-certificate = '/c.pem'", "tls", TlsIdentity(certificate="/c.pem", key="/k.pem")),
    "insecure": ("true", "tls", TlsIdentity(insecure=True)),
}


def test_without_any_there_is_no_npm() -> None:
    assert settings().npm == ()
    assert mounts_of(settings()).npm == ()


@pytest.mark.parametrize("key", SAMPLES)
def test_keys(key: str) -> None:
    text, attribute, value = SAMPLES[key]
    assert getattr(registry(f"{key} = {text}").upstream, attribute) == value


def test_every_key_has_a_sample() -> None:
    assert {*SAMPLES, "url", "path", *CREDENTIAL_KEYS} == set(NPM_KEYS)


def test_url_alone() -> None:
    found = registry("")
    assert found.path == "/npm/"
    upstream = found.upstream
    assert (upstream.name, upstream.url, upstream.ttl, upstream.not_found_ttl) == (URL, URL, 300, 60)
    assert (upstream.bound, upstream.file_hosts, upstream.credential) == (False, set(), None)
    assert settings({"npm-url": URL.rstrip("/")}).npm == (found,)
    assert settings(None, {"PYPICACHE_NPM_URL": URL}).npm == (found,)


def test_file_hosts_of_indexes_are_not_for_it() -> None:
    assert settings({"npm-url": URL, "file-host": ["files.example"]}).npm[0].upstream.file_hosts == set()


@pytest.mark.parametrize(
    ("keys", "environ", "credential"),
    [
        (f"token = '{SECRET}'", None, Credential(token=SECRET)),
        ("token-env = 'T'", {"T": SECRET}, Credential(token=SECRET)),
        (f"username = 'u'\npassword = '{SECRET}'", None, Credential("u", SECRET)),
    ],
)
def test_credentials(keys: str, environ: dict[str, str] | None, credential: Credential) -> None:
    assert registry(keys, environ).upstream.credential == credential


def test_credentials_in_the_url_and_netrc() -> None:
    given = settings({"npm-url": f"https://u:{SECRET}@npm.example/"}).npm[0].upstream
    assert (given.url, given.credential) == (URL, Credential("u", SECRET))
    told = settings({"npm-url": URL}, logins={"npm.example": ("v", "", SECRET)}).npm[0].upstream
    assert told.credential == Credential("v", SECRET)


def test_a_table_describes_the_one_that_a_flag_names() -> None:
    (found,) = settings({"npm-url": URL}, None, table("path = '/js/'\nttl = 1")).npm
    assert (found.path, found.upstream.ttl) == ("/js/", 1)


def test_several() -> None:
    text = (
        table("path = 'a'") + table("path = '/b/c'", "https://other.example/npm") + "[[index]]\nname = 'x'\npath='y'\n"
    )
    found = settings({"npm-url": "https://third.example"}, None, text).npm
    assert [(each.path, each.upstream.url) for each in found] == [
        ("/a/", URL),
        ("/b/c/", "https://other.example/npm/"),
        ("/npm/", "https://third.example/"),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("npm = 1", "/etc/pypicache.toml: npm: must be [[npm]] tables"),
        ("[[npm]]\n", "[[npm]]: url is missing"),
        (table("registry = 1"), "[[npm]]: registry: unknown key"),
        (table("routes = ['a']"), "[[npm]]: routes: unknown key"),
        (table("npm-url = 'https://x.example/'"), "belongs to the top of the file"),
        (table("path = '/'"), "path: must be a path, as in /npm/"),
        (table("path = '/simple'"), "/simple/ is a path of our own"),
        (table("path = '/files/npm'"), "/files/ is a path of our own"),
        (table("path = '/../x'"), "no path of plain names"),
        (table("path = '/x'") + "[[index]]\nname = 'x'\nurl = 'https://x.example/'", "/x/ is an index"),
        (table() + table("", "https://x.example/"), "/npm/ and /npm/ overlap"),
        (table() + table("path = '/npm/x'", "https://x.example/"), "/npm/x/ and /npm/ overlap"),
        (table() + table("path = '/x'"), "url: /npm/ has the same"),
        (table() + f"[[index]]\nname = 'x'\nurl = '{URL}'", "url: x has the same"),
        (table("token = 'a'\npassword = 'b'"), "give a token, or username and password"),
        (table("token-env = 'MISSING'"), "token-env: the variable MISSING is not set"),
        (table("", "ftp://x.example/"), "[[npm]]: url: not an absolute http or https URL"),
        (table("ttl = 'soon'"), "[[npm]]: ttl: 'soon' is no duration"),
        ("npm-url = 'nowhere'", "npm-url: not an absolute"),
    ],
)
def test_what_is_refused(text: str, problem: str) -> None:
    assert problem in failure(None, None, text)


def test_a_flag_s_url_beside_a_table_at_its_path() -> None:
    with pytest.raises(ConfigError, match="/npm/ and /npm/ overlap"):
        load({"npm-url": "https://x.example/"}, None, table())


def test_its_files_are_checked_before_the_start() -> None:
    with pytest.raises(ConfigError, match=r"\[\[npm\]\] /npm/: ca-file: .* can't be read"):
        preflight.check_upstream(settings(None, None, table("ca-file = '/nowhere/ca.pem'")))


def test_a_file_that_others_can_read_and_that_holds_its_secret_is_warned_about() -> None:
    for text in (table(f"token = '{SECRET}'"), f"npm-url = 'https://u:{SECRET}@npm.example/'"):
        (warning,) = load(None, None, text, mode=0o644).warnings
        assert "chmod 600" in warning


def test_it_is_shown_without_secrets() -> None:
    loaded = load(None, None, table(f"token = '{SECRET}'\nttl = 7"))
    (line,) = npm_lines(loaded)
    assert line == "npm /npm/: https://npm.example/, ttl 7 s, not-found-ttl 7 s, absent 404 410, token ***"
    assert f"npm {URL} below /npm/" in start_block(loaded.settings, [], 0, 0)
    assert SECRET not in repr(loaded.settings)


def test_upstream_is_asked_with_its_rules() -> None:
    rules = upstream_settings(settings(None, None, table(f"token = '{SECRET}'"))).indexes
    assert rules[URL].credential == Credential(token=SECRET)
    assert all(other.credential is None for name, other in rules.items() if name != URL)


def test_who_serves_what() -> None:
    """What no mount knows is told by the last one, what a registry does not have by that one."""
    text = table() + table("path = '/acme/npm'", "https://acme.example/") + "[[index]]\nname = 'acme2'\npath = 'y'\n"
    mounts = mounts_of(settings(None, None, text))
    route = mounts.resolve("/acme/npm/left")
    assert isinstance(route, Alternatives)
    assert route.pages[0].key == "https://acme.example/left"
    for path, problem in [
        ("/npm/.x", "not the name of an npm package"),
        ("//acme/npm//.x", "not the name of an npm package"),
        ("/npm/-/whoami", "ask the registry itself"),
        ("/npmx", "try /simple/"),
    ]:
        with pytest.raises(Absent, match=problem):
            mounts.resolve(path)
    purged = [page.key for page in mounts.pages_of("left")]
    assert {"simple/left", f"{URL}left", "https://acme.example/left"} <= set(purged)
    assert mounts.pages_of("@a/b")[0].key == f"{URL}@a/b"
    assert mounts.pages_of("/") == ()
    assert (
        mounts.name_of(URL, f"{URL}@a/b/-/b-1.0.tgz") == mounts.name_of(URL, f"{URL}-/package/@a/b/dist-tags") == "@a/b"
    )
    assert mounts.name_of(URL, f"{URL}left/1.0") == mounts.name_of("", f"{URL}left/-/full") == "left"
    assert mounts.name_of(URL, "https://acme.example/left") == mounts.name_of("third", f"{URL}left") == ""
    public = mounts.index.indexes[-1].name
    assert mounts.permits("https://acme.example/", "https://x.example/a.tgz")
    assert not mounts.permits(public, "https://x.example/a.whl")
    assert mounts.at_home(URL, f"{URL}a.tgz")
    assert mounts.page_of(URL, f"{URL}left/-/left-1.tgz") is not None
    assert all(isinstance(mount, NpmMount) for mount in mounts.npm)
    assert evolve(mounts, npm=()).page_of(URL, f"{URL}left/-/left-1.tgz") is None
