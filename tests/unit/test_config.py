"""The merge of all sources of configuration."""

from __future__ import annotations

import errno
import netrc
import os
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

import pytest
from attrs import fields_dict
from hypothesis import given
from hypothesis import strategies as st

from twisted_pypi import config
from twisted_pypi.config import PUBLIC_FILES, PUBLIC_INDEX, Credential, Loaded, Settings
from twisted_pypi.errors import ConfigError
from twisted_pypi.fetching.proxies import NO_PROXIES
from twisted_pypi.options import FILE_OPTIONS, OPTIONS
from twisted_pypi.sources import FileText, value_of

SECRET = "hunter2"
PATH = "/etc/pypicache.toml"


def load(
    given: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    toml: str | None = None,
    *,
    files: Mapping[str, str] | None = None,
    mode: int = 0o600,
    logins: Mapping[str, tuple[str, str, str]] | Exception | None = None,
) -> Loaded:
    """`config.load` on files in memory; `toml` is that of `--config`."""
    texts = dict(files or {})
    flags = dict(given or {})
    if toml is not None:
        texts[PATH] = toml
        flags.setdefault("config", PATH)

    def read_file(path: str) -> FileText:
        if path not in texts:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return FileText(texts[path], mode)

    def read_netrc(path: str) -> Mapping[str, tuple[str, str, str]]:
        if logins is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        if isinstance(logins, Exception):
            raise logins
        return logins

    return config.load(flags, {"HOME": "/home/ci", **(environ or {})}, read_file, read_netrc)


def settings(*args: Any, **kwargs: Any) -> Settings:
    return load(*args, **kwargs).settings


