"""Every row of the design's table of freshness, as a law over all circumstances."""

from hypothesis import given
from hypothesis import strategies as st

from twisted_pypi.answers import CacheState
from twisted_pypi.http.freshness import (
    REGRESSION_PATIENCE,
    Circumstances,
    Copy,
    Outcome,
    Step,
    Verdict,
    believes,
    plan,
    settle,
)

seconds = st.integers(0, 10**9)
fresh = st.builds(lambda age, left, slack: Copy(age, age + left, slack), seconds, st.integers(1, 10**9), seconds)
expired = st.builds(
    lambda ttl, over, slack: Copy(ttl + over, ttl, None if slack is None else over + slack),
    seconds,
    seconds,
    st.none() | seconds,
)
unusable = st.builds(lambda ttl, slack, over: Copy(ttl + slack + over, ttl, slack), seconds, seconds, st.integers(1))
copies = fresh | expired | unusable


def circumstances(**fixed):
    """Any circumstances but for those `fixed`."""
    free = {name: st.booleans() for name in ("offline", "down", "refreshing", "insist")}
    chosen = {name: st.just(value) for name, value in fixed.items()}
    return st.builds(Circumstances, **{**free, "stale_wait": st.integers(0, 60), **chosen})


failures = st.sampled_from([Outcome.FAILED, Outcome.LATE])


@given(fresh, circumstances(offline=False, insist=False))
def test_fresh_copy_is_a_hit_and_upstream_is_not_asked(copy, now):
    decided = plan(copy, now)
    assert (decided.step, decided.state) == (Step.SERVE, CacheState.HIT)


@given(circumstances(offline=False))
def test_without_a_copy_upstream_is_asked_for_as_long_as_the_client_waits(now):
    decided = plan(None, now)
    assert (decided.step, decided.wait) == (Step.FETCH, None)


@given(unusable, circumstances(offline=False))
def test_a_copy_older_than_max_stale_counts_as_none(copy, now):
    decided = plan(copy, now)
    assert (decided.step, decided.wait) == (Step.FETCH, None)


@given(expired, circumstances(offline=False, down=False, refreshing=False))
def test_an_expired_copy_is_revalidated_within_stale_wait(copy, now):
    decided = plan(copy, now)
    assert (decided.step, decided.wait) == (Step.FETCH, now.stale_wait)


@given(expired.filter(lambda copy: copy.ttl), circumstances(offline=False, refreshing=True))
def test_while_a_refresh_runs_the_copy_is_served_at_once(copy, now):
    decided = plan(copy, now)
    assert (decided.step, decided.state) == (Step.SERVE, CacheState.UPDATING)


@given(seconds, circumstances(offline=False, refreshing=True, down=False))
def test_with_no_freshness_at_all_joiners_wait_for_the_refresh(age, now):
    decided = plan(Copy(age, ttl=0.0), now)
    assert (decided.step, decided.wait) == (Step.FETCH, now.stale_wait)


@given(expired, circumstances(offline=False, down=True, refreshing=False))
def test_when_upstream_is_down_the_copy_is_served_at_once(copy, now):
    decided = plan(copy, now)
    assert (decided.step, decided.state) == (Step.SERVE, CacheState.STALE)


@given(st.none() | copies, circumstances(offline=True))
def test_offline_never_asks(copy, now):
    decided = plan(copy, now)
    assert decided.step is (Step.SERVE if copy is not None and copy.usable else Step.REFUSE)


@given(fresh | expired, circumstances())
def test_whoever_has_a_usable_copy_never_waits_longer_than_stale_wait(copy, now):
    decided = plan(copy, now)
    assert decided.step is Step.SERVE or (decided.wait is not None and decided.wait <= now.stale_wait)


@given(copies)
def test_not_modified_serves_the_copy(copy):
    assert settle(copy, Outcome.NOT_MODIFIED) == (Verdict.COPY, CacheState.REVALIDATED)


def test_not_modified_without_a_copy_is_no_answer():
    assert settle(None, Outcome.NOT_MODIFIED)[0] is Verdict.UNAVAILABLE


@given(st.none() | copies)
def test_a_new_page_wins(copy):
    state = CacheState.MISS if copy is None else CacheState.EXPIRED
    assert settle(copy, Outcome.NEW) == (Verdict.NEW, state)


@given(st.none() | copies)
def test_a_real_404_wins(copy):
    assert settle(copy, Outcome.ABSENT)[0] is Verdict.ABSENT


@given(expired, failures | st.just(Outcome.OLDER))
def test_failures_lateness_and_older_pages_leave_the_stale_copy(copy, outcome):
    assert settle(copy, outcome) == (Verdict.COPY, CacheState.STALE)


@given(st.none() | unusable, failures)
def test_failure_without_a_usable_copy_is_told(copy, outcome):
    assert settle(copy, outcome)[0] is Verdict.UNAVAILABLE


@given(st.integers(-(10**9), -1), seconds)
def test_a_copy_from_the_future_is_not_fresh_but_usable(age, ttl):
    copy = Copy(age, ttl, max_stale=0.0)
    assert not copy.fresh
    assert copy.usable


versions = st.none() | st.integers(0, 10**12)


@given(versions, versions, st.floats(0, 1e6))
def test_only_a_lower_version_is_disbelieved_and_only_for_a_while(ours, theirs, regressed_for):
    lower = ours is not None and theirs is not None and theirs < ours
    assert believes(ours, theirs, regressed_for) == (not lower or regressed_for > REGRESSION_PATIENCE)
