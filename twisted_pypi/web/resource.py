"""The one resource: every request comes in here, and leaves as a `Reply`.

The order in which a request is looked at: malformed (400); health checks (for anybody, at the root and below the
prefix); `--allow` (403); who asks, with `--htpasswd` (401, 429); prefix (404); method (405); our own paths (admin);
what the mount knows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from attrs import define, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from twisted_pypi import hops
from twisted_pypi.errors import Absent, Forbidden
from twisted_pypi.interfaces import Files, Inventory, Mount, Observer, Pages, Purger, Workers
from twisted_pypi.model import Alternatives, FileRoute, PageRoute, Redirect
from twisted_pypi.web.admin import (
    ADMIN_PATH,
    AdminPolicy,
    has_token,
    is_admin,
    is_known_admin,
    listing_reply,
    purge_reply,
)
from twisted_pypi.web.clients import Ask, Networks, check, is_allowed, read_ask
from twisted_pypi.web.file_replies import file_at_once, file_reply
from twisted_pypi.web.logins import Logins, private
from twisted_pypi.web.memo import Memo
from twisted_pypi.web.page_replies import PageReplies, base_of, preferred
from twisted_pypi.web.problems import Problem
from twisted_pypi.web.responding import Exchange, Reply, simple_reply
from twisted_pypi.web.site import CacheRequest
from twisted_pypi.web.status_page import Status, page_reply, status_reply

Answer = Reply | Coroutine[Deferred[Any], Any, Reply]

_TEXT = "text/plain; charset=utf-8"
_READS = ("GET", "HEAD")
_OWN = ("/", "/+status", "/metrics", "/healthz", "/readyz")
_SLASHES = re.compile(r"^/{2,}")


@define
class Readiness:
    """Whether clients may be sent here: the store is open and answers, and the daemon isn't shutting down."""

    ready: bool = False
    stalled: Callable[[], bool] = lambda: False


@frozen
class Services:
    """What the resource needs; the composition root makes it.

    `mount` knows what each path is. `clock.seconds()` is seconds since the epoch.
    `prefix` is "" or "/path" without trailing slash; `base_url` is `--base-url` or "". `purger` purges, but for
    `offline`. `status` makes the page for people and `/+status`; `metrics(accept)` is type and text of `/metrics`;
    `inventory` lists what is stored. Requests below one of `mount_names` (first segments of paths) are counted apart.
    `logins`: only its users are served, and who has the admin token.
    """

    mount: Mount
    pages: Pages
    files: Files
    workers: Workers
    observer: Observer
    clock: IReactorTime
    readiness: Readiness
    purger: Purger
    status: Status
    metrics: Callable[[str], tuple[str, bytes]]
    inventory: Inventory
    prefix: str = ""
    base_url: str = ""
    allow: Networks = ()
    trusted_proxy: Networks = ()
    admin_token: str = ""
    identity: str = ""
    offline: bool = False
    mount_names: frozenset[str] = frozenset()
    logins: Logins | None = None


