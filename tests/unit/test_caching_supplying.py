"""Companions that we make: from pieces of a file, from the stored file, and what happens when the two differ."""

from __future__ import annotations

import hashlib
import io
import random
import zipfile

import pytest
from attrs import define, evolve, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from twisted_pypi.answers import Asker
from twisted_pypi.caching import pieces as module
from twisted_pypi.caching.passing import LARGE_FILE
from twisted_pypi.caching.pieces import MAX_BYTES, TAIL, Missing, PieceReader, Pieces
from twisted_pypi.caching.supplying import GIVEN_UP
from twisted_pypi.errors import Unavailable, UpstreamFailed
from twisted_pypi.events import IntegrityFailed
from twisted_pypi.model import FileLink, FileRoute
from twisted_pypi.pypi.metadata import metadata_of_wheel
from unit.doubles import FakeBody, FakeFetched, InlineWorkers, answer, page_route, source
from unit.storage_doubles import now
from unit.test_caching_files import URL, FilesCase, pieces

METADATA = b"Name: thing\nVersion: 1.0\n"
COMPANION = f"{URL}.metadata"


def wheel(padding: int = 0, metadata: bytes = METADATA, entries: int = 0, first: bool = False) -> bytes:
    """A wheel whose METADATA is at its end, or `first`."""
    buffer = io.BytesIO()
    members = [("thing.bin", random.Random(1).randbytes(padding)), *((f"m/{n}", b"") for n in range(entries))]
    members.insert(0 if first else len(members), ("thing-1.0.dist-info/METADATA", metadata))
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


@define
class Server:
    """Answers ranges of `data`."""

    data: bytes
    etag: str = '"1"'
    asked: list[str] = field(factory=list)

    def piece(self, range_: str) -> FakeFetched:
        self.asked.append(range_)
        first, last = range_.removeprefix("bytes=").split("-")
        whole = len(self.data)
        start = int(first) if first else max(0, whole - int(last))
        end = min(int(last), whole - 1) if first else whole - 1
        part = self.data[start : end + 1]
        headers = {"content-range": f"bytes {start}-{end}/{whole}", "etag": self.etag}
        return FakeFetched(206, headers, FakeBody([part[:7], part[7:]], len(part)), URL)

    async def fetch(self, range_: str) -> FakeFetched:
        return self.piece(range_)

    def read(self, size: int | None = None) -> bytes | None:
        return now(PieceReader(self.fetch, InlineWorkers(), metadata_of_wheel, size).read())  # type: ignore[arg-type]


# -- pieces ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [None, "known"])
def test_a_large_wheel_costs_its_end(size: str | None) -> None:
    server = Server(wheel(9 << 20))
    assert server.read(len(server.data) if size else None) == METADATA
    assert len(server.asked) == 1


def test_what_is_elsewhere_costs_another_piece_or_two() -> None:
    server = Server(wheel(9 << 20, first=True))
    assert server.read() == METADATA
    assert 2 <= len(server.asked) <= 3


def test_zip64_with_a_long_directory() -> None:
    server = Server(wheel(entries=66_000, first=True))
    assert server.read() == METADATA
    assert len(server.asked) <= 4


def test_a_small_wheel_is_one_piece() -> None:
    for size in (None, len(wheel())):
        server = Server(wheel())
        assert server.read(size) == METADATA
        assert len(server.asked) == 1


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(wheel(9 << 20, first=True))
    monkeypatch.setattr(module, "MAX_BYTES", TAIL)
    with pytest.raises(ValueError, match="too much"):
        server.read()
    monkeypatch.setattr(module, "MAX_BYTES", MAX_BYTES)
    monkeypatch.setattr(module, "MAX_REQUESTS", 1)
    with pytest.raises(ValueError, match="too much"):
        server.read()


def test_no_wheel() -> None:
    for data in (b"x" * 100, wheel()[:-10]):
        with pytest.raises(ValueError, match="not a readable wheel"):
            Server(data).read()


def test_a_file_that_changes_between_two_pieces() -> None:
    server = Server(wheel(9 << 20, first=True))

    async def fetch(range_: str) -> FakeFetched:
        got = server.piece(range_)
        server.etag = '"2"'
        return got

    reader = PieceReader(fetch, InlineWorkers(), metadata_of_wheel)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="changed"):
        now(reader.read())


