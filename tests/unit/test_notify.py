"""What the service manager is told, over a socket that stands for its own."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from twisted_pypi.notify import (
    AGAIN,
    MOST_WAITING,
    STATUS_SECONDS,
    Notifier,
    ignored,
    manager_of,
    notifier,
    watchdog_seconds,
)


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """`$NOTIFY_SOCKET`, and the manager's end."""
    path = str(tmp_path / "notify")
    name, address = (path, path) if request.param == "path" else (f"@{path}", f"\0{path}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(address)
        bound.setblocking(False)
        yield name, bound


def received(bound: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(bound.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_messages_arrive_in_order(manager: tuple[str, socket.socket]) -> None:
    name, bound = manager
    tell = manager_of(Clock(), {"NOTIFY_SOCKET": name})
    tell("READY=1")
    tell("STATUS=ä")
    assert received(bound) == ["READY=1", "STATUS=ä"]


def test_a_manager_without_room_gets_them_later_and_nobody_waits(manager: tuple[str, socket.socket]) -> None:
    name, bound = manager
    clock = Clock()
    tell = manager_of(clock, {"NOTIFY_SOCKET": name})
    sent = 0
    while not clock.getDelayedCalls():
        tell(f"STATUS={sent}")
        sent += 1
    tell("READY=1")
    first = received(bound)
    assert first == [f"STATUS={number}" for number in range(len(first))]
    clock.advance(AGAIN)
    assert received(bound) == [f"STATUS={sent - 1}", "READY=1"]
    assert not clock.getDelayedCalls()


def test_what_waits_is_bounded(manager: tuple[str, socket.socket]) -> None:
    name, bound = manager
    clock = Clock()
    tell = manager_of(clock, {"NOTIFY_SOCKET": name})
    while not clock.getDelayedCalls():
        tell("STATUS=")
    for number in range(3 * MOST_WAITING):
        tell(f"STATUS={number}")
    received(bound)
    last = []
    while clock.getDelayedCalls():
        clock.advance(AGAIN)
        last += received(bound)
    assert last == [f"STATUS={number}" for number in range(2 * MOST_WAITING, 3 * MOST_WAITING)]


def test_a_manager_that_is_gone_is_nobody_s_trouble(tmp_path: Path) -> None:
    clock = Clock()
    tell = manager_of(clock, {"NOTIFY_SOCKET": str(tmp_path / "none")})
    tell("READY=1")
    tell("READY=1")
    assert not clock.getDelayedCalls()


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_without_a_socket_nobody_is_told(environ: dict[str, str]) -> None:
    assert manager_of(Clock(), environ) is ignored


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0", "WATCHDOG_PID": "7"}, None),
        ({"WATCHDOG_USEC": "soon", "WATCHDOG_PID": "7"}, None),
        ({"WATCHDOG_PID": "7"}, None),
    ],
)
def test_only_the_process_that_is_watched_is_heard_of(environ: dict[str, str], seconds: float | None) -> None:
    assert watchdog_seconds(environ, 7) == seconds


def told(watchdog: float | None) -> tuple[Clock, Notifier, list[str]]:
    clock, messages = Clock(), list[str]()
    return clock, Notifier(clock, messages.append, watchdog, lambda: "well\nindeed"), messages


def test_it_is_heard_of_from_ready_to_the_end() -> None:
    clock, told_by, messages = told(6.0)
    clock.advance(60)
    assert messages == []
    told_by.ready()
    assert messages == ["READY=1\nSTATUS=well indeed"]
    clock.advance(2.9)
    assert len(messages) == 1
    clock.pump([0.1, 3.0])
    assert messages[1:] == ["WATCHDOG=1\nSTATUS=well indeed"] * 2
    told_by.stopping(10.0)
    assert re.fullmatch(r"STOPPING=1\nSTATUS=.* 10 s\nEXTEND_TIMEOUT_USEC=40000000", messages[3])
    clock.advance(60)
    assert len(messages) == 4
    assert not clock.getDelayedCalls()


@pytest.mark.parametrize(
    ("watchdog", "beat"), [(None, "STATUS=well indeed"), (600.0, "WATCHDOG=1\nSTATUS=well indeed")]
)
def test_the_status_is_told_also_where_no_watchdog_wants_it_so_often(watchdog: float | None, beat: str) -> None:
    clock, told_by, messages = told(watchdog)
    told_by.ready()
    clock.pump([STATUS_SECONDS] * 3)
    assert messages[1:] == [beat] * 3


def test_reloading_is_dated_and_ends_with_ready_and_one_beat() -> None:
    clock, told_by, messages = told(6.0)
    told_by.ready()
    before = time.monotonic_ns() // 1000
    with told_by.reloading():
        assert len(messages) == 2
    found = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", messages[1])
    assert found
    assert before <= int(found[1]) <= time.monotonic_ns() // 1000
    assert messages[2] == messages[0]
    assert len(clock.getDelayedCalls()) == 1


def test_a_reload_before_it_is_ready_or_after_the_end_is_nobody_s_business() -> None:
    _, told_by, messages = told(6.0)
    with told_by.reloading():
        pass
    assert messages == []
    told_by.ready()
    told_by.stopping(1.0)
    with told_by.reloading():
        pass
    assert [message.partition("=")[0] for message in messages] == ["READY", "STOPPING"]


def test_one_that_cannot_start_says_why_in_one_line() -> None:
    _, told_by, messages = told(None)
    told_by.failed("--cache-dir: \n no")
    assert messages == ["STATUS=--cache-dir: no"]


def test_that_of_this_process(monkeypatch: pytest.MonkeyPatch, manager: tuple[str, socket.socket]) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager[0])
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    made = notifier(Clock())
    made.ready()
    assert made.watchdog is None
    assert received(manager[1]) == ["READY=1\nSTATUS="]
