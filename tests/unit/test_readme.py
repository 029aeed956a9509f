"""README.md says what is: the options, and the two commands."""

from __future__ import annotations

import re
from configparser import ConfigParser
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


def test_every_page_of_the_documentation_can_be_reached_from_it() -> None:
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= set(re.findall(r"\]\(([^)#]+)", README))


def anchors(page: Path) -> set[str]:
    """Those of the page's headings, as forges name them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_between_pages_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")):
        for target, _, anchor in re.findall(r"\]\(([^):#]*)(#?)([^):]*)\)", page.read_text()):
            there = page.parent / target if target else page
            assert there.exists(), f"{page.name} links {target}"
            assert not anchor or anchor in anchors(there), f"{page.name} links {target}#{anchor}"


def test_no_change_is_told_twice() -> None:
    changes = re.findall(r"^- .*(?:\n  .*)*", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert changes
    for told in changes:
        assert [change for change in changes if change.startswith(told.rstrip("."))] == [told]


def test_setup_cfg_lists_every_package() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    there = {".".join(init.parent.relative_to(ROOT).parts) for init in (ROOT / "twisted_pypi").rglob("__init__.py")}
    assert set(config["options"]["packages"].split()) == there | {"twisted.plugins"}