def test_an_answer_that_is_not_the_range() -> None:
    body = FakeBody([b"x"], 1)

    async def whole(_: str) -> FakeFetched:
        return FakeFetched(200, {}, body, URL)

    async def short(range_: str) -> FakeFetched:
        return evolve(Server(wheel(100)).piece(range_), body=FakeBody([b"x"], 1))

    assert now(PieceReader(whole, InlineWorkers(), metadata_of_wheel).read()) is None  # type: ignore[arg-type]
    assert body.abandoned
    with pytest.raises(UpstreamFailed, match="another range"):
        now(PieceReader(short, InlineWorkers(), metadata_of_wheel).read())  # type: ignore[arg-type]


@given(st.binary(max_size=60), st.integers(0, 60), st.integers(0, 60), st.integers(0, 70))
def test_pieces_read_as_the_file_does_or_miss(data: bytes, first: int, size: int, position: int) -> None:
    file, sparse = io.BytesIO(data), Pieces(len(data))
    sparse.add(first, data[first : first + size])
    for each in (file, sparse):
        each.seek(position)
    end = min(position + 10, len(data))
    if position >= end or (first <= position and end <= first + size):
        assert (sparse.read(10), sparse.tell()) == (file.read(10), file.tell())
    else:
        with pytest.raises(Missing) as gap:
            sparse.read(10)
        assert (gap.value.start, gap.value.end) == (position, end)


# -- supplying ---------------------------------------------------------------------------------------------------


class SupplyCase(FilesCase):
    """An index whose page names a wheel and announces no companion."""

    body = wheel(LARGE_FILE)

    def setUp(self) -> None:
        super().setUp()
        self.page = source("main")
        pages = page_route(self.page)
        derive = metadata_of_wheel
        self.companion = FileRoute(
            COMPANION, COMPANION, "m", "main", ("main",), True, pages, companion_of=URL, derive=derive
        )
        self.route = evolve(self.route, pages=pages, companion=lambda: self.companion)
        self.server = Server(self.body)
        self.announce(None)

    def announce(self, metadata: dict[str, str] | None, size: int | None = None) -> None:
        """What the page says."""
        hashes = {"sha256": hashlib.sha256(self.body).hexdigest()}
        link = FileLink(URL, hashes, len(self.body) if size is None else size, metadata)
        self.successResultOf(Deferred.fromCoroutine(self.store.facts.record_link("main", link)))

    def supplied_now(self) -> dict[str, str]:
        return dict(now(self.supplied.of(self.page)))

    def serve_ranges(self) -> None:
        """Answer all requests for ranges."""
        while self.upstream.waiting:
            request = self.upstream.waiting[0][0]
            self.upstream.answer(self.server.piece(request.headers["Range"]))

    def read_end(self) -> None:
        asked = self.ask(range="bytes=-1000")
        self.serve_ranges()
        self.successResultOf(asked).source.close()

    def held(self) -> bytes | None:
        """The stored companion."""
        file = now(self.store.files.get(COMPANION))
        return now(self.store.files.open(file)).read(0, 1000) if file else None

    def install(self) -> None:
        asked = self.ask()
        self.deliver(pieces(self.body))
        self.successResultOf(asked).source.close()
        self.clock.advance(0)


