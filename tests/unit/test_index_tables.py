"""The `[[index]]` tables of the file, and the indexes of the plain case: every key, and every way to get one wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from twisted_pypi import preflight
from twisted_pypi.errors import ConfigError
from twisted_pypi.fetching.identity import TlsIdentity
from twisted_pypi.options import INDEX_OPTIONS
from twisted_pypi.settings import DIRECT, Credential, Index, Remote
from unit.certificates import issue
from unit.test_config import PATH, SECRET, failure, load, settings

URL = "url = 'https://a.example/simple/'"

NOT_ABSENT = (200, 204, 300, 304, 407, 408, 421, 425, 429, 500, 503, "later")


def table(keys: str, name: str = "a") -> str:
    return f"[[index]]\nname = '{name}'\n{keys}\n"


def index(keys: str, environ: dict[str, str] | None = None) -> Index:
    return settings(None, environ, table(keys)).indexes[0]


SAMPLES: dict[str, tuple[str, Any]] = {
    "name": ("'b.C-1'", "b.C-1"),
    "url": ("'https://b.example/simple'", "https://b.example/simple/"),
    "path": ("'wheels'", "/etc/wheels"),
    "routes": ("['Acme_*', 'tool']", ("acme-*", "tool")),
    "files-url": ("'https://f.example'", "https://f.example/"),
    "file-hosts": ("['F.example:444']", {"f.example:444"}),
    "ttl": ("'1h'", 3600),
    "not-found-ttl": ("7", 7),
    "absent-status": ("[403, 404]", {403, 404}),
    "mirrors": (
        f"['https://m.example/simple', 'https://u:{SECRET}@n.example/']",
        (Remote("https://m.example/simple/"), Remote("https://n.example/", Credential("u", SECRET))),
    ),
    "proxy": (
        f"'http://u:{SECRET}@proxy.example:3128'",
        Remote("http://proxy.example:3128/", Credential("u", SECRET)),
    ),
    "ca-file": ("'ca.pem'", TlsIdentity("/etc/ca.pem")),
    "client-certificate": ("'/c.pem'", TlsIdentity(certificate="/c.pem")),
    "client-key": ("'/k.pem'\nclient-certificate = '/c.pem'", TlsIdentity(certificate="/c.pem", key="/k.pem")),
    "insecure": ("true", TlsIdentity(insecure=True)),
    "metadata": ("false", False),
}


def test_every_key_has_a_sample() -> None:
    assert set(SAMPLES) == {"name", *(option.name for option in INDEX_OPTIONS)}


@pytest.mark.parametrize("key", SAMPLES)
def test_every_key_arrives(key: str) -> None:
    text, expected = SAMPLES[key]
    plain = "" if key in ("url", "path") else URL
    toml = f"[[index]]\n{key} = {text}\n{plain}\n" + ("" if key == "name" else "name = 'a'\n")
    attribute = "tls" if isinstance(expected, TlsIdentity) else key.replace("-", "_")
    assert getattr(settings(toml=toml).indexes[0], attribute) == expected


def test_defaults() -> None:
    got = index(URL)
    assert (got.path, got.routes, got.mirrors, got.proxy, got.tls, got.metadata) == (
        "",
        (),
        (),
        None,
        TlsIdentity(),
        True,
    )
    assert index(f"{URL}\nproxy = 'NONE'").proxy == DIRECT


def test_a_directory_is_an_index_with_an_address_that_leads_nowhere() -> None:
    got = index("path = '/srv/my wheels'")
    origin = "https://a.directory.invalid/"
    assert (got.url, got.files_url, got.name) == (f"{origin}simple/", origin, "a")
    assert (got.ttl, got.not_found_ttl, got.credential, got.public) == (2, 60, None, False)
    assert index("path = '/srv/my wheels'\nttl = 5").ttl == 5


def test_directories_whose_names_differ_in_case_would_share_an_address() -> None:
    toml = "[[index]]\nname = 'a'\npath = '/x'\n[[index]]\nname = 'A'\npath = '/y'\n"
    with pytest.raises(ConfigError, match="case"):
        load(toml=toml)


def test_credentials_of_an_index_are_not_for_its_mirrors_but_netrc_knows_them() -> None:
    keys = f"{URL}\ntoken = 't'\nmirrors = ['https://m.example/', 'https://n.example/']"
    got = load(toml=table(keys), logins={"m.example": ("ci", "", SECRET)}).settings.indexes[0]
    assert got.credential == Credential(token="t")
    assert [mirror.credential for mirror in got.mirrors] == [Credential("ci", SECRET), None]


@pytest.mark.parametrize("key", ["mirrors", "proxy"])
def test_a_secret_in_a_url_makes_the_file_secret(key: str) -> None:
    url = f"http://ci:{SECRET}@m.example/"
    loaded = load(toml=table(f"{URL}\n{key} = '{url}'"), mode=0o640)
    assert loaded.warnings == (f"{PATH} holds secrets and others can read it: chmod 600 {PATH}",)
    assert SECRET not in repr(loaded)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("", "[[index]] a: url is missing"),
        (f"{URL}\npath = '/srv'", "url: has no meaning for a local directory (path)"),
        ("path = '/srv'\nproxy = 'none'", "proxy: has no meaning for a local directory"),
        (f"path = '/srv'\ntoken = '{SECRET}'", "token: has no meaning for a local directory"),
        ("path = ''", "path: must not be empty"),
        (f"{URL}\nroutes = ['acme-']", "routes: a pattern is a project name that may hold *"),
        (f"{URL}\nroutes = ['[ab]*']", "routes: a pattern is"),
        (f"{URL}\nmirrors = 'https://a.example/simple'", "mirrors: names the url itself"),
        (f"{URL}\nmirrors = ['https://m.example', 'https://m.example/']", "mirrors: names the url itself, or one"),
        (f"{URL}\nmirrors = ['{SECRET}@m.example']", "mirrors: not an absolute http or https URL"),
        (f"{URL}\nproxy = 'u:{SECRET}@proxy.example:3128'", "proxy: not an absolute http or https URL"),
        (f"{URL}\nproxy = 'https://u:{SECRET}@proxy.example'", "proxy: a proxy is named as in http://"),
        (f"{URL}\nproxy = 'http://proxy.example/path'", "proxy: a proxy is named as in http://"),
        (f"{URL}\ninsecure = true\nca-file = '/ca.pem'", "insecure: ca-file is given as well"),
        (f"{URL}\ninsecure = 'yes'", "insecure: must be true or false"),
        (f"{URL}\nmetadata = 1", "metadata: must be true or false"),
        (f"{URL}\nclient-key = '/k.pem'", "client-key: there is no client-certificate"),
        (f"{URL}\nabsent-status = []", "absent-status: is empty; without this key it is 404 and 410"),
        *(
            (f"{URL}\nabsent-status = [404, '{status}']", f"absent-status: '{status}' does not say that")
            for status in NOT_ABSENT
        ),
        (
            f"url = 'https://u:{SECRET}@a.example/simple'\ntoken = '{SECRET}'",
            "url: there are credentials in it, and token is",
        ),
        (
            f"url = 'https://{SECRET}@a.example/simple'\nusername-env = 'U'",
            "url: there are credentials in it, and username-env",
        ),
        (f"{URL}\nroute = ['acme-*']", "route: unknown key; is it routes?"),
        (f"{URL}\nlog-level = 'debug'", "log-level: unknown key; it belongs to the top of the file"),
    ],
)
def test_bad_tables_name_table_and_key(keys: str, problem: str) -> None:
    message = failure(toml=table(keys))
    assert message.startswith(f"{PATH}: [[index]] a")
    assert problem in message


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        (table(URL) + table(URL), "[[index]]: name: a is there twice"),
        (table(URL) + table(URL, "b"), "[[index]] b: url: a has the same"),
        (f"index-url = 'https://a.example/simple'\n{table(URL)}{table(URL, 'b')}", "[[index]] b: url: a has the same"),
        (table(URL, "simple"), "name: /simple/ is a path of our own"),
        (table(URL, "a/b"), "name: must be letters"),
        (f"[[index]]\n{URL}", "[[index]]: name is missing"),
        ("routes = ['acme-*']", f"{PATH}: routes: unknown key; it belongs to an [[index]] table"),
        ("[index]\nname = 'a'", f"{PATH}: index: must be [[index]] tables"),
        (f"index-url = 'https://u:{SECRET}@i.example'\ntoken = 't'", f"{PATH}: index-url: there are credentials in it"),
    ],
)
def test_bad_files(toml: str, problem: str) -> None:
    message = failure(toml=toml)
    assert problem in message
    assert SECRET not in message


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 406, 410, 422, 451])
def test_statuses_that_may_say_that_a_project_is_lacking(status: int) -> None:
    assert settings(toml=table(f"{URL}\nabsent-status = {status}")).indexes[0].absent_status == {status}


EXTRA = {"PYPICACHE_EXTRA_INDEX_URL": "https://a.example/ https://b.example/,https://c.example/"}


def test_the_plain_case_by_environment() -> None:
    got = settings(None, {**EXTRA, "PYPICACHE_EXTRA_INDEX_TTL": "1h, 10s"}).indexes
    assert [(index.url, index.ttl, index.not_found_ttl) for index in got[:3]] == [
        ("https://a.example/", 3600, 60),
        ("https://b.example/", 10, 10),
        ("https://c.example/", 300, 60),
    ]
    assert got[3].ttl == 300


ADDRESSES = "extra-index-url = ['https://f.example/', 'https://g.example/']\nextra-index-ttl = ['1h', '2h']"


@pytest.mark.parametrize(
    ("given", "environ", "ttls"),
    [
        ({}, {}, [3600, 7200]),
        ({}, {"PYPICACHE_EXTRA_INDEX_URL": "https://e.example/"}, [300]),
        ({"extra-index-url": ["https://e.example/", "https://h.example/"]}, {}, [300, 300]),
        ({"extra-index-url": ["https://e.example/"]}, {"PYPICACHE_EXTRA_INDEX_TTL": "1s 2s"}, [300]),
        ({"extra-index-url": ["https://e.example/"], "extra-index-ttl": ["5s"]}, {}, [5]),
        ({}, {"PYPICACHE_EXTRA_INDEX_TTL": "7s"}, [7, 300]),
    ],
)
def test_ttls_do_not_go_to_addresses_of_a_higher_source(given: dict, environ: dict, ttls: list) -> None:
    got = settings(given, environ, toml=ADDRESSES).indexes[:-1]
    assert [index.ttl for index in got] == ttls


def test_an_extra_index_that_is_the_default_too_keeps_its_place_among_the_ttls() -> None:
    got = settings({"index-url": "https://a.example/"}, {**EXTRA, "PYPICACHE_EXTRA_INDEX_TTL": "1 2 3"}).indexes
    assert [index.ttl for index in got] == [2, 3, 300]


def test_an_extra_index_that_a_table_describes_is_one_index() -> None:
    environ = {"PYPICACHE_EXTRA_INDEX_URL": f"https://ci:{SECRET}@a.example/simple https://b.example/"}
    got = settings(None, environ, table(f"{URL}\nttl = 9")).indexes
    assert [(index.name, index.ttl) for index in got[:2]] == [("https://b.example/", 300), ("a", 9)]
    assert got[1].credential == Credential("ci", SECRET)
    assert len(got) == 3


def test_more_ttls_than_indexes_name_their_variable() -> None:
    message = failure(None, {**EXTRA, "PYPICACHE_EXTRA_INDEX_TTL": "1 2 3 4"})
    assert message == "PYPICACHE_EXTRA_INDEX_TTL: 4 values, but only 3 of --extra-index-url"
    assert failure(toml="extra-index-ttl = 5") == f"{PATH}: extra-index-ttl: 1 values, but only 0 of --extra-index-url"


# -- what the preflight finds ------------------------------------------------------------------------------------------


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    """A directory with a certificate, its key, both in one file, and the certificate of somebody else."""
    certificate, key = issue("client.example")
    (tmp_path / "certificate").write_bytes(certificate)
    (tmp_path / "key").write_bytes(key)
    (tmp_path / "both").write_bytes(key + certificate)
    (tmp_path / "other").write_bytes(issue("other.example")[0])
    (tmp_path / "locked").write_bytes(certificate + issue("client.example", b"secret")[1])
    (tmp_path / "garbage").write_bytes(b"no PEM")
    return tmp_path


def tried(keys: str, folder: Path) -> str:
    """What the preflight says of an index with these keys, in a file in `folder`; "" for nothing."""
    path = str(folder / "pypicache.toml")
    loaded = load({"config": path}, files={path: table(keys)})
    try:
        preflight.check_upstream(loaded.settings)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "keys",
    [
        f"{URL}\nca-file = 'certificate'",
        f"{URL}\nclient-certificate = 'both'",
        f"{URL}\nclient-certificate = 'certificate'\nclient-key = 'key'\ninsecure = true",
        "path = '.'",
    ],
)
def test_what_can_be_used(keys: str, pem: Path) -> None:
    assert tried(keys, pem) == ""


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("path = 'none'", "path: {pem}/none is not a directory"),
        ("path = 'key'", "path: {pem}/key is not a directory"),
        (f"{URL}\nca-file = 'none'", "ca-file: {pem}/none can't be read: No such file or directory"),
        (f"{URL}\nca-file = 'garbage'", "ca-file: {pem}/garbage holds no PEM certificates"),
        (f"{URL}\nclient-certificate = 'none'", "client-certificate: {pem}/none can't be read"),
        (f"{URL}\nclient-certificate = 'both'\nclient-key = 'none'", "client-key: {pem}/none can't be read"),
        (f"{URL}\nclient-certificate = 'certificate'", "client-certificate: {pem}/certificate and its key in the same"),
        (f"{URL}\nclient-certificate = 'other'\nclient-key = 'key'", "client-certificate: {pem}/other and its key in"),
        (f"{URL}\nclient-certificate = 'garbage'", "client-certificate: {pem}/garbage and its key"),
        (f"{URL}\nclient-certificate = 'locked'", "client-certificate: {pem}/locked and its key"),
    ],
)
def test_what_can_t_be_used_names_table_key_and_file(keys: str, problem: str, pem: Path) -> None:
    assert tried(keys, pem).startswith(f"[[index]] a: {problem.format(pem=pem)}")
