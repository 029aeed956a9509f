"""By way of a corporate proxy: tinyproxy, as Debian packages it. Without it these tests are skipped."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import define

from e2e.clients import ask, links
from e2e.daemon import Daemon
from e2e.packages import wheel
from e2e.tls import Certificates
from e2e.upstream import Upstream
from e2e.waiting import DEADLINE, wait_for

TINYPROXY = shutil.which("tinyproxy", path="/usr/bin:/usr/local/bin:/usr/sbin")
pytestmark = pytest.mark.skipif(TINYPROXY is None, reason="there is no tinyproxy (apt install tinyproxy)")
WHEEL = wheel("demo")


@define
class Tinyproxy:
    """One that wants `me` and `hunter2`."""

    directory: Path
    port: int

    @property
    def log(self) -> str:
        """Whom it led where."""
        return (self.directory / "proxy.log").read_text()

    def url(self, password: str = "hunter2") -> str:
        """Its URL, with credentials."""
        return f"http://me:{password}@127.0.0.1:{self.port}"


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Tinyproxy]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (tmp_path / "proxy.conf").write_text(
        textwrap.dedent(f"""\
        Port {port}
        Listen 127.0.0.1
        Allow 127.0.0.1
        BasicAuth me hunter2
        LogFile "{tmp_path}/proxy.log"
        LogLevel Connect
        Timeout 60
        MaxClients 50
        """)
    )
    process = subprocess.Popen(
        [str(TINYPROXY), "-d", "-c", str(tmp_path / "proxy.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def listens() -> bool:
        assert process.poll() is None, "tinyproxy ended"
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for("tinyproxy listens", listens)
        yield Tinyproxy(tmp_path, port)
    finally:
        process.terminate()
        process.wait(DEADLINE)


@pytest.fixture(params=[False, True], ids=["http", "https"])
def upstream(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Upstream]:
    (tmp_path / "tls").mkdir()
    certificates = Certificates(tmp_path / "tls")
    with Upstream(tls=certificates.context if request.param else None) as upstream:
        upstream.project("demo", [WHEEL])
        yield upstream


def daemon(tmp_path: Path, upstream: Upstream, *more: str, name: str = "daemon", **environment: str) -> Daemon:
    common = ("--index-url", upstream.index_url, "--files-url", upstream.files_url)
    trust = ("--ca-file", str(tmp_path / "tls" / "authority.pem"))
    return Daemon(tmp_path / name, (*common, *trust, *more), environment=environment)


def test_pages_and_files_come_by_way_of_the_proxy_of_the_environment(
    tmp_path: Path, proxy: Tinyproxy, upstream: Upstream
) -> None:
    with daemon(tmp_path, upstream, HTTP_PROXY=proxy.url(), https_proxy=proxy.url()) as cache:
        assert ask(cache, "/simple/demo/").status == 200
        assert ask(cache, links(cache, "demo")[WHEEL.name]).body == WHEEL.data
        assert "hunter2" not in cache.log
    host = upstream.host if upstream.tls else "GET http://"
    assert host in proxy.log


def test_the_key_of_a_table_rules_over_the_environment(tmp_path: Path, proxy: Tinyproxy, upstream: Upstream) -> None:
    for name, value in {"office": proxy.url(), "free": "none"}.items():
        config = tmp_path / f"{name}.toml"
        config.write_text(f'[[index]]\nname = "{name}"\nurl = "{upstream.index_url}"\nproxy = "{value}"\n')
        config.chmod(0o600)
        before = proxy.log.count("\n")
        with daemon(tmp_path, upstream, "--config", str(config), name=name, ALL_PROXY=proxy.url("wrong")) as cache:
            assert ask(cache, "/simple/demo/").status == 200
        assert (proxy.log.count("\n") > before) is (name == "office")


def test_a_proxy_that_does_not_take_our_credentials(tmp_path: Path, proxy: Tinyproxy, upstream: Upstream) -> None:
    with daemon(tmp_path, upstream, ALL_PROXY=proxy.url("swordfish")) as cache:
        answer = ask(cache, "/simple/demo/")
        assert answer.status == 503
        if upstream.tls:
            told = f"the proxy http://127.0.0.1:{proxy.port} answered 401: it does not take the credentials"
            assert told in answer.reason
        assert "swordfish" not in cache.log
        assert "swordfish" not in answer.reason
    assert upstream.count("/") == 0


def proxied(tmp_path: Path, url: str, proxy: str) -> Path:
    """A file with one index by way of a proxy."""
    config = tmp_path / "proxied.toml"
    config.write_text(f'[[index]]\nname = "office"\nurl = "{url}"\nproxy = "{proxy}"\n')
    config.chmod(0o600)
    return config


def test_a_proxy_that_refuses_is_one_line_at_the_start_and_changes_nothing_later(
    tmp_path: Path, proxy: Tinyproxy, upstream: Upstream
) -> None:
    config = proxied(tmp_path, upstream.index_url, proxy.url("swordfish"))
    if not upstream.tls:  # what a proxy says to http may be the index's own answer: nothing is asked
        with daemon(tmp_path, upstream, "--config", str(config)) as cache:
            assert ask(cache, "/simple/demo/").status == 503
        return
    told = rf"\[\[index\]\] office: proxy: http://127.0.0.1:{proxy.port} answered 401: it does not take the credentials"
    with pytest.raises(AssertionError, match=rf"ended with status 1:\npypicache: {told}\n$") as caught:
        daemon(tmp_path, upstream, "--config", str(config)).start()
    assert "swordfish" not in str(caught.value)
    proxied(tmp_path, upstream.index_url, proxy.url())
    with daemon(tmp_path, upstream, "--config", str(config)) as cache:
        assert ask(cache, "/simple/demo/").status == 200
        proxied(tmp_path, upstream.index_url, proxy.url("swordfish"))
        cache.signal(signal.SIGHUP)
        wait_for("it to be refused", lambda: re.search(f"the configuration stays as it was: {told}", cache.log))
        cache.expire("demo")
        assert ask(cache, "/simple/demo/").state == "REVALIDATED"


def test_a_proxy_that_is_not_there_is_no_reason_not_to_start(tmp_path: Path, upstream: Upstream) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = proxied(tmp_path, upstream.index_url, f"http://127.0.0.1:{port}")
    with daemon(tmp_path, upstream, "--config", str(config)) as cache:
        assert ask(cache, "/simple/demo/").status == 503
        assert ("can't be reached" in cache.log) is bool(upstream.tls)


def test_a_certificate_for_somebody_else_is_refused_through_the_tunnel_too(tmp_path: Path, proxy: Tinyproxy) -> None:
    (tmp_path / "tls").mkdir()
    certificates = Certificates(tmp_path / "tls")
    certificates.present("wrong name")
    with (
        Upstream(tls=certificates.context) as upstream,
        daemon(tmp_path, upstream, ALL_PROXY=proxy.url()) as cache,
    ):
        answer = ask(cache, "/simple/demo/")
        assert (answer.status, upstream.count("/")) == (503, 0)
        assert "certificate verify failed: it is for another name" in answer.reason
