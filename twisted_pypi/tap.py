"""The command line of `twistd pypicache`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import partial
from textwrap import wrap
from typing import Any, NoReturn

from attrs import evolve
from twisted.application.service import IService
from twisted.python import usage
from twisted.python.reflect import qual

from twisted_pypi import __version__
from twisted_pypi.config import load
from twisted_pypi.errors import ConfigError
from twisted_pypi.journal import JournalObserver, is_journal
from twisted_pypi.options import GROUPS, OPTIONS, Option
from twisted_pypi.output import be_patient
from twisted_pypi.preflight import preflight
from twisted_pypi.process import settle
from twisted_pypi.proxy_check import check_proxies
from twisted_pypi.settings import Loaded, Settings

_COLUMN = 27  # where the help's explanations begin


def _parameters() -> list[list[str | None]]:
    return [[option.name, None, None, option.help] for option in OPTIONS if not option.repeatable and not option.flag]


class Options(usage.Options):
    """The options of `twistd pypicache`, as texts by name; None for what was not given."""

    synopsis = "[options]"
    longdesc = (
        "Each option is also a variable, as in PYPICACHE_CACHE_SIZE=50G (lists separated by blanks or commas), and a "
        'key of the TOML file, as in cache-size = "50G". A flag beats a variable, a variable beats the file. '
        "DUR is seconds, or as in 90s 5m 12h 30d; SIZE is bytes, or as in 512K 100M 50G."
    )
    optParameters = _parameters()  # noqa: N815
    optFlags = [[option.name, None, option.help] for option in OPTIONS if option.flag]  # noqa: N815, RUF012

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        for option in OPTIONS:
            self[option.name] = None

    def __repr__(self) -> str:
        """Without the values: some are secrets."""
        return f"<{type(self).__name__}>"

    def parseOptions(self, options: list[str] | None = None) -> None:  # noqa: N802
        """Parse. Exits with status 1 and one line on stderr when they can't be."""
        try:
            super().parseOptions(options)  # type: ignore[no-untyped-call]
        except usage.UsageError as error:
            _fail(f"{error}{_hint(str(error))}")

    def postOptions(self) -> None:  # noqa: N802
        """Where twistd's log goes to the journal, and nobody wants it otherwise, write it as the journal takes it."""
        parent = self.parent
        if parent is None or not parent.get("nodaemon") or parent.get("logger") or parent.get("syslog"):
            return
        if _logs_to_stdout(parent) and is_journal():
            parent["logger"] = qual(JournalObserver)  # which twistd, as with its option, imports itself

    def parseArgs(self, *args: str) -> None:  # noqa: N802
        """Raises `UsageError` if there are arguments. They aren't repeated: a URL may hold a password."""
        if args:
            raise usage.UsageError("takes options only, no arguments: as in --port 8080")

    def getUsage(self, width: int | None = None) -> str:  # noqa: N802
        """The options in groups, with defaults, `width` columns wide (the terminal's by default)."""
        width = width or int(os.environ.get("COLUMNS", "80"))
        lines: list[str] = []
        for title, group in GROUPS.items():
            lines += [f"{title}:", *(line for option in group for line in _explain(option, width)), ""]
        lines += ["  --version", "  --help", "", *wrap(self.longdesc, width)]
        return "\n".join(lines) + "\n"

    def opt_version(self) -> NoReturn:
        """Display the version of twisted-pypi and exit."""
        print(f"twisted-pypi {__version__}")
        sys.exit(0)


def _collector(option: Option) -> Callable[[Options, str], None]:
    def collect(self: Options, text: str) -> None:
        self[option.name] = [*(self[option.name] or []), text]

    collect.__doc__ = option.help
    return collect


for _option in OPTIONS:
    if _option.repeatable:
        setattr(Options, f"opt_{_option.attribute}", _collector(_option))


def _explain(option: Option, width: int) -> Iterator[str]:
    """The lines of help for one option."""
    notes = [f"default {option.default or option.absent}"] if option.default or option.absent else []
    notes += ["repeatable"] if option.repeatable else []
    text = f"{option.help} ({'; '.join(notes)})" if notes else option.help
    head = f"  --{option.name} {option.metavar}".rstrip()
    lines = wrap(text, max(width - _COLUMN, 20))
    yield f"{head:<{_COLUMN - 1}} {lines.pop(0)}" if len(head) < _COLUMN else head
    yield from (" " * _COLUMN + line for line in lines)


def makeService(options: Options) -> IService:  # noqa: N802
    """The daemon, its options and directory checked. Exits with status 1 and one line on stderr if it can't be."""
    parent: Mapping[str, Any] = options.parent or {}
    reread = _reader(options)
    try:
        loaded = reread()
        preflight(loaded.settings, parent.get("uid"), parent.get("gid"))
        unwell = check_proxies(loaded.settings)
        from twisted_pypi.service import make_service

        warnings = (*loaded.warnings, *unwell, *_lost_log(loaded.settings, parent))
        service = make_service(evolve(loaded, warnings=warnings), reread)
    except ConfigError as error:
        _fail(error)
    from twisted.internet import reactor

    if parent.get("nodaemon") and _logs_to_stdout(parent):
        be_patient()
    settle(reactor)
    return service


def _reader(options: Options) -> Callable[[], Loaded]:
    """Reads the configuration, now and later: command line, environment and place are those of now."""
    given, environ = dict(options), dict(os.environ)
    for source, name in ((given, "config"), (environ, "PYPICACHE_CONFIG")):
        if source.get(name):
            source[name] = os.path.abspath(os.path.expanduser(source[name]))
    return partial(load, given, environ)


def _logs_to_stdout(parent: Mapping[str, Any]) -> bool:
    """Whether twistd's log goes there when it stays in the foreground."""
    return (parent.get("logfile") or "-") == "-"


def _lost_log(settings: Settings, parent: Mapping[str, Any]) -> tuple[str, ...]:
    """The warning about an access log to a stdout that twistd closes when it leaves the terminal."""
    if settings.access_log != "-" or parent.get("nodaemon", True):
        return ()
    return ("no access log is kept in the background: give --access-log a path, or run twistd -n",)


def _hint(error: str) -> str:
    """What was meant by an option that is told not to be one."""
    unknown = re.match(r"option --(\S+) not recognized", error)
    near = get_close_matches(unknown[1], [option.name for option in OPTIONS], 1) if unknown else []
    return f"; is it --{near[0]}?" if near else ""


def _fail(error: Exception | str) -> NoReturn:
    raise SystemExit(f"pypicache: {error}") from None
