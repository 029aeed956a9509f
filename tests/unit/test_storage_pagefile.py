"""Page files: bodies of any length, whichever way they are compressed."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
import zstandard

from twisted_pypi.storage import pagefile
from twisted_pypi.storage.pagefile import read_body, read_page, write_page
from unit.storage_doubles import Page, meta

BODIES = ("json", "html")


def chunks(seed: int, size: int) -> list[bytes]:
    """`size` bytes that compress somewhat."""
    data = Random(seed).randbytes(size // 2).hex().encode() + b"x" * (size % 2)
    return [data[first : first + 100_000] for first in range(0, size, 100_000)]


def written(path: Path, page: Page) -> Iterator[tuple[str, str, bytes]]:
    """What a page file holds: body, coding, bytes."""
    with path.open("w+b") as file:
        made = write_page(file.fileno(), meta(), page, BODIES).representations
        found = read_page(file.fileno()).page.representations
        assert found == made
        for (body, encoding), representation in found.items():
            yield body, encoding, read_body(file.fileno(), representation)


@pytest.mark.parametrize("size", [0, 1000, (256 << 10) - 1, 256 << 10, 3_000_000])
def test_every_coding_holds_the_body(tmp_path: Path, size: int) -> None:
    page = Page({"json": chunks(1, size), "html": chunks(2, size // 2)})
    plain = {body: b"".join(page.render(body)) for body in BODIES}
    decode = {
        "identity": bytes,
        "gzip": gzip.decompress,
        "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    }
    found = list(written(tmp_path / "page", page))
    assert len(found) == len(BODIES) * len(decode)
    assert all(decode[encoding](data) == plain[body] for body, encoding, data in found)


def test_a_file_is_the_same_whether_bodies_are_compressed_beside_or_after_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Page({"json": chunks(1, 1 << 20), "html": chunks(2, 300_000)})
    beside = list(written(tmp_path / "beside", page))
    monkeypatch.setattr(pagefile, "_BESIDE", range(0))
    assert list(written(tmp_path / "after", page)) == beside
    assert (tmp_path / "after").read_bytes() == (tmp_path / "beside").read_bytes()


class Breaking(Page):
    """A page of which the second body can't be rendered."""

    def render(self, body: str) -> Iterator[bytes]:
        if body == "html":
            raise ValueError("broken")
        yield from super().render(body)


def test_what_breaks_while_another_body_is_compressed_is_raised(tmp_path: Path) -> None:
    with (tmp_path / "page").open("w+b") as file, pytest.raises(ValueError, match="broken"):
        write_page(file.fileno(), meta(), Breaking({"json": chunks(1, 1 << 20)}), BODIES)
