"""Purging and listing: who may, and what is answered."""

from __future__ import annotations

import hmac
import json
from collections.abc import Collection, Mapping
from ipaddress import ip_address
from urllib.parse import unquote

from attrs import frozen

from twisted_pypi.errors import Absent, BadPath
from twisted_pypi.events import CachePurged
from twisted_pypi.interfaces import Inventory, Observer, Purger
from twisted_pypi.interfaces.listing import MOST, ORDERS, Wanted
from twisted_pypi.interfaces.purging import Purge, Purged
from twisted_pypi.web.clients import Ask
from twisted_pypi.web.problems import Problem
from twisted_pypi.web.responding import Reply, simple_reply

ADMIN_PATH = "/cache/"
PROJECT_LIST = "list"

LIMIT = 100
"""Rows of a listing, where nobody says how many."""

_JSON = "application/json"
_KINDS = ("", "page", "file")
_TRUE = ("1", "true", "yes")


@frozen
class AdminPolicy:
    """Who may purge and list: holders of `token`; without one, programs on this machine, if `open_to_loopback`.

    Behind a proxy every client comes from loopback, so the composition root closes that where one is configured.
    """

    token: str
    open_to_loopback: bool


def is_admin(ask: Ask, policy: AdminPolicy) -> None:
    """Let an administrator pass. Raises `Problem` 401 or 403 for anybody else."""
    if policy.token:
        if not has_token(ask, policy.token):
            challenge = (("WWW-Authenticate", "Bearer"), ("Cache-Control", "no-store"))
            raise Problem(401, "This needs the admin token", challenge)
    elif not (policy.open_to_loopback and _is_local(ask)):
        raise Problem(403, "This needs --admin-token, or a request from this machine", (("Cache-Control", "no-store"),))


def is_known_admin(ask: Ask, policy: AdminPolicy) -> bool:
    """Whether who asks is an administrator, for answers that others get as well, with less in them."""
    try:
        is_admin(ask, policy)
    except Problem:
        return False
    return True


def has_token(ask: Ask, token: str) -> bool:
    """Whether the admin token comes along: as Bearer, or beside a Basic login as `X-Admin-Token`. "" is no token."""
    scheme, _, credentials = ask.header("authorization").partition(" ")
    given = credentials.strip() if scheme.lower() == "bearer" else ask.header("x-admin-token")
    return bool(token) and hmac.compare_digest(given.encode("latin-1"), token.encode())


def _is_local(ask: Ask) -> bool:
    """A program on this machine that means this machine: no other site's page in a local browser, no DNS rebinding."""
    if not (_is_loopback(ask.peer) and _is_loopback_host(ask.host)):
        return False
    if ask.header("x-forwarded-for") or ask.header("forwarded"):
        return False  # a proxy that nobody told us of
    origin = ask.header("origin")
    if origin and origin.lower() != f"{ask.scheme}://{ask.host}".lower():
        return False
    return ask.header("sec-fetch-site") in ("", "same-origin", "none")


def _is_loopback(address: str) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


def _is_loopback_host(host: str) -> bool:
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower() == "localhost" or _is_loopback(name)


async def purge_reply(purger: Purger, observer: Observer, path: str, ask: Ask) -> Reply:
    """Purge the name or pattern that the path gives ("list": the project list), and have it be known who did.

    The list is there whether it is stored or not. Raises `Absent` for a name of which nothing is stored, `BadPath` for
    a path that gives no name, `Unavailable` when the store can't tell.
    """
    name = unquote(path.removeprefix(ADMIN_PATH)).rstrip("/")
    if not name or name.count("/") > name.startswith("@"):  # npm has @SCOPE/NAME
        raise BadPath("Say what to purge: /cache/list, /cache/NAME, or a pattern as in /cache/acme-*")
    wanted = Purge(name, ask.parameter("files") in _TRUE, ask.parameter("index") or None)
    done, complete = Purged(), False
    try:
        await purger.purge(wanted, done)
        complete = True
    finally:
        if done.entries or not complete:
            observer(CachePurged(ask.client, _in_words(wanted), done.pages, done.files, done.size, complete))
    if not done.known and (name != PROJECT_LIST or wanted.index):
        raise Absent(f"Nothing is stored of {_in_words(wanted)}")
    counts = {"purged": done.entries, "names": done.names, "pages": done.pages, "files": done.files, "bytes": done.size}
    return _json_reply({"status": "success", "data": {"name": name, **counts}})


def _in_words(wanted: Purge) -> str:
    of_index = f" of index {wanted.index}" if wanted.index is not None else ""
    return f"{wanted.name}{of_index}{' with files' if wanted.files else ''}"


async def listing_reply(inventory: Inventory, ask: Ask) -> Reply:
    """What is stored, as the query wants it. Raises `BadPath` for one that says nothing, `Unavailable`."""
    wanted = Wanted(
        text=ask.parameter("q"),
        kind=_one_of(_KINDS, "kind", ask.parameter("kind")),
        index=ask.parameter("index") or None,
        order=_one_of((*ORDERS, *(f"-{order}" for order in ORDERS)), "sort", ask.parameter("sort") or ORDERS[0]),
        limit=_number("limit", ask.parameter("limit") or str(LIMIT), MOST),
        skip=_number("skip", ask.parameter("skip") or "0", 1 << 40),
    )
    by_name = _one_of(("", "entry", "name"), "by", ask.parameter("by")) == "name"
    return _json_reply(await (inventory.names if by_name else inventory.entries)(wanted))


def _one_of(known: Collection[str], what: str, given: str) -> str:
    if given not in known:
        raise BadPath(f"{what} is one of {', '.join(filter(None, known))}")
    return given


def _number(what: str, given: str, most: int) -> int:
    if not (given.isascii() and given.isdigit() and len(given) < 16 and int(given) <= most):
        raise BadPath(f"{what} is a number up to {most}")
    return int(given)


def _json_reply(document: Mapping[str, object]) -> Reply:
    body = json.dumps(document, default=str).encode("ascii") + b"\n"
    return simple_reply(200, _JSON, body, "admin", ("Cache-Control", "no-store"))
