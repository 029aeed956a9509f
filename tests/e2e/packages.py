"""Small real distributions, made in memory; the same arguments give the same bytes on every machine."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import tarfile
import zipfile
from base64 import urlsafe_b64encode
from functools import cached_property

from attrs import field, frozen

BACKEND = '''\
"""A build backend that needs nothing but the standard library (PEP 517)."""
import zipfile

NAME, VERSION, METADATA = {name!r}, {version!r}, {metadata!r}
WHEEL = "Wheel-Version: 1.0\\nGenerator: e2e\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"


def build_wheel(directory, config_settings=None, metadata_directory=None):
    wheel, info = f"{{NAME}}-{{VERSION}}-py3-none-any.whl", f"{{NAME}}-{{VERSION}}.dist-info"
    members = {{f"{{NAME}}.py": f"VERSION = {{VERSION!r}}\\n"}}
    members |= {{f"{{info}}/METADATA": METADATA, f"{{info}}/WHEEL": WHEEL}}
    members[f"{{info}}/RECORD"] = "".join(f"{{name}},,\\n" for name in (*members, f"{{info}}/RECORD"))
    with zipfile.ZipFile(f"{{directory}}/{{wheel}}", "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return wheel
'''
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
EPOCH = (2020, 1, 1, 0, 0, 0)


@frozen
class File:
    """One published file. `metadata` is what `.metadata` beside it holds; None: not published (PEP 658)."""

    name: str
    data: bytes = field(repr=False)
    metadata: bytes | None = field(default=None, repr=False)
    requires_python: str | None = None
    upload_time: str = "2024-01-01T00:00:00.000000Z"
    yanked: str | None = None

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def path(self) -> str:
        """Where the files' origin has it: the BLAKE2b-256 digest split as the public index does."""
        digest = hashlib.blake2b(self.data, digest_size=32).hexdigest()
        return f"/packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{self.name}"


def core_metadata(name: str, version: str, requires: tuple[str, ...], requires_python: str | None) -> bytes:
    """The text of METADATA (PEP 566)."""
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Python: {requires_python}"] if requires_python else []
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    return ("\n".join(lines) + "\n").encode()


def wheel(
    name: str,
    version: str = "1.0",
    requires: tuple[str, ...] = (),
    size: int = 0,
    requires_python: str | None = None,
    upload_time: str = "2024-01-01T00:00:00.000000Z",
    yanked: str | None = None,
) -> File:
    """An installable wheel with a module that knows its version, and `size` random bytes as package data."""
    module, metadata = name.replace("-", "_"), core_metadata(name, version, requires, requires_python)
    info = f"{module}-{version}.dist-info"
    members = {
        f"{module}.py": f"VERSION = {version!r}\n".encode(),
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: e2e\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if size:
        members[f"{module}.bin"] = random.Random(name + version).randbytes(size)
    members[f"{info}/RECORD"] = _record(members, f"{info}/RECORD")
    data = _zip(members)
    return File(f"{module}-{version}-py3-none-any.whl", data, metadata, requires_python, upload_time, yanked)


def sdist(name: str, version: str = "1.0", requires: tuple[str, ...] = ()) -> File:
    """An sdist with its own backend in the tree: it builds without any other distribution."""
    module, metadata = name.replace("-", "_"), core_metadata(name, version, requires, None)
    backend = BACKEND.format(name=module, version=version, metadata=metadata.decode())
    members = {"PKG-INFO": metadata, "pyproject.toml": PYPROJECT.encode(), "backend.py": backend.encode()}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member, data in members.items():
            info = tarfile.TarInfo(f"{module}-{version}/{member}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return File(f"{module}-{version}.tar.gz", gzip.compress(buffer.getvalue(), mtime=0))


def blob(name: str, size: int) -> File:
    """A file of exactly `size` random bytes under a distribution's name: for transfers, not for installing."""
    return File(f"{name}-1.0.tar.gz", random.Random(name).randbytes(size))


def _zip(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, data in members.items():
            archive.writestr(zipfile.ZipInfo(member, EPOCH), data)
    return buffer.getvalue()


def _record(members: dict[str, bytes], own: str) -> bytes:
    lines = []
    for member, data in members.items():
        digest = urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{member},sha256={digest},{len(data)}")
    return ("\n".join([*lines, f"{own},,"]) + "\n").encode()
