"""Requests that come back to where they were are refused, and every request says where it was (RFC 8586)."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from twisted_pypi import hops
from twisted_pypi.errors import Looped

OURS, THEIRS = "0" * 16, "f" * 16


def sent(field: str, identity: str = OURS) -> str:
    """What goes upstream of a request that came with this header."""
    found: list[str] = []
    hops.after(field, lambda: found.append(hops.headers(identity)["CDN-Loop"]))
    return found[0]


def refused(field: str, identity: str = OURS) -> str:
    reasons: list[str] = []

    def work() -> None:
        try:
            hops.refuse_loop(identity)
        except Looped as error:
            reasons.append(error.reason)

    hops.after(field, work)
    return "".join(reasons)


def test_ours_comes_last() -> None:
    assert hops.headers(OURS) == {"CDN-Loop": f"pypicache;id={OURS}"}
    assert sent(f"pypicache;id={THEIRS}") == f"pypicache;id={THEIRS}, pypicache;id={OURS}"


def test_nothing_else_of_the_clients_is_passed_on() -> None:
    for field in (
        "cdn.example; x=1",
        "pypicache",
        "pypicache;id=1",
        f"pypicache;id={THEIRS}0",
        "\x00",
        "pypicache;id=" + "G" * 16,
    ):
        assert sent(field) == f"pypicache;id={OURS}"
    assert sent(f"cdn.example, pypicache ; id={THEIRS};x") == f"pypicache;id={THEIRS}, pypicache;id={OURS}"


def test_who_has_no_identity_says_nothing() -> None:
    assert hops.headers("") == {}


@pytest.mark.parametrize("field", ["", f"pypicache;id={THEIRS}", ", ".join([f"pypicache;id={THEIRS}"] * hops.MOST)])
def test_what_was_elsewhere_is_answered(field: str) -> None:
    assert refused(field) == ""


def test_what_was_here_is_not() -> None:
    assert "asked for this itself" in refused(f"pypicache;id={THEIRS}, pypicache;id={OURS}")


def test_nor_is_what_was_everywhere() -> None:
    assert "more than 8" in refused(", ".join([f"pypicache;id={THEIRS}"] * (hops.MOST + 1)))
    assert len(sent(f"pypicache;id={THEIRS}," * 1000)) < 400


def test_the_hops_come_along_with_what_a_request_begins_and_with_nothing_else() -> None:
    turn: Deferred[None] = Deferred()
    found: list[str] = []

    async def fetch() -> None:
        await turn
        found.append(hops.headers(OURS)["CDN-Loop"])

    hops.after(f"pypicache;id={THEIRS}", lambda: Deferred.fromCoroutine(fetch()) and None)
    Deferred.fromCoroutine(fetch())
    turn.callback(None)
    assert found == [f"pypicache;id={THEIRS}, pypicache;id={OURS}", f"pypicache;id={OURS}"]
