"""npm, pnpm and yarn as clients, fenced so that they can reach nothing but loopback. What is not there is skipped."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from attrs import frozen

from e2e.clients import CLOSED, run_fenced, succeeded
from e2e.servers import tool


@frozen
class Node:
    """One project in `directory`, with a cache of its own (none in npm's), installed from `registry`."""

    directory: Path
    registry: str

    def environment(self) -> dict[str, str]:
        """The fence."""
        places = os.pathsep.join([os.environ.get("E2E_TOOLS", os.devnull), os.environ.get("PATH", os.defpath)])
        proxies = {name: CLOSED for each in ("http_proxy", "https_proxy") for name in (each, each.upper())}
        return {
            "PATH": places,
            "HOME": str(self.directory),
            "XDG_CACHE_HOME": str(self.directory / "cache"),
            "XDG_DATA_HOME": str(self.directory / "data"),
            "npm_config_registry": self.registry,
            "npm_config_cache": str(self.directory / "npm-cache"),
            "npm_config_update_notifier": "false",
            "npm_config_fund": "false",
            "npm_config_fetch_retries": "0",
            "YARN_CACHE_FOLDER": str(self.directory / "yarn-cache"),
            "CI": "true",
            **proxies,
            "no_proxy": "127.0.0.1",
            "NO_PROXY": "127.0.0.1",
        }

    def project(self, **dependencies: str) -> None:
        """Begin a project that needs these."""
        self.write({"name": "project", "version": "1.0.0", "dependencies": dependencies})

    def write(self, manifest: dict[str, Any]) -> None:
        """Begin a project with this `package.json`."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "package.json").write_text(json.dumps(manifest))

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a client inside the fence. Its status is the caller's to judge."""
        return run_fenced((tool(program), *arguments), self.directory, self.environment())

    def npm(self, *arguments: str) -> str:
        """npm; its output. Raises `AssertionError` with it when npm fails."""
        return succeeded(self.run("npm", *arguments))

    @property
    def lock(self) -> dict[str, Any]:
        """What npm's lock file says, by folder."""
        found: dict[str, Any] = json.loads((self.directory / "package-lock.json").read_text())["packages"]
        return found

    def installed(self) -> dict[str, str]:
        """What is installed: name -> version."""
        folder = self.directory / "node_modules"
        found = [*folder.glob("*/package.json"), *folder.glob("@*/*/package.json")]
        manifests = [json.loads(path.read_text()) for path in found]
        return {manifest["name"]: manifest["version"] for manifest in manifests}
