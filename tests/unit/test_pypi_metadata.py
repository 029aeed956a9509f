"""The metadata in a wheel."""

from __future__ import annotations

import io
import zipfile

import pytest

from twisted_pypi.pypi import metadata
from twisted_pypi.pypi.metadata import metadata_of_wheel


def wheel(*names: str, body: bytes = b"Name: foo\n" * 50) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, body)
    return stream.getvalue()


WHEEL = wheel("foo/__init__.py", "foo-1.dist-info/METADATA", "foo/x-1.dist-info/METADATA", "foo-1.dist-info/RECORD")


def test_the_one_metadata_file_is_found() -> None:
    assert metadata_of_wheel(io.BytesIO(WHEEL)) == b"Name: foo\n" * 50


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a zip",
        WHEEL[:-30],
        wheel("foo/__init__.py"),
        wheel("a-1.dist-info/METADATA", "b-1.dist-info/METADATA"),
    ],
)
def test_what_is_no_wheel_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="wheel"):
        metadata_of_wheel(io.BytesIO(data))


def test_a_damaged_member_is_refused() -> None:
    data = bytearray(wheel("foo-1.dist-info/METADATA"))
    start = data.index(b"METADATA") + len(b"METADATA")
    data[start : start + 4] = b"\xff" * 4
    with pytest.raises(ValueError, match="wheel"):
        metadata_of_wheel(io.BytesIO(bytes(data)))


def test_a_huge_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "MAX_METADATA", 100)
    with pytest.raises(ValueError, match="too large"):
        metadata_of_wheel(io.BytesIO(WHEEL))
