"""The pure parts of `storage`: the bounded memory, the eviction plan, digests and limits."""

import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from twisted_pypi.digests import Digests
from twisted_pypi.storage.eviction import excess, plan
from twisted_pypi.storage.hot import Lru
from twisted_pypi.storage.limits import GIGABYTE, Limits
from twisted_pypi.storage.rows import Aged
from twisted_pypi.storage.sources import BytesSource, FileSource
from twisted_pypi.storage.tasks import KeyLocks


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.binary(max_size=8), st.booleans())))
def test_the_memory_is_bounded_and_keeps_the_latest(steps):
    lru = Lru(12, len)
    model = {}
    for key, value, put in steps:
        if put:
            model.pop(key, None)
            lru.put(key, value)
            model[key] = value
            while sum(map(len, model.values())) > 12:
                model.pop(next(iter(model)))
        else:
            assert lru.get(key) == model.get(key)
            if key in model:
                model[key] = model.pop(key)
        assert lru.weight == sum(map(len, model.values()))
        assert len(lru) == len(model)


def test_what_outweighs_the_memory_pushes_nothing_out():
    lru = Lru(4, len)
    lru.put("a", b"1234")
    lru.put("b", b"12345")
    assert (lru.get("a"), lru.get("b")) == (b"1234", None)


AGED = st.lists(st.builds(Aged, st.just("file"), st.text("abc", max_size=3), st.integers(0, 100)))


@given(AGED, st.integers(-5, 500), st.sets(st.text("abc", max_size=3)))
def test_the_plan_takes_the_oldest_that_nobody_uses_and_no_more_than_needed(oldest, needed, used):
    victims = plan(oldest, needed, {("file", key) for key in used})
    free = [entry for entry in oldest if entry.key not in used]
    assert victims == free[: len(victims)]
    assert needed > sum(victim.size for victim in victims[:-1]) or not victims
    assert sum(victim.size for victim in victims) >= needed or victims == free


def test_eviction_goes_down_to_a_little_below_the_limit():
    assert (excess(1000, 1000), excess(1001, 1000)) == (0, 51)


def test_digests_by_the_names_of_indexes():
    digests = Digests(["blake2b-256", "md5", "shake_128", "nonsense"])
    digests.update(b"ab")
    digests.update(b"c")
    assert digests.hexdigest("sha256") == hashlib.sha256(b"abc").hexdigest()
    assert digests.hexdigest("md5") == hashlib.md5(b"abc").hexdigest()
    assert digests.hexdigest("blake2b-256") == hashlib.blake2b(b"abc", digest_size=32).hexdigest()
    for unknown in ("shake_128", "nonsense", "sha512"):
        with pytest.raises(ValueError, match=unknown):
            digests.hexdigest(unknown)


def test_every_known_digest_must_confirm():
    digests = Digests(["md5", "nonsense"])
    good = {"md5": hashlib.md5(b"").hexdigest().upper(), "sha256": hashlib.sha256(b"").hexdigest()}
    assert digests.confirms(good) is True
    assert digests.confirms(good | {"nonsense": "1"}) is True
    assert digests.confirms(good | {"md5": "1"}) is False
    assert digests.confirms({"nonsense": "1"}) is None


def test_limits():
    assert Limits(min_free=5).keep_free(1000) == 5
    assert Limits().keep_free(2 * GIGABYTE) == 2 * GIGABYTE // 20
    assert Limits().keep_free(100 * GIGABYTE) == GIGABYTE
    assert Limits(cache_size=10).allows(10)
    assert not Limits(cache_size=10).allows(11)
    assert not Limits(max_file_size=9).allows(10)
    assert not Limits(cache_size=0).allows(0)
    assert Limits(cache_size=0).total == GIGABYTE


@pytest.fixture(params=["bytes", "file"])
def source(request, tmp_path):
    if request.param == "bytes":
        yield BytesSource(b"0123456789")
        return
    path = tmp_path / "file"
    path.write_bytes(b"xx0123456789yy")
    with path.open("rb") as stream:
        yield FileSource(os.dup(stream.fileno()), 2, 10)


def test_a_source_at_rest_is_whole(source):
    assert (source.length, source.finished, source.failure) == (10, True, None)
    assert source.read(0, 4) == b"0123"
    assert source.read(8, 100) == b"89"
    assert source.read(10, 5) == b""
    source.close()
    source.close()


def test_a_file_cut_short_is_a_failure(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123")
    closed = []
    source = FileSource(os.open(path, os.O_RDONLY), 0, 10, lambda: closed.append(True))
    assert source.read(0, 10) == b"0123"
    assert source.failure is None
    assert source.read(4, 10) == b""
    assert isinstance(source.failure, OSError)
    source.close()
    source.close()
    assert closed == [True]


def test_one_at_a_time_works_on_a_key_even_if_the_next_is_through_at_once() -> None:
    locks, inside, most = KeyLocks(), 0, 0
    gates: list[Deferred[None]] = [Deferred(), Deferred(), Deferred()]

    async def work(gate: Deferred[None] | None) -> None:
        nonlocal inside, most
        async with locks.hold("key"):
            inside += 1
            most = max(most, inside)
            if gate is not None:
                await gate
            inside -= 1

    async def quick_then_again() -> None:
        await work(None)
        await work(gates[1])

    Deferred.fromCoroutine(work(gates[0]))
    Deferred.fromCoroutine(quick_then_again())
    gates[0].callback(None)
    Deferred.fromCoroutine(work(gates[2]))
    assert (inside, most) == (1, 1)
    gates[1].callback(None)
    gates[2].callback(None)
    assert (inside, most) == (0, 1)


def test_an_lru_that_shrinks_drops_what_was_used_longest_ago() -> None:
    lru = Lru(4, len)
    for key in ("aa", "bb"):
        lru.put(key, key)
    lru.get("aa")
    lru.resize(3)
    assert (lru.peek("aa"), lru.peek("bb"), lru.weight) == ("aa", None, 2)
    lru.resize(4)
    lru.put("cc", "cc")
    assert len(lru) == 2
