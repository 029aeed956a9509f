"""SIGHUP: settings read anew, and brought into force or refused as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, fields_dict
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, eventAsText, globalLogPublisher

from twisted_pypi.assembly import assemble
from twisted_pypi.caching.pages import PagePolicy
from twisted_pypi.errors import ConfigError
from twisted_pypi.reloading import RELOADED, Reloader
from twisted_pypi.settings import Loaded, Settings
from twisted_pypi.units import network
from unit.storage_doubles import now
from unit.test_config import load

OLD = load().settings
SECRET = "hunter2"


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """ "level: text" of each line that was logged."""
    lines: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        lines.append(f"{event['log_level'].name}: {eventAsText(event, includeTimestamp=False, includeSystem=False)}")

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def reloaded(reread: Callable[[], Loaded], use: Callable[[Settings], None] | None = None) -> tuple[Settings, list[Any]]:
    """The settings in force after one reload, and with what `use` was called."""
    used: list[Any] = []
    reloader = Reloader(OLD, reread, use or used.append)
    now(reloader.reload())
    assert used in ([], [reloader.settings])
    return reloader.settings, used


def test_only_settings_are_reloaded() -> None:
    assert set(fields_dict(Settings)) >= RELOADED


def test_what_changed_comes_into_force_and_is_named_without_its_value(logged: list[str]) -> None:
    new = evolve(OLD, index_ttl=7.0, admin_token=SECRET)
    settings, used = reloaded(lambda: Loaded(new, ("beware",)))
    assert (settings, used) == (new, [new])
    assert sorted(logged) == [
        "info: the configuration was read anew; changed: index-ttl, admin-token",
        "warn: beware",
    ]


def test_nothing_changed(logged: list[str]) -> None:
    assert reloaded(lambda: Loaded(OLD))[0] == OLD
    assert logged == ["info: the configuration was read anew; changed: nothing"]


def test_what_needs_a_restart_stays_and_is_named(logged: list[str]) -> None:
    new = evolve(OLD, port=1, cache_dir="/elsewhere", interface="::", listen=("unix:/x",), prefix="/p", access_log=None)
    settings, used = reloaded(lambda: Loaded(evolve(new, memory=1)))
    assert settings == evolve(OLD, memory=1)
    assert used == [settings]
    assert logged[1:] == [
        "warn: needs a restart, stays as it was: interface, port, listen, prefix, cache-dir, access-log"
    ]


def unreadable() -> Loaded:
    raise ConfigError("/etc/p.toml: port", "is no number")


def broken() -> Loaded:
    raise RuntimeError("unforeseen")


def refuse(settings: Settings) -> None:
    raise ConfigError("[[index]] a: mirrors", "no")


@pytest.mark.parametrize(
    ("reread", "use", "line"),
    [
        (unreadable, None, "error: the configuration stays as it was: /etc/p.toml: port: is no number"),
        (
            lambda: Loaded(evolve(OLD, memory=1)),
            refuse,
            "error: the configuration stays as it was: [[index]] a: mirrors: no",
        ),
        (
            lambda: Loaded(evolve(OLD, ca_file="/none")),
            None,
            "error: the configuration stays as it was: --ca-file: /none",
        ),
        (broken, None, "critical: the configuration stays as it was"),
    ],
)
def test_what_can_t_be_used_is_one_line_and_changes_nothing(
    reread: Callable[[], Loaded], use: Callable[[Settings], None] | None, line: str, logged: list[str]
) -> None:
    settings, used = reloaded(reread, use)
    assert (settings, used) == (OLD, [])
    assert len(logged) == 1
    assert logged[0].startswith(line)


# -- the parts ---------------------------------------------------------------------------------------------------------

TABLE = "[[index]]\nname = 'inside'\nurl = 'https://inside.example/simple/'\n"


def test_every_part_takes_its_settings_and_stays_the_same(tmp_path: Path) -> None:
    old = evolve(OLD, cache_dir=str(tmp_path))
    parts = assemble(MemoryReactorClock(), old)
    kept = (parts.pages, parts.files, parts.files.transfers, parts.upstream, parts.store, parts.site)
    first = parts.site.resource
    new = load({"index-ttl": "9", "stale-wait": "3", "max-stale": "8", "offline": True}, toml=TABLE).settings
    new = evolve(new, cache_dir=str(tmp_path), cache_size=5, memory=6, log_level="debug", allow=(network("::1"),))
    parts.use(new)
    assert parts.pages.policy == PagePolicy(3.0, 8.0, True)
    assert (parts.files.offline, parts.files.not_found_ttl) == (True, 9.0)
    assert (parts.store.limits.cache_size, parts.store.limits.memory) == (5, 6)
    assert parts.told.log.level == LogLevel.debug
    assert parts.knowledge.permits("inside", "https://anywhere.example/")
    assert parts.knowledge.page_of("inside", "https://anywhere.example/lib-1.0.tar.gz?signature=1") is not None
    assert parts.site.resource is not first
    assert kept == (parts.pages, parts.files, parts.files.transfers, parts.upstream, parts.store, parts.site)


def test_parts_that_can_t_take_all_take_nothing(tmp_path: Path) -> None:
    old = evolve(OLD, cache_dir=str(tmp_path))
    parts = assemble(MemoryReactorClock(), old)
    before = (parts.site.resource, parts.pages.policy, parts.store.limits, parts.told.log.level)
    bad = evolve(old, ca_file=str(tmp_path / "none"), memory=1, stale_wait=9.0, log_level="debug")
    with pytest.raises(ConfigError):
        parts.use(bad)
    assert (parts.site.resource, parts.pages.policy, parts.store.limits, parts.told.log.level) == before


async def refusing(settings: Settings, before: Settings) -> tuple[str, ...]:
    raise ConfigError("[[index]] a: proxy", "refuses")


async def warning(settings: Settings, before: Settings) -> tuple[str, ...]:
    return ("beware",)


def test_what_is_found_by_trying_is_refused_or_told(logged: list[str]) -> None:
    reloader = Reloader(OLD, lambda: Loaded(evolve(OLD, memory=1)), lambda _: None, refusing)
    now(reloader.reload())
    assert reloader.settings == OLD
    assert logged == ["error: the configuration stays as it was: [[index]] a: proxy: refuses"]
    reloader.attempt = warning
    now(reloader.reload())
    assert reloader.settings.memory == 1
    assert logged[-1] == "warn: beware"


def test_while_it_is_tried_it_may_be_read_once_more() -> None:
    tried: list[Deferred[tuple[str, ...]]] = []
    texts = iter((1, 2))

    async def trying(settings: Settings, before: Settings) -> tuple[str, ...]:
        tried.append(Deferred())
        return await tried[-1]

    used: list[int] = []
    reloader = Reloader(
        OLD, lambda: Loaded(evolve(OLD, memory=next(texts))), lambda new: used.append(new.memory), trying
    )
    for _ in range(2):
        Deferred.fromCoroutine(reloader.reload())
    for each in reversed(tried):
        each.callback(())
    assert (used, reloader.settings.memory) == ([2], 2)
