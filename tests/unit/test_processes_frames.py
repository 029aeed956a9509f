"""What workers and the owner tell each other survives as bytes; anything else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_pypi.answers import CacheState, Seal
from twisted_pypi.events import Crowded, Served, TurnedAway
from twisted_pypi.processes.frames import BadFrame, Leave, Pass, Passed, Report, Rules, decode, encode
from twisted_pypi.web.memo import Lasting

TEXT = st.text(st.characters(max_codepoint=255), max_size=20)
WHOLE = st.integers(0, 2**62)
MOMENT = st.floats(0, 1e10)
SERVED = st.builds(
    Served,
    client=TEXT,
    method=TEXT,
    target=TEXT,
    host=TEXT,
    status=st.integers(100, 599),
    size=WHOLE,
    state=st.none() | st.sampled_from(CacheState),
    kind=TEXT,
    upstream_seconds=st.none() | MOMENT,
    seconds=MOMENT,
    agent=TEXT,
    protocol=TEXT,
    complete=st.booleans(),
)
EVENTS = SERVED | st.builds(TurnedAway, TEXT, TEXT) | st.builds(Crowded, TEXT, TEXT, WHOLE, WHOLE)
SEALS = st.builds(Seal, TEXT, WHOLE, WHOLE, WHOLE)
LASTING = st.builds(Lasting, st.binary(), WHOLE, st.lists(st.binary(), max_size=3).map(tuple), SEALS, SERVED)
MESSAGES = st.one_of(
    st.builds(Rules, st.lists(TEXT).map(tuple), st.lists(TEXT).map(tuple), WHOLE, MOMENT),
    st.builds(Pass, WHOLE, st.binary()),
    st.builds(Passed, WHOLE),
    st.builds(Leave),
    st.builds(Report, WHOLE, st.lists(st.tuples(EVENTS, WHOLE), max_size=3).map(tuple)),
    LASTING,
)


@given(MESSAGES)
def test_there_and_back(message: object) -> None:
    assert decode(encode(message)) == message


@given(LASTING, st.data())
def test_a_lent_answer_that_was_cut_is_refused(lasting: Lasting, data: st.DataObject) -> None:
    frame = encode(lasting)
    with pytest.raises(BadFrame):
        decode(frame[: data.draw(st.integers(0, len(frame) - 1))])


@pytest.mark.parametrize("frame", [b"", b"P", b"X\0\0\0\x011", b"P\0\0\0\x05{", b"L\0\0\0\x02[]", b"C\0\0\0\x02{}"])
def test_what_is_no_frame(frame: bytes) -> None:
    with pytest.raises(BadFrame):
        decode(frame)
