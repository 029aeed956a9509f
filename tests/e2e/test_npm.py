"""npm's registry as a mount: packuments, tarballs, and what becomes of them when upstream misbehaves."""

from __future__ import annotations

import gzip
import http.client
import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from e2e import faults
from e2e.clients import Reply, ask
from e2e.daemon import DIRECT, Daemon, Start
from e2e.packages import wheel
from e2e.registry import ABBREVIATED, NpmCatalogue, Package, npm_of, package, packed, registry
from e2e.upstream import Upstream
from e2e.waiting import wait_for

SCOPED = "@scope/part"


@pytest.fixture
def npm_upstream() -> Iterator[Upstream]:
    """A registry with a package, and a scoped one that it needs."""
    with registry() as running:
        npm_of(running).publish(
            package("left", "1.0.0"),
            package("left", "1.1.0", size=200_000),
            packed(Package(SCOPED, "2.0.0", {"left": "^1.0.0"})),
        )
        yield running


@pytest.fixture
def npm(npm_upstream: Upstream) -> NpmCatalogue:
    return npm_of(npm_upstream)


@pytest.fixture
def daemon(start: Start, npm: NpmCatalogue) -> Daemon:
    return start("--npm-url", npm.url)


def packument(daemon: Daemon, name: str = "left", accept: str = ABBREVIATED, **headers: str) -> Reply:
    return ask(daemon, f"{daemon.prefix}/npm/{name}", Accept=accept, **headers)


def tarballs(daemon: Daemon, name: str = "left") -> dict[str, str]:
    """The path of each version's tarball."""
    versions = packument(daemon, name).json()["versions"]
    return {version: path_of(daemon, each["dist"]["tarball"]) for version, each in versions.items()}


def path_of(daemon: Daemon, link: str) -> str:
    base = f"http://{daemon.address}"
    assert link.startswith(f"{base}/"), link
    return link.removeprefix(base)


def test_each_form_is_asked_for_as_such(daemon: Daemon, npm: NpmCatalogue, npm_upstream: Upstream) -> None:
    short, full = packument(daemon), packument(daemon, accept="application/json")
    assert [reply.headers["content-type"] for reply in (short, full)] == [ABBREVIATED, "application/json"]
    assert "readme" not in short.json()
    assert full.json()["readme"] == "# left"
    assert short.headers["etag"] != full.headers["etag"]
    asked = [request.headers["accept"] for request in npm_upstream.seen("/left")]
    assert [accept.startswith(ABBREVIATED) for accept in asked] == [True, False]
    assert "authorization" not in npm_upstream.seen("/left")[0].headers
    assert [packument(daemon).state, packument(daemon, accept="*/*").state] == ["HIT", "HIT"]
    assert npm_upstream.count("/left") == 2


def test_a_registry_that_has_only_the_full_form(daemon: Daemon, npm: NpmCatalogue) -> None:
    npm.knows_abbreviated = False
    short = packument(daemon)
    assert short.headers["content-type"] == ABBREVIATED
    assert "readme" not in short.json()
    assert "readme" not in short.json()["versions"]["1.0.0"]


@pytest.mark.parametrize("accept", [ABBREVIATED, "application/json"])
def test_a_client_that_has_it_is_told_so(accept: str, daemon: Daemon, npm_upstream: Upstream) -> None:
    for coding in ("identity", "gzip"):
        tag = packument(daemon, accept=accept, Accept_Encoding=coding).headers["etag"]
        again = packument(daemon, accept=accept, Accept_Encoding=coding, If_None_Match=tag)
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    daemon.expire("left")
    assert packument(daemon, accept=accept, If_None_Match=tag, Accept_Encoding="gzip").status == 304
    assert npm_upstream.seen("/left")[-1].headers["if-none-match"].startswith("W/")


def test_compressed_it_is_the_same(daemon: Daemon) -> None:
    reply = packument(daemon, Accept_Encoding="gzip, deflate, br")
    assert reply.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(reply.body)) == packument(daemon).json()


def test_the_status_page_tells_how_npm_is_set(daemon: Daemon) -> None:
    page = ask(daemon, "/").body.decode()
    assert f"npm config set registry http://127.0.0.1:{daemon.port}/npm/" in page