def failure(*args: Any, **kwargs: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    assert SECRET not in message
    return message


def test_defaults_are_those_of_the_contract() -> None:
    got = settings(environ={"XDG_CACHE_HOME": "/home/ci/.cache"})
    assert (got.interface, got.port, got.listen, got.prefix, got.base_url) == ("127.0.0.1", 8080, (), "", None)
    assert (got.cache_dir, got.cache_size, got.memory) == ("/home/ci/.cache/pypicache", 50 << 30, 64 << 20)
    assert (got.max_file_size, got.min_free, got.max_stale) == (None, None, None)
    assert (got.index_ttl, got.not_found_ttl, got.stale_wait, got.inactive) == (300, 60, 1, 180 * 86400)
    assert (got.connect_timeout, got.read_timeout, got.max_fetches, got.grace) == (5, 10, 32, 10)
    assert (got.offline, got.allow, got.trusted_proxy, got.admin_token) == (False, (), (), None)
    assert (got.max_connections, got.max_client_connections) == (None, 256)
    assert (got.ca_file, got.insecure_host, got.access_log, got.log_level) == (None, frozenset(), "-", "info")
    (index,) = got.indexes
    assert (index.name, index.url, index.files_url) == (PUBLIC_INDEX, PUBLIC_INDEX, PUBLIC_FILES)
    assert (index.bound, index.public, index.credential) == (True, True, None)
    assert (index.ttl, index.not_found_ttl, index.absent_status) == (300, 60, {404, 410})


def test_every_setting_has_an_option() -> None:
    assert {option.attribute for option in FILE_OPTIONS} >= set(fields_dict(Settings)) - {"indexes", "npm", "proxies"}


SIZES = st.one_of(st.none(), st.integers(0, 1 << 40).map(str))
HOSTS = st.one_of(st.none(), st.lists(st.sampled_from(["a.example", "b.example", "c.example:81"]), min_size=1))


@given(SIZES, SIZES, SIZES)
def test_flag_beats_environment_beats_file_beats_default(
    flag: str | None, variable: str | None, key: str | None
) -> None:
    environ = {} if variable is None else {"PYPICACHE_MEMORY": variable}
    toml = "" if key is None else f"memory = {key}"
    given = [text for text in (flag, variable, key, str(64 << 20)) if text is not None]
    assert settings({"memory": flag}, environ, toml).memory == int(given[0])


@given(HOSTS, HOSTS, HOSTS)
def test_a_higher_source_replaces_a_list(
    flag: list[str] | None, variable: list[str] | None, key: list[str] | None
) -> None:
    environ = {} if variable is None else {"PYPICACHE_FILE_HOST": ", ".join(variable)}
    toml = "" if key is None else f"file-host = {key}"
    expected = flag or variable or key or []
    assert settings({"file-host": flag}, environ, toml).indexes[-1].file_hosts == set(expected)


SAMPLES = {
    "port": "81",
    "interface": "::1",
    "listen": "unix:/run/p",
    "prefix": "/pypi",
    "base-url": "https://pypi.example",
    "cache-dir": "/c",
    "cache-size": "1G",
    "max-file-size": "2M",
    "min-free": "3K",
    "memory": "4",
    "inactive": "5h",
    "index-ttl": "6s",
    "not-found-ttl": "5s",
    "stale-wait": "0.5",
    "max-stale": "30d",
    "connect-timeout": "7",
    "read-timeout": "8",
    "max-fetches": "9",
    "grace": "1",
    "allow": "10.0.0.0/8",
    "trusted-proxy": "::1",
    "admin-token": SECRET,
    "ca-file": "/ca.pem",
    "insecure-host": "H.example:444",
    "access-log": "/log",
    "access-log-format": "JSON",
    "log-level": "debug",
    "offline": "true",
}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_three_sources_of_an_option_agree(name: str) -> None:
    option = next(option for option in OPTIONS if option.name == name)
    text = SAMPLES[name]
    value: object = [text] if option.repeatable else 1 if option.flag else text
    key = "true" if option.flag else f"{[text]}" if option.repeatable else f"{text!r}"
    by_flag = getattr(settings({name: value}), option.attribute)
    assert by_flag == getattr(settings(environ={option.variable: text}), option.attribute)
    assert by_flag == getattr(settings(toml=f"{name} = {key}"), option.attribute)
    assert by_flag != getattr(settings(), option.attribute)


def test_the_file_may_be_named_by_a_variable_and_holds_numbers() -> None:
    toml = "port = 81\nstale-wait = 0.5\nallow = '10.0.0.0/8'\noffline = false"
    got = settings(environ={"PYPICACHE_CONFIG": PATH}, files={PATH: toml})
    assert (got.port, got.stale_wait, got.allow, got.offline) == (81, 0.5, (ip_network("10.0.0.0/8"),), False)


@pytest.mark.parametrize("text", ["", "  ", "tcp://10.0.0.1:8080"])
def test_port_variables_that_are_unset(text: str) -> None:
    assert settings(environ={"PYPICACHE_PORT": text}, toml="port = 81").port == 81


def test_other_variables_are_ignored() -> None:
    environ = {"PYPICACHE_PORT_8080_TCP": "x", "PYPICACHE_NONSENSE": "x", "PYPICACHE_ALLOW": " , "}
    assert settings(environ=environ).allow == ()


def test_lists_in_variables_are_parted_by_blanks_or_commas() -> None:
    got = settings(environ={"PYPICACHE_ALLOW": "10.0.0.0/8,::1 192.0.2.7, 127.0.0.1"}).allow
    assert [str(network) for network in got] == ["10.0.0.0/8", "::1/128", "192.0.2.7/32", "127.0.0.1/32"]


BAD = {
    "port": "65536",
    "interface": "a\x07b",
    "listen": "a\x07b",
    "prefix": "/a/../b",
    "base-url": "//x",
    "index-url": f"ftp://u:{SECRET}@h/",
    "extra-index-url": f"u:{SECRET}@h",
    "files-url": f"https://u:{SECRET}@h.example/",
    "file-host": f"u:{SECRET}@h",
    "cache-size": "-1",
    "max-file-size": "all",
    "min-free": "5%",
    "memory": "1P",
    "inactive": "0",
    "index-ttl": "1w",
    "not-found-ttl": "-1",
    "stale-wait": "inf",
    "max-stale": "nan",
    "connect-timeout": "0s",
    "read-timeout": "0",
    "max-fetches": "0",
    "grace": "1.",
    "allow": "10.0.0.0/33",
    "trusted-proxy": "proxy",
    "admin-token": f"{SECRET} x",
    "insecure-host": "https://h.example",
    "log-level": "loud",
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_value_names_flag_variable_or_key(name: str) -> None:
    option = next(option for option in OPTIONS if option.name == name)
    text = BAD[name]
    environ_text = text.replace(" ", "\x01") if option.repeatable else text
    assert failure({name: [text] if option.repeatable else text}).startswith(f"--{name}: ")
    assert failure(environ={option.variable: environ_text}).startswith(f"{option.variable}: ")
    escaped = text.replace("\x07", "\\u0007")
    assert failure(toml=f'{name} = "{escaped}"').startswith(f"{PATH}: {name}: ")


@pytest.mark.parametrize(
    ("toml", "place"),
    [
        ("prot = 1", "prot: unknown key; is it port?"),
        ("config = 'x'", "config: unknown key"),
        ("threads = 2", "threads: unknown key"),
        ("port = true", "port: must be a string or a number"),
        ("port = [1]", "port: must be a string or a number"),
        ("offline = 'yes'", "offline: must be true or false"),
        ("allow = [['10.0.0.0/8']]", "allow: must be a string or a number"),
        ("port = ", "not TOML"),
        ("[index]\nname = 'a'", "index: must be [[index]] tables"),
        ("[[index]]\nurl = 'https://a.example/'", "[[index]]: name is missing"),
        ("[[index]]\nname = 'a'", "[[index]] a: url is missing"),
        ("[[index]]\nname = 'simple'\nurl = 'https://a.example/'", "[[index]]: name: /simple/ is a path of our own"),
        ("[[index]]\nname = 'a/b'\nurl = 'https://a.example/'", "[[index]]: name: "),
        ("[[index]]\nname = 'a'\nurl = 'https://a.example/'\ncolour = 1", "[[index]] a: colour: unknown key"),
        ("[[index]]\nname = 'a'\nurl = 'a.example'", "[[index]] a: url: "),
        ("[[index]]\nname = 'a'\nurl = 'https://a.example/'\nabsent-status = [200]", "[[index]] a: absent-status: "),
        ("[[index]]\nname = 'a'\nurl = 'https://a.example/'\n[[index]]\nname = 'a'\nurl = 'x'", "a is there twice"),
    ],
)
def test_what_the_file_may_not_say(toml: str, place: str) -> None:
    message = failure(toml=toml)
    assert message.startswith(f"{PATH}: ")
    assert place in message


def test_a_file_that_can_t_be_read_names_who_named_it() -> None:
    assert failure({"config": "/none.toml"}).startswith("--config: /none.toml can't be read: No such file")
    assert failure(environ={"PYPICACHE_CONFIG": "/none.toml"}).startswith("PYPICACHE_CONFIG: ")


def test_not_found_ttl_is_never_more_than_index_ttl() -> None:
    assert settings({"index-ttl": "10s"}).not_found_ttl == 10
    toml = "[[index]]\nname = 'a'\nurl = 'https://a.example/'\nttl = 5"
    assert settings(toml=toml).indexes[0].not_found_ttl == 5


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"CACHE_DIRECTORY": "/var/cache/a:/var/cache/b", "XDG_CACHE_HOME": "/x"}, "/var/cache/a"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/pypicache"),
        ({"CACHE_DIRECTORY": "/var/cache/a", "PYPICACHE_CACHE_DIR": "/c"}, "/c"),
    ],
)
def test_cache_directory(environ: dict[str, str], expected: str) -> None:
    assert settings(environ=environ).cache_dir == expected


