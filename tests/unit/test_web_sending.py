"""Bodies that lie in files, over real sockets: from the request to the client's last byte."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from attrs import define, field
from twisted.protocols.policies import ProtocolWrapper

from twisted_pypi.answers import Extent, FileAnswer
from twisted_pypi.storage.sources import HOLD_BACK, CheckedSource, FileSource
from twisted_pypi.web import transport as module
from twisted_pypi.web.sending import EAGER, PIECE, STALL
from unit.socket_doubles import Client, SocketReactor, connect
from unit.web_doubles import HIT, Web, parse

DATA = os.urandom(3 * PIECE + 1000)
GET = b"GET /packages/a.whl HTTP/1.1\r\nHost: cache.example\r\n\r\n"
HEAD = GET.replace(b"GET", b"HEAD")
PAGE = b"GET /simple/six/ HTTP/1.1\r\nHost: cache.example\r\n\r\n"


@define
class Site:
    """A site that serves `file` at a path of its own, to a client at the other end of a socket."""

    file: BinaryIO
    size: int | None
    make: Callable[[], object]
    sources: list[object] = field(factory=list)
    web: Web = field(init=False)
    client: Client = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.web = Web(files=self)
        self.client = connect(self.web.site.buildProtocol(None), SocketReactor(self.web.clock))

    def ready(self, route: object, asker: object) -> None:
        """Nothing is at hand."""

    async def answer(self, route: object, asker: object) -> FileAnswer:
        source = None if asker.head else self.make()
        self.sources += [source] if source else []
        return FileAnswer(self.size, "ab" * 32, source, HIT)

    def check_quiet(self) -> None:
        """Everything is given back, and the reactor has nothing to do."""
        for _ in range(3):
            self.client.reactor.turn()
        for source in self.sources:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(source.fileno)
        assert not self.client.reactor.writers
        assert not [call for call in self.web.clock.calls if call.func.__qualname__ == "Sender._look"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with (tmp_path / "body").open("w+b") as file:
        file.write(DATA)
        file.flush()
        yield serving(file, len(DATA))


def serving(file: BinaryIO, size: int | None, source: Callable[[int], object] | None = None) -> Site:
    """A connected site for the file, by default as a `FileSource`."""
    made = source or (lambda descriptor: FileSource(descriptor, 0, size))
    return Site(file, size, lambda: made(os.dup(file.fileno())))


class TestAtRest:
    """A stored file."""

    def test_it_arrives_and_the_connection_goes_on(self, site: Site) -> None:
        for _ in range(2):
            site.client.send(GET)
            site.client.take_until(len(DATA))
            first = parse(site.client.take_until(len(DATA) + 300))
            assert first.body == DATA
            assert not first.rest
            site.client.received.clear()
        site.check_quiet()
        assert [(event.status, event.size, event.complete) for event in site.web.events] == [(200, len(DATA), True)] * 2

    def test_a_slow_reader(self, site: Site) -> None:
        site.client.send(GET)
        site.client.take_until(len(DATA) + 300, at_a_time=5000)
        assert parse(bytes(site.client.received)).body == DATA
        site.check_quiet()

    def test_the_next_answer_follows_the_file(self, site: Site) -> None:
        site.client.send(GET + HEAD + PAGE + GET + PAGE)
        first = parse(site.client.take_until(2 * len(DATA) + 1500))
        head = parse(first.rest, head=True)
        page = parse(head.rest)
        second = parse(page.rest)
        last = parse(second.rest)
        assert [first.body, head.body, page.body, second.body, last.body] == [DATA, b"", b"<html>", DATA, b"<html>"]
        assert head["content-length"] == str(len(DATA))
        assert not last.rest
        site.check_quiet()

    @pytest.mark.parametrize(("first", "last"), [(0, 0), (5, PIECE + 4), (PIECE, 2 * PIECE + 77), (7, 3 * PIECE + 999)])
    def test_a_range(self, site: Site, first: int, last: int) -> None:
        site.client.send(GET.replace(b"\r\n\r\n", b"\r\nRange: bytes=%d-%d\r\n\r\n" % (first, last)))
        site.client.take_until(last - first + 300)
        for _ in range(3):
            site.client.reactor.turn()
            site.client.take()
        answer = parse(bytes(site.client.received))
        assert (answer.status, answer.body, answer.rest) == (206, DATA[first : last + 1], b"")
        site.check_quiet()

    def test_http_1_0_ends_with_the_connection(self, site: Site) -> None:
        site.client.send(GET.replace(b"1.1", b"1.0"))
        assert parse(site.client.take_to_end()).body == DATA
        assert not site.client.reset
        site.check_quiet()

    def test_a_short_file_is_through_in_the_turn_of_its_request(self, tmp_path: Path) -> None:
        with (tmp_path / "short").open("w+b") as file:
            file.write(b"0123456789")
            file.flush()
            site = serving(file, 10)
            site.client.transport.protocol.dataReceived(GET)
            site.client.take()
            assert parse(bytes(site.client.received)).body == b"0123456789"
            assert [event.complete for event in site.web.events] == [True]
            assert not site.client.reactor.writers
            site.check_quiet()

    def test_a_short_file_that_the_client_does_not_take_at_once(self, tmp_path: Path) -> None:
        with (tmp_path / "short").open("w+b") as file:
            file.write(DATA[:PIECE])
            file.flush()
            site = serving(file, PIECE)
            site.client.transport.protocol.dataReceived(GET + PAGE)
            assert not site.web.events
            first = parse(site.client.take_until(PIECE + 600))
            assert (first.body, parse(first.rest).body) == (DATA[:PIECE], b"<html>")
            site.check_quiet()

    def test_a_socket_that_is_busy_at_once(self, site: Site, monkeypatch) -> None:
        def busy(*_: object) -> int:
            raise BlockingIOError(errno.EAGAIN, "later")

        with monkeypatch.context() as patched:
            patched.setattr(module, "_send", busy)
            site.client.transport.protocol.dataReceived(GET)
            site.web.clock.advance(0)
        assert parse(site.client.take_until(len(DATA) + 200)).body == DATA
        site.check_quiet()

    def test_it_goes_without_sendfile(self, site: Site, monkeypatch) -> None:
        monkeypatch.setattr(module, "_send", module._copy)
        site.client.send(GET)
        assert parse(site.client.take_until(len(DATA) + 300)).body == DATA
        site.check_quiet()

    def test_below_a_wrapper_it_is_written_not_sent(self, site: Site, monkeypatch) -> None:
        """A wrapper, such as TLS, claims every interface and attribute of what it wraps."""
        monkeypatch.setattr(module, "_send", None)
        protocol, channel = ProtocolWrapper(_Factory(), None), site.web.site.buildProtocol(None)
        protocol.wrappedProtocol = channel
        client = connect(protocol, SocketReactor(site.web.clock))
        client.send(GET)
        assert parse(client.take_until(len(DATA) + 300)).body == DATA
        client.close()


class _Factory:
    def registerProtocol(self, protocol: object) -> None:  # noqa: N802
        pass

    def unregisterProtocol(self, protocol: object) -> None:  # noqa: N802
        pass


class TestBroken:
    """A body that stays incomplete ends in a broken connection."""

    def test_a_file_cut_short(self, site: Site) -> None:
        site.client.send(GET)
        os.ftruncate(site.file.fileno(), PIECE)
        assert not parse(site.client.take_to_end()).whole
        assert site.client.reset
        assert site.web.events[-1].complete is False
        site.check_quiet()

    def test_a_client_that_goes(self, site: Site) -> None:
        site.client.send(GET)
        site.client.take_until(10_000, at_a_time=5000)
        site.client.close()
        assert [event.complete for event in site.web.events] == [False]
        site.check_quiet()

    def test_a_client_that_sends_no_more_gets_its_answer(self, site: Site) -> None:
        site.client.send(GET)
        site.client.socket.shutdown(1)
        assert parse(site.client.take_to_end()).body == DATA
        assert [event.complete for event in site.web.events] == [True]
        site.check_quiet()

    def test_a_client_that_takes_nothing_is_dropped(self, site: Site) -> None:
        site.client.send(GET)
        site.client.fill()
        site.web.clock.advance(STALL - 1)
        while site.client.take(4096):  # it takes some
            pass
        site.client.fill()
        site.web.clock.advance(STALL - 1)
        assert not site.web.events
        site.web.clock.advance(1)
        assert [event.complete for event in site.web.events] == [False]
        site.client.take_to_end()
        assert site.client.reset
        site.check_quiet()

    def test_closing_waits_for_the_file(self, site: Site) -> None:
        site.client.send(GET)
        site.client.transport.protocol.loseConnection()
        assert parse(site.client.take_to_end()).body == DATA
        assert not site.client.reset
        site.check_quiet()


@pytest.fixture
def paged() -> Iterator[Site]:
    """A site whose page lies in memory."""
    with tempfile.TemporaryFile() as file:
        made = serving(file, 0)
        made.web.pages.bodies = dict.fromkeys(made.web.pages.bodies, DATA)
        made.web.pages.renew()
        yield made


class TestInMemory:
    """A page's body that lies in memory is sent from there."""

    def test_it_arrives_and_the_connection_goes_on(self, paged: Site) -> None:
        paged.client.send(PAGE + PAGE)
        paged.client.take_until(2 * len(DATA) + 500)
        first = parse(bytes(paged.client.received))
        assert (first.body, parse(first.rest).body) == (DATA, DATA)
        paged.check_quiet()
        assert [(event.status, event.size, event.complete) for event in paged.web.events] == [
            (200, len(DATA), True)
        ] * 2

    def test_a_slow_reader_has_nothing_copied(self, paged: Site) -> None:
        paged.client.send(PAGE)
        paged.client.fill()
        assert not paged.client.transport.dataBuffer
        paged.client.take_until(len(DATA) + 250, at_a_time=5000)
        assert parse(bytes(paged.client.received)).body == DATA
        paged.check_quiet()

    def test_a_short_one_is_through_in_the_turn_of_its_request(self, paged: Site, monkeypatch) -> None:
        monkeypatch.setattr(module, "_send_view", lambda out, data, count: count)
        paged.web.pages.bodies = dict.fromkeys(paged.web.pages.bodies, bytes(EAGER))
        paged.web.pages.renew()
        paged.client.transport.protocol.dataReceived(PAGE)
        assert [event.size for event in paged.web.events] == [EAGER]

    def test_a_client_that_takes_nothing_is_dropped(self, paged: Site) -> None:
        paged.client.send(PAGE)
        paged.client.fill()
        paged.web.clock.advance(STALL + 1)
        assert [event.complete for event in paged.web.events] == [False]
        paged.client.take_to_end()
        assert paged.client.reset
        paged.check_quiet()

    def test_below_a_wrapper_it_is_written_in_pieces(self, paged: Site, monkeypatch) -> None:
        monkeypatch.setattr(module, "_send_view", None)
        protocol = paged.web.site.buildProtocol(None)
        wrapper = ProtocolWrapper(_Factory(), protocol)
        client = connect(wrapper, SocketReactor(paged.web.clock))
        client.send(PAGE)
        client.take_until(len(DATA) + 250)
        assert parse(bytes(client.received)).body == DATA
        client.close()


