"""Pages over HTTP: forms, codings, validators, freshness, and the two ways to answer."""

from __future__ import annotations

import gzip

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, fail, succeed

from twisted_pypi.answers import CacheState, Provenance
from twisted_pypi.errors import Absent, Unavailable
from twisted_pypi.events import Served
from twisted_pypi.model import Alternatives, PageRoute
from twisted_pypi.web.clients import Ask
from twisted_pypi.web.finishing import LIMIT, Finished, Finishing, completed
from twisted_pypi.web.page_replies import PageReplies
from twisted_pypi.web.sending import PIECE, MemorySource
from unit.web_doubles import HIT, HTML, JSON, TEMPLATE, Web, parse

PATH = "/simple/six/"
GZIP = "Accept-Encoding: gzip"
FEW = bytes(b"ab"[number % 2] for number in range(256))
TAKES_JSON = f"Accept: {JSON.content_type}"


@pytest.fixture(params=[True, False], ids=["at once", "later"])
def web(request: pytest.FixtureRequest) -> Web:
    """A site whose page is in memory, or has to be waited for: the answers are the same."""
    web = Web()
    web.pages.hot = request.param
    return web


def test_a_hit(web: Web) -> None:
    response = web.ask(PATH, GZIP)
    assert (response.status, response.reason) == (200, "OK")
    assert response.body == b"<gz>"
    assert response["content-type"] == HTML.content_type
    assert response["content-encoding"] == "gzip"
    assert response["content-length"] == "4"
    assert response["vary"] == "Accept, Accept-Encoding"
    assert response["cache-control"] == "public, max-age=60"
    assert response["date"] == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert "age" not in response
    assert response["x-pypi-last-serial"] == "7"
    assert response["x-pypi-cache"] == "HIT"
    assert response["cache-status"] == "pypicache; hit; ttl=291"
    assert response["server"] == "pypicache"
    assert response["x-content-type-options"] == "nosniff"


def test_forms_and_codings_have_tags_of_their_own(web: Web) -> None:
    asks = [
        (),
        (GZIP,),
        (TAKES_JSON,),
        ("Accept: application/vnd.pypi.simple.v1+html",),
    ]
    tags = [web.ask(PATH, *headers)["etag"] for headers in asks]
    assert len(set(tags)) == 4
    assert all(tag.startswith('"') and tag.endswith('"') for tag in tags)
    assert [web.ask(PATH, *headers)["etag"] for headers in asks] == tags


def test_identity_has_no_content_encoding(web: Web) -> None:
    response = web.ask(PATH, TAKES_JSON, "Accept-Encoding: gzip, zstd")
    assert response.body == b"{}"
    assert "content-encoding" not in response
    assert response["content-type"] == JSON.content_type


def test_format_parameter(web: Web) -> None:
    assert web.ask(f"{PATH}?format=application/vnd.pypi.simple.v1+json").body == b"{}"
    assert web.ask(f"{PATH}?other=1&format=image/png").body == b"<html>"


def test_head(web: Web) -> None:
    response = web.ask(PATH, method="HEAD")
    assert response["content-length"] == "6"
    assert response.rest == b""


def test_not_modified(web: Web) -> None:
    whole = web.ask(PATH, GZIP)
    response = web.ask(PATH, GZIP, f"If-None-Match: W/{whole['etag']}")
    assert response.status == 304
    for name in ("etag", "cache-control", "vary", "date", "x-pypi-cache", "cache-status"):
        assert response[name] == whole[name]
    for name in ("content-type", "content-length", "content-encoding", "transfer-encoding"):
        assert name not in response
    assert web.ask(PATH, f"If-None-Match: {whole['etag']}").status == 200  # the tag of the gzip body


@pytest.mark.parametrize(
    ("ttl", "age"), [(30.9, 30), (60, 60), (1000, 60), (0, 0), (-5, 0), (None, 0), (float("inf"), 60)]
)
def test_max_age_is_what_is_left_of_freshness(web: Web, ttl: float | None, age: int) -> None:
    web.pages.provenance = Provenance(CacheState.HIT, ttl=ttl)
    assert web.ask(PATH)["cache-control"] == f"public, max-age={age}"


def test_a_stale_copy_says_so(web: Web) -> None:
    web.pages.provenance = Provenance(CacheState.STALE, ttl=-12, upstream_status=503, upstream_seconds=0.1)
    response = web.ask(PATH)
    assert response["x-pypi-cache"] == "STALE"
    assert response["cache-status"] == "pypicache; fwd=stale; fwd-status=503; ttl=-12"