def test_indexes_are_asked_extra_ones_first_and_the_default_last() -> None:
    toml = "[[index]]\nname = 'mid'\nurl = 'https://mid.example/simple'"
    extra = ["https://b.example/simple", "https://a.example/simple/", "https://b.example/simple//"]
    got = settings({"extra-index-url": extra, "index-url": "https://last.example/root"}, toml=toml).indexes
    assert [index.name for index in got] == [
        "https://b.example/simple/",
        "https://a.example/simple/",
        "mid",
        "https://last.example/root/",
    ]
    assert [index.files_url for index in got][2:] == ["https://mid.example/", "https://last.example/"]
    assert not any(index.bound or index.public for index in got)


def test_a_table_may_describe_the_default_index() -> None:
    toml = """
        index-url = "https://inside.example/simple"
        files-url = "https://files.example"
        extra-index-url = "https://inside.example/simple/"
        [[index]]
        name = "inside"
        url = "https://inside.example/simple/"
        ttl = "1h"
        not-found-ttl = "2m"
        absent-status = [403, 404]
        file-hosts = ["Cdn.Example:8443"]
        [[index]]
        name = "other"
        url = "https://other.example/simple/"
    """
    other, inside = settings({"file-host": ["more.example"]}, toml=toml).indexes
    assert (other.name, other.ttl, other.bound) == ("other", 300, False)
    assert (inside.name, inside.ttl, inside.not_found_ttl) == ("inside", 3600, 120)
    assert (inside.files_url, inside.bound) == ("https://files.example/", True)
    assert inside.absent_status == {403, 404}
    assert inside.file_hosts == {"cdn.example:8443", "more.example"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"index-url": PUBLIC_INDEX.rstrip("/")}, (PUBLIC_FILES, True, True)),
        ({"files-url": PUBLIC_FILES.rstrip("/")}, (PUBLIC_FILES, True, True)),
        ({"files-url": "http://files.example"}, ("http://files.example/", True, False)),
        ({"index-url": "http://i.example:81/simple/"}, ("http://i.example:81/", False, False)),
        ({"index-url": "http://i.example/", "files-url": PUBLIC_FILES}, (PUBLIC_FILES, True, False)),
    ],
)
def test_what_binds_an_index_and_what_makes_it_public(given: dict[str, str], expected: tuple[str, bool, bool]) -> None:
    index = settings(given).indexes[-1]
    assert (index.files_url, index.bound, index.public) == expected