class ProxyResource(Resource):
    """Answers for every path."""

    isLeaf = True  # noqa: N815

    def __init__(self, services: Services) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._services = services
        self._pages = PageReplies(services.pages, services.workers, services.base_url, services.prefix)
        self.memo = Memo(self._at_hand, services.observer, services.clock, services.allow, services.trusted_proxy)
        self._policy = AdminPolicy(
            services.admin_token, open_to_loopback=not (services.base_url or services.trusted_proxy)
        )

    def render(self, request: CacheRequest) -> int:
        """Answer, now or later. Never raises."""
        services = self._services
        ask = read_ask(request, services.trusted_proxy)
        clock = services.clock
        exchange = Exchange(
            request, ask, clock.seconds(), clock, services.observer, self.memo.keep, self._mount(ask), self._user_of
        )
        passed = ask.header(hops.FIELD)
        # One that came in the same bytes as the request before it is begun from within that one's answer.
        if passed or hops.passed():
            hops.after(passed, partial(self._begin, exchange, ask))
        else:
            self._begin(exchange, ask)
        return NOT_DONE_YET

    def _mount(self, ask: Ask) -> str:
        """What is asked, as metrics and the access log name it."""
        names = self._services.mount_names
        if not names:
            return "/"
        segment = ask.path[len(self._services.prefix) + 1 :].partition("/")[0]
        return segment if segment in names else "/"

    def _begin(self, exchange: Exchange, ask: Ask) -> None:
        try:
            answer = self._answer(ask)
        except Exception as error:
            exchange.fail(error)
            return
        if isinstance(answer, Reply):
            exchange.send(self._given(answer))
        else:
            exchange.wait(answer if self._services.logins is None else self._later(answer))

    def _given(self, reply: Reply) -> Reply:
        return reply if self._services.logins is None else private(reply)

    async def _later(self, answer: Coroutine[Deferred[Any], Any, Reply]) -> Reply:
        return self._given(await answer)

    def _at_hand(self, ask: Ask) -> Reply | None:
        """The reply, if nothing has to be waited for. Raises `CacheError` kinds."""
        answer = self._answer(ask)
        if isinstance(answer, Reply):
            return self._given(answer)
        answer.close()
        return None

    def _answer(self, ask: Ask) -> Answer:
        services = self._services
        check(ask)
        if (health := self.health(ask)) is not None:
            return health
        if not is_allowed(ask.client, services.allow):
            raise Forbidden("Your address is not allowed to use this cache")
        if services.logins is not None and not self._is_known(ask, services.logins):
            return self._after_login(ask, services.logins)
        return self._admitted(ask)

    def _is_known(self, ask: Ask, logins: Logins) -> bool:
        """Whether there is nothing to be checked any more. The admin token alone does for everything."""
        return has_token(ask, self._services.admin_token) or logins.knows(ask.header("authorization"))

    async def _after_login(self, ask: Ask, logins: Logins) -> Reply:
        await logins.check(ask.header("authorization"), ask.client)
        answer = self._admitted(ask)
        return answer if isinstance(answer, Reply) else await answer

    def _user_of(self, ask: Ask) -> str:
        logins = self._services.logins
        return "" if logins is None else logins.user_of(ask.header("authorization"))

    def _admitted(self, ask: Ask) -> Answer:
        """The answer to somebody who may ask."""
        services = self._services
        path = below(services.prefix, ask.path)
        if path is None:
            tidy = _SLASHES.sub("/", ask.path)
            if below(services.prefix, tidy):
                return _redirect(_with_query(tidy, ask))
            raise Absent(f"Nothing is served here: everything is below {services.prefix}/")
        if not path:
            return _redirect(_with_query(f"{services.prefix}/", ask))
        if path.startswith(ADMIN_PATH):
            return self._manage(ask, path)
        if ask.method not in _READS:
            if path not in _OWN:
                # 405 is for what there is (RFC 9110, 15.5.6): npm's clients know by a 404 that nobody audits here.
                resolve(services.mounts, path)
            raise _not_allowed(ask.method, _READS)
        return self._own(ask, path) or self._proxied(ask, path)

    def health(self, ask: Ask) -> Reply | None:
        """The answer to a health check, at the root or below the prefix; None for anything else."""
        if ask.method not in _READS:
            return None
        prefix = self._services.prefix
        return self._health(ask.path) or (self._health(below(prefix, ask.path) or "") if prefix else None)

    def _health(self, path: str) -> Reply | None:
        if path == "/healthz":
            return simple_reply(200, _TEXT, b"ok\n", "health", ("Cache-Control", "no-store"))
        if path == "/readyz":
            readiness = self._services.readiness
            stalled = readiness.stalled()
            ready = readiness.ready and not stalled
            body = b"ready\n" if ready else b"not ready%s\n" % (b": the disk does not answer" if stalled else b"")
            return simple_reply(200 if ready else 503, _TEXT, body, "health", ("Cache-Control", "no-store"))
        return None

    def _manage(self, ask: Ask, path: str) -> Answer:
        allowed = (*_READS, "DELETE") if path == ADMIN_PATH else ("DELETE",)
        if ask.method not in allowed:
            raise _not_allowed(ask.method, allowed)
        is_admin(ask, self._policy)
        if ask.method != "DELETE":
            return listing_reply(self._services.inventory, ask)
        if self._services.offline:
            raise Problem(409, "Offline nothing can be fetched again: nothing is purged")
        return purge_reply(self._services.purger, self._services.observer, path, ask)

    def _own(self, ask: Ask, path: str) -> Answer | None:
        services = self._services
        match path:
            case "/":
                base = base_of(services.base_url, services.prefix, ask)
                return page_reply(services.status, base, ask.parameter("q"), is_known_admin(ask, self._policy))
            case "/+status":
                return status_reply(services.status, is_known_admin(ask, self._policy))
            case "/metrics":
                kind, text = services.metrics(ask.header("accept"))
                return simple_reply(200, kind, text, "admin", ("Cache-Control", "no-store"), ("Vary", "Accept"))
        return None

    def _proxied(self, ask: Ask, path: str) -> Answer:
        hops.refuse_loop(self._services.identity)
        route = self._services.mount.resolve(path)
        if isinstance(route, Redirect):
            return _redirect(_with_query(_within_prefix(self._services.prefix, route.location), ask))
        if isinstance(route, FileRoute):
            files = self._services.files
            return file_at_once(files, route, ask) or file_reply(files, route, ask)
        return self._page(ask, preferred(route, ask) if isinstance(route, Alternatives) else route)

    def _page(self, ask: Ask, route: PageRoute) -> Answer:
        now = self._services.clock.seconds()
        answer = self._services.pages.ready(route, ask.asker())
        reply = self._pages.at_once(route, ask, answer, now) if answer else None
        return reply or self._pages.reply(route, ask, answer, now)


def below(prefix: str, path: str) -> str | None:
    """What is left of a path below the prefix: "" for the prefix itself, None outside of it."""
    if path == prefix:
        return ""
    return path[len(prefix) :] if path.startswith(f"{prefix}/") else None


def _within_prefix(prefix: str, location: str) -> str:
    # "//host/" would lead away from here, and browsers take "\\" for "/".
    return re.sub(r"^[/\\]+", lambda _: f"{prefix}/", location)


def _with_query(location: str, ask: Ask) -> str:
    """The query may name the form that is wanted (PEP 691)."""
    return f"{location}?{ask.query}" if ask.query else location


def _redirect(location: str) -> Reply:
    return simple_reply(301, _TEXT, b"", "redirect", ("Location", location), ("Cache-Control", "max-age=60"))


def _not_allowed(method: str, allowed: tuple[str, ...]) -> Problem:
    listed = ", ".join(allowed)
    return Problem(405, f"{method[:40]} is not possible here, only {listed}", (("Allow", listed),))
