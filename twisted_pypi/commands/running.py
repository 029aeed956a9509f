"""The cache by way of the daemon that uses it: over HTTP, past all proxies."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from attrs import field, frozen

from twisted_pypi import __version__
from twisted_pypi.commands.problems import CommandError, NothingFits
from twisted_pypi.interfaces.listing import MOST, Wanted
from twisted_pypi.interfaces.purging import Purge

PATIENCE = 60.0
"""Seconds for which a daemon may say nothing; a purge takes as long as it takes."""

LARGEST = 64 << 20
"""Bytes of an answer that are read."""


@frozen
class Running:
    """The daemon at `url` (or, with `socket_path`, on that UNIX socket), for who has this admin token ("": none).

    `trusted`: it is on this machine, where the name in its certificate tells nothing. `hint` says why it is asked,
    `untold` why its token is not known.
    Every method raises `CommandError`.
    """

    url: str
    token: str = field(default="", repr=False)
    socket_path: str = ""
    trusted: bool = False
    hint: str = ""
    untold: str = ""

    @property
    def shown(self) -> str:
        """Where it is, for people."""
        return f"unix:{self.socket_path}" if self.socket_path else self.url

    def status(self) -> Mapping[str, Any]:
        """Its figures."""
        return self._ask("GET", "/+status")

    def listed(self, wanted: Wanted, by_name: bool) -> Iterator[Mapping[str, Any]]:
        """What is stored, answer by answer, up to the limit."""
        left, skip = wanted.limit, wanted.skip
        while left > 0:
            query = {"q": wanted.text, "kind": wanted.kind, "index": wanted.index or "", "sort": wanted.order}
            query |= {"by": "name" if by_name else "", "limit": str(min(left, MOST)), "skip": str(skip)}
            answer = self._ask("GET", f"/cache/?{urlencode({key: value for key, value in query.items() if value})}")
            yield answer
            if answer.get("next") is None:
                return
            left -= answer["next"] - skip
            skip = answer["next"]

    def purge(self, wanted: Purge) -> Mapping[str, Any]:
        """Purge; what was. Raises `NothingFits` if nothing is stored of that."""
        query = urlencode({"files": "1" if wanted.files else "", "index": wanted.index or ""})
        answer = self._ask("DELETE", f"/cache/{quote(wanted.name, safe='*')}?{query}", patience=None)
        data = answer.get("data")
        if not isinstance(data, dict):
            raise self._strange()
        return data

    def _ask(self, method: str, target: str, patience: float | None = PATIENCE) -> Mapping[str, Any]:
        parts = urlsplit(self.url)
        headers = {"Accept": "application/json", "User-Agent": f"pypicache/{__version__}", "Connection": "close"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        connection = self._connection(patience)
        try:
            connection.request(method, parts.path.rstrip("/") + target, headers=headers)
            answer = connection.getresponse()
            body = answer.read(LARGEST)
        except (ConnectionRefusedError, FileNotFoundError) as error:
            raise CommandError(f"{self.hint}no daemon answers at {self.shown}") from error
        except http.client.RemoteDisconnected as error:
            tls = "" if self.url.startswith("https:") else "; if it has TLS, say --url https://…"
            raise CommandError(f"{self.shown}: {error}{tls}") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise CommandError(f"{self.shown}: {error or type(error).__name__}") from error
        finally:
            connection.close()
        return self._judged(answer.status, answer.reason, body)

    def _connection(self, patience: float | None) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        if self.socket_path:
            return _UnixConnection(self.socket_path, patience)
        host = parts.hostname or ""
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, parts.port, timeout=patience)
        context = ssl.create_default_context()
        if self.trusted:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(host, parts.port, timeout=patience, context=context)

    def _judged(self, status: int, reason: str, body: bytes) -> Mapping[str, Any]:
        try:
            document = json.loads(body)
        except ValueError:
            document = None
        if status == 200 and isinstance(document, dict):
            return document
        said = str(document.get("detail") or reason) if isinstance(document, dict) else reason
        match status:
            case 401 if self.token:
                raise CommandError(f"{self.shown} does not take this admin token")
            case 401:
                wanted = "an admin token, as it has --htpasswd" if "password" in said else "its admin token"
                remedy = f", and {self.untold}" if self.untold else ": set PYPICACHE_ADMIN_TOKEN, or give --config"
                raise CommandError(f"{self.shown} wants {wanted}{remedy}")
            case 404 if isinstance(document, dict):
                raise NothingFits(said)
            case 200 | 404:
                raise self._strange()
        raise CommandError(f"{self.shown} refused this ({status}): {said}")

    def _strange(self) -> CommandError:
        return CommandError(f"what answers at {self.shown} is no pypicache daemon")


class _UnixConnection(http.client.HTTPConnection):
    """To a server on a UNIX socket."""

    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """See `HTTPConnection`."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
