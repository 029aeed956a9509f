"""README.md says what is: the options, and the two commands."""

from __future__ import annotations

import re
from pathlib import Path

from twisted_pypi.options import OPTIONS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ROWS = dict(re.findall(r"^\| `--([a-z-]+)[^|]*\| ([^|]*)\|", README, re.MULTILINE))


def test_every_option_is_in_the_table_and_no_other() -> None:
    assert set(ROWS) == {option.name for option in OPTIONS}


def test_the_table_names_the_defaults() -> None:
    assert {option.name: option.default for option in OPTIONS if option.default} == {
        option.name: ROWS[option.name].strip() for option in OPTIONS if option.default
    }


def command_after(marker: str) -> str:
    """The one command of the block that follows the marker."""
    (block,) = re.findall(rf"^<!-- {marker} -->\n```sh\n(.*?)\n```$", README, re.MULTILINE | re.DOTALL)
    return str(block)


def test_the_commands_are_one_line_each_and_found_by_ci() -> None:
    assert "\n" not in command_after("run") + command_after("test")
    assert command_after("run").endswith("pypicache --port 8080")
    assert command_after("test").endswith("/pytest")
    assert "<!-- test -->" in (ROOT / ".ci/run").read_text()
