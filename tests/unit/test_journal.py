"""The log as the journal takes it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from twisted.logger import ILogObserver, Logger, LogLevel
from twisted.scripts.twistd import ServerOptions
from zope.interface.verify import verifyObject

from twisted_pypi import tap
from twisted_pypi.journal import JournalObserver, is_journal


def stream(descriptor: int) -> str:
    """What systemd says of the descriptor that it opened for the journal."""
    found = os.fstat(descriptor)
    return f"{found.st_dev}:{found.st_ino}"


def test_it_is_the_journal_when_it_is_the_very_stream_that_systemd_opened(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w") as first, (tmp_path / "b").open("w") as second:
        environ = {"JOURNAL_STREAM": stream(first.fileno())}
        assert is_journal(first.fileno(), environ)
        assert not is_journal(second.fileno(), environ)
        assert not is_journal(first.fileno(), {})
        closed = second.fileno()
    assert not is_journal(closed, environ)


@pytest.mark.parametrize(
    ("level", "priority"),
    [(LogLevel.debug, 7), (LogLevel.info, 6), (LogLevel.warn, 4), (LogLevel.error, 3), (LogLevel.critical, 2)],
)
def test_each_line_has_its_priority_and_no_time(level: object, priority: int) -> None:
    reading, writing = os.pipe()
    observer = JournalObserver(writing)
    assert verifyObject(ILogObserver, observer)
    Logger("pypicache", observer=observer).emit(level, "{a}\n\nß", a="one")
    assert os.read(reading, 1000).decode() == f"<{priority}>one\n<{priority}>ß\n"
    os.close(reading)
    os.close(writing)


def test_a_traceback_is_logged_line_by_line() -> None:
    reading, writing = os.pipe()
    try:
        raise ValueError("no")
    except ValueError:
        Logger("pypicache", observer=JournalObserver(writing)).failure("it broke")
    lines = os.read(reading, 10000).decode().splitlines()
    os.close(reading)
    os.close(writing)
    assert lines[0].startswith("<2>it broke")
    assert lines[-1] == "<2>builtins.ValueError: no"
    assert all(line.startswith("<2>") for line in lines)


def test_a_journal_that_is_gone_ends_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    Logger("pypicache", observer=JournalObserver(writing)).info("lost")
    os.close(writing)


@pytest.mark.parametrize(
    ("args", "taken"),
    [
        (["-n"], True),
        (["-n", "--logfile", "-"], True),
        (["-n", "--logfile", "some.log"], False),
        (["-n", "--syslog"], False),
        (["-n", "--logger", "twisted.logger.globalLogPublisher"], False),
        ([], False),
    ],
)
def test_twistd_logs_to_the_journal_in_its_form_unless_told_otherwise(
    args: list[str], taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tap, "is_journal", lambda: True)
    options = ServerOptions()
    options.parseOptions([*args, "pypicache", "--port", "0"])
    assert (options["logger"] is JournalObserver) is taken


def test_elsewhere_twistd_logs_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    options = ServerOptions()
    options.parseOptions(["-n", "pypicache"])
    assert options["logger"] is None
