"""The content codings in which every page body is kept (RFC 9110, 8.4; RFC 8878 for zstd)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Protocol

import zstandard

ENCODINGS = ("identity", "gzip", "zstd")

_GZIP_LEVEL = 6
_GZIP_FORMAT = zlib.MAX_WBITS | 16
# Smaller than gzip 6 and six times cheaper. What repeats in an index page does so at once: a window of 128 KiB (of 8 MB
# that RFC 9659 allows) makes it smaller still, and the coder's buffers are of that size.
_ZSTD = zstandard.ZstdCompressionParameters.from_level(3, window_log=17)


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def encoded(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """`chunks` in the coding "gzip" or "zstd"; the same bytes give the same result."""
    coder = _compressor(encoding)
    for chunk in chunks:
        if data := coder.compress(chunk):
            yield data
    yield coder.flush()


def decoded_zstd(data: bytes) -> bytes:
    """What `encoded(…, "zstd")` was made from. Raises `ValueError`."""
    try:
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error


def _compressor(encoding: str) -> _Compressor:
    if encoding == "gzip":
        return zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
    return zstandard.ZstdCompressor(compression_params=_ZSTD).compressobj()
