"""SIGHUP on the real daemon: the file, its secrets and nothing else; nobody's connection is dropped."""

from __future__ import annotations

import http.client
import signal
import ssl
from pathlib import Path

import pytest

from e2e.clients import Download, ask, links
from e2e.content import JSON_TYPE
from e2e.daemon import Daemon, Start
from e2e.faults import hang
from e2e.packages import wheel
from e2e.tls import Certificates, issue
from e2e.upstream import Upstream
from e2e.waiting import DEADLINE, wait_for

MB = 1 << 20
INTERNAL = '[[index]]\nname = "internal"\nurl = "{}"\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "pypicache.toml"
    path.write_text("")
    return path


@pytest.fixture
def daemon(start: Start, config: Path) -> Daemon:
    """A daemon with a file that says nothing yet."""
    return start("--config", str(config))


def reload(daemon: Daemon, config: Path, text: str, said: str = "the configuration was read anew") -> str:
    """Have it read another file; the line that it logs about that."""
    config.write_text(text)
    before = daemon.log.count(said)
    daemon.signal(signal.SIGHUP)
    wait_for(f"{said!r} in the log", lambda: daemon.log.count(said) > before)
    return [line for line in daemon.log.splitlines() if said in line][-1]


def test_other_indexes_while_a_download_goes_on(
    daemon: Daemon, config: Path, upstream: Upstream, other_upstream: Upstream
) -> None:
    upstream.project("big", [wheel("big", size=4 * MB)])
    upstream.project("lib", [wheel("lib", "9.9")])
    other_upstream.project("lib", [wheel("lib", "1.0")])
    (path,) = links(daemon, "big").values()
    assert ask(daemon, "/internal/simple/lib/").status == 404
    gate = hang(after=2 * MB)
    upstream.fault("/packages/", gate)
    idle = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=DEADLINE)
    idle.request("GET", "/healthz")
    idle.getresponse().read()
    with Download(daemon, path) as first:
        begun = first.read(MB)
        line = reload(daemon, config, f"index-ttl = 9\n{INTERNAL.format(other_upstream.index_url)}")
        assert "changed: indexes, index-ttl" in line
        assert list(links(daemon, "lib")) == ["lib-1.0-py3-none-any.whl"]
        assert ask(daemon, "/internal/simple/lib/").status == 200
        with Download(daemon, path) as second:
            gate.release()
            assert begun + first.read() == second.read() == upstream.catalogue.projects["big"].files[0].data
    assert upstream.count("/packages/") == 1
    idle.request("GET", "/healthz")
    assert idle.getresponse().status == 200


def test_a_bad_file_changes_nothing(daemon: Daemon, config: Path, other_upstream: Upstream) -> None:
    other_upstream.project("lib", [wheel("lib")])
    good = INTERNAL.format(other_upstream.index_url)
    reload(daemon, config, good)
    for text, problem in (
        (f"indx-ttl = 9\n{good}", "indx-ttl: unknown key; is it index-ttl?"),
        (f"{good}ca-file = 'none.pem'", "[[index]] internal: ca-file"),
        ("[[index", "not TOML"),
    ):
        assert problem in reload(daemon, config, text, "the configuration stays as it was")
        assert ask(daemon, "/internal/simple/lib/").status == 200
    assert daemon.log.count("the configuration stays as it was") == 3


def test_what_needs_a_restart_is_named_and_the_rest_taken(daemon: Daemon, config: Path, upstream: Upstream) -> None:
    upstream.project("lib", [wheel("lib")])
    line = reload(daemon, config, "prefix = '/p'\nallow = '192.0.2.1'", "needs a restart")
    assert line.endswith("needs a restart, stays as it was: prefix")
    assert ask(daemon, "/simple/lib/").status == 403
    reload(daemon, config, "")
    assert ask(daemon, "/simple/lib/").status == 200