INSIDE = "index-url = 'https://inside.example/simple/'\n"


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (f"username = 'ci'\npassword = '{SECRET}'", Credential("ci", SECRET)),
        (f"token = '{SECRET}'", Credential(token=SECRET)),
        ("token-env = 'TOKEN'", Credential(token="from-variable")),
        ("username = 'ci'\npassword-file = '/run/password'", Credential("ci", "from-file")),
        ("token-file = 'beside'", Credential(token="beside-toml")),
        ("token-file = 'systemd'", Credential(token="from-systemd")),
    ],
)
def test_credentials_in_the_file(keys: str, expected: Credential) -> None:
    files = {
        "/run/password": "from-file\n",
        "/etc/beside": "beside-toml\n",
        "/etc/systemd": "shadowed",
        "/run/credentials/systemd": "from-systemd",
    }
    environ = {"TOKEN": "from-variable", "CREDENTIALS_DIRECTORY": "/run/credentials"}
    assert settings(None, environ, INSIDE + keys, files=files).indexes[-1].credential == expected
    table = f"[[index]]\nname = 'a'\nurl = 'https://a.example/'\n{keys}"
    first, last = settings(None, environ, table, files=files).indexes
    assert (first.credential, last.credential) == (expected, None)


def test_a_file_that_tells_but_where_a_password_is_holds_no_secret() -> None:
    toml = "[[index]]\nname = 'a'\nurl = 'https://a.example/'\nusername = 'ci'\npassword-env = 'HIDDEN'"
    assert load(None, {"HIDDEN": SECRET}, toml, mode=0o644).warnings == ()


def test_the_admin_token_in_a_file() -> None:
    files = {"/etc/token": "beside\n", "/run/credentials/admin": "from-systemd\n", "/run/bad": f"{SECRET} x"}
    environ = {"CREDENTIALS_DIRECTORY": "/run/credentials"}
    assert settings({"admin-token-file": "admin"}, environ, "", files=files).admin_token == "from-systemd"
    assert settings(None, environ, "admin-token-file = 'token'", files=files).admin_token == "beside"
    loaded = load({"admin-token": SECRET}, {"PYPICACHE_ADMIN_TOKEN_FILE": "/none"})
    assert loaded.settings.admin_token == SECRET
    assert loaded.warnings == ("PYPICACHE_ADMIN_TOKEN_FILE is not used: --admin-token is given",)
    files[os.path.abspath("mine")] = "of-the-flag"
    assert settings({"admin-token-file": "mine"}, {}, "", files=files).admin_token == "of-the-flag"
    assert failure({"admin-token-file": "/none"}).startswith("--admin-token-file: /none can't be read")
    assert failure({"admin-token-file": "/run/bad"}, files=files).startswith("--admin-token-file: what it says must")


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        (f"token = '{SECRET}'\ntoken-env = 'X'", "token-env: token is given as well"),
        (f"token = '{SECRET}'\nusername = 'ci'", "token: give a token, or username"),
        (f"token = '{SECRET} '\npassword = 'x'", "token: "),
        (f"token = 'a {SECRET}'", "token: what it says must be visible ASCII"),
        ("token-env = 'UNSET'", "token-env: the variable UNSET is not set"),
        ("password-file = '/none'", "password-file: /none can't be read"),
        ("username = ''", "username: must not be empty"),
    ],
)
def test_bad_credentials_name_their_key(keys: str, place: str) -> None:
    assert f"{PATH}: {place}" in failure(toml=INSIDE + keys)


def test_the_credentials_of_the_file_do_not_go_to_the_public_index_by_default() -> None:
    assert failure(toml=f"token = '{SECRET}'").startswith(f"{PATH}: credentials without an index-url")


