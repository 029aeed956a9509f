"""Faults on the way to the files' host: its name, its certificate, and redirects that lead elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from e2e.clients import Reply, ask
from e2e.daemon import Daemon, Start
from e2e.faults import redirect, reply
from e2e.ordeal import HERD, Client, metrics
from e2e.packages import File
from e2e.single import MB, path_at, publish
from e2e.tls import Certificates
from e2e.upstream import Upstream
from e2e.waiting import wait_for

FAILURES = 'pypicache_upstream_failures_total{kind="file"}'


def unavailable(daemon: Daemon, path: str, reason: str) -> None:
    """A herd gets a 503 that says why; the operator sees the reason, and every failure counted and logged."""
    before = metrics(daemon).get(FAILURES, 0)
    for outcome in [client.outcome() for client in [Client(daemon, path) for _ in range(HERD)]]:
        answer = outcome.reply
        assert isinstance(answer, Reply)
        assert (answer.status, answer.state, answer.headers["retry-after"]) == (503, "MISS", "2")
        assert reason in answer.reason
    failures = metrics(daemon)[FAILURES] - before
    assert 1 <= failures <= HERD
    assert len(re.findall(f"upstream failed, {reason}.*: .*{path[-20:]}", daemon.log)) == failures


def fetched(daemon: Daemon, path: str, file: File) -> None:
    """The file comes, and is a hit then."""
    assert ask(daemon, path).body == file.data
    wait_for("it is a hit", lambda: ask(daemon, path, "HEAD").state == "HIT")


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        ("expired", "TLS: certificate verify failed"),
        ("wrong name", "TLS: certificate verify failed: it is for another name"),
        ("self-signed", "TLS: certificate verify failed"),
        ("stranger", "TLS: certificate verify failed"),
    ],
)
def test_certificates(certificate: str, reason: str, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    with Upstream(tls=certificates.context) as upstream:
        where = ("--index-url", upstream.index_url, "--files-url", upstream.files_url)
        with Daemon(tmp_path / "daemon", (*where, "--ca-file", str(certificates.ca_file))) as daemon:
            file = publish(upstream, MB)
            path = path_at(daemon)
            certificates.present(certificate)
            upstream.hang_up()
            unavailable(daemon, path, reason)
            assert upstream.count(file.path) == 0
            certificates.present("good")
            fetched(daemon, path, file)
            certificates.present(certificate)
            upstream.hang_up()
            assert ask(daemon, path).state == "HIT"


def test_a_tls_handshake_that_hangs(upstream: Upstream, start: Start) -> None:
    file = publish(upstream, MB)
    origin = upstream.files_url.replace("http:", "https:")
    upstream.project("data", [file]).extra["files"] = [
        {**upstream.catalogue.file_json(file), "url": f"{origin.rstrip('/')}{file.path}"}
    ]
    daemon = start("--file-host", origin.split("/")[2], "--connect-timeout", "1")
    unavailable(daemon, path_at(daemon), "no connection within 1 s")


def test_a_name_that_does_not_resolve(upstream: Upstream, start: Start) -> None:
    file = publish(upstream, MB)
    upstream.project("data", [file]).extra["files"] = [
        {**upstream.catalogue.file_json(file), "url": f"http://files.invalid{file.path}"}
    ]
    daemon = start("--file-host", "files.invalid", RES_OPTIONS="timeout:1 attempts:1")
    unavailable(daemon, path_at(daemon), "DNS: name not found")


def test_a_redirect_from_https_to_http_is_not_followed(tmp_path: Path, other_upstream: Upstream) -> None:
    certificates = Certificates(tmp_path)
    with Upstream(tls=certificates.context) as upstream:
        where = ("--index-url", upstream.index_url, "--files-url", upstream.files_url)
        with Daemon(tmp_path / "daemon", (*where, "--ca-file", str(certificates.ca_file))) as daemon:
            file = publish(upstream, MB)
            path = path_at(daemon)
            upstream.fault(file.path, redirect(f"{other_upstream.files_url}{file.path[1:]}"))
            unavailable(daemon, path, "redirects from https to http")
            assert other_upstream.count() == 0
            upstream.heal()
            fetched(daemon, path, file)


def test_a_redirect_to_another_host_is_followed_and_its_faults_are_ours(
    upstream: Upstream, other_upstream: Upstream, daemon: Daemon
) -> None:
    file = publish(upstream, MB)
    other_upstream.project("data", [file])
    path = path_at(daemon)
    upstream.fault(file.path, redirect(f"{other_upstream.files_url}{file.path[1:]}?signature=secret"))
    other_upstream.fault(file.path, reply(403))
    unavailable(daemon, path, "answered 403")
    other_upstream.heal()
    answer = ask(daemon, path)
    assert (answer.status, answer.body) == (200, file.data)
    assert "location" not in answer.headers
    (copy,) = wait_for("it is stored", lambda: daemon.stored(file.name))
    assert upstream.files_url.split("/")[2].rpartition(":")[2] in str(copy)
    assert "secret" not in daemon.log