def test_links_are_absolute_to_what_the_client_used(start: Start, npm: NpmCatalogue) -> None:
    daemon = start("--npm-url", npm.url, "--prefix", "/cache", "--trusted-proxy", "127.0.0.1")
    for headers, base in [
        ({}, f"http://127.0.0.1:{daemon.port}"),
        ({"Host": "cache.example:81"}, "http://cache.example:81"),
        ({"X_Forwarded_Proto": "https", "X_Forwarded_Host": "pub.example"}, "https://pub.example"),
    ]:
        for _ in range(3):
            document = ask(daemon, "/cache/npm/left", **headers).json()
            links = [each["dist"]["tarball"] for each in document["versions"].values()]
            assert links == [f"{base}/cache/npm/left/-/left-1.{minor}.0.tgz" for minor in (0, 1)]
    daemon.restart("--base-url", "https://fixed.example/")
    for host in ("one.example", "two.example"):
        found = ask(daemon, "/cache/npm/left/1.0.0", Host=host).json()["dist"]["tarball"]
        assert found == "https://fixed.example/cache/npm/left/-/left-1.0.0.tgz"


def test_all_spellings_of_a_scoped_name_are_one_page(daemon: Daemon, npm_upstream: Upstream) -> None:
    spellings = [SCOPED, "@scope%2fpart", "@scope%2Fpart", "%40scope%2Fpart"]
    bodies = [packument(daemon, name).body for name in spellings]
    assert len(set(bodies)) == 1
    assert [request.path for request in npm_upstream.requests] == ["/@scope%2fpart"]


def test_the_smaller_documents(daemon: Daemon, npm: NpmCatalogue) -> None:
    for path in ("left/latest", "left/1.1.0"):
        document = ask(daemon, f"/npm/{path}").json()
        assert document["version"] == "1.1.0"
        assert path_of(daemon, document["dist"]["tarball"]) == "/npm/left/-/left-1.1.0.tgz"
    assert ask(daemon, "/npm/@scope%2fpart/2.0.0").json()["name"] == SCOPED
    assert ask(daemon, "/npm/-/package/@scope%2fpart/dist-tags").json() == {"latest": "2.0.0"}
    assert ask(daemon, "/npm/-/ping").json() == {}


def test_what_npm_goes_on_without(daemon: Daemon, npm_upstream: Upstream) -> None:
    """npm shows the key "error" of what it gets."""
    for path in ("nothing", "@scope%2fnothing", "-/v1/search", "-/whoami", "-/npm/v1/keys", ".git"):
        reply = packument(daemon, path)
        assert reply.status == 404
        assert reply.json()["error"] == reply.json()["detail"] != ""
    for method, path, status in [
        ("POST", "-/npm/v1/security/advisories/bulk", 404),
        ("POST", "-/npm/v1/security/audits/quick", 404),
        ("POST", "-/v1/login", 404),
        ("PUT", "-/user/org.couchdb.user:me", 404),
        ("PUT", "left", 405),
        ("DELETE", "left/-rev/1", 404),
    ]:
        reply = ask(daemon, f"/npm/{path}", method, Accept="application/json")
        assert (reply.status, reply.json()["status"]) == (status, status)
        assert reply.json()["error"]
    assert {request.path for request in npm_upstream.requests} == {"/nothing", "/@scope%2fnothing"}
    assert packument(daemon, "nothing").status == 404
    assert npm_upstream.count("/nothing") == 1


def test_tarballs_are_checked_kept_and_never_asked_for_again(daemon: Daemon, npm: NpmCatalogue) -> None:
    for name in ("left", SCOPED):
        for version, path in tarballs(daemon, name).items():
            first, second = ask(daemon, path), ask(daemon, path)
            assert first.body == second.body == npm.packages[name][version].data
            assert [first.state, second.state] == ["MISS", "HIT"]
            assert ask(daemon, path, Range="bytes=0-9").status == 206


@pytest.mark.parametrize("shasum_only", [False, True])
def test_a_wrong_tarball_is_a_broken_transfer(
    shasum_only: bool, daemon: Daemon, npm: NpmCatalogue, npm_upstream: Upstream
) -> None:
    npm.shasum_only = shasum_only
    npm_upstream.fault("/left/-/", faults.corrupt(), times=1)
    path = tarballs(daemon)["1.1.0"]
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        ask(daemon, path)
    assert daemon.stored("left-1.1.0.tgz*") == []
    daemon.wait_for_log("sha1" if shasum_only else "sha512")
    assert ask(daemon, path).body == npm.packages["left"]["1.1.0"].data


def test_a_tarball_that_is_asked_for_directly_is_looked_for_in_its_packument(
    daemon: Daemon, npm_upstream: Upstream
) -> None:
    """As `npm ci` does with a lock file."""
    npm_upstream.fault("/left/-/", faults.corrupt(), times=1)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        ask(daemon, "/npm/left/-/left-1.1.0.tgz")
    assert ask(daemon, "/npm/@scope/part/-/part-2.0.0.tgz").status == 200
    assert npm_upstream.count("/@scope%2fpart") == 1


def test_a_broken_transfer_goes_on(daemon: Daemon, npm: NpmCatalogue, npm_upstream: Upstream) -> None:
    npm_upstream.fault("/left/-/", faults.reset(100_000), times=1)
    assert ask(daemon, tarballs(daemon)["1.1.0"]).body == npm.packages["left"]["1.1.0"].data
    assert "range" in npm_upstream.seen("/left/-/")[-1].headers


