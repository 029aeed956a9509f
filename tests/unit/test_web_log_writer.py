"""The thread that writes the access log: order, bounds, what blocks."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from select import PIPE_BUF

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_pypi.web import log_writer
from twisted_pypi.web.log_writer import BEHIND, ThreadWriter, pieces


@pytest.fixture
def writer() -> Iterator[ThreadWriter]:
    writer = ThreadWriter()
    yield writer
    writer.stop()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """(to read from, to write to); the writer closes the latter."""
    ends = os.pipe()
    yield ends
    os.close(ends[0])


def opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT)


def test_everything_is_written_in_order(writer: ThreadWriter, tmp_path: Path) -> None:
    writer.start(opened(tmp_path / "log"))
    pieces = [b"%d\n" % number for number in range(1000)]
    assert all(map(writer.write, pieces))
    writer.stop()
    writer.stop()
    assert (tmp_path / "log").read_bytes() == b"".join(pieces)
    assert writer.error is None


def test_going_on_elsewhere(writer: ThreadWriter, tmp_path: Path) -> None:
    first = opened(tmp_path / "first")
    writer.start(first)
    writer.write(b"before")
    writer.start(opened(tmp_path / "second"))
    writer.write(b"after")
    writer.stop()
    assert [(tmp_path / name).read_bytes() for name in ("first", "second")] == [b"before", b"after"]
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(first)


def test_a_pipe_that_nobody_reads_blocks_nothing_and_is_bounded(
    writer: ThreadWriter, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "PATIENCE", 0.01)
    writer.start(pipe[1])
    piece = b"x" * (1 << 20)
    taken = sum(writer.write(piece) for _ in range(BEHIND // len(piece) + 5))
    assert taken == BEHIND // len(piece)
    stuck = next(thread for thread in threading.enumerate() if thread.name == "access log")
    writer.stop()
    assert stuck.is_alive()
    assert stuck.daemon
    read = 0
    while read < taken * len(piece):
        read += len(os.read(pipe[0], 1 << 20))
    stuck.join()


def test_room_comes_back_when_it_is_read(writer: ThreadWriter, pipe: tuple[int, int]) -> None:
    writer.start(pipe[1])
    piece = b"x" * BEHIND
    assert writer.write(piece)
    assert not writer.write(b"more")
    left = len(piece)
    while left:
        left -= len(os.read(pipe[0], left))
    # The thread counts what it wrote a moment after the reader has it.
    while not writer.write(b"more"):
        pass
    assert os.read(pipe[0], 10) == b"more"


def test_a_failure_is_told_until_it_is_over(writer: ThreadWriter, tmp_path: Path) -> None:
    target = tmp_path / "log"
    target.touch()
    writer.start(os.open(target, os.O_RDONLY))
    writer.write(b"lost")
    writer.stop()
    assert writer.error is not None
    writer.start(opened(target))
    writer.write(b"kept")
    writer.stop()
    assert writer.error is None
    assert target.read_bytes() == b"kept"


@given(
    st.lists(st.binary(max_size=PIPE_BUF + 10).map(lambda line: line.replace(b"\n", b"")), max_size=8), st.booleans()
)
def test_lines_are_cut_between_each_other_only(lines: list[bytes], ended: bool) -> None:
    data = b"\n".join(lines) + b"\n" * ended
    cut = list(pieces(data))
    assert b"".join(cut) == data
    assert all(cut)
    assert all(piece.endswith(b"\n") for piece in cut[:-1])
    assert all(len(piece) <= PIPE_BUF or piece.count(b"\n", 0, -1) == 0 for piece in cut)
    assert all(len(one) + len(other) > PIPE_BUF for one, other in pairwise(cut[:-1]) if len(other) <= PIPE_BUF)


def test_two_that_share_a_pipe_keep_their_lines_whole() -> None:
    reader, *ends = os.pipe()
    ends.append(os.dup(ends[0]))
    writers = [ThreadWriter(), ThreadWriter()]
    line = {writer: bytes([letter]) * 150 + b"\n" for writer, letter in zip(writers, b"ab", strict=True)}
    for writer, end in zip(writers, ends, strict=True):
        writer.start(end)
        for _ in range(20):
            writer.write(line[writer] * 1000)
    got = b""
    while len(got) < 2 * 20 * 1000 * 151:
        got += os.read(reader, 5000)
    for writer in writers:
        writer.stop()
    os.close(reader)
    assert {text + b"\n" for text in got.splitlines()} == set(line.values())
