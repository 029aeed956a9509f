"""Indexes as their products word them: made like the real pages, for a project of one wheel."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from hashlib import md5
from urllib.parse import quote

from attrs import define, field, frozen

from e2e.content import Response, file_response, missing
from e2e.faults import Exchange
from e2e.packages import File, wheel

LOGIN = "Basic " + b64encode(b"ci:secret-of-ci").decode()

Answer = Response | bytes | Callable[[Exchange], Response]


@define
class Site:
    """A server that answers exactly these paths (as they are sent): pages, files (bytes), or what a function says.

    `absent` is what it answers to the rest. With a `login` that is wanted for everything.
    """

    answers: dict[str, Answer] = field(factory=dict)
    absent: Response = field(factory=missing)
    login: str | None = None

    async def __call__(self, exchange: Exchange) -> None:
        """A fault (`upstream.fault("/", site)`) that answers everything."""
        request = exchange.request
        if self.login and request.headers.get("authorization") != self.login:
            await exchange.send(Response(401, {"WWW-Authenticate": "Basic"}, b"", "Unauthorized"))
            return
        found = self.answers.get(request.path, self.absent)
        if isinstance(found, bytes):
            found = file_response(request, found)
        await exchange.send(found if isinstance(found, Response) else found(exchange))


@frozen
class Dialect:
    """One product. `index` is the path of its index; `make` answers by path, given the server's base URL.

    `keys` are further keys of its `[[index]]` table.
    """

    name: str
    index: str
    file: File
    make: Callable[[str], Site]
    keys: str = ""


def html(text: str, content_type: str = "text/html; charset=utf-8") -> Response:
    return Response(200, {"Content-Type": content_type}, text.encode())


def anchors(href: str, file: File, attributes: str = "", title: str = "Links for lib", head: str = "") -> Response:
    """A page with one link."""
    link = f'<a href="{href}"{attributes}>{file.name}</a>'
    return html(
        f"<!DOCTYPE html>\n<html><head><title>{title}</title>{head}</head>"
        f"<body><h1>{title}</h1>\n{link}<br/>\n</body></html>"
    )


LIB = wheel("lib", "1.0")
LOCAL = wheel("lib", "1.0+cpu")


def artifactory(base: str) -> Site:
    """A repository below `api/pypi/`, with links out of `simple/`, and a login."""
    root, path = "/artifactory/api/pypi/team", f"lib/1.0/{LIB.name}"
    page = anchors(
        f"../../{path}#sha256={LIB.sha256}", LIB, ' rel="internal"', head='<meta name="api-version" value="2"/>'
    )
    return Site({f"{root}/simple/lib/": page, f"{root}/{path}": LIB.data}, login=LOGIN)


def nexus(base: str) -> Site:
    """`packages/` beside `simple/`, all below the repository."""
    root, path = "/repository/pypi-hosted", f"packages/lib/1.0/{LIB.name}"
    page = anchors(f"../../{path}#sha256={LIB.sha256}", LIB, ' rel="internal" data-requires-python=""')
    return Site({f"{root}/simple/lib/": page, f"{root}/{path}": LIB.data})


def gitlab(base: str) -> Site:
    """Absolute links beside `simple`, a login, and a redirect to the public index for what it lacks."""
    root = "/api/v4/projects/7/packages/pypi"
    path = f"{root}/files/{LIB.sha256}/{LIB.name}"
    page = anchors(f"{base}{path}#sha256={LIB.sha256}", LIB, ' data-requires-python=""')
    away = Response(302, {"Location": "http://public.invalid/simple/other/"}, b"")
    return Site({f"{root}/simple/lib/": page, path: LIB.data}, absent=away, login=LOGIN)


def devpi(base: str) -> Site:
    """`+simple` (which may be spelled `%2Bsimple`) and `+f`, the digest in the path."""
    path = f"/team/dev/+f/{LIB.sha256[:3]}/{LIB.sha256[3:16]}/{LIB.name}"
    page = anchors(f"../..{path.removeprefix('/team/dev')}#sha256={LIB.sha256}", LIB, title="team/dev: links for lib")
    return Site({"/team/dev/%2Bsimple/lib/": page, path: LIB.data})


def bucket(base: str) -> Site:
    """PyTorch's: no `simple/`, files above the project, `+` only as %2B, and 403 for what it lacks."""
    path = f"/whl/cpu/{quote(LOCAL.name, safe='')}"
    page = anchors(f"{path}#sha256={LOCAL.sha256}", LOCAL, title="", head="")
    listing = html('<!DOCTYPE html>\n<html><body><a href="lib/">lib</a><br/></body></html>')
    denied = Response(
        403, {"Content-Type": "application/xml"}, b"<Error><Code>AccessDenied</Code></Error>", "Forbidden"
    )
    return Site({"/whl/cpu/lib/": page, path: LOCAL.data, "/whl/cpu/": listing}, absent=denied)


