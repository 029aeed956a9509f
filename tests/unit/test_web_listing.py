"""The listing of the cache over HTTP: for whom, and what can be wanted."""

from __future__ import annotations

import json

import pytest
from twisted.internet.address import IPv4Address

from twisted_pypi.interfaces.listing import Wanted
from unit.web_doubles import Web

LOOPBACK = IPv4Address("TCP", "127.0.0.1", 4444)


def ask(web, path="/cache/", *headers, method="GET", peer=LOOPBACK):
    return web.ask(path, *headers, method=method, host="localhost", peer=peer)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", Wanted()),
        ("?q=acme-*&sort=size&limit=5&skip=10", Wanted("acme-*", order="size", limit=5, skip=10)),
        ("?q=a%20b&sort=-used&kind=file&index=main", Wanted("a b", "file", "main", "-used")),
        ("?index=&kind=&q=", Wanted()),
        ("?limit=1000", Wanted(limit=1000)),
    ],
)
def test_what_is_wanted(query, wanted):
    web = Web()
    response = ask(web, f"/cache/{query}")
    assert (response.status, json.loads(response.body)) == (200, {"entries": []})
    assert response["Cache-Control"] == "no-store"
    assert web.listed == [("entries", wanted)]


def test_by_name():
    web = Web()
    assert json.loads(ask(web, "/cache/?by=name&q=x").body) == {"names": []}
    assert web.listed == [("names", Wanted("x"))]


@pytest.mark.parametrize(
    "query", ["limit=1001", "limit=-1", "limit=x", "skip=1e3", "limit=%C2%B2", "sort=sise", "kind=wheel", "by=size"]
)
def test_what_cannot_be_wanted(query):
    web = Web()
    assert ask(web, f"/cache/?{query}").status == 400
    assert web.listed == []


@pytest.mark.parametrize(
    ("peer", "headers", "token", "status"),
    [
        ("192.0.2.1", (), "", 403),
        ("127.0.0.1", ("Origin: http://evil.example",), "", 403),
        ("127.0.0.1", (), "s3cret", 401),
        ("192.0.2.1", ("Authorization: Bearer s3cret",), "s3cret", 200),
    ],
)
def test_it_is_for_those_who_may_purge(peer, headers, token, status):
    web = Web(admin_token=token)
    assert ask(web, "/cache/", *headers, peer=IPv4Address("TCP", peer, 1)).status == status
    assert bool(web.listed) == (status == 200)


def test_other_methods():
    response = ask(Web(), method="POST")
    assert (response.status, response["Allow"]) == (405, "GET, HEAD, DELETE")