def test_a_secret_that_was_replaced(
    start: Start, config: Path, tmp_path: Path, upstream: Upstream, other_upstream: Upstream
) -> None:
    secret = tmp_path / "token"
    secret.write_text("old")
    config.write_text(f'{INTERNAL.format(other_upstream.index_url)}token-file = "token"\n')
    other_upstream.project("lib", [wheel("lib")])
    other_upstream.catalogue.login = "Bearer new"
    daemon = start("--config", str(config))
    assert ask(daemon, "/simple/lib/").status == 503
    secret.write_text("new")
    reload(daemon, config, config.read_text())
    assert ask(daemon, "/simple/lib/").status == 200


def test_an_index_that_gets_a_name_and_is_no_longer_the_default(
    config: Path, tmp_path: Path, upstream: Upstream, other_upstream: Upstream
) -> None:
    """Its pages were stored under its URL, with links that now lead to another index's files."""
    upstream.project("lib", [wheel("lib", size=1000)])
    where = "index-url = '{0.index_url}'\nfiles-url = '{0.files_url}'\n"
    config.write_text(where.format(upstream))
    with Daemon(tmp_path / "filed", ("--config", str(config))) as daemon:
        (before,) = links(daemon, "lib").values()
        assert before.startswith("/packages/")
        assert ask(daemon, before).status == 200
        keys = f"files-url = '{upstream.files_url}'\n"
        reload(daemon, config, where.format(other_upstream) + INTERNAL.format(upstream.index_url) + keys)
        (after,) = links(daemon, "lib").values()
        assert after.startswith("/files/")
        assert ask(daemon, after).body == upstream.catalogue.projects["lib"].files[0].data
        assert ask(daemon, after).headers["etag"].startswith('"sha256:')


def test_the_tls_of_one_index(start: Start, config: Path, tmp_path: Path, upstream: Upstream) -> None:
    """Its authority and our certificate are for it alone, and what was connected with them isn't used without."""
    certificates = Certificates(tmp_path)
    client = issue("client")
    (tmp_path / "client.pem").write_bytes(client.pem())
    certificates.context.load_verify_locations(cadata=client.public().decode())
    certificates.context.verify_mode = ssl.CERT_REQUIRED
    with Upstream(tls=certificates.context) as secured:
        for name in ("one", "two", "three"):
            secured.project(name, [wheel(name)])
        upstream.project("public", [wheel("public")])
        index = INTERNAL.format(secured.index_url)
        both = f"{index}ca-file = '{certificates.ca_file}'\nclient-certificate = 'client.pem'\n"
        config.write_text(both)
        daemon = start("--config", str(config))
        assert ask(daemon, "/simple/one/").status == 200
        assert ask(daemon, "/simple/public/").status == 200
        reload(daemon, config, f"{index}ca-file = '{certificates.ca_file}'\n")
        assert ask(daemon, "/simple/two/").status == 503
        reload(daemon, config, f"{index}client-certificate = 'client.pem'\n")
        assert ask(daemon, "/simple/two/").status == 503
        reload(daemon, config, f"{index}client-certificate = 'client.pem'\ninsecure = true\n")
        assert ask(daemon, "/simple/three/").status == 200


def test_the_list_is_the_union_with_what_is_added(
    daemon: Daemon, config: Path, upstream: Upstream, other_upstream: Upstream
) -> None:
    def listed() -> list[str]:
        page = ask(daemon, "/simple/", Accept=JSON_TYPE).json()
        return sorted(project["name"] for project in page["projects"])

    upstream.project("lib", [])
    other_upstream.project("acme", [])
    other_upstream.project("other", [])
    assert listed() == ["lib"]
    table = INTERNAL.format(other_upstream.index_url)
    reload(daemon, config, table)
    assert listed() == ["acme", "lib", "other"]
    reload(daemon, config, f'{table}routes = ["acme"]\n')
    assert listed() == ["acme", "lib"]
    reload(daemon, config, "")
    assert listed() == ["lib"]