def test_tarballs_at_other_places(daemon: Daemon, npm: NpmCatalogue, npm_upstream: Upstream) -> None:
    """Their links stay valid after a restart, and lead nowhere that no packument named."""
    npm.tarballs_url = f"{npm_upstream.files_url}else"
    host = npm.tarballs_url.removeprefix("http://")
    path = tarballs(daemon)["1.0.0"]
    assert path == f"/npm/-/files/http:{host}/left/-/left-1.0.0.tgz"
    npm_upstream.fault("/else", faults.reply(200, {}, npm.packages["left"]["1.0.0"].data))
    daemon.restart()
    assert ask(daemon, path).body == npm.packages["left"]["1.0.0"].data
    assert ask(daemon, f"/npm/-/files/http:{host}/other.tgz").status == 404
    assert npm_upstream.count("/else/other.tgz") == 0


def test_a_tarball_where_nobody_may_lead_us(daemon: Daemon, npm: NpmCatalogue) -> None:
    npm.tarballs_url = "http://169.254.169.254/latest"
    reply = ask(daemon, tarballs(daemon)["1.0.0"], Accept="application/json")
    assert (reply.status, "forbidden address" in reply.json()["error"]) == (503, True)


def test_without_upstream_what_is_stored_goes_on(start: Start, npm: NpmCatalogue, npm_upstream: Upstream) -> None:
    daemon = start("--npm-url", npm.url, "--index-ttl", "0", "--stale-wait", "5s")
    path = tarballs(daemon)["1.1.0"]
    ask(daemon, path)
    npm_upstream.refuse()
    daemon.restart()
    assert packument(daemon).state == "STALE"
    assert ask(daemon, path).state == "HIT"
    never = packument(daemon, SCOPED)
    assert never.status == 503
    assert int(never.headers["retry-after"]) <= 5
    assert "refused" in never.json()["error"]


def test_offline_a_packument_lists_what_is_held(daemon: Daemon, npm: NpmCatalogue, npm_upstream: Upstream) -> None:
    """The latest release that is held is `latest` then."""
    path = tarballs(daemon)["1.0.0"]
    ask(daemon, path)
    asked = npm_upstream.count()
    daemon.restart("--offline")
    document = packument(daemon).json()
    assert (list(document["versions"]), document["dist-tags"]) == (["1.0.0"], {"latest": "1.0.0"})
    assert ask(daemon, path).body == npm.packages["left"]["1.0.0"].data
    assert packument(daemon, accept="application/json").status == 503
    assert npm_upstream.count() == asked


def test_a_purge_by_name(daemon: Daemon, npm: NpmCatalogue, npm_upstream: Upstream) -> None:
    path = tarballs(daemon, SCOPED)["2.0.0"]
    ask(daemon, path)
    npm.publish(packed(Package(SCOPED, "3.0.0")))
    assert list(tarballs(daemon, SCOPED)) == ["2.0.0"]
    daemon.expire("@scope%2fpart")
    assert list(tarballs(daemon, SCOPED)) == ["2.0.0", "3.0.0"]
    assert ask(daemon, path).state == "HIT"
    daemon.expire(SCOPED, "?files=1")
    assert ask(daemon, path).state == "MISS"
    for name in ("@a/b/c", "a/b"):
        assert ask(daemon, f"/cache/{name}", "DELETE").status == 400


def test_several_registries_know_nothing_of_each_other(
    start: Start, npm: NpmCatalogue, npm_upstream: Upstream, tmp_path: Path
) -> None:
    """One has its own path, its own packages, and its own token, which nobody else gets; no client's does either."""
    with registry() as private_upstream:
        private = npm_of(private_upstream)
        private.token = "a-secret"
        private.publish(packed(Package("left", "9.9.9", extra={"private": "yes"})))
        file = tmp_path / "pypicache.toml"
        file.write_text(
            f'[[npm]]\nurl = "{npm.url}"\n'
            f'[[npm]]\npath = "/private/npm"\nurl = "{private.url}"\ntoken-env = "REGISTRY_TOKEN"\n'
        )
        daemon = start("--config", str(file), REGISTRY_TOKEN="a-secret")
        document = ask(daemon, "/private/npm/left", Authorization="Bearer of-the-client").json()
        assert list(document["versions"]) == ["9.9.9"]
        path = path_of(daemon, document["versions"]["9.9.9"]["dist"]["tarball"])
        assert path == "/private/npm/left/-/left-9.9.9.tgz"
        assert ask(daemon, path).body == private.packages["left"]["9.9.9"].data
        assert list(tarballs(daemon)) == ["1.0.0", "1.1.0"]
        assert ask(daemon, "/npm/left/-/left-9.9.9.tgz").status == 404
        elsewhere = f"files/http:{private_upstream.host}/left/-/left-9.9.9.tgz"
        assert ask(daemon, f"/npm/-/{elsewhere}").status == 404
        assert ask(daemon, f"/{elsewhere}").status == 403
        assert all("authorization" not in request.headers for request in npm_upstream.requests)
        assert {request.headers["authorization"] for request in private_upstream.requests} == {"Bearer a-secret"}
        assert "a-secret" not in daemon.log


