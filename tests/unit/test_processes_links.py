"""Connections on their way between processes: one end has each, and never both answer."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from twisted.internet.task import Clock

from twisted_pypi.processes.frames import LARGEST, Pass, Report, encode
from unit.process_doubles import Pair, Side

TURN = 0.001


class Passing:
    """A pair of links, and a client's connection to be passed."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.near, self.far = Side(self.clock), Side(self.clock)
        self.pair = Pair.of(self.near.ends(), self.far.ends())
        self.client, self.connection = socket.socketpair()

    def turn(self) -> None:
        self.clock.advance(TURN)

    def close(self) -> None:
        for kept in (self.client, self.connection, *(each for each, _ in self.near.kept + self.far.taken)):
            kept.close()


@pytest.fixture
def passing() -> Iterator[Passing]:
    made = Passing()
    yield made
    made.close()


def test_it_arrives_with_what_came_over_it(passing: Passing) -> None:
    passing.pair.near.give(passing.connection, b"GET /")
    passing.pair.settle()
    passing.turn()
    ((connection, data),) = passing.far.taken
    assert data == b"GET /"
    connection.sendall(b"answer")
    assert passing.client.recv(100) == b"answer"
    assert passing.connection.fileno() == -1  # closed here, as it is there


def test_the_other_end_confirms_before_it_begins(passing: Passing) -> None:
    passing.pair.near.give(passing.connection)
    passing.pair.deliver(passing.pair.near)
    assert passing.pair.wires[passing.pair.far].value()
    assert not passing.far.taken


def test_what_is_not_confirmed_stays(passing: Passing) -> None:
    passing.pair.near.give(passing.connection, b"GET /")
    passing.pair.cut()
    assert passing.near.kept == [(passing.connection, b"GET /")]
    passing.connection.sendall(b"still open")
    assert passing.client.recv(100) == b"still open"


def test_what_is_confirmed_does_not(passing: Passing) -> None:
    passing.pair.near.give(passing.connection)
    passing.pair.settle()
    passing.pair.cut()
    assert not passing.near.kept


def test_many_at_once_keep_their_order(passing: Passing) -> None:
    pairs = [socket.socketpair() for _ in range(5)]
    for number, (_, connection) in enumerate(pairs):
        passing.pair.near.give(connection, b"%d" % number)
    passing.pair.settle()
    passing.turn()
    for number, ((client, _), (connection, data)) in enumerate(zip(pairs, passing.far.taken, strict=True)):
        connection.sendall(data)
        assert client.recv(10) == b"%d" % number
        client.close()


def test_messages_both_ways(passing: Passing) -> None:
    passing.pair.near.send(Report(1))
    passing.pair.far.send(Report(2))
    passing.pair.settle()
    assert (passing.far.messages, passing.near.messages) == ([Report(1)], [Report(2)])


def test_the_largest_request_that_is_passed_fits_into_a_frame() -> None:
    assert len(encode(Pass(1, bytes(256 << 10)))) < LARGEST  # what a transport reads at once