def mirror(base: str) -> Site:
    """A regional mirror: relative links, and nothing but MD5."""
    path = f"/pypi/packages/py3/l/lib/{LIB.name}"
    page = anchors(f"../../packages/py3/l/lib/{LIB.name}#md5={md5(LIB.data).hexdigest()}", LIB)
    return Site({"/pypi/simple/lib/": page, path: LIB.data})


def based(base: str) -> Site:
    """Links that `<base>` places."""
    page = anchors(f"{LIB.name}#sha256={LIB.sha256}", LIB, head=f'<base href="{base}/pool/lib/">')
    return Site({"/simple/lib/": page, f"/pool/lib/{LIB.name}": LIB.data})


def bare(base: str) -> Site:
    """pypiserver's and many a script's: no digest at all."""
    return Site({"/simple/lib/": anchors(f"/packages/{LIB.name}", LIB), f"/packages/{LIB.name}": LIB.data})


def directory(base: str) -> Site:
    """A web server's own listing of a folder."""
    page = html(
        "<html>\r\n<head><title>Index of /wheels/lib/</title></head>\r\n<body>\r\n"
        "<h1>Index of /wheels/lib/</h1><hr><pre>"
        f'<a href="../">../</a>\r\n<a href="{LIB.name}">{LIB.name[:20]}..&gt;</a>   01-Jan-2024 00:00   700\r\n'
        "</pre><hr></body>"
    )
    return Site({"/wheels/lib/": page, f"/wheels/lib/{LIB.name}": LIB.data})


def redirecting(base: str) -> Site:
    """Every name leads elsewhere, to a path without a slash at its end."""
    there = Response(301, {"Location": "/web/projects/lib"}, b"")
    page = anchors(f"../files/{LIB.name}#sha256={LIB.sha256}", LIB)
    return Site({"/simple/lib/": there, "/web/projects/lib": page, f"/web/files/{LIB.name}": LIB.data})


WITH_LOGIN = 'username = "ci"\npassword = "secret-of-ci"'
DIALECTS = (
    Dialect("artifactory", "/artifactory/api/pypi/team/simple/", LIB, artifactory, WITH_LOGIN),
    Dialect("nexus", "/repository/pypi-hosted/simple/", LIB, nexus),
    Dialect("gitlab", "/api/v4/projects/7/packages/pypi/simple", LIB, gitlab, WITH_LOGIN),
    Dialect("devpi", "/team/dev/+simple/", LIB, devpi),
    Dialect("bucket", "/whl/cpu/", LOCAL, bucket, "absent-status = [403, 404]"),
    Dialect("mirror", "/pypi/simple/", LIB, mirror),
    Dialect("base", "/simple/", LIB, based),
    Dialect("bare", "/simple/", LIB, bare),
    Dialect("directory", "/wheels/", LIB, directory),
    Dialect("redirecting", "/simple/", LIB, redirecting),
)
