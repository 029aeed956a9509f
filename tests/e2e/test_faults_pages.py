"""Each fault of an upstream, for an index page that is not in the cache, fresh in it, or expired in it.

Whoever has a copy gets the copy; who has none gets a 503 that says why; the log has one line; one metric counts one;
and as soon as the fault is cured the page is right, for nothing of the faulty answer was kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from e2e.clients import Reply, ask
from e2e.daemon import Daemon, Start
from e2e.faults import Fault, disconnect, hang, redirect, reply, reset, short_body, trickle
from e2e.packages import wheel
from e2e.page_faults import FAULTS, HARMLESS, HTML, LOGIN, READ_TIMEOUT, Bench, Row
from e2e.tls import Certificates
from e2e.upstream import Upstream
from e2e.waiting import wait_for

SECRET = "hunter2"


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[bool, Bench]]:
    """One over http, one over https (True), for all rows: each has a project of its own, and ends well."""
    certificates = Certificates(tmp_path_factory.mktemp("certificates"))
    patience = ("--connect-timeout", READ_TIMEOUT, "--read-timeout", READ_TIMEOUT, "--stale-wait", "1m")
    trust = ("--ca-file", str(certificates.ca_file))
    with Upstream() as plain, Upstream(tls=certificates.context) as secured:
        urls = [upstream.index_url.replace("://", f"://me:{SECRET}@") for upstream in (plain, secured)]
        with (
            Daemon(tmp_path_factory.mktemp("plain"), ("--index-url", urls[0], *patience)) as one,
            Daemon(tmp_path_factory.mktemp("secured"), ("--index-url", urls[1], *patience, *trust)) as other,
        ):
            yield {False: Bench(plain, one), True: Bench(secured, other, certificates)}


@pytest.fixture(params=FAULTS.values(), ids=FAULTS)
def row(request: pytest.FixtureRequest) -> Row:
    found: Row = request.param
    return found


@pytest.fixture
def bench(row: Row, benches: dict[bool, Bench]) -> Iterator[Bench]:
    yield benches[row.tls]
    benches[row.tls].cure()


@pytest.fixture
def project(request: pytest.FixtureRequest, benches: dict[bool, Bench]) -> str:
    """A project that no other test knows."""
    name = "-".join(re.findall(r"[a-z0-9]+", request.node.name))
    for bench in benches.values():
        bench.upstream.project(name, [wheel(name)])
    return name


def test_without_a_copy(row: Row, bench: Bench, project: str) -> None:
    before = bench.counted()
    row.act(bench, f"/simple/{project}/")
    answer = bench.page(project)
    check_refusal(row, project, answer)
    assert bench.upstream.count(f"/simple/{project}/") == row.asked
    check_report(row, bench, project, before)
    bench.cure()
    cured = bench.page(project)
    assert (cured.status, cured.state, cured.json()["name"]) == (200, "MISS", project)


def test_with_a_fresh_copy(row: Row, bench: Bench, project: str) -> None:
    held = bench.page(project)
    row.act(bench, f"/simple/{project}/")
    answer = bench.page(project)
    assert (answer.status, answer.state, answer.body) == (200, "HIT", held.body)
    assert answer.headers["cache-status"].startswith("pypicache; hit; ttl=")
    assert bench.upstream.count(f"/simple/{project}/") == 1
    assert bench.complaints(project) == []


def test_with_an_expired_copy(row: Row, bench: Bench, project: str) -> None:
    held = bench.page(project)
    bench.upstream.release(project, wheel(project, "2.0"))
    bench.daemon.expire(project)
    before = bench.counted()
    row.act(bench, f"/simple/{project}/")
    answer = bench.page(project)
    assert (answer.status, answer.state, answer.body) == (200, "STALE", held.body)
    assert answer.headers["cache-control"] == "public, max-age=0"
    assert "retry-after" not in answer.headers
    check_cache_status(row, "stale", answer)
    assert bench.upstream.count(f"/simple/{project}/") == 1 + row.asked
    check_report(row, bench, project, before)
    bench.cure()
    cured = bench.page(project)
    assert (cured.status, cured.state, cured.headers["x-pypi-last-serial"]) == (200, "EXPIRED", "2")


def check_refusal(row: Row, project: str, answer: Reply) -> None:
    """A 503 that says what is wrong in each of the ways that clients show."""
    assert (answer.status, answer.state) == (503, "MISS")
    assert answer.headers["retry-after"] == str(row.retry_after)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/problem+json"
    words = f"{project}: upstream failed: {row.reason}"
    assert re.fullmatch(words, answer.json()["detail"])
    assert re.fullmatch(words, answer.reason)
    check_cache_status(row, "miss", answer)
    assert SECRET not in f"{answer.headers}{answer.body!r}"


def check_cache_status(row: Row, forwarded: str, answer: Reply) -> None:
    """RFC 9211: why upstream was asked, what it answered if it did, and the words."""
    pattern = rf'pypicache; fwd={forwarded}(?:; fwd-status=(\d+))?(?:; ttl=-\d+)?; detail="(.*)"'
    found = re.fullmatch(pattern, answer.headers["cache-status"])
    assert found, answer.headers["cache-status"]
    assert found[1] == (str(row.status) if row.status else None)
    assert re.fullmatch(row.reason, found[2].replace('\\"', '"'))


def check_report(row: Row, bench: Bench, project: str, before: dict[str, float]) -> None:
    """One line in the log, one counter that counts one."""
    (line,) = bench.complaints(project)
    kind = "upstream's page is not usable" if row.rejected else "upstream failed"
    reason = row.reason.removeprefix("sent no usable page: ").replace('"', r"\\x22")
    assert re.fullmatch(f"{kind}, {reason}: {re.escape(bench.url(project))}", line)
    assert SECRET not in bench.daemon.log
    counter = "pages_rejected" if row.rejected else "upstream_failures"
    after = bench.counted()
    assert {name: after[name] - before[name] for name in after} == {**dict.fromkeys(after, 0.0), counter: 1.0}


# -- what is no fault of a page ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("oddity", HARMLESS.values(), ids=HARMLESS)
def test_an_oddity_costs_nothing(oddity: Callable[[], Fault], benches: dict[bool, Bench], project: str) -> None:
    bench = benches[False]
    bench.upstream.fault(f"/simple/{project}/", oddity())
    bench.upstream.project(f"{project}-next", [wheel("next")])
    answers = [bench.page(project), bench.page(f"{project}-next")]
    bench.cure()
    assert [(answer.status, answer.state) for answer in answers] == [(200, "MISS")] * 2
    assert [answer.json()["name"] for answer in answers] == [project, f"{project}-next"]
    assert bench.upstream.files_url.encode() not in answers[0].body, "links lead here"
    assert bench.complaints(project) + bench.complaints(f"{project}-next") == []


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("dying", [reset, disconnect], ids=["reset", "closed"])
def test_a_kept_connection_that_dies_as_the_request_goes_out(
    dying: Callable[[], Fault], tls: bool, benches: dict[bool, Bench], project: str
) -> None:
    bench = benches[tls]
    bench.upstream.project(f"{project}-before", [wheel("before")])
    bench.page(f"{project}-before")
    bench.upstream.fault(f"/simple/{project}/", dying(), times=1)
    answer = bench.page(project)
    assert (answer.status, answer.state, bench.upstream.count(f"/simple/{project}/")) == (200, "MISS", 2)
    assert bench.complaints(project) == []


def test_a_304_to_a_question_that_was_asked_and_to_one_that_was_not(benches: dict[bool, Bench], project: str) -> None:
    bench = benches[False]
    bench.upstream.fault(f"/simple/{project}/", reply(304))
    refused = bench.page(project)
    assert (refused.status, refused.reason) == (503, f"{project}: upstream failed: answered 304")
    bench.cure()
    assert bench.page(project).state == "MISS"
    bench.daemon.expire(project)
    bench.upstream.fault(f"/simple/{project}/", reply(304))
    assert bench.page(project).state == "REVALIDATED"
    bench.cure()


def test_a_redirect_to_another_host_is_followed_and_not_shown(
    benches: dict[bool, Bench], other_upstream: Upstream, project: str
) -> None:
    bench = benches[False]
    other_upstream.project(project, [wheel(project, "3.0")])
    bench.upstream.fault(f"/simple/{project}/", redirect(f"{other_upstream.index_url}{project}/"))
    answer = bench.page(project)
    bench.cure()
    assert (answer.status, answer.state) == (200, "MISS")
    assert answer.json()["files"][0]["filename"].startswith(f"{project.replace('-', '_')}-3.0")
    assert "location" not in answer.headers
    (asked,) = other_upstream.seen(f"/simple/{project}/")
    assert "authorization" not in asked.headers


# -- faults that need a daemon of their own ----------------------------------------------------------------------------


def test_a_name_that_does_not_resolve(start: Start) -> None:
    daemon = start("--index-url", "http://nowhere.invalid/simple/", RES_OPTIONS="attempts:1 timeout:1")
    answer = ask(daemon, "/simple/app/")
    assert (answer.status, answer.state, answer.headers["retry-after"]) == (503, "MISS", "2")
    told = r"app: upstream failed: (DNS: name not found|no connection within 5 s)"
    assert re.fullmatch(told, answer.reason)
    daemon.wait_for_log(r"upstream failed, (DNS|no connection).*: http://nowhere\.invalid/simple/app/")


@pytest.mark.parametrize("fault", [reset(), short_body(10), reply(200, HTML, LOGIN)], ids=["reset", "short", "login"])
@pytest.mark.parametrize(("path", "purged"), [("/simple/", "list"), ("/pypi/app/json", "app")], ids=["list", "api"])
def test_other_documents_are_treated_like_pages(
    path: str, purged: str, fault: Fault, upstream: Upstream, daemon: Daemon
) -> None:
    upstream.project("app", [wheel("app")])
    ask(daemon, "/simple/app/")
    upstream.fault(path, fault)
    refused = ask(daemon, path)
    assert (refused.status, refused.state, refused.headers["retry-after"]) == (503, "MISS", "2")
    upstream.heal()
    held = ask(daemon, path)
    upstream.release("app", wheel("app", "2.0"))
    daemon.expire(purged)
    upstream.fault(path, fault)
    stale = ask(daemon, path)
    upstream.heal()
    assert (held.state, stale.state, stale.body) == ("MISS", "STALE", held.body)
    wait_for("it is right again", lambda: ask(daemon, path).headers["x-pypi-last-serial"] == "2")


def test_a_page_that_trickles_costs_the_stale_wait_once(upstream: Upstream, start: Start) -> None:
    daemon = start("--stale-wait", "0.2")
    upstream.project("app", [wheel("app")])
    held = ask(daemon, "/simple/app/")
    upstream.release("app", wheel("app", "2.0"))
    daemon.expire("app")
    upstream.fault("/simple/app/", trickle(1, 1.0))
    answers = [ask(daemon, "/simple/app/") for _ in range(3)]
    assert [answer.state for answer in answers] == ["STALE", "UPDATING", "UPDATING"]
    assert {answer.body for answer in answers} == {held.body}
    assert upstream.count("/simple/app/") == 2


def test_a_burst_of_5xx_opens_the_breaker_and_a_probe_closes_it(upstream: Upstream, daemon: Daemon) -> None:
    for name in ("app", "new", "newer", "newest", "last"):
        upstream.project(name, [wheel(name)])
    ask(daemon, "/simple/app/")
    daemon.expire("app")
    upstream.fault("/simple/", reply(502))
    for name in ("new", "newer", "newest"):
        assert ask(daemon, f"/simple/{name}/").status == 503
    daemon.wait_for_log(rf"http://{re.escape(upstream.host)} is taken for down")
    assert f'pypicache_breaker_open{{origin="http://{upstream.host}"}} 1.0' in metrics(daemon)

    upstream.fault("/simple/", hang())
    stale = ask(daemon, "/simple/app/")
    assert (stale.state, stale.headers["cache-status"].split("; ")[1]) == ("STALE", "hit"), "nobody waits for upstream"

    upstream.heal()
    upstream.fault("/simple/last/", reply(404))
    assert ask(daemon, "/simple/last/").status == 404, "what isn't cached is still tried"
    wait_for("the page is right again", lambda: ask(daemon, "/simple/app/").state in ("REVALIDATED", "HIT"))
    daemon.wait_for_log(rf"http://{re.escape(upstream.host)} is taken for up again")
    assert f'pypicache_breaker_open{{origin="http://{upstream.host}"}} 0.0' in metrics(daemon)


def metrics(daemon: Daemon) -> str:
    return ask(daemon, "/metrics").body.decode()
