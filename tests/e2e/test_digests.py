"""Digests: what a page says of a file rules, outlives the page and the daemon, and a file that changes is refused."""

from __future__ import annotations

import hashlib
import http.client

import pytest
from attrs import evolve

from e2e.clients import Installer, Reply, ask, links
from e2e.content import JSON_TYPE
from e2e.daemon import Daemon, Start
from e2e.faults import chunked, no_length, reply, with_headers
from e2e.packages import File, blob, wheel
from e2e.single import MB, path_at, publish
from e2e.upstream import Upstream
from e2e.waiting import wait_for

Broken = (http.client.HTTPException, ConnectionError)
PAGE = "/simple/data/"


def page_of(upstream: Upstream, file: File, hashes: dict[str, str], **more: object) -> None:
    """From now on the page of "data" says this of the file."""
    entry = {**upstream.catalogue.file_json(file), "hashes": hashes, "size": None, **more}
    upstream.project("data", [file]).extra["files"] = [entry]


def refused(daemon: Daemon, path: str, **headers: str) -> bool:
    """Whether the daemon gives no complete 200."""
    try:
        return ask(daemon, path, **headers).status != 200
    except Broken:
        return True


def stored(daemon: Daemon, file: File) -> None:
    """Wait until the file is at rest."""
    wait_for("the file is stored", lambda: daemon.stored(file.name))


def changed(upstream: Upstream, file: File) -> File:
    """Other bytes at the same URL."""
    other = evolve(file, data=bytes(len(file.data)))
    upstream.fault(file.path, reply(200, {"ETag": '"other"'}, other.data))
    return other


def test_a_page_outlives_itself_for_the_digests_of_its_files(upstream: Upstream, start: Start) -> None:
    daemon = start()
    file = publish(upstream, MB)
    path = path_at(daemon)
    assert daemon.stop() == 0
    for page in (daemon.cache / "pages").rglob("*"):
        if page.is_file():
            page.unlink()
    daemon.start()
    upstream.fault("/simple/", reply(503))
    changed(upstream, file)
    assert refused(daemon, path)
    upstream.heal()
    answer = ask(daemon, path)
    assert (answer.body, answer.headers["etag"]) == (file.data, f'"sha256:{file.sha256}"')


def test_only_md5_is_announced(upstream: Upstream, daemon: Daemon) -> None:
    file = blob("data", MB)
    page_of(upstream, file, {"md5": hashlib.md5(file.data).hexdigest()})
    path = path_at(daemon)
    assert ask(daemon, path).body == file.data
    stored(daemon, file)
    daemon.restart()
    again = ask(daemon, path)
    assert (again.state, again.body) == ("HIT", file.data)
    page_of(upstream, file, {"md5": "0" * 32})
    assert again.headers["etag"] == f'"sha256:{file.sha256}"'


def test_a_wheel_that_upstream_calls_a_page_is_what_its_digest_says(
    upstream: Upstream, daemon: Daemon, installer: Installer
) -> None:
    file = wheel("data")
    page_of(upstream, file, {"md5": hashlib.md5(file.data).hexdigest()}, **{"core-metadata": False})
    upstream.fault(file.path, with_headers({"Content-Type": "text/html"}))
    path = path_at(daemon)
    head = ask(daemon, path, method="HEAD")
    assert (head.status, "content-length" in head.headers) == (200, False)
    assert ask(daemon, path).body == file.data
    stored(daemon, file)
    for install in (installer.uv, installer.pip):
        daemon.expire("data", "?files=1")
        install(daemon, install.__name__, "data")


def test_a_digest_that_the_page_changes_rules_over_the_stored_file(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, MB)
    path = path_at(daemon)
    assert ask(daemon, path).body == file.data
    stored(daemon, file)
    other = changed(upstream, file)
    page_of(upstream, file, {"sha256": other.sha256})
    daemon.expire("data")
    assert path_at(daemon) == path
    assert ask(daemon, path).body == other.data


