"""Whether the proxies that tables name lead to their indexes, found out by asking them once.

Laws: a proxy that refuses is a mistake of the configuration; one that can't be reached, or can't reach the index, is
an outage, in which a daemon has to start; nobody waits longer than `PATIENCE`. It blocks, so it is for the start, or
for a thread.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from threading import Thread

from attrs import define, field

from twisted_pypi.environment import proxy_rules
from twisted_pypi.errors import ConfigError
from twisted_pypi.fetching.proxies import Proxy
from twisted_pypi.fetching.tunnel import question, wants_credentials
from twisted_pypi.settings import Index, Settings
from twisted_pypi.urls import Origin, origin_of

PATIENCE = 2.0
"""Seconds for all of them: they are asked at once."""

_STATUS = re.compile(rb"HTTP/1\.[0-9] ([1-5][0-9]{2})(?: |\r?\n)")
_LONGEST_LINE = 4096


@define
class _Trial:
    """One question to one proxy."""

    index: str
    origin: Origin
    proxy: Proxy
    refusal: str = field(default="", init=False)
    trouble: str = field(default="does not answer", init=False)

    def run(self) -> None:
        try:
            self._judge(self._ask())
        except OSError as error:
            self.trouble = f"can't be reached: {error.strerror or error}"
        except UnicodeError:
            self.trouble = "can't be reached: that is no host name"

    def _ask(self) -> int | None:
        """The status of the answer; None for what is no answer. Raises `OSError`."""
        line = b""
        with socket.create_connection((self.proxy.origin.host, self.proxy.origin.port), PATIENCE) as connection:
            connection.sendall(question(self.origin, self.proxy))
            while b"\n" not in line and len(line) < _LONGEST_LINE and (data := connection.recv(_LONGEST_LINE)):
                line += data
        status = _STATUS.match(line)
        return int(status[1]) if status else None

    def _judge(self, status: int | None) -> None:
        if status in (401, 407):  # tinyproxy says 401 to wrong ones
            self.refusal = wants_credentials(self.proxy, status)
        elif status == 403:
            self.refusal = f"answered 403 to CONNECT: it does not lead to {self.origin}"
        elif status is None:
            self.trouble = "gave no proper answer to CONNECT"
        else:
            self.trouble = "" if status < 300 else f"answered {status} to CONNECT"


def check_proxies(settings: Settings, before: Settings | None = None) -> tuple[str, ...]:
    """Ask those that were not there `before`; warnings. Raises `ConfigError` for one that refuses."""
    trials = [_Trial(index.name, origin_of(index.url), proxy) for index, proxy in _to_ask(settings, before)]
    threads = [Thread(target=trial.run, daemon=True) for trial in trials]
    for thread in threads:
        thread.start()
    end = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    for trial in trials:
        if trial.refusal:
            raise ConfigError(f"[[index]] {trial.index}: proxy", f"{trial.proxy} {trial.refusal}")
    unwell = [trial for trial in trials if trial.trouble]
    return tuple(f"[[index]] {trial.index}: the proxy {trial.proxy} {trial.trouble}" for trial in unwell)


def has_to_ask(settings: Settings, before: Settings) -> bool:
    """Whether `check_proxies` would ask any."""
    return bool(list(_to_ask(settings, before)))


def _to_ask(settings: Settings, before: Settings | None) -> Iterator[tuple[Index, Proxy]]:
    """The indexes with https and a proxy of their own: what a proxy says to http may be the index's own answer."""
    known = {(index.url, index.proxy) for index in before.indexes} if before is not None and not before.offline else ()
    for index in () if settings.offline else settings.upstreams:
        proxy = proxy_rules(index.proxy).https if index.proxy is not None and not index.path else None
        if proxy is not None and index.url.startswith("https:") and (index.url, index.proxy) not in known:
            yield index, proxy
