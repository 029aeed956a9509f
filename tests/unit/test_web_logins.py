"""HTTP Basic: who gets through, what is remembered of it, and what guessing costs."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import bcrypt
import pytest
from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from twisted_pypi.answers import CacheState, FileAnswer
from twisted_pypi.events import Served
from twisted_pypi.htpasswd import Accounts
from twisted_pypi.units import network
from twisted_pypi.web import logins as module
from twisted_pypi.web.access_lines import LINE_FORMS
from twisted_pypi.web.logins import MOST_WAITING, REMEMBERED, THREADS, Logins, credentials_of
from twisted_pypi.web.throttle import OF_NAME
from unit.web_doubles import HIT, NOW, Response, Web, at_rest, parse

PASSWORD = "correct horse"
LATIN = "gr\u00fc\u00df"


def hashed(password: str) -> bytes:
    return bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4))


ACCOUNTS = Accounts({b"ci": hashed(PASSWORD), "j\u00f6rg".encode(): hashed(LATIN), b"long": hashed("x" * 100)})
OTHERS = Accounts({b"ci": hashed("battery staple"), b"new": hashed(PASSWORD)})


def basic(user: str, password: str = PASSWORD, coding: str = "utf-8") -> str:
    return f"Basic {b64encode(f'{user}:{password}'.encode(coding)).decode()}"


@define
class HeldWorkers:
    """Works are done when the test says so."""

    waiting: list[tuple[Deferred[Any], Callable[[], Any]]] = field(factory=list)
    hashes: list[bytes] = field(factory=list)

    def run(self, work: Callable[..., Any], *args: Any) -> Deferred[Any]:
        self.hashes.append(args[1])
        done: Deferred[Any] = Deferred()
        self.waiting.append((done, lambda: work(*args)))
        return done

    def do(self) -> int:
        """Do all that there are by now, and those that they make room for; how many."""
        count = 0
        while self.waiting:
            done, work = self.waiting.pop(0)
            count += 1
            try:
                result = work()
            except Exception:
                done.errback(Failure())
            else:
                done.callback(result)
        return count


@define
class Door:
    """A site whose users log in, with what it stands on."""

    workers: HeldWorkers = field(factory=HeldWorkers)
    steady: Clock = field(factory=Clock)
    logins: Logins = field(init=False)
    web: Web = field(init=False)
    services: dict[str, Any] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.logins = Logins(self.workers, self.steady)
        self.logins.use(ACCOUNTS)
        self.web = Web(logins=self.logins, **self.services)
        self.web.site.memo = self.web.site.resource.memo

    def ask(self, authorization: str = "", path: str = "/simple/six/", *more: str, **options: Any) -> Response:
        """One request; its answer, with all checks done."""
        method = options.pop("method", "GET")
        lines = [f"{method} {path} HTTP/1.1", "Host: cache.example", *more, "", ""]
        if authorization:
            lines.insert(2, f"Authorization: {authorization}")
        transport = self.web.raw("\r\n".join(lines).encode("latin-1"), **options)
        while self.workers.do():
            self.web.turn()
        return parse(transport.value(), head=method == "HEAD")

    def statuses(self, *authorizations: str, **options: Any) -> list[int]:
        return [self.ask(authorization, **options).status for authorization in authorizations]

    @property
    def checks(self) -> int:
        return len(self.workers.hashes)


@pytest.fixture
def door() -> Door:
    return Door()


def client(number: int) -> IPv4Address:
    return IPv4Address("TCP", f"192.0.2.{number}", 4000)


# -- who gets through --------------------------------------------------------------------------------------------------


def test_without_credentials_nothing_is_served_and_the_client_learns_what_is_wanted(door: Door) -> None:
    answer = door.ask()
    assert answer.status == 401
    assert answer["www-authenticate"] == 'Basic realm="pypicache", charset="UTF-8"'
    assert answer["cache-control"] == "no-store"
    assert b"user name" in answer.body
    assert door.checks == 0


@pytest.mark.parametrize(
    "path", ["/", "/simple/six/", "/packages/a.whl", "/metrics", "/+status", "/cache/six", "/nowhere", "/healthz/"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_nothing_but_health_checks_is_exempt(path: str, method: str, door: Door) -> None:
    assert door.ask(path=path, method=method).status == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/pypi/healthz", "/pypi/readyz"])
def test_health_checks_are(path: str) -> None:
    assert Door(services={"prefix": "/pypi"}).ask(path=path).status == 200


def test_the_right_password_is_let_in_and_served_privately(door: Door) -> None:
    door.web.files.hot = FileAnswer(3, "ab" * 32, b"abc", HIT)
    for path in ("/simple/six/", "/packages/a.whl"):
        for _ in range(2):
            answer = door.ask(basic("ci"), path)
            assert answer.status == 200
            assert answer["cache-control"].startswith("private, max-age=")
    assert door.checks == 1


@pytest.mark.parametrize("hot", [True, False])
def test_what_has_to_be_waited_for_is_private_too(hot: bool, door: Door) -> None:
    door.web.pages.hot = hot
    door.web.files.result = FileAnswer(3, "ab" * 32, at_rest(b"abc"), HIT)
    assert door.ask(basic("ci"))["cache-control"].startswith("private, ")
    assert door.ask(basic("ci"), "/packages/a.whl")["cache-control"].startswith("private, ")


def test_without_logins_answers_are_public() -> None:
    assert Web().ask("/simple/six/", "Authorization: Basic bm9ib2R5Og==")["cache-control"].startswith("public, ")


@pytest.mark.parametrize(
    "authorization",
    [
        basic("ci", "wrong"),
        basic("ci", ""),
        basic("ci", PASSWORD + "\0"),
        basic("CI"),
        basic("nobody"),
        basic(""),
        "Basic",
        "Basic ====",
        "Basic Y2k=",
        "Basic \u00fc",
        "Bearer ci",
        "Negotiate abc",
        f"{basic('ci')}, {basic('ci')}",
        basic("n" * 300),
    ],
)
def test_anything_else_is_not(authorization: str, door: Door) -> None:
    answer = door.ask(authorization)
    assert (answer.status, answer.body) == (401, b"User name or password are wrong\n")
    assert "www-authenticate" in answer


@pytest.mark.parametrize("coding", ["utf-8", "latin-1"])
def test_names_and_passwords_beyond_ascii_in_either_coding(coding: str, door: Door) -> None:
    assert door.ask(basic("j\u00f6rg", LATIN, coding)).status == 200


def test_a_password_counts_as_far_as_bcrypt_looks(door: Door) -> None:
    assert door.statuses(basic("long", "x" * 100), basic("long", "x" * 71)) == [200, 401]


def test_the_scheme_in_any_case_and_colons_in_the_password() -> None:
    assert credentials_of("bAsIc  " + b64encode(b"a:b:c").decode()) == (b"a", b"b:c")


def test_who_is_not_there_takes_as_long_as_a_wrong_password(door: Door) -> None:
    door.statuses(basic("ci", "wrong"), basic("nobody", "wrong"))
    known, unknown = door.workers.hashes
    assert (known[:7], len(known)) == (b"$2b$04$", 60)
    assert (unknown[:7], len(unknown)) == (known[:7], len(known))


def test_an_address_that_is_not_allowed_is_told_so_first() -> None:
    door = Door(services={"allow": (network("198.51.100.0/24"),)})
    assert door.statuses(basic("ci"), basic("ci", "wrong")) == [403, 403]
    assert door.checks == 0


# -- the admin token ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["Authorization: Bearer open-sesame", "X-Admin-Token: open-sesame"])
def test_the_admin_token_alone_does_for_everything(header: str) -> None:
    door = Door(services={"admin_token": "open-sesame"})
    assert door.ask("", "/simple/six/", header).status == 200
    assert door.ask("", "/cache/six", header, method="DELETE").status == 200
    assert door.checks == 0


def test_a_user_has_no_right_to_purge_but_may_bring_the_token_along() -> None:
    door = Door(services={"admin_token": "open-sesame"})
    assert door.ask(basic("ci"), "/cache/six", method="DELETE").status == 401
    assert door.ask(basic("ci"), "/cache/six", "X-Admin-Token: open-sesame", method="DELETE").status == 200
    assert door.ask("Bearer wrong", "/simple/six/").status == 401


@pytest.mark.parametrize("header", ["Authorization: Bearer ", "X-Admin-Token: "])
def test_no_token_is_not_an_empty_one(header: str, door: Door) -> None:
    assert door.ask("", "/simple/six/", header).status == 401


def test_without_a_token_purging_is_for_users_on_this_machine(door: Door) -> None:
    local = IPv4Address("TCP", "127.0.0.1", 4000)
    lines = ("/cache/six",)
    assert door.ask(basic("ci"), *lines, method="DELETE").status == 403
    assert door.ask("", *lines, method="DELETE", peer=local).status == 401


# -- what is remembered ------------------------------------------------------------------------------------------------


def test_a_right_header_is_checked_once_in_a_while(door: Door) -> None:
    assert door.statuses(*[basic("ci")] * 5) == [200] * 5
    assert door.checks == 1
    door.steady.advance(REMEMBERED - 1)
    assert (door.ask(basic("ci")).status, door.checks) == (200, 1)
    door.steady.advance(1)
    assert (door.ask(basic("ci")).status, door.checks) == (200, 2)


def test_a_wrong_one_once_for_all(door: Door) -> None:
    assert door.statuses(*[basic("ci", "wrong")] * 50) == [401] * 50
    assert door.checks == 1


def test_other_accounts_void_both(door: Door) -> None:
    staple = basic("ci", "battery staple")
    assert door.statuses(basic("ci"), staple, basic("new")) == [200, 401, 401]
    door.logins.use(OTHERS)
    assert door.statuses(basic("ci"), staple, basic("new")) == [401, 200, 200]
    door.logins.use(ACCOUNTS)
    assert door.statuses(basic("ci"), staple, basic("new")) == [200, 401, 401]


def test_who_is_right_no_more_is_not_named_and_guesses_as_anybody(door: Door) -> None:
    door.ask(basic("ci"))
    door.logins.use(OTHERS)
    door.ask(basic("ci"))
    assert [event.user for event in door.web.events if isinstance(event, Served)] == ["ci", ""]
    for number in range(10):
        door.logins.use(Accounts({b"other": b"$2b$04$" + b"." * 53, b"%d" % number: b"$2b$04$" + b"." * 53}))
        answer = door.ask(basic("ci"))
    assert answer.status == 429


def test_a_name_that_nobody_can_have_is_not_checked(door: Door) -> None:
    assert door.statuses(basic("n" * 255), basic("n" * 256)) == [401, 401]
    assert door.checks == 1


def test_the_same_accounts_read_anew_void_nothing(door: Door) -> None:
    door.statuses(basic("ci"), basic("ci", "wrong"))
    door.logins.use(Accounts(dict(ACCOUNTS.hashes)))
    door.statuses(basic("ci"), basic("ci", "wrong"))
    assert door.checks == 2


def test_accounts_that_change_during_a_check_decide(door: Door) -> None:
    line = f"GET /simple/six/ HTTP/1.1\r\nHost: h\r\nAuthorization: {basic('ci')}\r\n\r\n".encode()
    transport = door.web.raw(line)
    door.logins.use(OTHERS)
    assert door.workers.do() == 2
    assert parse(transport.value()).status == 401
    assert door.ask(basic("ci")).status == 401


def test_what_is_remembered_is_bounded(door: Door) -> None:
    for number in range(5000):
        door.logins._remember(b"%d" % number, b"ci", number % 2 == 0)
    assert len(door.logins._right) <= module.MOST_KNOWN
    assert len(door.logins._wrong) <= module.MOST_KNOWN


def test_no_password_is_kept_and_no_two_daemons_hash_alike(door: Door) -> None:
    door.statuses(basic("ci"), basic("ci", "wrong"))
    kept = repr(door.logins._right) + repr(door.logins._wrong)
    assert PASSWORD not in kept
    assert basic("ci")[6:] not in kept
    assert door.logins._digest("x") != Door().logins._digest("x")


# -- repeated answers --------------------------------------------------------------------------------------------------


def vouching() -> Door:
    door = Door()
    door.web.pages.vouches = True
    return door


def test_a_repeated_answer_is_for_the_same_credentials_alone() -> None:
    door = vouching()
    assert door.statuses(*[basic("ci")] * 3) == [200] * 3
    assert door.statuses("", basic("ci", "wrong"), basic("ci")) == [401, 401, 200]


def test_and_for_as_long_as_they_are_in_force() -> None:
    door = vouching()
    assert door.statuses(*[basic("ci")] * 3) == [200] * 3
    memo = door.web.site.memo
    head = next(iter(memo._hot._items))
    assert memo.again(head, "192.0.2.7") is not None
    door.steady.advance(REMEMBERED)
    door.web.clock.advance(1)
    assert memo.again(head, "192.0.2.7") is None
    assert (door.ask(basic("ci")).status, door.checks) == (200, 2)
    door.logins.use(OTHERS)
    door.web.clock.advance(1)
    assert memo.again(head, "192.0.2.7") is None
    assert door.ask(basic("ci")).status == 401


def test_they_are_private_and_name_their_user() -> None:
    door = vouching()
    for _ in range(3):
        assert door.ask(basic("ci"))["cache-control"].startswith("private, ")
        door.web.clock.advance(1)
    served = [event for event in door.web.events if isinstance(event, Served)]
    assert {event.user for event in served} == {"ci"}


# -- the log -----------------------------------------------------------------------------------------------------------


def test_the_log_names_who_was_let_in_and_nobody_else(door: Door) -> None:
    door.statuses(basic("ci"), basic("ci", "wrong"), basic("secret-token", ""), "")
    served = [event for event in door.web.events if isinstance(event, Served)]
    assert [event.user for event in served] == ["ci", "", "", ""]
    first, second, *_ = (LINE_FORMS["text"].line(event, NOW) for event in served)
    assert first.endswith('"" ci\n')
    assert second.endswith('""\n')


def test_a_long_answer_names_its_user_at_its_end(door: Door) -> None:
    source = at_rest(b"")
    source.finished = False
    door.web.files.result = FileAnswer(6, "ab" * 32, source, HIT)
    door.ask(basic("ci"), "/packages/a.whl")
    door.steady.advance(10 * REMEMBERED)
    source.feed(b"abcdef", finished=True)
    door.web.turn()
    (served,) = (event for event in door.web.events if isinstance(event, Served))
    assert (served.user, served.state) == ("ci", CacheState.HIT)


def test_a_name_cannot_forge_a_line() -> None:
    event = Served("192.0.2.7", "GET", "/", "h", 200, 0, None, "page", None, 0.0, "", "HTTP/1.1", user='a b"\n\u00fc')
    assert LINE_FORMS["text"].line(event, NOW).endswith('"" a\\x20b\\x22\\x0a\\xc3\\xbc\n')


# -- what guessing costs -----------------------------------------------------------------------------------------------


def wrong(count: int, user: str = "ci", tag: str = "") -> list[str]:
    return [basic(user, f"{tag}{number}") for number in range(count)]


def test_guesses_are_throttled_and_told_when_to_come_back(door: Door) -> None:
    statuses = door.statuses(*wrong(20))
    assert statuses == [401] * int(OF_NAME.burst) + [429] * (20 - int(OF_NAME.burst))
    answer = door.ask(basic("ci", "another"))
    assert (answer.status, answer["retry-after"], answer["cache-control"]) == (429, "2", "no-store")
    door.steady.advance(2)
    assert door.ask(basic("ci", "another")).status == 401


def test_behind_the_same_address_others_come_through(door: Door) -> None:
    assert door.ask(basic("long", "x" * 100)).status == 200
    door.statuses(*wrong(100))
    assert door.statuses(basic("long", "x" * 100), basic("j\u00f6rg", LATIN)) == [200, 200]


def test_a_password_that_was_right_before_comes_through_while_its_name_is_guessed_at(door: Door) -> None:
    assert door.ask(basic("ci")).status == 200
    door.steady.advance(REMEMBERED)
    door.statuses(*wrong(100))
    assert door.ask(basic("ci")).status == 200


def test_and_a_new_right_one_soon_after_the_guessing_ends(door: Door) -> None:
    door.statuses(*wrong(100))
    answer = door.ask(basic("ci"))
    assert answer.status == 429
    door.steady.advance(float(answer["retry-after"]))
    assert door.ask(basic("ci")).status == 200


def test_right_ones_are_no_guesses_however_many(door: Door) -> None:
    many = Accounts({b"%d" % number: ACCOUNTS.hashes[b"ci"] for number in range(100)})
    door.logins.use(many)
    assert door.statuses(*(basic(str(number)) for number in range(100))) == [200] * 100


def test_other_addresses_are_not_hindered(door: Door) -> None:
    for number in range(100):
        door.statuses(*wrong(1, f"user{number}"))
    assert door.ask(basic("nobody", "at all")).status == 429
    assert door.ask(basic("ci"), peer=client(8)).status == 200


def test_checks_are_done_for_one_client_after_the_other(door: Door) -> None:
    for user in "abcde":
        for header in wrong(5, user):
            door.web.raw(request_of(header))
    other = door.web.raw(request_of(basic("ci")), peer=client(8))
    assert len(door.workers.waiting) == THREADS
    for _ in range(2 * THREADS + 1):  # those that run, one turn of the first client's, one of the other's
        done, work = door.workers.waiting.pop(0)
        done.callback(work())
    door.web.turn()
    assert parse(other.value()).status == 200
    assert door.workers.do()


def test_what_was_right_before_does_not_wait_behind_guesses(door: Door) -> None:
    assert door.ask(basic("ci")).status == 200
    door.steady.advance(REMEMBERED)
    for number in range(20):
        door.web.raw(request_of(basic(f"user{number}")), peer=client(number))
    again = door.web.raw(request_of(basic("ci")), peer=client(99))
    assert len(door.workers.waiting) == THREADS + 1
    done, work = door.workers.waiting.pop()
    done.callback(work())
    door.web.turn()
    assert parse(again.value()).status == 200
    assert door.workers.do() == 20


def request_of(authorization: str) -> bytes:
    return f"GET /simple/six/ HTTP/1.1\r\nHost: h\r\nAuthorization: {authorization}\r\n\r\n".encode()


def test_those_who_wait_for_a_check_are_bounded(door: Door) -> None:
    transports = [
        door.web.raw(request_of(basic(f"user{number}")), peer=client(number))
        for number in range(THREADS + MOST_WAITING + 5)
    ]
    refused = [parse(transport.value()) for transport in transports if transport.value()]
    assert [(answer.status, answer["retry-after"]) for answer in refused] == [(503, "2")] * 5
    assert door.workers.do() == THREADS + MOST_WAITING


# -- meanwhile ---------------------------------------------------------------------------------------------------------


def test_many_with_the_same_header_wait_for_one_check(door: Door) -> None:
    transports = [door.web.raw(request_of(basic("ci"))) for _ in range(20)]
    assert len(door.workers.waiting) == 1
    door.workers.do()
    door.web.turn()
    assert [parse(transport.value()).status for transport in transports] == [200] * 20


def test_a_client_that_leaves_during_the_check_leaves_alone(door: Door) -> None:
    gone, stays = door.web.raw(request_of(basic("ci"))), door.web.raw(request_of(basic("ci")))
    gone.end()
    door.web.turn()
    door.workers.do()
    door.web.turn()
    assert (gone.value(), parse(stays.value()).status) == (b"", 200)
    assert sorted(event.status for event in door.web.events if isinstance(event, Served)) == [200, 499]
    assert (door.ask(basic("ci")).status, door.checks) == (200, 1)


def test_pipelined_requests_are_answered_in_order_each_for_itself(door: Door) -> None:
    requests = [request_of(basic("ci")), request_of(basic("ci", "wrong")), b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"]
    transport = door.web.raw(b"".join(requests))
    assert transport.value() == b""
    while door.workers.do():
        door.web.turn()
    first = parse(transport.value())
    second = parse(first.rest)
    third = parse(second.rest)
    assert [first.status, second.status, third.status] == [200, 401, 200]


def test_a_check_that_never_ends_is_given_up(door: Door) -> None:
    transport = door.web.raw(request_of(basic("ci")))
    door.web.clock.advance(20)
    answer = parse(transport.value())
    assert (answer.status, "retry-after" in answer) == (503, True)


def test_an_error_in_the_thread_is_nobody_s_password(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.bcrypt, "checkpw", refuse)
    assert door.ask(basic("ci")).status == 500
    monkeypatch.undo()
    assert door.ask(basic("ci")).status == 200


def refuse(*_: object) -> bool:
    raise RuntimeError("unforeseen")
