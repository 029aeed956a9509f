"""The log as the journal takes it."""

from __future__ import annotations

import os
import sys
from io import StringIO
from pathlib import Path

import pytest
from twisted.logger import ILogObserver, Logger, LogLevel
from twisted.scripts.twistd import ServerOptions
from zope.interface.verify import verifyObject

from twisted_pypi import tap
from twisted_pypi.journal import JournalObserver, is_journal
from twisted_pypi.output import be_patient, finish


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
    stream = StringIO()
    observer = JournalObserver(stream)
    assert verifyObject(ILogObserver, observer)
    Logger("pypicache", observer=observer).emit(level, "{a}\n\nß", a="one")
    assert stream.getvalue() == f"<{priority}>one\n<{priority}>ß\n"


def test_a_traceback_is_logged_line_by_line() -> None:
    stream = StringIO()
    try:
        raise ValueError("no")
    except ValueError:
        Logger("pypicache", observer=JournalObserver(stream)).failure("it broke")
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("<2>it broke")
    assert lines[-1] == "<2>builtins.ValueError: no"
    assert all(line.startswith("<2>") for line in lines)


def test_a_journal_that_is_gone_ends_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = open(writing, "w")  # noqa: SIM115 - it can't even be closed
    Logger("pypicache", observer=JournalObserver(stream)).info("lost")
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_a_journal_that_nobody_reads_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atexit.register", lambda _: None)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    reading, writing = os.pipe()
    be_patient(writing)
    os.close(writing)
    observer = JournalObserver()
    sys.stdout = StringIO()  # as twistd, which has the log take it
    for _ in range(10):
        Logger("pypicache", observer=observer).info("x" * 65536)  # of which a pipe takes one
    with open(reading, "rb") as read:
        assert read.readline() == b"<6>%s\n" % (b"x" * 65536)
    finish()


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