def test_a_token_that_is_refused_is_a_503_that_says_so(daemon: Daemon, npm: NpmCatalogue) -> None:
    npm.token = "another"
    assert (packument(daemon).status, "401" in packument(daemon).json()["error"]) == (503, True)


def test_reading_the_configuration_anew_mounts_it(
    start: Start, npm: NpmCatalogue, tmp_path: Path, upstream: Upstream
) -> None:
    file = tmp_path / "pypicache.toml"
    file.write_text("")
    daemon = start("--config", str(file))
    assert packument(daemon).status == 404
    file.write_text(f'npm-url = "{npm.url}"\n')
    reload(daemon)
    assert packument(daemon).status == 200
    assert ask(daemon, tarballs(daemon)["1.0.0"]).status == 200
    file.write_text(f'[[npm]]\nurl = "{npm.url}"\npath = "/js"\n')
    reload(daemon)
    assert packument(daemon).status == 404
    link = ask(daemon, "/js/left").json()["versions"]["1.0.0"]["dist"]["tarball"]
    assert ask(daemon, path_of(daemon, link)).state == "HIT"


def reload(daemon: Daemon) -> None:
    before = daemon.log.count("was read anew")
    daemon.signal(signal.SIGHUP)
    wait_for("the file is read anew", lambda: daemon.log.count("was read anew") > before)


def test_everybody_who_asks_shares_one_fetch(daemon: Daemon, npm: NpmCatalogue, npm_upstream: Upstream) -> None:
    gate = npm_upstream.gate("/left")
    with ThreadPoolExecutor(20) as pool:
        replies = [pool.submit(packument, daemon) for _ in range(20)]
        wait_for("the registry is asked", lambda: npm_upstream.count("/left"))
        gate.release()
        assert {reply.result().status for reply in replies} == {200}
    assert npm_upstream.count("/left") == 1


def huge(npm: NpmCatalogue, size: int) -> Any:
    """A body of more than `size` bytes, as a fault that answers with it."""
    each = npm.manifest(evolve(package("huge"), extra={"description": "x" * 10_000}))
    versions = {f"1.0.{patch}": {**each, "version": f"1.0.{patch}"} for patch in range(size // 10_000)}
    body = json.dumps({"name": "huge", "dist-tags": {"latest": "1.0.0"}, "versions": versions}).encode()
    return faults.reply(200, {"Content-Type": "application/json"}, body)


def test_a_packument_of_50_mb_takes_bounded_memory(daemon: Daemon, npm: NpmCatalogue, npm_upstream: Upstream) -> None:
    npm_upstream.fault("/huge", huge(npm, 50_000_000))
    before = daemon.memory()
    reply = packument(daemon, "huge", accept="application/json", Accept_Encoding="gzip")
    assert reply.status == 200
    assert len(json.loads(gzip.decompress(reply.body))["versions"]) == 5000
    assert len(packument(daemon, "huge").json()["versions"]["1.0.0"]) < 10
    assert daemon.memory("VmHWM") - before < 300 << 20


def test_a_packument_beyond_all_bounds_is_refused(daemon: Daemon, npm: NpmCatalogue, npm_upstream: Upstream) -> None:
    npm_upstream.fault("/huge", huge(npm, 70_000_000))
    reply = packument(daemon, "huge")
    assert (reply.status, "larger than" in reply.json()["error"]) == (503, True)


def test_what_is_no_packument_is_never_served(daemon: Daemon, npm_upstream: Upstream) -> None:
    login = faults.reply(200, {"Content-Type": "text/html"}, b"<html>log in</html>")
    npm_upstream.fault("/left", login)
    assert packument(daemon).status == 503
    npm_upstream.heal()
    assert packument(daemon).status == 200
    daemon.expire("left")
    npm_upstream.fault("/left", login)
    assert packument(daemon).state == "STALE"


def test_npm_and_the_index_side_by_side(daemon: Daemon, upstream: Upstream) -> None:
    upstream.project("left", [wheel("left")])
    assert ask(daemon, "/simple/left/").status == packument(daemon).status == 200
    with DIRECT.open(f"{daemon.url}/metrics") as metrics:
        assert b'kind="page"' in metrics.read()
