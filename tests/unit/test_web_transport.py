"""`web.transport`: what is written arrives, in order, as fast as the client takes it; files too."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import Port, Server
from twisted.internet.unix import Port as UnixPort
from twisted.internet.unix import Server as UnixServer
from twisted.protocols.policies import WrappingFactory

from twisted_pypi.web import transport as module
from twisted_pypi.web.transport import PER_TURN, CacheTransport, use_on
from unit.socket_doubles import Client, SocketReactor, connect
from unit.web_doubles import Turning

DATA = os.urandom(2 << 20)


class Producer(Protocol):
    """A protocol that is told when to pause, and sends a file in between."""

    fileno = -1
    position = 0
    end = 0
    paused = False
    pauses = 0
    lost = False

    def connectionMade(self) -> None:  # noqa: N802
        self.transport.registerProducer(self, True)

    def connectionLost(self, reason: object = None) -> None:  # noqa: N802
        self.lost = True

    def pauseProducing(self) -> None:  # noqa: N802
        self.paused = True  # the base class says it with every write
        self.pauses += 1

    def resumeProducing(self) -> None:  # noqa: N802
        assert self.paused
        self.paused = False
        self.go_on()

    def stopProducing(self) -> None:  # noqa: N802
        pass

    def go_on(self) -> None:
        while self.position < self.end and not self.paused:
            self.position += self.transport.send_file(self.fileno, self.position, self.end - self.position)

    def send_bytes(self, data: bytes) -> None:
        view, sent = memoryview(data), 0

        def go_on() -> None:
            nonlocal sent
            while sent < len(view) and not self.paused:
                sent += self.transport.send_bytes(view[sent:])

        self.go_on = go_on
        go_on()

    def send_file(self, fileno: int, first: int, end: int) -> None:
        self.__dict__.pop("go_on", None)
        self.fileno, self.position, self.end = fileno, first, end
        self.go_on()


@pytest.fixture
def file() -> Iterator[int]:
    with tempfile.TemporaryFile() as made:
        made.write(DATA)
        made.flush()
        yield made.fileno()


@pytest.fixture
def client() -> Iterator[Client]:
    with_producer = connect(Producer(), SocketReactor(Turning()))
    yield with_producer
    with_producer.close()


class TestWriting:
    """Sent at once as far as the socket takes it."""

    def test_a_write_needs_no_turn(self, client: Client) -> None:
        client.transport.write(b"one")
        client.transport.writeSequence([b"two", b"three"])
        assert client.take() == 11
        assert not client.reactor.writers

    def test_what_the_socket_does_not_take_follows_in_order(self, client: Client) -> None:
        client.transport.write(DATA)
        client.transport.write(b"two")
        client.transport.writeSequence([b"three", b"four"])
        assert client.transport.protocol.paused
        assert client.take_until(len(DATA) + 12) == DATA + b"twothreefour"
        assert not client.transport.protocol.paused
        assert not client.reactor.writers
        client.transport.write(b"five")
        assert client.take() == 4

    def test_a_sequence_too_long_for_one_call(self, client: Client) -> None:
        client.transport.writeSequence(bytes([byte]) for byte in range(256))
        assert client.take_until(256) == bytes(range(256))

    def test_a_large_sequence(self, client: Client) -> None:
        client.transport.writeSequence([b"head", DATA, b"tail"])
        assert client.take_until(len(DATA) + 8) == b"head" + DATA + b"tail"

    def test_nothing_is_written_after_the_end(self, client: Client) -> None:
        transport, protocol = client.transport, client.transport.protocol
        client.close()
        assert protocol.lost
        transport.write(b"late")
        transport.writeSequence([b"late", b"later"])
        assert not client.reactor.writers

    def test_a_reset_is_found_by_the_reactor(self, client: Client) -> None:
        protocol = client.transport.protocol
        client.transport.write(DATA)
        client.socket.close()  # with bytes unread: a reset
        client.transport.write(b"more")
        assert not protocol.lost
        for _ in range(3):
            client.reactor.turn()
        assert protocol.lost
        assert not client.reactor.writers
        assert not client.reactor.readers

    def test_closing_waits_for_what_is_written(self, client: Client) -> None:
        client.transport.write(DATA)
        client.transport.unregisterProducer()
        client.transport.loseConnection()
        assert client.take_to_end() == DATA
        assert not client.reset


class TestFiles:
    """Sent as the socket takes it, the producer paused meanwhile."""

    def test_a_file_arrives(self, client: Client, file: int) -> None:
        client.transport.protocol.send_file(file, 0, len(DATA))
        assert client.take_until(len(DATA)) == DATA
        assert client.transport.protocol.pauses > 4
        for _ in range(2):
            client.reactor.turn()
        assert not client.reactor.writers

    def test_a_part_of_a_file(self, client: Client, file: int) -> None:
        client.transport.protocol.send_file(file, 1000, 1_000_001)
        assert client.take_until(999_001) == DATA[1000:1_000_001]

    def test_a_short_file_needs_no_turn(self, client: Client, file: int) -> None:
        assert client.transport.send_file(file, 0, 1000) == 1000
        assert client.take() == 1000
        assert not client.reactor.writers
        assert not client.transport.protocol.pauses

    def test_what_was_written_before_goes_first(self, client: Client, file: int) -> None:
        client.transport.write(DATA)
        assert client.transport.send_file(file, 0, 5) == 0
        client.transport.protocol.send_file(file, 0, len(DATA))
        assert client.take_until(2 * len(DATA)) == DATA + DATA

    def test_other_connections_have_their_turns(self, client: Client, file: int, monkeypatch) -> None:
        asked = []

        def greedy(out: object, fileno: int, offset: int, count: int) -> int:
            asked.append(count)
            return count

        monkeypatch.setattr(module, "_send", greedy)
        client.transport.protocol.send_file(file, 0, 4 * PER_TURN)
        for turns in range(1, 5):
            assert asked == [PER_TURN] * turns
            client.reactor.turn()

    def test_a_slow_reader_holds_nothing_in_memory(self, client: Client, file: int) -> None:
        client.transport.protocol.send_file(file, 0, len(DATA))
        client.fill()
        assert client.transport.protocol.paused
        assert not client.transport.dataBuffer
        assert client.take_until(len(DATA), at_a_time=4096 * 3) == DATA

    @pytest.mark.parametrize("error", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
    def test_a_file_system_that_cannot(self, client: Client, file: int, monkeypatch, error: int) -> None:
        monkeypatch.setattr(os, "sendfile", _raising(OSError(error, "no")))
        client.transport.protocol.send_file(file, 0, len(DATA))
        assert client.take_until(len(DATA)) == DATA

    def test_a_system_without_sendfile(self, client: Client, file: int, monkeypatch) -> None:
        monkeypatch.setattr(module, "_send", module._copy)
        client.transport.protocol.send_file(file, 3, len(DATA))
        assert client.take_until(len(DATA) - 3) == DATA[3:]

    @pytest.mark.parametrize("error", [errno.EAGAIN, errno.ENOBUFS])
    def test_a_busy_socket_is_tried_again(self, client: Client, file: int, monkeypatch, error: int) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(os, "sendfile", _raising(OSError(error, "later")))
            assert client.transport.send_file(file, 0, 10) == 0
        assert client.transport.protocol.paused
        client.transport.protocol.position, client.transport.protocol.end = 0, 10
        client.transport.protocol.fileno = file
        assert client.take_until(10) == DATA[:10]

    @pytest.mark.parametrize("send", ["_sendfile", "_copy"])
    def test_a_file_cut_short(self, client: Client, monkeypatch, send: str) -> None:
        monkeypatch.setattr(module, "_send", getattr(module, send))
        with tempfile.TemporaryFile() as made:
            made.write(b"123")
            made.flush()
            assert client.transport.send_file(made.fileno(), 0, 10) == 3
            with pytest.raises(EOFError):
                client.transport.send_file(made.fileno(), 3, 7)

    def test_a_disk_error_is_told(self, client: Client, file: int, monkeypatch) -> None:
        monkeypatch.setattr(os, "sendfile", _raising(OSError(errno.EIO, "bad disk")))
        with pytest.raises(OSError, match="bad disk"):
            client.transport.send_file(file, 0, 10)

    def test_a_client_that_has_gone(self, client: Client, file: int) -> None:
        client.transport.write(b"unread")
        client.socket.close()
        with pytest.raises(ConnectionError):
            client.transport.send_file(file, 0, 10)

    def test_an_abort_ends_it(self, client: Client, file: int) -> None:
        protocol = client.transport.protocol
        protocol.send_file(file, 0, len(DATA))
        client.transport.abortConnection()
        for _ in range(3):
            client.reactor.turn()
        assert protocol.lost
        assert not client.reactor.writers
        client.take_to_end()
        assert client.reset

    def test_closing_waits_for_a_producer_that_is_paused(self, client: Client, file: int) -> None:
        client.transport.protocol.send_file(file, 0, len(DATA))
        client.transport.loseConnection()
        assert client.take_to_end() == DATA

    def test_nothing_is_sent_below_tls(self, client: Client, file: int) -> None:
        client.transport.TLS = True
        assert client.transport.send_file(file, 0, 10) == 0
        assert client.take() == 0
        client.transport.TLS = False


class TestMemory:
    """Bytes in memory go the way of files."""

    def test_they_arrive(self, client: Client) -> None:
        client.transport.protocol.send_bytes(DATA)
        assert client.take_until(len(DATA)) == DATA
        assert client.transport.protocol.pauses > 4
        for _ in range(2):
            client.reactor.turn()
        assert not client.reactor.writers

    def test_few_need_no_turn(self, client: Client) -> None:
        assert client.transport.send_bytes(memoryview(b"some")) == 4
        assert client.take() == 4
        assert not client.reactor.writers
        assert not client.transport.protocol.pauses

    def test_what_was_written_before_goes_first(self, client: Client) -> None:
        client.transport.write(DATA)
        assert client.transport.send_bytes(memoryview(b"later")) == 0
        client.transport.protocol.send_bytes(DATA)
        assert client.take_until(2 * len(DATA)) == DATA + DATA

    def test_a_slow_reader_has_nothing_copied(self, client: Client) -> None:
        client.transport.protocol.send_bytes(DATA)
        client.fill()
        assert client.transport.protocol.paused
        assert not client.transport.dataBuffer
        assert client.take_until(len(DATA), at_a_time=4096 * 3) == DATA

    def test_other_connections_have_their_turns(self, client: Client, monkeypatch) -> None:
        asked = []

        def greedy(out: object, data: memoryview, count: int) -> int:
            asked.append(count)
            return count

        monkeypatch.setattr(module, "_send_view", greedy)
        client.transport.protocol.send_bytes(bytes(3 * PER_TURN))
        for turns in range(1, 4):
            assert asked == [PER_TURN] * turns
            client.reactor.turn()

    @pytest.mark.parametrize("error", [errno.EAGAIN, errno.ENOBUFS])
    def test_a_busy_socket_is_tried_again(self, client: Client, monkeypatch, error: int) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(module, "_send_view", _raising(OSError(error, "later")))
            client.transport.protocol.go_on = lambda: None
            assert client.transport.send_bytes(memoryview(b"0123456789")) == 0
        assert client.transport.protocol.paused
        client.reactor.turn()
        client.transport.protocol.send_bytes(b"0123456789")
        assert client.take_until(10) == b"0123456789"

    def test_a_client_that_has_gone(self, client: Client) -> None:
        client.transport.write(b"unread")
        client.socket.close()
        with pytest.raises(ConnectionError):
            client.transport.send_bytes(memoryview(b"data"))

    def test_nothing_is_sent_below_tls(self, client: Client) -> None:
        client.transport.TLS = True
        assert client.transport.send_bytes(memoryview(b"data")) == 0
        assert client.take() == 0
        client.transport.TLS = False


_writes = st.tuples(st.just("write"), st.binary(max_size=100_000))
_sequences = st.tuples(st.just("sequence"), st.lists(st.binary(max_size=5_000), max_size=80))
_files = st.tuples(st.just("file"), st.integers(0, len(DATA) - 1), st.integers(0, 600_000))
_bodies = st.tuples(st.just("bytes"), st.binary(max_size=100_000), st.integers(1, 8))
_turns = st.tuples(st.just("take"), st.integers(1, 200_000))


@settings(max_examples=60, deadline=None)
@given(st.lists(_writes | _sequences | _files | _bodies | _turns, max_size=12))
def test_bytes_leave_in_the_order_in_which_they_were_written(steps) -> None:
    client, expected = connect(Producer(), SocketReactor(Turning())), b""
    with tempfile.TemporaryFile() as made:
        made.write(DATA)
        made.flush()
        for kind, *args in steps:
            match kind:
                case "write":
                    client.transport.write(args[0])
                    expected += args[0]
                case "sequence":
                    client.transport.writeSequence(args[0])
                    expected += b"".join(args[0])
                case "take":
                    client.take(args[0])
                    client.reactor.turn()
                case "bytes":
                    client.transport.protocol.send_bytes(args[0] * args[1])
                    expected += args[0] * args[1]
                    client.take_until(len(expected))
                case "file":
                    first, end = args[0], min(len(DATA), args[0] + args[1])
                    client.transport.protocol.send_file(made.fileno(), first, end)
                    expected += DATA[first:end]
                    client.take_until(len(expected))
        assert client.take_until(len(expected)) == expected
        client.close()


class TestPorts:
    """Only on ports whose connections are the site's own, without anything in between."""

    def test_a_tcp_port(self) -> None:
        factory = Factory()
        port = Port(0, factory, reactor=SocketReactor(Turning()))
        use_on(port, factory)
        assert port.transport is CacheTransport

    def test_a_port_below_a_wrapper(self) -> None:
        factory = Factory()
        port = Port(0, WrappingFactory(factory), reactor=SocketReactor(Turning()))
        use_on(port, factory)
        assert port.transport is Server

    def test_a_unix_port(self) -> None:
        factory = Factory()
        port = UnixPort("/nowhere", factory, reactor=SocketReactor(Turning()))
        use_on(port, factory)
        assert port.transport is UnixServer


def _raising(error: OSError):
    def fail(*_: object) -> int:
        raise error

    return fail
