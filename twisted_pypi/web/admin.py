"""Purging and figures: who may, and what is answered."""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address
from urllib.parse import unquote

from attrs import frozen

from twisted_pypi.errors import Absent, BadPath
from twisted_pypi.web.clients import Ask
from twisted_pypi.web.problems import Problem
from twisted_pypi.web.responding import Reply, simple_reply

ADMIN_PATH = "/cache/"
PROJECT_LIST = "list"

_JSON = "application/json"
_TRUE = ("1", "true", "yes")


@frozen
class AdminPolicy:
    """Who may purge: holders of `token`; without one, programs on this machine, if `open_to_loopback`.

    Behind a proxy every client comes from loopback, so the composition root closes that where one is configured.
    """

    token: str
    open_to_loopback: bool


def is_admin(ask: Ask, policy: AdminPolicy) -> None:
    """Let an administrator pass. Raises `Problem` 401 or 403 for anybody else."""
    if policy.token:
        if not _has_token(ask, policy.token):
            challenge = (("WWW-Authenticate", "Bearer"), ("Cache-Control", "no-store"))
            raise Problem(401, "Purging needs the admin token", challenge)
    elif not (policy.open_to_loopback and _is_local(ask)):
        raise Problem(
            403, "Purging needs --admin-token, or a request from this machine", (("Cache-Control", "no-store"),)
        )


def _has_token(ask: Ask, token: str) -> bool:
    scheme, _, credentials = ask.header("authorization").partition(" ")
    given = credentials.strip() if scheme.lower() == "bearer" else ask.header("x-admin-token")
    return hmac.compare_digest(given.encode("latin-1"), token.encode())


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


async def purge_reply(purge: Callable[[str, bool], Awaitable[int]], path: str, ask: Ask) -> Reply:
    """Purge the name that the path gives ("list": the project list).

    The list is there whether it is stored or not. Raises `Absent` for a name of which nothing is stored, `BadPath` for
    a path that gives no name.
    """
    name = unquote(path.removeprefix(ADMIN_PATH)).rstrip("/")
    if not name or name.count("/") > name.startswith("@"):  # npm has @SCOPE/NAME
        raise BadPath("Say what to purge: /cache/list or /cache/NAME")
    count = await purge(name, ask.parameter("files") in _TRUE)
    if not count and name != PROJECT_LIST:
        raise Absent(f"Nothing is stored of {name}")
    return _json_reply({"status": "success", "data": {"name": name, "purged": count}})


def status_reply(figures: Mapping[str, object]) -> Reply:
    """The figures as JSON."""
    return _json_reply(figures)


def _json_reply(document: Mapping[str, object]) -> Reply:
    body = json.dumps(document, default=str).encode("ascii") + b"\n"
    return simple_reply(200, _JSON, body, "admin", ("Cache-Control", "no-store"))
