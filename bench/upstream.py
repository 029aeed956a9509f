"""An index in a process of its own: `python -m bench.upstream FILES MEGABYTES [CERTIFICATE]`. Prints its URL.

`/simple/json/` and `/simple/html/` are pages of FILES files, `/simple/small/` has one of 100 KB with metadata,
`/simple/large/` one of MEGABYTES. With a CERTIFICATE (PEM, key included) it speaks TLS.
"""

from __future__ import annotations

import hashlib
import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MB = 1 << 20
BLOCK = bytes(range(256)) * (MB // 256)
JSON_TYPE = "application/vnd.pypi.simple.v1+json"
METADATA = b"Metadata-Version: 2.1\nName: small\nVersion: 1.0\n" + b"Classifier: Benchmark\n" * 100
SMALL = BLOCK[: 100 << 10]


class Index(ThreadingHTTPServer):
    """What is served, by path: (content type, bytes, or how many blocks)."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, files: int, megabytes: int, certificate: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"{'https' if certificate else 'http'}://localhost:{self.server_port}"
        digest = hashlib.sha256()
        for _ in range(megabytes):
            digest.update(BLOCK)
        many = [_entry(self.url, f"big-1.{number}-py3-none-any.whl", f"{number:064x}", 1) for number in range(files)]
        small = _entry(self.url, "small-1.0-py3-none-any.whl", hashlib.sha256(SMALL).hexdigest(), len(SMALL))
        small["core-metadata"] = {"sha256": hashlib.sha256(METADATA).hexdigest()}
        large = _entry(self.url, "large-1.0.tar.gz", digest.hexdigest(), megabytes * MB)
        self.paths: dict[str, tuple[str, bytes | int]] = {
            "/simple/json/": (JSON_TYPE, _page("json", many)),
            "/simple/html/": ("text/html", _html(many)),
            "/simple/small/": (JSON_TYPE, _page("small", [small])),
            "/simple/large/": (JSON_TYPE, _page("large", [large])),
            "/packages/small-1.0-py3-none-any.whl": ("application/octet-stream", SMALL),
            "/packages/small-1.0-py3-none-any.whl.metadata": ("application/octet-stream", METADATA),
            "/packages/large-1.0.tar.gz": ("application/octet-stream", megabytes),
        }


class Answer(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: Index

    def do_GET(self) -> None:
        kind, body = self.server.paths.get(self.path, ("", b""))
        self.send_response(200 if kind else 404)
        self.send_header("Content-Type", kind or "text/plain")
        self.send_header("Content-Length", str(body * MB if isinstance(body, int) else len(body)))
        self.end_headers()
        for piece in [BLOCK] * body if isinstance(body, int) else [body]:
            self.wfile.write(piece)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


def _entry(base: str, name: str, sha256: str, size: int) -> dict[str, Any]:
    return {
        "filename": name,
        "url": f"{base}/packages/{name}",
        "hashes": {"sha256": sha256},
        "requires-python": ">=3.9,!=3.10.0",
        "size": size,
        "upload-time": "2024-01-01T00:00:00.000000Z",
        "core-metadata": {"sha256": sha256},
        "provenance": None,
        "yanked": False,
    }


def _page(name: str, files: list[dict[str, Any]]) -> bytes:
    return json.dumps({"meta": {"api-version": "1.1"}, "name": name, "versions": ["1.0"], "files": files}).encode()


def _html(files: list[dict[str, Any]]) -> bytes:
    line = (
        '<a href="{url}#sha256={sha256}" data-requires-python="&gt;=3.9,!=3.10.0" '
        'data-core-metadata="sha256={sha256}" data-dist-info-metadata="sha256={sha256}">{filename}</a><br />\n'
    )
    body = "".join(line.format(sha256=file["hashes"]["sha256"], **file) for file in files)
    return f"<!DOCTYPE html><html><head><title>Links</title></head><body>{body}</body></html>".encode()


if __name__ == "__main__":
    index = Index(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
    print(index.url, flush=True)
    index.serve_forever()