def test_the_head_is_rebuilt_when_time_or_page_change() -> None:
    web = Web()
    first = web.ask(PATH)
    web.clock.advance(1)
    web.pages.provenance = Provenance(CacheState.HIT, ttl=20)
    later = web.ask(PATH)
    assert (first["cache-control"], later["cache-control"]) == ("public, max-age=60", "public, max-age=20")
    assert later["date"] == "Sun, 06 Nov 1994 08:49:38 GMT"
    web.pages.bodies = {("html", "identity"): b"<new>"}
    web.pages._page = None
    renewed = web.ask(PATH)
    assert renewed.body == b"<new>"
    assert renewed["etag"] != later["etag"]


def test_no_serial_no_header(web: Web) -> None:
    web.pages.version = None
    assert "x-pypi-last-serial" not in web.ask(PATH)


def test_a_large_body_is_sent_whole_in_pieces(web: Web) -> None:
    body = bytes(range(256)) * (3 * PIECE // 256) + b"end"
    web.pages.bodies = {("html", "identity"): body}
    response = web.ask(PATH)
    assert response.body == body
    assert response.rest == b""


def test_a_body_in_a_file_is_sent_whole() -> None:
    web = Web()
    web.pages.hot, web.pages.as_source = False, True
    assert web.ask(PATH).body == b"<html>"


def test_a_page_that_was_replaced_meanwhile_is_asked_for_again() -> None:
    web = Web()
    web.pages.hot, web.pages.body_errors = False, [LookupError()]
    assert web.ask(PATH).body == b"<html>"
    assert len(web.pages.askers) == 2


def test_a_page_that_is_replaced_again_and_again_is_unavailable() -> None:
    web = Web()
    web.pages.hot, web.pages.body_errors = False, [LookupError(), LookupError()]
    assert web.ask(PATH).status == 503


@pytest.mark.parametrize(
    ("headers", "no_cache"),
    [
        ((), False),
        (("Cache-Control: no-cache",), True),
        (("Cache-Control: Max-Age=0, No-Cache",), True),
        (("Cache-Control: max-age=0",), False),
        (("Pragma: no-cache",), True),
        (("Pragma: no-cache", "Cache-Control: max-age=0"), False),
    ],
)
def test_caching_learns_what_it_may_know(web: Web, headers: tuple[str, ...], no_cache: bool) -> None:
    web.ask(PATH, *headers)
    asker = web.pages.askers[0]
    assert asker.no_cache is no_cache
    assert asker.client == "192.0.2.7"


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (Absent("No such project: sïx"), 404, {"cache-control": "max-age=10"}),
        (Unavailable("Upstream is down", 3), 503, {"retry-after": "3", "cache-control": "no-store"}),
        (Unavailable("Upstream is down", 9999), 503, {"retry-after": "30"}),
        (Unavailable("Upstream is down", 0), 503, {"retry-after": "1"}),
        (Unavailable("Offline", None), 503, {}),
    ],
)
def test_errors_of_caching(error: Exception, status: int, headers: dict[str, str]) -> None:
    web = Web()
    web.pages.hot, web.pages.errors = False, [error]
    response = web.ask(PATH)
    assert response.status == status
    for name, value in headers.items():
        assert response[name] == value
    assert ("retry-after" in response) is ("retry-after" in headers)
    assert response.reason == error.reason.replace("ï", "?")
    assert response.body.decode() == f"{error.reason}\n"


