"""A page made in memory."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256

from twisted_pypi.model import Document
from twisted_pypi.records import PageMeta, Representation, StoredPage
from twisted_pypi.storage.coding import ENCODINGS, encoded


def rendered(
    meta: PageMeta, document: Document, bodies: tuple[str, ...], templates: Collection[str], inode: int = 0
) -> tuple[StoredPage, dict[str, bytes]]:
    """The page, and its bodies by digest. Raises whatever `document.render` raises."""
    representations: dict[tuple[str, str], Representation] = {}
    made: dict[str, bytes] = {}
    for body in bodies:
        plain = b"".join(document.render(body))
        for encoding in ENCODINGS[:1] if body in templates else ENCODINGS:
            data = plain if encoding == "identity" else b"".join(encoded([plain], encoding))
            digest = sha256(data).hexdigest()
            representations[body, encoding] = Representation(body, encoding, digest, len(data))
            made[digest] = data
    return StoredPage(meta, meta.fetched_at, representations, inode), made
