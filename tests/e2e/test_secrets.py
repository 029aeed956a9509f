"""Secrets go to their origin and nowhere else: not to clients, logs, the cache, another index."""

from __future__ import annotations

import http.client
import os
import re
import stat
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.clients import ask, links
from e2e.content import JSON_TYPE
from e2e.daemon import Daemon, Start
from e2e.faults import Fault, raw, redirect, reply, reset, short_body
from e2e.packages import wheel
from e2e.upstream import Upstream

USER, PASSWORD = "canary-user-7f3a", "canary-password-91c2"
TOKEN = "canary-token-5b8d"
ADMIN = "canary-admin-2e60"
SIGNATURE = "canary-signature-c4d7"
CLIENTS = "canary-of-a-client-88aa"

BASIC = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
CREDENTIALS = (USER, PASSWORD, TOKEN, ADMIN, BASIC, CLIENTS)
ASKED = (
    *("/simple/", "/simple/lib/", "/simple/inner/", "/simple/lib", "/simple/none/", "/simple//lib/", "/simple/a b/"),
    *(
        "/pypi/lib/json",
        "/pypi/inner/json",
        "/integrity/lib/1.0/lib-1.0-py3-none-any.whl/provenance",
        "/internal/simple/",
    ),
    *("/internal/simple/inner/", "/", "/+status", "/metrics", "/healthz", "/readyz", "/none", "/files/o.example/a.whl"),
    *("/packages/a.whl", "/cache/list"),
)
FAULTS: dict[str, Fault | None] = {
    "healthy": None,
    "forbidden": reply(403, {"WWW-Authenticate": f"Basic realm={USER}"}, PASSWORD.encode()),
    "down": reply(500, {}, PASSWORD.encode()),
    "reset": reset(),
    "short": short_body(5),
    "wrong": reply(200, {"Content-Type": "text/html"}, b"<p>wrong</p></html>"),
    "no http": raw(f"{PASSWORD}\r\n\r\n".encode()),
    "elsewhere": redirect(f"http://127.0.0.1:9/?{SIGNATURE}"),
    "nowhere": redirect(f"ftp://{USER}:{PASSWORD}@o.example/?{SIGNATURE}"),
    "metadata": redirect(f"http://169.254.169.254/?{SIGNATURE}"),
}


@pytest.fixture
def internal(other_upstream: Upstream) -> Upstream:
    """An index that wants a token, whose page signs its links."""
    other_upstream.catalogue.login = f"Bearer {TOKEN}"
    file = wheel("inner")
    entry = {"filename": file.name, "url": f"{other_upstream.files_url[:-1]}{file.path}?sig={SIGNATURE}"}
    project = other_upstream.project("inner", [file])
    project.extra["files"] = [{**entry, "hashes": {"sha256": file.sha256}, "core-metadata": True}]
    return other_upstream


@pytest.fixture
def daemon(
    start: Start, tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, internal: Upstream
) -> Iterator[Daemon]:
    """A daemon with secrets from all sources, which says all that it ever says. Its umask hides nothing."""
    upstream.catalogue.login = f"Basic {BASIC}"
    upstream.project("lib", [wheel("lib", size=1 << 20)])
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "password").write_text(f"{PASSWORD}\n")
    (folder / "netrc").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
    config = folder / "daemon.toml"
    config.write_text(f'[[index]]\nname = "internal"\nurl = "{internal.index_url}"\ntoken-env = "INNER"\n')
    for path in folder.iterdir():
        path.chmod(0o600)
    before = os.umask(0)
    try:
        yield start(
            *("--config", str(config), "--log-level", "debug", "--index-ttl", "0", "--not-found-ttl", "0"),
            *(
                "--access-log",
                str(folder / "access.log"),
                "--index-url",
                upstream.index_url.replace("//", f"//{USER}:{PASSWORD}@"),
            ),
            INNER=TOKEN,
            NETRC=str(folder / "netrc"),
            PYPICACHE_ADMIN_TOKEN=ADMIN,
        )
    finally:
        os.umask(before)


def access_log(daemon: Daemon) -> Path:
    """Where it writes its access log."""
    return Path(daemon.arguments[daemon.arguments.index("--access-log") + 1])


def exercise(daemon: Daemon, files: list[str]) -> bytes:
    """Everything that clients get: status lines, headers and bodies."""
    shown = []
    for path in (*ASKED, *files, *(f"{path}.metadata" for path in files)):
        for accept in ("text/html", JSON_TYPE):
            try:
                answer = ask(
                    daemon,
                    f"{path}?token={CLIENTS}",
                    Accept=accept,
                    Authorization=f"Bearer {CLIENTS}",
                    Cookie=f"session={CLIENTS}",
                )
            except (OSError, http.client.HTTPException) as error:
                shown.append(repr(error).encode())
                continue
            shown.append(repr((answer.status, answer.reason, answer.headers)).encode() + answer.body)
    for secret in (ADMIN, CLIENTS):
        answer = ask(daemon, "/cache/lib", "DELETE", Authorization=f"Bearer {secret}")
        shown.append(repr(answer.headers).encode() + answer.body)
    return b"\n".join(shown)


