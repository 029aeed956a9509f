"""Offline, a page lists only the files that are held: a client must not choose one that can't be had."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from twisted_pypi.answers import PageAnswer, Provenance
from twisted_pypi.interfaces import FileStore, PageStore, Workers
from twisted_pypi.model import Document, PageRoute
from twisted_pypi.records import Representation, StoredPage

Restrict = Callable[[bytes, Callable[[list[str]], set[str]]], Document]


async def restricted(
    route: PageRoute, page: StoredPage, provenance: Provenance, pages: PageStore, files: FileStore, workers: Workers
) -> PageAnswer:
    """The answer for `page` with only the files that `files` holds. Routes without `restrict` stay as they are."""
    if route.restrict is None:
        return PageAnswer(page, provenance)
    stored = await _first_body(route, page, pages, workers)
    held = await files.held(await _named(route.restrict, stored, workers))
    document = await workers.run(route.restrict, stored, held.intersection)
    made = await workers.run(_render, document, route.bodies)
    representations = {(made_of.body, made_of.encoding): made_of for made_of, _ in made}
    bodies = {(made_of.body, made_of.encoding): body for made_of, body in made}
    return PageAnswer(StoredPage(page.meta, page.validated_at, representations), provenance, bodies)


async def files_named(route: PageRoute, page: StoredPage, pages: PageStore, workers: Workers) -> list[str]:
    """The keys of the files that a stored page names."""
    if route.restrict is None:
        return []
    return await _named(route.restrict, await _first_body(route, page, pages, workers), workers)


async def _named(restrict: Restrict, stored: bytes, workers: Workers) -> list[str]:
    named: list[str] = []

    def note(keys: list[str]) -> set[str]:
        named.extend(keys)
        return set()

    await workers.run(restrict, stored, note)
    return named


def _render(document: Document, names: tuple[str, ...]) -> list[tuple[Representation, bytes]]:
    bodies = [(name, b"".join(document.render(name))) for name in names]
    return [
        (Representation(name, "identity", hashlib.sha256(body).hexdigest(), len(body)), body) for name, body in bodies
    ]


async def _first_body(route: PageRoute, page: StoredPage, pages: PageStore, workers: Workers) -> bytes:
    representation = page.representations[route.bodies[0], "identity"]
    body = await pages.body(page, representation)
    if isinstance(body, bytes):
        return body
    try:
        return await workers.run(body.read, 0, representation.length)
    finally:
        body.close()
