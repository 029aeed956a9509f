"""Files of htpasswd: what is taken, and what is refused without repeating any of it."""

from __future__ import annotations

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_pypi.htpasswd import MAX_COST, Accounts, accounts_of

TAIL = "N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
HASH = f"$2y$10${TAIL}"


def refusal(text: str) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        accounts_of(text)
    message = str(caught.value)
    assert TAIL[:8] not in message
    assert "hunter2" not in message
    return message


@pytest.mark.parametrize("prefix", ["2a", "2b", "2y"])
def test_bcrypt_in_each_of_its_spellings(prefix: str) -> None:
    assert accounts_of(f"ci:${prefix}$10${TAIL}").hashes == {b"ci": f"${prefix}$10${TAIL}".encode()}


def test_comments_blank_lines_line_ends_and_a_byte_order_mark() -> None:
    text = f"\ufeff# who\r\n\r\nci:{HASH}\r\n  \nj\u00fcrgen@office.example:{HASH}"
    assert list(accounts_of(text).hashes) == [b"ci", "j\u00fcrgen@office.example".encode()]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("ci:$apr1$abc$hunter2", "line 2: is not bcrypt"),
        ("ci:{SHA}hunter2", "line 2: is not bcrypt"),
        ("ci:hunter2", "line 2: is not bcrypt"),
        ("ci:", "line 2: is not bcrypt"),
        (f"ci:$2x$10${TAIL}", "line 2: is not bcrypt"),
        (f"ci:$2y$10${TAIL[:-1]}", "line 2: holds a broken bcrypt hash"),
        (f"ci:{HASH}:more", "line 2: holds a broken bcrypt hash"),
        (f"ci:$2y$03${TAIL}", "line 2: holds a broken bcrypt hash"),
        (f"ci:$2y${MAX_COST + 1}${TAIL}", "line 2: bcrypt's cost is above"),
        (HASH, "line 2: is not NAME:HASH"),
        (f":{HASH}", "line 2: is not NAME:HASH"),
        (f"c\x01i:{HASH}", "line 2: is not NAME:HASH"),
        (f"{'n' * 256}:{HASH}", "line 2: is not NAME:HASH"),
        (f"first:{HASH}", "line 2: this user is there already"),
    ],
)
def test_what_can_t_be_used_is_told_by_its_line(line: str, reason: str) -> None:
    assert refusal(f"first:{HASH}\n{line}\n").startswith(reason)


@pytest.mark.parametrize("text", ["", "\n", "# nobody yet\n"])
def test_a_file_without_users_would_lock_everybody_out(text: str) -> None:
    assert refusal(text).startswith("holds no user")


@given(st.text())
def test_any_text_is_taken_or_refused(text: str) -> None:
    try:
        assert accounts_of(text).hashes
    except ValueError as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_nobody_s_hash_costs_what_most_cost_and_fits_nothing() -> None:
    accounts = accounts_of(f"a:$2y$04${TAIL}\nb:$2y$04${TAIL}\nc:$2y$12${TAIL}")
    assert accounts.nobody[:7] == b"$2b$04$"
    assert not bcrypt.checkpw(b"", accounts.nobody)


def test_nothing_of_them_shows() -> None:
    assert repr(accounts_of(f"ci:{HASH}")) == repr(Accounts()) == "Accounts()"