def test_later_answers_come_when_caching_has_them() -> None:
    web = Web()
    web.pages.hot, web.pages.waiting = False, Deferred()
    transport = web.raw(f"GET {PATH} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    assert transport.value() == b""
    web.clock.advance(2)
    web.pages.waiting.callback(None)
    assert parse(transport.value()).body == b"<html>"
    (served,) = web.events
    assert served.seconds == 2


def test_a_client_that_leaves_cancels_its_own_waiting() -> None:
    web = Web()
    cancelled: list[object] = []
    web.pages.hot, web.pages.waiting = False, Deferred(cancelled.append)
    transport = web.raw(f"GET {PATH} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    transport.end()
    assert cancelled == [web.pages.waiting]
    assert transport.value() == b""
    (served,) = web.events
    assert isinstance(served, Served)
    assert (served.status, served.complete) == (499, False)


class Inline:
    """Works at once."""

    async def run(self, function, *args):
        return function(*args)


class TestTemplates:
    """Documents with absolute links."""

    BODY = b'{"url": "@BASE@/packages/a.whl", "again": "@BASE@/x"}'

    def web(self, **services: object) -> Web:
        web = Web(**services)
        web.mount.routes["/pypi/six/json"] = PageRoute("k", "six", (), (TEMPLATE,))
        web.pages.bodies = {("json", "identity"): self.BODY, ("json", "gzip"): b"not to be sent"}
        return web

    def ask(self, web: Web, *headers: str, host: str = "cache.example:8080"):
        return web.ask(f"{web.prefix if hasattr(web, 'prefix') else ''}/pypi/six/json", *headers, host=host)

    def test_links_are_completed_with_the_client_s_address(self) -> None:
        response = self.ask(self.web())
        assert response.body == self.BODY.replace(b"@BASE@/", b"http://cache.example:8080/")
        assert response["cache-control"] == "private, max-age=60"
        assert response["content-length"] == str(len(response.body))
        assert "content-encoding" not in response

    def test_they_are_compressed_after_that(self) -> None:
        web = self.web()
        response = self.ask(web, GZIP)
        assert response["content-encoding"] == "gzip"
        assert gzip.decompress(response.body) == self.BODY.replace(b"@BASE@/", b"http://cache.example:8080/")
        assert response["etag"] != self.ask(web)["etag"]
        assert self.ask(web, GZIP, f"If-None-Match: {response['etag']}").status == 304

    def test_they_are_finished_once_for_each_base_and_coding(self) -> None:
        web = self.web()
        bodies = [self.ask(web, GZIP).body, self.ask(web).body, self.ask(web, host="other.example").body]
        web.pages.bodies = dict.fromkeys(web.pages.bodies, b"asked for again")  # under the same digests
        again = [self.ask(web, GZIP).body, self.ask(web).body, self.ask(web, host="other.example").body]
        assert again == bodies
        assert len(set(bodies)) == 3

    @given(st.lists(st.binary(max_size=12).map(lambda data: data.translate(FEW)), max_size=8), st.data())
    def test_however_a_template_is_divided_it_is_completed_alike(
        self, pieces: list[bytes], data: st.DataObject
    ) -> None:
        placeholder = data.draw(st.sampled_from([b"a", b"ab", b"aab", b"aabaa"]))
        base = data.draw(st.sampled_from([b"", b"ab", b"http://cache.example/"]))
        assert b"".join(completed(pieces, placeholder, base)) == b"".join(pieces).replace(placeholder, base)

    def test_what_a_client_has_is_told_without_finishing_it(self) -> None:
        web = self.web()
        tag = self.ask(web)["etag"]
        fresh = self.web()
        fresh.pages.body_errors = [RuntimeError("asked for its body")]
        assert self.ask(fresh, f"If-None-Match: {tag}").status == 304
        assert fresh.pages.body_errors

    def test_all_who_wait_for_one_share_it(self) -> None:
        waiting: list[Deferred[bytes]] = []

        class Workers:
            def run(self, function, *args):
                waiting.append(Deferred())
                return waiting[-1]

        finishing = Finishing(Workers())
        finished = Finished("digest", 1 << 20, b"@", b"http://cache.example/", "gzip")

        async def template() -> bytes:
            return b"@" * (1 << 20)

        asked = [Deferred.fromCoroutine(finishing.body(finished, template)) for _ in range(3)]
        asked[0].addErrback(lambda failure: failure.trap(CancelledError))
        asked[0].cancel()
        assert len(waiting) == 1
        waiting[0].callback(b"body")
        assert [each.result for each in asked[1:]] == [b"body", b"body"]
        assert finishing.at_hand(finished) == b"body"

    def test_one_that_is_too_large_to_be_kept_is_shared_by_those_to_whom_it_is_sent(self) -> None:
        made: list[int] = []

        class Workers:
            def run(self, function, *args):
                made.append(1)
                return succeed(function(*args))

        async def template() -> bytes:
            return b"@" * (LIMIT + 1)

        finishing, finished = Finishing(Workers()), Finished("digest", LIMIT + 1, b"@", b"/", "identity")
        asked = [Deferred.fromCoroutine(finishing.body(finished, template)).result for _ in range(3)]
        first, *others = (each.source() for each in asked)
        asked.clear()
        first.close()
        assert finishing.at_hand(finished) is not None
        assert {source.read(LIMIT, 10) for source in others} == {b"/"}
        assert made == [1]
        for source in others:
            source.close()
        assert finishing.at_hand(finished) is None

    def test_such_a_one_is_sent_whole(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("twisted_pypi.web.finishing.LIMIT", 10)
        response = self.ask(self.web())
        assert response.body == self.BODY.replace(b"@BASE@/", b"http://cache.example:8080/")
        assert response["content-length"] == str(len(response.body))

    @pytest.mark.parametrize("length", [10, 11])
    def test_a_template_that_is_read_from_a_file_is_closed_in_the_reactor(self, length: int) -> None:
        """Also where it is shorter than it should be, or no thread can be had."""
        closed: list[bool] = []
        inside: list[bool] = []

        class Source(MemorySource):
            def close(self) -> None:
                closed.append(bool(inside))

        class Workers:
            def run(self, function, *args):
                inside.append(True)
                try:
                    return succeed(function(*args))
                finally:
                    inside.pop()

        class Full:
            def run(self, function, *args):
                return fail(Unavailable("too many wait"))

        async def template() -> MemorySource:
            return Source(b"0123456789")

        for workers in (Workers(), Full()):
            asked = Deferred.fromCoroutine(
                Finishing(workers).body(Finished("digest", length, b"@", b"/", "gzip"), template)
            )
            asked.addErrback(lambda failure: failure.trap(LookupError, Unavailable))
            assert asked.called
        assert closed == [False, False]

    @pytest.mark.parametrize(("base_url", "remembered"), [("https://pypi.example", True), ("", False)])
    def test_a_reply_is_the_same_for_the_same_head_only_where_the_base_is_given(
        self, base_url: str, remembered: bool
    ) -> None:
        """The scheme is not in the head."""
        web = self.web(base_url=base_url)
        web.pages.vouches = True
        replies = PageReplies(web.pages, Inline(), base_url)
        ask = Ask("GET", "/x", "/x", "", "HTTP/1.1", "", "", "http", "cache.example", {})
        route = web.mount.routes["/pypi/six/json"]
        answer = web.pages.ready(route, ask.asker())
        assert answer is not None
        reply = Deferred.fromCoroutine(replies.reply(route, ask, answer, 0.0)).result
        assert (reply.still is not None) == remembered


def test_of_alternatives_the_one_with_the_preferred_form_is_asked_for(web: Web) -> None:
    """Each is a page of its own."""
    short = evolve(JSON, content_type="application/short", media_types=("application/short",))
    full = evolve(JSON, content_type="application/full", media_types=("application/full",))
    web.mount.routes["/npm/left"] = Alternatives(
        (PageRoute("short", "left", (), (short,)), PageRoute("full", "left", (), (full,)))
    )
    for accept, key in [
        ("", "full"),
        ("*/*", "full"),
        ("application/short; q=1.0, application/full; q=0.8, */*", "short"),
        ("application/short; q=0.5, application/full", "full"),
        ("text/html", "full"),
    ]:
        response = web.ask("/npm/left", *([f"Accept: {accept}"] if accept else []))
        assert (response.status, response["content-type"]) == (200, f"application/{key}"), accept

    @pytest.mark.parametrize("base_url", ["https://pypi.example/", "https://pypi.example/a/b/"])
    def test_links_hold_base_url_and_prefix_once(self, base_url: str) -> None:
        web = self.web(base_url=base_url, prefix="/a/b")
        response = web.ask("/a/b/pypi/six/json")
        assert response.body == self.BODY.replace(b"@BASE@/", b"https://pypi.example/a/b/")

    def test_each_host_has_its_own_tag(self) -> None:
        web = self.web()
        tag = self.ask(web)["etag"]
        assert self.ask(web, f"If-None-Match: {tag}").status == 304
        assert self.ask(web, f"If-None-Match: {tag}", host="other.example").status == 200

    def test_head_tells_the_completed_length(self) -> None:
        web = self.web()
        length = len(self.ask(web).body)
        assert web.ask("/pypi/six/json", method="HEAD", host="cache.example:8080")["content-length"] == str(length)

    def test_large_documents_are_completed_by_a_worker(self) -> None:
        work: list[object] = []

        class Workers:
            async def run(self, function, *args):
                work.append(function)
                return function(*args)

        web = self.web(workers=Workers())
        self.ask(web)
        assert not work
        web.pages.bodies = {("json", "identity"): b"@BASE@/" * 100_000}
        web.pages._page, web.pages.as_source = None, True
        assert self.ask(web).body == b"http://cache.example:8080/" * 100_000
        assert len(work) == 1


def test_events_tell_what_was_served(web: Web) -> None:
    web.ask(f"{PATH}?secret=1", GZIP, "User-Agent: pip/25")
    (served,) = web.events
    assert served == Served(
        client="192.0.2.7",
        method="GET",
        target=PATH,
        host="cache.example",
        status=200,
        size=4,
        state=HIT.state,
        kind="page",
        upstream_seconds=None,
        seconds=0.0,
        agent="pip/25",
        protocol="HTTP/1.1",
    )


def test_events_tell_of_a_shared_fetch(web: Web) -> None:
    web.pages.provenance = evolve(HIT, collapsed=True)
    web.ask(PATH)
    (served,) = web.events
    assert isinstance(served, Served)
    assert served.collapsed
