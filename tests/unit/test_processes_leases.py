"""What a worker may answer by itself, and for how long."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from attrs import evolve
from twisted.internet.task import Clock

from twisted_pypi.answers import CacheState, Seal
from twisted_pypi.events import Event, Served
from twisted_pypi.processes.frames import Rules
from twisted_pypi.processes.leases import Leases
from twisted_pypi.web.memo import Lasting

HEAD = b"GET /simple/six/ HTTP/1.1\r\nHost: h\r\n\r\n"
SERVED = Served("192.0.2.1", "GET", "/simple/six/", "h", 200, 4, CacheState.HIT, "page", None, 0.0, "pip", "HTTP/1.1")
OPEN = Rules((), (), 0, 10.0)


class Lent:
    """Leases with one answer, made of a file."""

    def __init__(self, path: Path) -> None:
        self.path, self.clock = path, Clock()
        path.write_bytes(b"page")
        self.events: list[Event] = []
        self.leases = Leases(self.events.append, self.clock)
        self.leases.use(OPEN)
        self.put()

    def put(self) -> None:
        state = os.stat(self.path)
        seal = Seal(str(self.path), state.st_ino, state.st_mtime_ns, state.st_size)
        self.leases.put(Lasting(HEAD, int(self.clock.seconds()), (b"top", b"page"), seal, SERVED))

    def again(self, client: str = "192.0.2.1", head: bytes = HEAD) -> object:
        return self.leases.again(head, client)


@pytest.fixture
def lent(tmp_path: Path) -> Lent:
    return Lent(tmp_path / "file")


def test_the_same_bytes_get_the_answer(lent: Lent) -> None:
    assert lent.again() == (b"top", b"page")
    assert lent.again(head=HEAD.replace(b"h\r", b"i\r")) is None
    assert lent.events == [SERVED]


def test_within_the_second_alone(lent: Lent) -> None:
    lent.clock.advance(0.9)
    assert lent.again()
    lent.clock.advance(0.2)
    assert lent.again() is None
    lent.put()
    assert lent.again()


def replace(path: Path) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(b"page")
    state = os.stat(path)
    os.utime(new, ns=(state.st_atime_ns, state.st_mtime_ns))
    new.rename(path)


@pytest.mark.parametrize(
    "change",
    [
        Path.unlink,
        replace,
        lambda path: os.utime(path, (5, 5)),
        lambda path: path.write_bytes(b"longer than before"),
    ],
    ids=["deleted", "replaced", "touched", "written"],
)
def test_not_when_the_file_is_another_one(lent: Lent, change: object) -> None:
    change(lent.path)
    assert lent.again() is None
    assert lent.events == []


def test_each_client_is_reported_under_its_name_by_one_object(lent: Lent) -> None:
    for client in ("192.0.2.1", "192.0.2.2", "192.0.2.2"):
        lent.again(client)
    assert lent.events == [SERVED, *2 * [evolve(SERVED, client="192.0.2.2")]]
    assert lent.events[1] is lent.events[2]


def test_for_whom(lent: Lent) -> None:
    assert Leases(lent.events.append, lent.clock).client_of("192.0.2.1") is None  # nothing is known yet
    assert lent.leases.client_of("192.0.2.1") == "192.0.2.1"
    lent.leases.use(Rules(("192.0.2.0/24", "::1/128"), ("192.0.2.9/32",), 0, 10.0))
    assert lent.leases.client_of("192.0.2.1") == "192.0.2.1"
    assert lent.leases.client_of("::1") == "::1"
    assert lent.leases.client_of("198.51.100.1") is None
    assert lent.leases.client_of("192.0.2.9") is None


def test_new_rules_void_what_was_lent(lent: Lent) -> None:
    lent.leases.use(OPEN)
    assert lent.again() is None
