"""Cache-Status."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_pypi.answers import CacheState, Provenance
from twisted_pypi.http.cache_status import MAX_PARENT, cache_status, is_stale


@pytest.mark.parametrize(
    ("provenance", "value"),
    [
        (Provenance(CacheState.HIT, ttl=291.9), "pypicache; hit; ttl=291"),
        (Provenance(CacheState.HIT), "pypicache; hit"),
        (Provenance(CacheState.HIT, ttl=math.inf), "pypicache; hit"),
        (Provenance(CacheState.HIT, collapsed=True, stored=True), "pypicache; hit"),
        (Provenance(CacheState.MISS, collapsed=True, stored=True), "pypicache; fwd=miss; collapsed; stored"),
        (
            Provenance(CacheState.MISS, ttl=300, stored=True, upstream_status=200),
            "pypicache; fwd=miss; fwd-status=200; ttl=300; stored",
        ),
        (Provenance(CacheState.EXPIRED, upstream_status=200), "pypicache; fwd=stale; fwd-status=200"),
        (Provenance(CacheState.REVALIDATED), "pypicache; fwd=stale; fwd-status=304"),
        (Provenance(CacheState.STALE, ttl=-12), "pypicache; hit; ttl=-12"),
        (Provenance(CacheState.UPDATING, ttl=-0.5), "pypicache; hit; ttl=-1"),
        (
            Provenance(CacheState.STALE, ttl=-12, upstream_status=503, detail="busy"),
            'pypicache; fwd=stale; fwd-status=503; ttl=-12; detail="busy"',
        ),
        (
            Provenance(CacheState.STALE, ttl=-1, upstream_seconds=1.0, detail='say "no"\\\r\né'),
            'pypicache; fwd=stale; ttl=-1; detail="say \\"no\\"\\\\???"',
        ),
        (Provenance(CacheState.HIT, ttl=9, index="internal"), 'pypicache; hit; ttl=9; detail="internal"'),
        (
            Provenance(CacheState.STALE, ttl=-1, index="internal", detail="refused"),
            'pypicache; hit; ttl=-1; detail="internal: refused"',
        ),
        (Provenance(CacheState.BYPASS), "pypicache; fwd=bypass"),
        (Provenance(CacheState.HIT, parent="mirror; hit; ttl=5"), "mirror; hit; ttl=5, pypicache; hit"),
        (Provenance(CacheState.HIT, parent=" , "), "pypicache; hit"),
        (Provenance(CacheState.HIT, parent="x" * (MAX_PARENT + 1)), "pypicache; hit"),
    ],
)
def test_values(provenance: Provenance, value: str) -> None:
    assert cache_status(provenance) == value


GRAMMAR = re.compile(
    r"pypicache; (hit|fwd=(miss|stale|bypass)(; fwd-status=\d+)?)(; ttl=-?\d{1,15})?(; collapsed)?(; stored)?"
    r'(; detail="([ !#-\[\]-~]|\\["\\])*")?'
)


@given(
    st.builds(
        Provenance,
        state=st.sampled_from(CacheState),
        ttl=st.none() | st.floats(),
        collapsed=st.booleans(),
        stored=st.booleans(),
        upstream_status=st.none() | st.integers(100, 599),
        detail=st.text(max_size=300),
    )
)
def test_every_value_is_a_structured_field(provenance: Provenance) -> None:
    assert GRAMMAR.fullmatch(cache_status(provenance))


@given(st.text())
def test_a_parent_cannot_break_the_header(parent: str) -> None:
    value = cache_status(Provenance(CacheState.HIT, parent=parent))
    assert value.isascii()
    assert value.isprintable()
    assert value.endswith("pypicache; hit")


@pytest.mark.parametrize(
    ("provenance", "stale"),
    [
        (Provenance(CacheState.HIT, ttl=3), False),
        (Provenance(CacheState.STALE, ttl=-12), True),
        (Provenance(CacheState.STALE, ttl=-12, upstream_status=503, detail="a, b; ttl=7"), True),
        (Provenance(CacheState.UPDATING, ttl=-0.5), True),
        (Provenance(CacheState.MISS, ttl=-0.1, upstream_status=200), False),
        (Provenance(CacheState.REVALIDATED, ttl=-0.1), False),
        (Provenance(CacheState.HIT, ttl=3, parent="farther; hit; ttl=-9"), False),
        (Provenance(CacheState.STALE, ttl=-3, parent="farther; hit; ttl=9"), True),
        (Provenance(CacheState.HIT, ttl=3, detail="x; ttl=-9, y; ttl=-9"), False),
    ],
)
def test_whether_another_cache_had_it_but_stale(provenance: Provenance, stale: bool) -> None:
    assert is_stale({"cache-status": cache_status(provenance)}) is stale


def test_nginx_says_it_in_a_word() -> None:
    assert [is_stale({"x-pypi-cache": word}) for word in ("STALE", "UPDATING", "HIT", "EXPIRED")] == [
        True,
        True,
        False,
        False,
    ]
    assert not is_stale({})


@given(st.text())
def test_whatever_is_sent_can_be_read(header: str) -> None:
    assert is_stale({"cache-status": header}) in (True, False)
