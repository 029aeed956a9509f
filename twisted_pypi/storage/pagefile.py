"""A page as one self-describing file.

    bodies as they are, one after the other (so that an administrator can read them)
    the same bodies in gzip and zstd, but for templates
    the page's links, JSON lines in zstd (so that a lost catalogue can be made again)
    footer: JSON; where all that lies, with SHA-256 of each part
    trailer of fixed length: the footer's length and SHA-256, magic

The file's mtime is when upstream last confirmed the page; 0 when it was expired. Everything here runs in a worker
thread, with bounded memory but for the links. One body is compressed while the next is rendered.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any, BinaryIO

import orjson
from attrs import asdict, define, field, frozen

from twisted_pypi.model import Document
from twisted_pypi.records import PageMeta, Representation, StoredPage
from twisted_pypi.storage.coding import ENCODINGS, decoded_zstd, encoded
from twisted_pypi.storage.digests import digests_of
from twisted_pypi.storage.rows import LinkRow, link_rows

FORMAT = 1

_TRAILER = struct.Struct(">Q32s8s")
_MAGIC = b"ppcPage\n"
_CHUNK = 1 << 18
_LONGEST_FOOTER = 1 << 20
_NANO = 10**9
_BESIDE = range(256 << 10, 16 << 20)  # shorter bodies aren't worth a thread, longer ones compressed not the memory

Representations = dict[tuple[str, str], Representation]


class DamagedPage(Exception):
    """The file is not what was written."""


@frozen
class WrittenPage:
    """What `write_page` made."""

    representations: Representations
    links: list[LinkRow]


@frozen
class PageFile:
    """What the footer says. `links` is the representation of the links' section."""

    page: StoredPage
    links: Representation


def write_page(
    descriptor: int, meta: PageMeta, document: Document, bodies: tuple[str, ...], templates: Collection[str] = ()
) -> WrittenPage:
    """Write the page into an empty file. Raises `OSError`, and whatever `document` raises."""
    links = link_rows(document)
    with (
        open(descriptor, "wb", buffering=_CHUNK, closefd=False) as stream,
        ThreadPoolExecutor(len(ENCODINGS) - 1) as threads,
    ):
        writer = _Writer(stream)
        coded: dict[tuple[str, str], Callable[[], Iterable[bytes]]] = {}
        for body in bodies:
            plain = writer.append(body, "identity", document.render(body))
            stream.flush()
            for encoding in () if body in templates else ENCODINGS[1:]:
                coded[body, encoding] = _coded(threads, descriptor, plain, encoding)
        for (body, encoding), result in coded.items():
            writer.append(body, encoding, result())
        representations = dict(writer.made)
        lines = (orjson.dumps(row) + b"\n" for row in links)
        section = writer.append("links", "zstd", encoded(lines, "zstd"))
        stream.write(_footer(meta, representations, section))
    return WrittenPage(representations, links)


def _coded(
    threads: ThreadPoolExecutor, descriptor: int, plain: Representation, encoding: str
) -> Callable[[], Iterable[bytes]]:
    """What gives a body in a coding; it may be in the making already."""

    def compress() -> Iterator[bytes]:
        return encoded(_chunks(descriptor, plain), encoding)

    return threads.submit(lambda: list(compress())).result if plain.length in _BESIDE else compress


def read_page(descriptor: int) -> PageFile:
    """What the file holds. Raises `DamagedPage`, and `OSError`."""
    state = os.fstat(descriptor)
    footer_end = state.st_size - _TRAILER.size
    if footer_end < 0:
        raise DamagedPage("too short")
    length, digest, magic = _TRAILER.unpack(os.pread(descriptor, _TRAILER.size, footer_end))
    if magic != _MAGIC or length > min(footer_end, _LONGEST_FOOTER):
        raise DamagedPage("no trailer")
    raw = os.pread(descriptor, length, footer_end - length)
    if sha256(raw).digest() != digest:
        raise DamagedPage("the footer's checksum is wrong")
    footer = orjson.loads(raw)
    if footer["format"] != FORMAT:
        raise DamagedPage(f"format {footer['format']} is unknown")
    representations = {(each["body"], each["encoding"]): Representation(**each) for each in footer["representations"]}
    page = StoredPage(_meta(footer["meta"]), _seconds(state.st_mtime_ns), representations, state.st_ino)
    return PageFile(page, Representation(**footer["links"]))


def _meta(said: dict[str, Any]) -> PageMeta:
    supplied = tuple((file, digest) for file, digest in said.get("supplied", ()))
    return PageMeta(**{**said, "withheld": tuple(said.get("withheld", ())), "supplied": supplied})


def set_time(descriptor: int, validated_at: float) -> None:
    """Set a page's `validated_at`. Raises `OSError`."""
    whole = int(validated_at)
    stamp = whole * _NANO + round((validated_at - whole) * _NANO)  # in two parts: a float of nanoseconds is too coarse
    os.utime(descriptor, ns=(stamp, stamp))


def read_body(descriptor: int, representation: Representation) -> bytes:
    """One whole body. Raises `DamagedPage` when it isn't what was written, and `OSError`."""
    data = b"".join(_chunks(descriptor, representation))
    if sha256(data).hexdigest() != representation.digest:
        raise DamagedPage(f"the checksum of {representation.body} in {representation.encoding} is wrong")
    return data


def check_body(descriptor: int, representation: Representation) -> None:
    """Like `read_body`, for a body too large for memory."""
    digests = digests_of(descriptor, (), representation.offset, representation.length)
    if digests.hexdigest("sha256") != representation.digest:
        raise DamagedPage(f"the checksum of {representation.body} in {representation.encoding} is wrong")


def read_links(descriptor: int, file: PageFile) -> list[LinkRow]:
    """The links as the page named them. Raises `DamagedPage`, and `OSError`."""
    lines = decoded_zstd(read_body(descriptor, file.links)).splitlines()
    return [tuple(orjson.loads(line)) for line in lines]


@define
class _Writer:
    stream: BinaryIO
    made: Representations = field(factory=dict)
    _position: int = 0

    def append(self, body: str, encoding: str, chunks: Iterable[bytes]) -> Representation:
        digest, length = sha256(), 0
        for chunk in chunks:
            self.stream.write(chunk)
            digest.update(chunk)
            length += len(chunk)
        made = Representation(body, encoding, digest.hexdigest(), length, self._position)
        self.made[body, encoding] = made
        self._position += length
        return made


def _footer(meta: PageMeta, representations: Mapping[tuple[str, str], Representation], links: Representation) -> bytes:
    footer: dict[str, Any] = {
        "format": FORMAT,
        "meta": asdict(meta),
        "representations": [asdict(each) for each in representations.values()],
        "links": asdict(links),
    }
    raw = orjson.dumps(footer)
    return raw + _TRAILER.pack(len(raw), sha256(raw).digest(), _MAGIC)


def _seconds(stamp: int) -> float:
    return stamp // _NANO + stamp % _NANO / _NANO


def _chunks(descriptor: int, part: Representation) -> Iterator[bytes]:
    position, end = part.offset, part.offset + part.length
    while position < end and (data := os.pread(descriptor, min(_CHUNK, end - position), position)):
        yield data
        position += len(data)
