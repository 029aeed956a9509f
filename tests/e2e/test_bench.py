"""The benchmarks run, and tell what they are to tell. What they measure is nobody's test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.skipif(not (ROOT / "bench").is_dir(), reason="an installed package has no benchmarks")


def run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_benchmark_compares_two_runs(tmp_path: Path) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    run("bench", "--quick", "--json", str(first))
    record = json.loads(first.read_text())
    assert record["commit"]
    record["figures"] = dict.fromkeys(record["figures"], 1.0)
    first.write_text(json.dumps(record))
    printed = run("bench", "--quick", "--json", str(second), "--compare", str(first))
    figures = json.loads(second.read_text())["figures"]
    assert list(figures) == list(record["figures"])
    for name in figures:
        (line,) = [line for line in printed.splitlines() if line.startswith(f"{name:46}")]
        assert line.endswith("x")


def test_idle_connections_stay_while_others_ask() -> None:
    printed = run("bench.load", "--idle", "30", "--active", "8", "--seconds", "0.5")
    assert "30 idle connections were answered afterwards" in printed


def test_a_short_soak_finds_nothing_wrong() -> None:
    printed = run("bench.soak", "--seconds", "5", "--clients", "4", "--seed", "1")
    assert "all is well (seed 1)" in printed
