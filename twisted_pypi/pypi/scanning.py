"""Upstream HTML read piece by piece, without a tree: its anchors, and what tells an index page from others."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field, frozen

from twisted_pypi.model import PageBody
from twisted_pypi.pypi.charsets import utf8_chunks

_TEXT_LIMIT = 2000
_MOST = 1000  # titles and <meta>s that are kept
_SERIAL = re.compile(r"\s*SERIAL\s+(\d{1,18})\s*")
_INDEX_TITLE = re.compile(
    r"(?:^|:)\s*(?:links for\b|index of\b|(?:pypi )?simple (?:package )?(?:index|list|repository)\b)", re.IGNORECASE
)
_LOGIN_TAGS = frozenset({"form", "input"})
_LIVE_TAGS = frozenset({"button", "embed", "frame", "iframe", "object", "script", *_LOGIN_TAGS})
_HIDDEN = frozenset({"script", "style", "noscript", "template"})


@frozen
class Anchor:
    """One `<a>` with an `href`: its text, stripped, and all its attributes."""

    href: str
    text: str
    attributes: Mapping[str, str]


@define
class Scan:
    """What was found so far. It is an lxml parser target: `start`, `end`, `data`, `comment` and `close` are that
    interface.

    `anchors` are those that were not taken yet, of `count` in all, `metas` (name, content) pairs; `titles` the texts
    of title and h1; `text` the beginning of what else there is to read outside anchors.
    """

    anchors: list[Anchor] = field(factory=list)
    count: int = 0
    metas: list[tuple[str, str]] = field(factory=list)
    titles: list[str] = field(factory=list)
    text: str = ""
    base: str = ""
    serial: int | None = None
    tags: set[str] = field(factory=set)
    refreshes: bool = False
    _anchor: Mapping[str, str] | None = None
    _pieces: list[str] = field(factory=list)
    _inside: str = ""

    def take(self) -> list[Anchor]:
        """The anchors since the last call, which are then forgotten."""
        taken, self.anchors = self.anchors, []
        return taken

    def meta(self, name: str) -> list[str]:
        """The contents of all `<meta name=…>`."""
        return [content for key, content in self.metas if key == name]

    @property
    def titled(self) -> bool:
        """Whether it says of itself that it is an index."""
        return bool(self.meta("pypi:repository-version")) or any(map(_INDEX_TITLE.search, self.titles))

    @property
    def asks(self) -> bool:
        """Whether it wants something of a person: it is a login page or the like."""
        return bool(self.tags & _LOGIN_TAGS) or self.refreshes

    @property
    def live(self) -> bool:
        """Whether it does more than list."""
        return bool(self.tags & _LIVE_TAGS) or self.refreshes

    @property
    def blank(self) -> bool:
        """Whether it is a page, but one without anything to read, follow or do."""
        return bool(self.tags) and not (self.live or self.count or self.text or any(self.titles))

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""
        # Any number of tags can be made up, so those without a meaning here count as one.
        self.tags.add(tag if tag in _LIVE_TAGS else "")
        if tag == "a":
            self._finish_anchor()
            if "href" in attributes:
                self._anchor = dict(attributes)
        elif tag in ("title", "h1") and len(self.titles) < _MOST:
            self._inside = tag
            self.titles.append("")
        elif tag in _HIDDEN:
            self._inside = tag
        elif tag == "meta":
            self._meta(attributes)
        elif tag == "base" and not self.base:
            self.base = attributes.get("href", "")

    def end(self, tag: str) -> None:
        """An element ends."""
        if tag == "a":
            self._finish_anchor()
        elif tag == self._inside:
            self._inside = ""

    def data(self, text: str) -> None:
        """Text, or a piece of it."""
        if self._anchor is not None:
            self._pieces.append(text)
        elif self._inside in ("title", "h1"):
            self.titles[-1] = (self.titles[-1] + text)[:_TEXT_LIMIT].lstrip()
        elif not self._inside and len(self.text) < _TEXT_LIMIT:
            self.text = (self.text + text[:_TEXT_LIMIT]).lstrip()

    def comment(self, text: str) -> None:
        """A comment."""
        match = _SERIAL.fullmatch(text)
        if match:
            self.serial = int(match[1])

    def close(self) -> None:
        """The document ends."""
        self._finish_anchor()

    def _finish_anchor(self) -> None:
        if self._anchor is not None:
            self.anchors.append(Anchor(self._anchor["href"].strip(), "".join(self._pieces).strip(), self._anchor))
            self.count += 1
        self._anchor = None
        self._pieces.clear()

    def _meta(self, attributes: Mapping[str, str]) -> None:
        if len(self.metas) < _MOST:
            self.metas.append((attributes.get("name", "").strip().lower(), attributes.get("content", "").strip()))
        self.refreshes |= attributes.get("http-equiv", "").strip().lower() == "refresh"


@define
class Scanner:
    """Feeds HTML to a `Scan`."""

    scan: Scan = field(factory=Scan, init=False)
    _parser: Any = field(init=False)
    _error: type[Exception] = field(init=False)

    def __attrs_post_init__(self) -> None:
        from lxml import etree  # type: ignore[import-untyped]  # here: it takes 4 MB, and most indexes answer with JSON

        self._parser = etree.HTMLParser(target=self.scan, encoding="utf-8", huge_tree=True)
        self._error = etree.LxmlError

    def feed(self, chunk: bytes) -> None:
        """More of the page, in UTF-8. Raises `ValueError` for what can't be HTML at all."""
        try:
            # libxml2 takes a NUL for the end of some texts.
            self._parser.feed(chunk.replace(b"\0", b""))
        except self._error as error:
            raise ValueError(f"not HTML: {error}") from error

    def close(self) -> None:
        """That was all. Raises `ValueError` likewise."""
        try:
            self._parser.close()
        except self._error as error:
            raise ValueError(f"not HTML: {error}") from error


def scan_page(body: PageBody, most: int, take: Callable[[list[Anchor]], None]) -> Scan:
    """A whole page; `take` is given its anchors in order, some at a time.

    Raises `ValueError` for what can't be HTML at all, or has more than `most` anchors.
    """
    scanner = Scanner()
    for chunk in utf8_chunks(body):
        scanner.feed(chunk)
        if scanner.scan.count > most:
            raise ValueError(f"more than {most} links")
        take(scanner.scan.take())
    scanner.close()
    take(scanner.scan.take())
    return scanner.scan
