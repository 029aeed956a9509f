"""The package as it is installed, not as it lies in the checkout."""

from __future__ import annotations

import os
import re
import subprocess
from importlib.metadata import distribution
from pathlib import Path

import pytest

import twisted_pypi
from e2e.daemon import TWISTD, clean_environment

CHECKOUT = Path(__file__).parents[2]
INSTALLED = Path(twisted_pypi.__file__).parent != CHECKOUT / "twisted_pypi"


def test_twistd_knows_the_plugin_from_any_directory(tmp_path: Path) -> None:
    done = subprocess.run(
        [TWISTD, "--help"], cwd=tmp_path, env=clean_environment(tmp_path), capture_output=True, text=True, check=True
    )
    assert re.search(r"^\s+pypicache\s+A caching reverse proxy", done.stdout, re.MULTILINE)


def test_twistd_pypicache_help_names_the_options(tmp_path: Path) -> None:
    command = [TWISTD, "pypicache", "--help"]
    done = subprocess.run(
        command, cwd=tmp_path, env=clean_environment(tmp_path), capture_output=True, text=True, check=True
    )
    assert {"--port", "--index-url", "--cache-dir", "--offline"} <= set(re.findall(r"--[a-z-]+", done.stdout))


def test_ci_tests_what_it_installed() -> None:
    if os.environ.get("CI") == "true":
        assert INSTALLED, f"the tests import the checkout: {twisted_pypi.__file__}"
    assert (Path(twisted_pypi.__file__).parent / "py.typed").exists()


@pytest.mark.skipif(not INSTALLED, reason="run from the checkout")
def test_the_installation_is_whole() -> None:
    files = {str(path) for path in distribution("twisted-pypi").files or ()}
    modules = {str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "twisted_pypi").rglob("*.py")}
    assert modules | {"twisted/plugins/pypicache_plugin.py"} <= files
    assert not {"twisted/__init__.py", "twisted/plugins/__init__.py"} & files, "they would hide Twisted"
    assert distribution("twisted-pypi").version == twisted_pypi.__version__