@define(eq=False)
class Growing:
    """A source whose file grows; the test says how much of it may be had."""

    fileno: int
    length: int | None
    available: int = 0
    finished: bool = False
    failure: Exception | None = None
    _changed: Callable[[], None] = lambda: None

    def read(self, position: int, limit: int) -> bytes:
        return os.pread(self.fileno, max(0, min(limit, self.available - position)), position)

    def extent(self, position: int) -> Extent:
        return Extent(self.fileno, position, max(0, self.available - position))

    def subscribe(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    def close(self) -> None:
        os.close(self.fileno)

    def grow(self, available: int, *, finished: bool = False, failure: Exception | None = None) -> None:
        self.available, self.finished, self.failure = available, finished, failure
        self._changed()


class TestGrowing:
    """A file that is still coming."""

    def start(self, file: BinaryIO, length: int | None = len(DATA)) -> tuple[Site, Growing]:
        file.write(DATA)
        file.flush()
        source: list[Growing] = []
        site = serving(file, length, lambda descriptor: source.append(Growing(descriptor, length)) or source[0])
        site.client.send(GET)
        return site, source[0]

    def test_it_follows(self) -> None:
        with tempfile.TemporaryFile() as file:
            site, source = self.start(file)
            head = len(site.client.take_until(100))
            for available in (1000, 5000, 2 * PIECE, len(DATA) - HOLD_BACK):
                source.grow(available)
                assert len(site.client.take_until(head + available)) == head + available
                site.client.fill()
                assert not site.client.reactor.writers  # nothing to do until it grows
            source.grow(len(DATA), finished=True)
            assert parse(site.client.take_until(head + len(DATA))).body == DATA
            site.check_quiet()

    def test_it_fails(self) -> None:
        with tempfile.TemporaryFile() as file:
            site, source = self.start(file)
            source.grow(len(DATA) - HOLD_BACK)
            site.client.take_until(len(DATA) - HOLD_BACK)
            source.grow(len(DATA), failure=ValueError("digest"))
            answer = parse(site.client.take_to_end())
            assert answer.body == DATA[:-HOLD_BACK]
            assert site.client.reset
            site.check_quiet()

    def test_closing_waits_for_what_is_still_coming(self) -> None:
        with tempfile.TemporaryFile() as file:
            site, source = self.start(file)
            site.client.transport.protocol.loseConnection()
            site.client.fill()
            source.grow(len(DATA), finished=True)
            assert parse(site.client.take_to_end()).body == DATA
            assert not site.client.reset
            site.check_quiet()

    def test_an_unknown_length_goes_in_chunks(self) -> None:
        with tempfile.TemporaryFile() as file:
            site, source = self.start(file, None)
            source.grow(len(DATA), finished=True)
            for _ in range(10_000):
                site.client.take()
                site.client.reactor.turn()
                if site.web.events:
                    break
            site.client.fill()
            site.client.take()
            answer = parse(bytes(site.client.received))
            assert (answer.body, answer.whole) == (DATA, True)
            site.check_quiet()


class TestChecked:
    """A file whose digest is compared beside its serving."""

    @pytest.mark.parametrize("failure", [None, ValueError("digest")])
    def test_the_last_piece_waits_for_the_check(self, failure: Exception | None) -> None:
        with tempfile.TemporaryFile() as file:
            file.write(DATA)
            file.flush()
            site = serving(file, len(DATA), lambda descriptor: CheckedSource(descriptor, 0, len(DATA)))
            site.client.send(GET)
            held = parse(site.client.take_until(len(DATA) - HOLD_BACK + 200))
            site.client.fill()
            site.client.take()
            held = parse(bytes(site.client.received))
            assert held.body == DATA[:-HOLD_BACK]
            site.sources[0].settle(failure)
            if failure:
                assert parse(site.client.take_to_end()).body == DATA[:-HOLD_BACK]
                assert site.client.reset
            else:
                site.client.take_until(len(site.client.received) + HOLD_BACK)
                assert parse(bytes(site.client.received)).body == DATA
            site.check_quiet()
