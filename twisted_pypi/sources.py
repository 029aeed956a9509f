"""Where the values of options come from: flag, then environment, then file, then default.

All that is found is texts; the option's own `parse` makes them a value, and a problem is told with the name of the
flag, variable or key at fault.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from attrs import field, frozen

from twisted_pypi.errors import ConfigError
from twisted_pypi.options import Option


@frozen
class FileText:
    """A file that was read: its text, and its permission bits (`os.stat`'s `st_mode`)."""

    text: str = field(repr=False)
    mode: int = 0o600


ReadFile = Callable[[str], FileText]
"""Reads the file of that path. Raises `OSError`, or `UnicodeDecodeError` if it isn't UTF-8."""


@frozen
class Found:
    """The texts that set an option; `label` names their place in an error."""

    label: str
    texts: tuple[str, ...] = field(repr=False)


@frozen
class Table:
    """A TOML table; `label` names it in an error ("" for none)."""

    label: str = ""
    keys: Mapping[str, Any] = field(factory=dict, repr=False)

    def label_of(self, key: str) -> str:
        """What an error calls this key."""
        return f"{self.label}: {key}"

    def refuse_unknown(self, known: Iterable[str], elsewhere: Iterable[str] = (), place: str = "") -> None:
        """Raises `ConfigError` for the first key that is not one of `known`; those `elsewhere` belong to `place`."""
        names = list(known)
        for key in self.keys:
            if key not in names:
                near = get_close_matches(key, names, 1)
                hint = f"; is it {near[0]}?" if near else ""
                hint = f"; it belongs to {place}" if key in elsewhere else hint
                raise ConfigError(self.label_of(_printable(key)), f"unknown key{hint}")

    def find(self, option: Option) -> Found | None:
        """What this table says of the option. Raises `ConfigError` for a value of the wrong type."""
        if option.name not in self.keys:
            return None
        value = self.keys[option.name]
        label = self.label_of(option.name)
        if option.flag:
            return Found(label, (_flag_text(label, value),))
        if option.repeatable and isinstance(value, list):
            return Found(label, tuple(_scalar_text(label, item) for item in value))
        return Found(label, (_scalar_text(label, value),))

    def text(self, key: str) -> str:
        """The non-empty string or number at `key`. Raises `ConfigError`."""
        if key not in self.keys:
            raise ConfigError(self.label, f"{key} is missing")
        text = _scalar_text(self.label_of(key), self.keys[key])
        if not text:
            raise ConfigError(self.label_of(key), "must not be empty")
        return text


def _printable(key: str) -> str:
    return key if key.isprintable() else ascii(key)


def _flag_text(label: str, value: object) -> str:
    if not isinstance(value, bool):
        raise ConfigError(label, "must be true or false")
    return "true" if value else "false"


def _scalar_text(label: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ConfigError(label, "must be a string or a number")
    return str(value).strip()


def read_file(path: str) -> FileText:
    """The `ReadFile` that reads the disk."""
    with open(path, encoding="utf-8") as file:
        return FileText(file.read(), os.fstat(file.fileno()).st_mode)


def read_table(path: str, content: str) -> Table:
    """The TOML text of the file `path`. Raises `ConfigError`."""
    try:
        return Table(path, tomllib.loads(content))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(path, f"not TOML: {error}") from None


def read_named(label: str, paths: Sequence[str], reader: ReadFile) -> FileText:
    """The first of the files that exists, for the option `label`. Raises `ConfigError`."""
    path, *others = paths
    try:
        return reader(path)
    except OSError as error:
        if others and isinstance(error, FileNotFoundError):
            return read_named(label, others, reader)
        raise ConfigError(label, f"{path} can't be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(label, f"{path} can't be read: not UTF-8") from None


def from_flag(option: Option, given: Mapping[str, object]) -> Found | None:
    """What the command line says: None or an empty list when nothing, True or 1 for a flag, else text or texts."""
    value = given.get(option.name)
    if value is None or value == []:
        return None
    if option.flag:
        return Found(f"--{option.name}", ("true" if value else "false",))
    values: Sequence[object] = value if isinstance(value, list | tuple) else (value,)
    return Found(f"--{option.name}", tuple(str(text).strip() for text in values))


def from_environ(option: Option, environ: Mapping[str, str]) -> Found | None:
    """What the environment says; empty is unset, and so is what Kubernetes injects for a service of our name."""
    text = environ.get(option.variable, "").strip()
    if option.repeatable:
        texts = tuple(text.replace(",", " ").split())
        return Found(option.variable, texts) if texts else None
    if not text or (option.name == "port" and text.startswith("tcp://")):
        return None
    return Found(option.variable, (text,))


def value_of(option: Option, found: Found | None) -> Any:
    """The value of what was found, or the default. Raises `ConfigError` with the place of a bad value."""
    if found is None:
        return option.value_of(option.default_texts)
    try:
        return option.value_of(found.texts)
    except ValueError as error:
        raise ConfigError(found.label, str(error)) from None