def test_a_digest_that_the_page_learns_confirms_the_stored_file(upstream: Upstream, daemon: Daemon) -> None:
    file = blob("data", MB)
    page_of(upstream, file, {})
    path = path_at(daemon)
    assert ask(daemon, path).body == file.data
    stored(daemon, file)
    page_of(upstream, file, {"sha512": hashlib.sha512(file.data).hexdigest()})
    daemon.expire("data")
    assert path_at(daemon) == path
    again = ask(daemon, path)
    assert (again.state, again.body) == ("HIT", file.data)
    assert upstream.count(file.path, "GET") == 1


def test_a_file_without_digest_that_changes_is_refused_and_reported(upstream: Upstream, daemon: Daemon) -> None:
    file = blob("data", MB)
    page_of(upstream, file, {})
    path = path_at(daemon)
    assert ask(daemon, path).body == file.data
    stored(daemon, file)
    changed(upstream, file)
    for copy in daemon.stored(file.name):
        copy.unlink()
    daemon.restart("--index-ttl", "0")
    assert path_at(daemon) == path
    assert refused(daemon, path)
    daemon.wait_for_log(rf"sha256 is [0-9a-f]+, not {file.sha256}|sha256.*{file.sha256}")
    assert daemon.stored(file.name) == []
    daemon.expire("data", "?files=1")
    assert path_at(daemon) == path
    assert ask(daemon, path).body == bytes(MB)


@pytest.mark.parametrize("fault", [no_length(), chunked()], ids=["close-delimited", "chunked"])
@pytest.mark.parametrize("hashed", [True, False], ids=["digest", "no digest"])
def test_a_body_without_length(hashed: bool, fault: object, upstream: Upstream, daemon: Daemon) -> None:
    file = blob("data", MB)
    page_of(upstream, file, {"sha256": file.sha256} if hashed else {})
    path = path_at(daemon)
    upstream.fault("/packages/", fault)  # type: ignore[arg-type]
    assert ask(daemon, path).body == file.data
    assert ask(daemon, path, Range="bytes=0-9").body in (file.data[:10], file.data)


def test_after_a_wrong_body_a_continuation_gets_the_whole(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, MB)
    path = path_at(daemon)
    changed(upstream, file)
    assert refused(daemon, path)
    upstream.heal()
    etag = f'"sha256:{file.sha256}"'
    again = ask(daemon, path, Range="bytes=1000-", If_Range=etag)
    assert (again.status, again.body) == (200, file.data)
    assert ask(daemon, path, Range="bytes=1000-").body == file.data[1000:]


def test_a_direct_request_is_looked_up_in_the_page(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, MB)
    changed(upstream, file)
    assert refused(daemon, file.path)
    assert upstream.count(PAGE) == 1


def test_a_404_of_a_listed_file_is_not_remembered(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, MB)
    path = path_at(daemon)
    upstream.fault("/packages/", reply(404), times=1)
    answer: Reply = ask(daemon, path)
    assert answer.status in (404, 503)
    assert ask(daemon, path).body == file.data


def test_another_indexs_page_says_nothing(upstream: Upstream, other_upstream: Upstream, start: Start) -> None:
    file = publish(upstream, MB)
    entry = {**upstream.catalogue.file_json(file), "hashes": {"sha256": "0" * 64}}
    other_upstream.project("liar").extra["files"] = [entry]
    daemon = start("--extra-index-url", other_upstream.index_url)
    page = ask(daemon, "/simple/liar/", Accept=JSON_TYPE).json()
    elsewhere = "/" + page["files"][0]["url"].removeprefix("../../")
    path = path_at(daemon)
    assert ask(daemon, path).body == file.data
    stored(daemon, file)
    # Whoever follows the liar's link gets what the file's own index announced, and sees that it isn't what was said.
    assert ask(daemon, elsewhere).body == file.data
    again = ask(daemon, path)
    assert (again.state, again.body) == ("HIT", file.data)
    assert links(daemon, "data")[file.name] == path