class Learning(SupplyCase):
    digest = hashlib.sha256(METADATA).hexdigest()

    def test_from_pieces_once_a_client_reads_pieces(self) -> None:
        self.read_end()
        self.assertEqual((self.supplied_now(), self.held()), ({URL: self.digest}, METADATA))
        requests = len(self.upstream.requests)
        self.read_end()
        self.assertEqual(len(self.upstream.requests), requests + 1)

    def test_from_the_stored_file(self) -> None:
        self.install()
        self.assertEqual((self.supplied_now(), self.held()), ({URL: self.digest}, METADATA))
        self.assertEqual(len(self.upstream.requests), 1)

    def test_the_page_is_made_anew_with_the_next_request(self) -> None:
        self.route = evolve(self.route, pages=evolve(self.route.pages, supply=self.with_companions))
        pages = self.files.knowledge.pages
        asked = Deferred.fromCoroutine(pages.answer(self.route.pages, Asker()))
        self.upstream.answer(answer(200, b"page", etag='"1"'))
        self.successResultOf(asked)
        self.install()
        requests = len(self.upstream.requests)
        asked = Deferred.fromCoroutine(pages.answer(self.route.pages, Asker()))
        request = self.upstream.answer(answer(200, b"page", etag='"1"'))
        self.assertEqual((request.headers, len(self.upstream.requests)), ({}, requests + 1))
        meta = self.successResultOf(asked).page.meta
        self.assertEqual(meta.supplied, ((URL, self.digest),))

    def test_the_page_is_dated_with_the_time_of_day_which_may_have_been_set(self) -> None:
        pages = self.files.knowledge.pages
        earlier = lambda: self.clock.seconds() - 86400  # noqa: E731
        pages.now = pages._copies.now = pages.refresher.now = self.supplied.now = earlier
        asked = Deferred.fromCoroutine(pages.answer(self.route.pages, Asker()))
        self.upstream.answer(answer(200, b"page", etag='"1"'))
        self.successResultOf(asked)
        assert pages.ready(self.route.pages, Asker()) is not None
        self.install()
        assert pages.ready(self.route.pages, Asker()) is None

    def with_companions(self, document, digests):
        return evolve(document, text=document.text + b" with " + digests[URL].encode())

    def test_not_where_upstream_announces_one_or_it_isnt_wanted(self) -> None:
        self.announce({})
        self.read_end()
        self.install()
        self.assertEqual(self.supplied_now(), {})
        self.announce(None)
        self.supplied.wanted = frozenset()
        now(self.store.files.delete(URL))
        self.read_end()
        self.install()
        self.supplied.wanted = frozenset({"main"})
        self.assertEqual((self.supplied_now(), self.held()), ({}, None))

    def test_where_there_is_none_it_is_not_looked_for_again_for_a_while(self) -> None:
        self.server.data = b"no wheel" * (LARGE_FILE // 4)
        self.announce(None, len(self.server.data))
        self.read_end()
        requests = len(self.upstream.requests)
        self.read_end()
        self.assertEqual(len(self.upstream.requests), requests + 1)
        self.clock.advance(GIVEN_UP)
        self.read_end()
        self.assertEqual(len(self.upstream.requests), requests + 3)
        self.assertEqual(self.supplied_now(), {})

    def test_an_upstream_that_fails_meanwhile_harms_nobody(self) -> None:
        asked = self.ask(range="bytes=-1000")
        self.upstream.answer(self.server.piece("bytes=-1000"))
        self.successResultOf(asked).source.close()
        self.upstream.fail()
        self.assertEqual(self.supplied_now(), {})


class Confirming(SupplyCase):
    lie = b"Name: thing\nVersion: 1.0\nRequires-Dist: evil\n"

    def test_what_the_whole_file_confirms_stays(self) -> None:
        self.read_end()
        self.install()
        self.assertEqual((self.held(), self.of_kind(IntegrityFailed)), (METADATA, []))

    def test_what_it_contradicts_is_withdrawn_and_told(self) -> None:
        self.server.data = wheel(len(self.body) - len(wheel(0, self.lie)), self.lie)
        self.announce(None, len(self.server.data))
        self.read_end()
        self.assertEqual(self.held(), self.lie)
        self.announce(None)
        self.install()
        self.assertEqual(self.held(), METADATA)
        self.assertEqual(self.supplied_now(), {URL: hashlib.sha256(METADATA).hexdigest()})
        (event,) = self.of_kind(IntegrityFailed)
        self.assertEqual((event.url, event.expected), (COMPANION, hashlib.sha256(self.lie).hexdigest()))


class MakingAgain(SupplyCase):
    def setUp(self) -> None:
        super().setUp()
        self.read_end()
        now(self.store.files.delete(COMPANION))
        self.announce({"sha256": hashlib.sha256(METADATA).hexdigest()})

    def test_what_was_evicted_comes_from_pieces_again(self) -> None:
        asked = self.ask(self.companion)
        self.serve_ranges()
        self.assertEqual(self.body_of(asked), METADATA)
        self.assertEqual(self.held(), METADATA)
        self.assertEqual({request.url for request in self.upstream.requests}, {URL})

    def test_its_digest_decides_whatever_upstream_calls_the_pieces(self) -> None:
        asked = self.ask(self.companion)
        while self.upstream.waiting:
            fetched = self.server.piece(self.upstream.waiting[0][0].headers["Range"])
            fetched.headers = {**fetched.headers, "content-type": "text/html"}
            self.upstream.answer(fetched)
        self.assertEqual(self.body_of(asked), METADATA)
        self.assertEqual({request.verifiable for request in self.upstream.requests[1:]}, {True})

    def test_another_file_there_now_is_not_served(self) -> None:
        self.server.data = wheel(LARGE_FILE, b"Name: other\n")
        asked = self.ask(self.companion)
        while self.upstream.waiting and "Range" in self.upstream.waiting[0][0].headers:
            self.upstream.answer(self.server.piece(self.upstream.waiting[0][0].headers["Range"]))
        self.upstream.answer(answer(404))
        self.failureResultOf(asked, Unavailable)
