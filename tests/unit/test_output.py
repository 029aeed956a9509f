"""The log's way out, when nobody reads it."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from twisted_pypi import output
from twisted_pypi.output import PatientOutput, be_patient, finish
from twisted_pypi.web.log_writer import BEHIND, ThreadWriter
from unit.web_doubles import InlineWriter


@pytest.fixture
def pipe() -> tuple[int, int]:
    return os.pipe()


def patient(writer: InlineWriter) -> PatientOutput:
    return PatientOutput(writer)


def test_what_is_dropped_is_counted(pipe: tuple[int, int]) -> None:
    writer = InlineWriter()
    writer.start(pipe[1])
    stream = patient(writer)
    print("one", file=stream)
    writer.full = True
    for _ in range(3):
        assert stream.write("lost\n") == 5
    writer.full = False
    stream.write("two\u00e9\ud800\n")
    stream.write("three\n")
    stream.flush()
    writer.stop()
    text = os.read(pipe[0], 1000).decode()
    assert text == "one\n(3 pieces of the log were dropped: nobody read them)\ntwo\u00e9\\ud800\nthree\n"
    os.close(pipe[0])


def test_nobody_reads(pipe: tuple[int, int]) -> None:
    writer = ThreadWriter("log")
    writer.start(pipe[1])
    stream = PatientOutput(writer)
    for _ in range(20):
        stream.write("x" * (BEHIND // 10))
    os.close(pipe[0])
    writer.stop()
    assert all(thread.name != "log" for thread in threading.enumerate())


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What is to be done at the end. `sys.stdout` is put back."""
    registered: list[object] = []
    monkeypatch.setattr("atexit.register", registered.append)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    return registered


def test_a_pipe_is_written_to_by_a_thread(pipe: tuple[int, int], registered: list[object]) -> None:
    be_patient(pipe[1])
    print("hello", file=sys.stdout)
    assert isinstance(sys.stdout, PatientOutput)
    assert registered == [finish]
    finish()
    finish()
    assert os.read(pipe[0], 100) == b"hello\n"
    os.close(pipe[0])
    os.close(pipe[1])


def test_a_file_is_left_alone(tmp_path: Path, registered: list[object]) -> None:
    before = sys.stdout
    with (tmp_path / "log").open("w") as log:
        be_patient(log.fileno())
    be_patient(-1)
    assert registered == []
    assert sys.stdout is before
    assert output._writers == []
