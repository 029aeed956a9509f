"""The fake upstream is as strict as a real one: otherwise what is tested against it proves nothing."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.clients import Installer, Reply
from e2e.content import JSON_TYPE
from e2e.faults import corrupt, no_length, redirect, reply, reset, short_body, trickle, truncated
from e2e.packages import blob, sdist, wheel
from e2e.tls import Certificates
from e2e.upstream import Upstream

PAGE = "/simple/app/"


def ask(upstream: Upstream, path: str, files: bool = False, **headers: str) -> Reply:
    host = upstream.files_url.split("/")[2] if files else upstream.host
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()})
        response = connection.getresponse()
        received = {name.lower(): text for name, text in response.getheaders()}
        return Reply(response.status, response.reason, received, response.read())
    finally:
        connection.close()


@pytest.fixture(autouse=True)
def published(upstream: Upstream) -> None:
    upstream.project("app", [wheel("app", "1.0", ("lib",)), sdist("app", "1.0", ("lib",))])
    upstream.project("lib", [sdist("lib", "2.0")])


@pytest.mark.parametrize("html_only", [False, True], ids=["json", "html"])
@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_clients_install_from_it_directly(tool: str, html_only: bool, installer: Installer, upstream: Upstream) -> None:
    upstream.catalogue.html_only = html_only
    getattr(installer, tool)(upstream, "target", "app")
    assert installer.installed("target") == {"app": "1.0", "lib": "2.0"}


def test_clients_cannot_leave(installer: Installer, upstream: Upstream) -> None:
    upstream.catalogue.files_url = "http://files.example"
    with pytest.raises(AssertionError, match=r"127\.0\.0\.1|[Pp]roxy"):
        installer.pip(upstream, "target", "--retries", "0", "app")


def test_pages_are_conditional_and_versioned(upstream: Upstream) -> None:
    first = ask(upstream, PAGE, Accept=JSON_TYPE)
    assert ask(upstream, PAGE, Accept=JSON_TYPE, If_None_Match=first.headers["etag"]).status == 304
    upstream.release("app", wheel("app", "2.0"))
    second = ask(upstream, PAGE, Accept=JSON_TYPE, If_None_Match=first.headers["etag"])
    assert (second.status, second.headers["x-pypi-last-serial"]) == (200, "2")
    assert ask(upstream, "/simple/App").headers["location"] == PAGE


def test_files_have_ranges(upstream: Upstream) -> None:
    file = blob("data", 1000)
    upstream.project("data", [file])
    whole = ask(upstream, file.path, files=True)
    assert whole.body == file.data
    part = ask(upstream, file.path, files=True, Range="bytes=990-", If_Range=whole.headers["etag"])
    assert (part.status, part.body) == (206, file.data[990:])
    assert ask(upstream, file.path, files=True, Range="bytes=990-", If_Range='"x"').status == 200
    assert ask(upstream, file.path, files=True, Range="bytes=1000-").status == 416
    assert ask(upstream, file.path).status == 404, "files are on their own origin"
    assert upstream.count(file.path, "GET") == 5


@pytest.mark.parametrize("fault", [reset, lambda: reset(10), lambda: short_body(10)], ids=["reset", "mid", "short"])
def test_faults_that_break(fault: Callable[[], object], upstream: Upstream) -> None:
    upstream.fault(PAGE, fault(), times=1)  # type: ignore[arg-type]
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        ask(upstream, PAGE)
    assert ask(upstream, PAGE).status == 200


def test_faults_that_lie(upstream: Upstream) -> None:
    good = ask(upstream, PAGE)
    for fault, body in ((corrupt(), good.body), (truncated(), good.body), (reply(200, {}, b"x"), good.body)):
        upstream.fault(PAGE, fault, times=1)
        assert ask(upstream, PAGE).body != body
    for fault in (no_length(), trickle(200, 0.001)):
        upstream.fault(PAGE, fault, times=1)
        assert ask(upstream, PAGE).body == good.body
    upstream.fault(PAGE, redirect("/elsewhere"), times=1)
    assert ask(upstream, PAGE).headers["location"] == "/elsewhere"


def test_a_gate_holds_and_releases(upstream: Upstream) -> None:
    gate, answers = upstream.gate(PAGE, after=10), list[Reply]()
    client = threading.Thread(target=lambda: answers.append(ask(upstream, PAGE)))
    client.start()
    assert gate.arrived.wait(30)
    assert answers == []
    upstream.heal()
    client.join(30)
    assert answers[0].status == 200


def test_refusing_closes_what_is_open(upstream: Upstream) -> None:
    address = upstream.host.split(":")
    with socket.create_connection((address[0], int(address[1])), timeout=30) as connection:
        connection.sendall(f"HEAD {PAGE} HTTP/1.1\r\nHost: {upstream.host}\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        with upstream.down():
            assert connection.recv(65536) == b""
            with pytest.raises(ConnectionRefusedError):
                ask(upstream, PAGE)
    assert ask(upstream, PAGE).status == 200


def test_its_certificates_are_good_and_bad_as_told(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    trusting = ssl.create_default_context(cafile=str(certificates.ca_file))

    def answer(host: str) -> int:
        """The status, or why the certificate is not believed (an X509_V_ERR_ of OpenSSL)."""
        connection = http.client.HTTPSConnection(host, timeout=30, context=trusting)
        try:
            connection.request("GET", "/simple/")
            return connection.getresponse().status
        except ssl.SSLCertVerificationError as error:
            return error.verify_code
        finally:
            connection.close()

    with Upstream(tls=certificates.context) as secured:
        answers = {}
        for name in ("expired", "wrong name", "self-signed", "stranger", "good"):
            certificates.present(name)
            answers[name] = answer(secured.host)
    assert answers == {"expired": 10, "wrong name": 64, "self-signed": 18, "stranger": 20, "good": 200}