def test_the_credentials_of_the_file_do_not_go_to_another_index() -> None:
    toml = f"{INSIDE}token = '{SECRET}'"
    loaded = load({"index-url": "https://elsewhere.example/"}, toml=toml)
    assert loaded.settings.indexes[-1].credential is None
    assert loaded.warnings == (f"{PATH}: its credentials are not used: --index-url names another index",)
    same = load({"index-url": "https://inside.example/simple"}, toml=toml)
    assert same.settings.indexes[-1].credential == Credential(token=SECRET)
    flag = load({"index-url": "https://elsewhere.example/"}, toml=f"token = '{SECRET}'")
    assert flag.settings.indexes[-1].credential == Credential(token=SECRET)


def test_user_info_rules_and_is_decoded_and_leaves_the_url() -> None:
    (index,) = settings(
        {"index-url": f"https://ci%40corp:{SECRET}%2F@inside.example/simple/"},
        toml="token = 'other'",
        logins={"inside.example": ("netrc", "", "netrc")},
    ).indexes
    assert index.credential == Credential("ci@corp", f"{SECRET}/")
    assert index.url == index.name == "https://inside.example/simple/"


def test_netrc_is_matched_on_the_exact_host() -> None:
    logins = {"inside.example": ("ci", "", SECRET), "default": ("d", "", "d")}
    given = {"index-url": "https://inside.example:8443/", "extra-index-url": ["https://x.inside.example/"]}
    extra, inside = load(given, logins=logins).settings.indexes
    assert (extra.credential, inside.credential) == (None, Credential("ci", SECRET))
    assert load(given, toml="token = 't'", logins=logins).settings.indexes[-1].credential == Credential(token="t")


@pytest.mark.parametrize(
    ("logins", "environ", "warnings"),
    [
        (None, {}, ()),
        (None, {"NETRC": "/n"}, ("/n is not used: No such file or directory",)),
        (PermissionError(errno.EACCES, "Permission denied"), {}, ("/home/ci/.netrc is not used: Permission denied",)),
        (
            netrc.NetrcParseError(f"bad follower token {SECRET!r}", "/n", 3),
            {"NETRC": "/n"},
            ("/n is not used: it is garbled at line 3",),
        ),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), {"NETRC": "/n"}, ("/n is not used: it is garbled",)),
    ],
)
def test_a_netrc_that_can_t_be_used_is_a_warning(
    logins: Exception | None, environ: dict[str, str], warnings: tuple[str, ...]
) -> None:
    assert load(None, environ, logins=logins).warnings == warnings


@pytest.mark.parametrize(
    "toml",
    [
        f"{INSIDE}token = '{SECRET}'",
        f"admin-token = '{SECRET}'",
        f"index-url = 'https://ci:{SECRET}@inside.example/'",
        f"extra-index-url = ['https://ci:{SECRET}@inside.example/']",
        f"[[index]]\nname = 'a'\nurl = 'https://a.example/'\npassword = '{SECRET}'",
        f"[[index]]\nname = 'a'\nurl = 'https://a.example/'\nusername = '{SECRET}'",
    ],
)
def test_a_file_with_secrets_that_others_can_read_is_warned_about(toml: str) -> None:
    assert load(toml=toml, mode=0o640).warnings == (f"{PATH} holds secrets and others can read it: chmod 600 {PATH}",)
    assert load(toml=toml, mode=0o600).warnings == ()


def test_a_file_without_secrets_may_be_read_by_all() -> None:
    toml = f"{INSIDE}token-env = 'TOKEN'"
    assert load(None, {"TOKEN": "t"}, toml, mode=0o644).warnings == ()


def test_no_secret_shows_in_the_repr() -> None:
    toml = f"""
        admin-token = "{SECRET}"
        extra-index-url = ["https://{SECRET}@a.example/", "https://ci:{SECRET}@b.example/"]
        index-url = "https://c.example/"
        token = "{SECRET}"
    """
    loaded = load(toml=toml, mode=0o644)
    assert loaded.settings.admin_token == loaded.settings.indexes[-1].credential.token == SECRET  # type: ignore[union-attr]
    assert SECRET not in repr(loaded)


def test_a_default_is_a_value_of_its_own_parser() -> None:
    for option in OPTIONS:
        value_of(option, None)


def test_the_environments_proxies_matter_only_where_an_index_says_nothing() -> None:
    environ = {"ALL_PROXY": "socks5://proxy.example"}
    with pytest.raises(ConfigError, match=r"^ALL_PROXY: a proxy is named as in http://"):
        settings(environ=environ)
    toml = f"[[index]]\nname = 'only'\nurl = '{PUBLIC_INDEX}'\nproxy = 'none'\n"
    assert settings(environ=environ, toml=toml).proxies == NO_PROXIES