def holds(data: bytes, *secrets: str) -> list[str]:
    """Which of the secrets are in there."""
    return [secret for secret in secrets if secret.encode() in data]


@pytest.mark.parametrize("kind", FAULTS)
def test_secrets_are_nowhere_but_where_they_belong(
    kind: str, daemon: Daemon, upstream: Upstream, internal: Upstream
) -> None:
    files = [path for name in ("lib", "inner") for path in links(daemon, name).values()]
    fault = FAULTS[kind]
    if fault is not None:
        for each in (upstream, internal):
            each.fault("/", fault)
    shown = exercise(daemon, files)
    assert daemon.stop() == 0
    assert holds(shown, SIGNATURE, *CREDENTIALS) in ([], [CLIENTS])  # a redirect repeats what this client asked for
    assert holds(daemon.log_path.read_bytes(), *CREDENTIALS, SIGNATURE) == []
    assert holds(access_log(daemon).read_bytes(), *CREDENTIALS, SIGNATURE) == []
    kept = {path: path.read_bytes() for path in daemon.cache.rglob("*") if path.is_file()}
    assert [path for path, data in kept.items() if holds(data, *CREDENTIALS)] == []
    assert {path.name for path, data in kept.items() if holds(data, SIGNATURE)} <= {
        "catalogue.sqlite",
        "catalogue.sqlite-wal",
    }
    belongs(upstream, f"Basic {BASIC}")
    belongs(internal, f"Bearer {TOKEN}")


def belongs(index: Upstream, secret: str) -> None:
    """The index was told its own secret, at its own origin alone, and its signatures where it had put them."""
    assert {request.headers.get("authorization") for request in index.seen("/simple/")} == {secret}
    assert {request.headers.get("authorization") for request in index.seen()} <= {secret, None}
    assert {request.headers.get("authorization") for request in index.seen() if request.origin == "files"} <= {None}
    assert {request.path.startswith("/packages/") for request in index.seen() if request.query} <= {True}
    assert holds(repr([request.headers for request in index.seen()]).encode(), CLIENTS, ADMIN) == []


def test_signed_links_are_followed_and_stay_valid_after_a_restart(daemon: Daemon, internal: Upstream) -> None:
    (path,) = links(daemon, "inner").values()
    daemon.restart()
    internal.fault("/simple/", reply(503))
    assert ask(daemon, path).status == 200
    assert ask(daemon, f"{path}.metadata").status == 200
    assert {request.query for request in internal.seen("/packages/")} == {f"sig={SIGNATURE}"}


def test_the_cache_is_for_the_daemons_user_alone_whatever_the_umask(daemon: Daemon) -> None:
    for name in ("lib", "inner"):
        for path in links(daemon, name).values():
            ask(daemon, path)
    assert daemon.stop() == 0
    found = {path: path.stat().st_mode for path in (daemon.cache, *daemon.cache.rglob("*"))}
    assert any(path.suffix == ".whl" for path in found)
    assert {oct(stat.S_IMODE(mode)) for path, mode in found.items() if stat.S_ISDIR(mode)} == {"0o700"}
    assert {oct(stat.S_IMODE(mode)) for path, mode in found.items() if stat.S_ISREG(mode)} == {"0o600"}


@pytest.mark.parametrize(
    "argument",
    [
        *(
            f"--index-url=http://{USER}:{PASSWORD}@{rest}"
            for rest in ("", "[::1", "o.example/?a", "o.example:x/", "a b/")
        ),
        *(f"--extra-index-url={scheme}://{USER}:{PASSWORD}@o.example/" for scheme in ("ftp", "file", "htp")),
        *(f"--files-url=https://{USER}:{PASSWORD}@o.example/", f"--base-url=https://{USER}:{PASSWORD}@o.example/"),
        *(
            f"--admin-token={ADMIN} x",
            f"http://{USER}:{PASSWORD}@o.example/",
            f"--file-host={USER}:{PASSWORD}@o.example",
        ),
    ],
)
def test_options_that_cannot_be_used_are_told_without_their_secrets(argument: str, tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, (argument,))
    daemon.spawn()
    assert daemon.wait() == 1
    assert holds(daemon.log_path.read_bytes(), *CREDENTIALS) == []
    assert re.search(r"--(index|extra-index|files|base)-url|--admin-token|--file-host|no arguments", daemon.log)
