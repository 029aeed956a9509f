"""The page for people in a real browser: it refreshes, searches and drops without being loaded again, on any screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from e2e.browser import Browser
from e2e.clients import ask, links
from e2e.daemon import Daemon, Start
from e2e.packages import wheel
from e2e.upstream import Upstream
from e2e.waiting import wait_for

TOKEN = "open-sesame"
FILE = wheel("app")

Open = Callable[..., Browser]


@pytest.fixture
def browse(tmp_path: Path) -> Iterator[Open]:
    """A browser that shows the daemon's page; at the end it must not have complained of anything."""
    with ExitStack() as stack:

        def begin(daemon: Daemon, path: str = "/", **size: int) -> Browser:
            browser = stack.enter_context(Browser(tmp_path / "profile", **size))
            browser.open(f"{daemon.url}{path}")
            # A part that is loaded again would lose this.
            browser.run("window.never_reloaded = true")
            return browser

        yield begin


@pytest.fixture
def daemon(start: Start, upstream: Upstream) -> Daemon:
    """One that has a page and a file."""
    upstream.project("app", [FILE])
    running = start(PYPICACHE_ADMIN_TOKEN=TOKEN)
    stocked(running)
    return running


def stocked(daemon: Daemon) -> None:
    (path,) = links(daemon, "app").values()
    ask(daemon, path)
    wait_for("the file is stored", lambda: daemon.stored(FILE.name))


def checked(browser: Browser, *allowed: str) -> None:
    """It is still the page that was opened first, and nothing was forbidden or failed but what is `allowed`."""
    assert browser.run("return window.never_reloaded")
    assert [each for each in browser.complaints() if not any(part in each for part in allowed)] == []


def test_figures_are_refreshed(daemon: Daemon, browse: Open) -> None:
    browser = browse(daemon)
    before = browser.text("#figures dl")
    browser.run("document.querySelector('#figures details').open = true")
    ask(daemon, "/simple/app/")
    wait_for("the figures are others", lambda: browser.text("#figures dl") != before)
    assert browser.run("return document.querySelector('#figures details').open")
    checked(browser)


def test_who_marks_something_keeps_it(daemon: Daemon, browse: Open) -> None:
    browser = browse(daemon)
    browser.run("getSelection().selectAllChildren(document.querySelector('#packages'))")
    before = browser.text("#packages"), browser.text("#now")
    ask(daemon, "/simple/app/")
    wait_for("other parts are refreshed", lambda: browser.text("#now") != before[1])
    assert "app" in browser.run("return getSelection().toString()")
    assert browser.text("#packages") == before[0]


def test_a_search_and_a_drop(daemon: Daemon, browse: Open) -> None:
    browser = browse(daemon)
    browser.type("#q", "ap*\n")
    wait_for("it is found", lambda: browser.text("#found tbody tr:nth-child(2)"))
    assert browser.text("#told") == "2 entries"
    assert browser.text("#found [data-drop]") == ""
    browser.type("#token", "not this one\n")
    wait_for("it is refused", lambda: "not the admin token" in browser.text("#told"))
    browser.type("#token", f"{TOKEN}\n")
    wait_for("it is taken", lambda: "in use" in browser.text("#told"))
    browser.click("#found [data-drop=app]")
    assert "Drop app from the cache" in browser.accept()
    wait_for("it is dropped", lambda: "app was dropped" in browser.text("#told"))
    assert daemon.stored(FILE.name) == []
    browser.click("#forget")
    wait_for("it is forgotten", lambda: "forgotten" in browser.text("#told"))
    assert browser.run("return sessionStorage.length + localStorage.length + document.cookie.length") == 0
    assert browser.text("#found [data-drop]") == ""
    checked(browser)


def test_a_search_by_keyboard_alone(daemon: Daemon, browse: Open) -> None:
    browser = browse(daemon)
    seen = []
    for _ in range(60):
        browser.press("\ue004")  # Tab
        seen.append(browser.run("return document.activeElement.id || document.activeElement.className"))
        outline = browser.run("return getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", seen[-1]
        if seen[-1] == "q":
            break
    assert seen[0] == "skip"
    assert "refresh" in seen
    browser.type("#q", "app")
    browser.press("\ue007")  # Enter
    wait_for("it is found", lambda: browser.text("#found tbody"))
    checked(browser)


def test_from_this_machine_no_token_is_needed(start: Start, upstream: Upstream, browse: Open) -> None:
    upstream.project("app", [FILE])
    daemon = start()
    stocked(daemon)
    browser = browse(daemon, "/?q=app")
    browser.click("#found [data-drop=app]")
    browser.accept()
    wait_for("it is dropped", lambda: "app was dropped" in browser.text("#told"))
    checked(browser)


def test_what_is_refused_is_said(start: Start, upstream: Upstream, browse: Open) -> None:
    """The daemon is restarted with a token while the page of before is shown."""
    upstream.project("app", [FILE])
    daemon = start()
    stocked(daemon)
    browser = browse(daemon, "/?q=app")
    port = str(daemon.port)
    daemon.environment["PYPICACHE_ADMIN_TOKEN"] = TOKEN
    daemon.restart("--port", port)
    browser.run("document.querySelector('#refresh').click()")
    browser.click("#found [data-drop=app]")
    browser.accept()
    wait_for("it is said", lambda: "app was not dropped: This needs the admin token" in browser.text("#told"))
    assert daemon.stored(FILE.name)


@pytest.mark.parametrize("clipboard", [True, False])
def test_settings_are_copied(clipboard: bool, daemon: Daemon, browse: Open) -> None:
    """Over plain HTTP from elsewhere a browser has no clipboard to write to: then they are marked, and copied so."""
    browser = browse(daemon)
    write = "{ writeText: async (text) => { window.copied = text; } }" if clipboard else "undefined"
    browser.run(f"Object.defineProperty(navigator, 'clipboard', {{ value: {write} }})")
    browser.run("document.addEventListener('copy', () => { window.copied = getSelection().toString(); })")
    browser.click("#clients .copy")
    wait_for("it is said", lambda: browser.text("#clients .copy").startswith("Copied"))
    assert browser.run("return window.copied").split()[:5] == [
        "pip",
        "config",
        "set",
        "global.index-url",
        daemon.index_url,
    ]
    checked(browser)


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_screen(width: int, daemon: Daemon, browse: Open) -> None:
    browser = browse(daemon, "/?q=app", width=width)
    browser.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert browser.run("return [innerWidth, document.documentElement.scrollWidth]") == [width, width]
    checked(browser)


def test_without_script_it_is_a_page(daemon: Daemon, browse: Open) -> None:
    browser = browse(daemon)
    browser.run("document.querySelector('#q').value = 'app'; document.querySelector('#search-form').submit()")
    wait_for("it is found", lambda: browser.text("#found tbody"))
    assert browser.run("return location.search + location.hash") == "?q=app#search"
