"""The page for people: what it shows, that it runs nothing of what it shows, and that everybody can use it."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from lxml import html

from twisted_pypi.caching.progress import Progress
from twisted_pypi.events import FetchFailed
from twisted_pypi.status.charts import HEIGHT, WIDTH, chart
from twisted_pypi.status.page import POLICY, View, render
from twisted_pypi.status.recipes import recipes
from twisted_pypi.status.wording import ago_text, count_text, duration_text, share_text, size_text
from unit.storage_doubles import now
from unit.test_status_report import PUBLIC, STORED_FILE, Desk, Inventory, Kept
from unit.test_status_statistics import HIT, NOW

BASE = "http://cache.example:8080/pypi"
EVIL = "<script>alert('1')</script>\"'&<img src=x onerror=alert(2)>{{ 7 * 7 }}</title>"


def busy(name: str = "torch", reason: str = "answered 503") -> Desk:
    """Something is shown in every part."""
    heap = {"name": name, "pages": 1, "files": 3, "size": 9000, "stored": 1, "used": 2}
    file = {**STORED_FILE, "name": name, "url": f"https://f.example/{name}", "checked": NOW, "verified": True}
    total = {"names": 1, "pages": 0, "files": 70, "size": 0}
    desk = Desk(inventory=Inventory({"total": total, "names": [heap], "entries": [file], "next": None}))
    desk.running = [Progress(f"https://files.example/{name}", name, "main", 400, 100, 50.4, 1)]
    desk.running += [Progress("https://files.example/unsized", "", "main", None, 100, 50.4, 2)]
    desk.used(name, frozenset({"main"}))
    desk.health.observe(FetchFailed("https://main.example/", reason, False))
    desk.bench.serve(HIT)
    return desk


def page(desk: Desk, query: str = "", admin: bool = False, base: str = BASE) -> html.HtmlElement:
    return html.document_fromstring(now(desk.pages(PUBLIC).page(base, query, admin)).decode())


def text(element: html.HtmlElement, path: str = ".") -> str:
    return " ".join(" ".join(found.itertext()) for found in element.xpath(path)).replace("\n", " ")


class TestWhatItShows:
    def test_every_part(self) -> None:
        found = page(busy(), "tor", admin=True)
        shown = {part.get("id"): " ".join(text(part).split()) for part in found.xpath("//section")}
        assert "100.0 % hit rate" in shown["figures"]
        assert "1000 B saved" in shown["figures"]
        assert "1 requests" in shown["figures"]
        assert "4.9 KiB of 9.8 KiB used, 3 entries" in shown["disk"]
        assert "https://main.example index of main failing – – 0 s ago: answered 503" in shown["upstreams"]
        assert "100 B of 400 B, 50 B/s, 1 client " in shown["transfers"] + " "
        assert "100 B of ?, 50 B/s, 2 clients" in shown["transfers"]
        assert "torch 3 8.8 KiB" in shown["packages"]
        assert "torch Drop torch torch 9 B 2 h checked 0 s ago" in shown["search"]
        assert "These are the first 1 of 70." in shown["search"]
        assert f"pip config set global.index-url {BASE}/simple/" in shown["clients"]

    def test_who_is_no_administrator_can_drop_nothing(self) -> None:
        found = page(busy(), "tor")
        assert found.xpath("//*[@id='found']//tbody/tr")
        assert found.xpath("//button[@data-drop]") == []

    def test_a_search_that_finds_nothing_and_none(self) -> None:
        assert "Nothing in the cache matches “x&y”." in text(page(Desk(), "x&y"), "//*[@id='found']")
        assert text(page(Desk()), "//*[@id='found']").strip() == ""

    @pytest.mark.parametrize(
        ("condition", "words"),
        [("opening", "is being opened"), ("rebuilding", "is being rebuilt"), ("reconciling", "are being compared")],
    )
    def test_the_state_of_the_catalogue(self, condition: str, words: str) -> None:
        assert words in text(page(Desk(kept=Kept(condition)), "six"), "//section[@id='now']")

    def test_an_idle_one(self) -> None:
        found = page(Desk())
        assert found.xpath("//svg") == []
        assert "None at the moment" in text(found, "//section[@id='transfers']")

    def test_offline(self) -> None:
        assert "no upstream is contacted" in text(page(Desk(offline=True)), "//section[@id='now']")

    def test_many_who_look_cost_what_one_does(self) -> None:
        desk = busy()
        pages = desk.pages()
        assert len({id(now(pages.page(BASE, "tor", False))) for _ in range(100)}) == 1
        assert [wanted.text for wanted in desk.inventory.asked] == ["", "tor"]

    def test_a_long_query_is_cut(self) -> None:
        desk = Desk()
        page(desk, "x" * 5000)
        assert len(desk.inventory.asked[-1].text) == 200


class TestHostileNames:
    def test_nothing_that_is_shown_is_run(self) -> None:
        found = page(busy(EVIL, EVIL), EVIL, admin=True)
        assert len(found.xpath("//script")) == 1
        assert found.xpath("//img") == []
        assert "alert(1" not in found.xpath("//script")[0].text
        assert text(found, "//section[@id='upstreams']").count("<script>alert('1')</script>") == 1
        assert found.xpath("//button[@data-drop]/@data-drop") == [EVIL]
        assert "{{ 7 * 7 }}" in text(found, "//section[@id='packages']")

    @given(st.text(max_size=60))
    def test_any_text_is_only_text(self, anything: str) -> None:
        view = now(busy().pages(PUBLIC).document(True))
        hostile = {**view, "most_used": [{"name": anything, "requests": 1}], "version": anything}
        counts = Counting.of(render(View(BASE, hostile, query=anything)))
        assert counts == Counting.of(
            render(View(BASE, {**hostile, "version": "x", "most_used": [{"name": "x", "requests": 1}]}))
        )


@define
class Counting:
    """How many elements of each kind there are."""

    counts: dict[str, int] = field(factory=dict)

    @classmethod
    def of(cls, body: bytes) -> dict[str, int]:
        counting = cls()

        class Parser(HTMLParser):
            def handle_starttag(self, tag: str, attrs: object) -> None:
                counting.counts[tag] = counting.counts.get(tag, 0) + 1

        Parser().feed(body.decode())
        return counting.counts


class TestItsPolicy:
    def test_style_and_script_are_those_that_it_names(self) -> None:
        body = now(busy().pages().page(BASE, "", True)).decode()
        for tag, rule in (("style", "style-src"), ("script", "script-src")):
            (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", body, re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
            assert f"{rule} 'sha256-{digest}'" in POLICY.split("; ")

    def test_it_needs_nothing_else(self) -> None:
        found = page(busy(), "tor", admin=True)
        assert found.xpath("//@style") == []
        assert [name for element in found.iter() for name in element.attrib if name.startswith("on")] == []
        assert [link for link in found.xpath("//@src | //@href | //@action") if "//" in link] == []
        assert not re.search(r"url\(|@import|https?:", found.xpath("//style")[0].text)


class TestAccessibility:
    @pytest.fixture(params=[(True, "tor"), (False, "tor"), (False, "")], ids=["admin", "search", "plain"])
    def found(self, request: pytest.FixtureRequest) -> html.HtmlElement:
        admin, query = request.param
        return page(busy(), query, admin)

    def test_language_title_and_one_first_heading(self, found: html.HtmlElement) -> None:
        assert found.get("lang") == "en"
        assert found.xpath("count(//head/title[string-length() > 5])") == 1
        levels = [int(element.tag[1]) for element in found.iter() if element.tag in ("h1", "h2", "h3", "h4")]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))

    def test_ids_are_unique_and_references_lead_somewhere(self, found: html.HtmlElement) -> None:
        ids = found.xpath("//@id")
        assert len(ids) == len(set(ids))
        wanted = [each for value in found.xpath("//@aria-labelledby") for each in value.split()]
        wanted += found.xpath("//label/@for") + [link[1:] for link in found.xpath("//a/@href") if link.startswith("#")]
        assert set(wanted) <= set(ids)

    def test_every_control_has_a_name(self, found: html.HtmlElement) -> None:
        for control in found.xpath("//input"):
            labelled = control.xpath("ancestor::label") or found.xpath(f"//label[@for='{control.get('id')}']")
            assert labelled, html.tostring(control)
            assert text(labelled[0]).strip()
        names = [text(button).strip() for button in found.xpath("//button")]
        assert all(names)
        assert len(names) == len(set(names))
        for bar in found.xpath("//progress | //meter | //section"):
            assert bar.get("aria-label") or bar.get("aria-labelledby")

    def test_tables_have_headings_for_every_cell(self, found: html.HtmlElement) -> None:
        assert found.xpath("//th[not(@scope)]") == []
        for table in found.xpath("//table"):
            columns = len(table.xpath("thead/tr/th[@scope='col']"))
            assert columns
            assert all(len(row.xpath("th[@scope='row'] | td")) == columns for row in table.xpath("tbody/tr"))

    def test_what_scrolls_can_be_reached_by_keyboard(self, found: html.HtmlElement) -> None:
        for part in found.xpath("//*[@class='scroll']"):
            assert part.get("tabindex") == "0"
            assert part.get("role") == "region"
            assert part.get("aria-label") or part.get("aria-labelledby")

    def test_the_chart_is_told_in_words_and_as_a_table(self, found: html.HtmlElement) -> None:
        (drawing,) = found.xpath("//svg")
        assert drawing.get("role") == "img"
        assert "1 hits and 0 misses in 24 hours" in text(drawing, "desc")
        assert found.xpath("count(//section[@id='figures']//tbody/tr)") == 24

    def test_without_script_nothing_is_shown_that_needs_it(self, found: html.HtmlElement) -> None:
        assert found.xpath("//*[contains(@class, 'needs-script')][not(@hidden)]") == []
        shown = [text(button) for button in found.xpath("//button[not(ancestor-or-self::*[@hidden])]")]
        assert shown == ["Search"]
        assert found.xpath("//form[@id='search-form']/@action") == ["./#search"]

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_colours_can_be_told_apart(self, scheme: str) -> None:
        """WCAG 2.2: 4.5 to 1 for text, 3 to 1 for what is drawn and for focus."""
        css = page(Desk()).xpath("//style")[0].text
        light, dark = (dict(re.findall(r"--(\w+):(#\w+)", block)) for block in re.findall(r":root\{([^}]*)\}", css))
        colours = light if scheme == "light" else dark
        for back in ("back", "card"):
            for name in ("text", "quiet", "link", "hits", "bad", "misses"):
                least = 3 if name == "misses" else 4.5
                assert contrast(colours[name], colours[back]) >= least, (name, back)
            assert contrast(colours["focus"], colours[back]) >= 3


def contrast(one: str, other: str) -> float:
    """The contrast of two colours as WCAG defines it."""
    high, low = sorted(map(luminance, (one, other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[start : start + 2], 16) / 255 for start in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


class TestChart:
    HOURS = tuple({"hour": f"2026-11-21T{number:02}:00:00Z", "hits": number, "misses": 3} for number in range(24))

    def test_bars_stand_side_by_side_within_the_drawing(self) -> None:
        drawn = chart(self.HOURS)
        assert (drawn.top, drawn.hits, drawn.misses) == (26, 276, 72)
        for bar, after in pairwise(drawn.bars):
            assert bar.x + bar.width < after.x
        for bar in drawn.bars:
            assert bar.misses_y >= -0.01
            assert bar.misses_y + bar.misses_height == pytest.approx(bar.hits_y, abs=0.02)
            assert bar.hits_y + bar.hits_height == pytest.approx(HEIGHT, abs=0.02)
        assert drawn.bars[-1].x + drawn.bars[-1].width <= WIDTH
        assert drawn.bars[-1].misses_y == 0

    def test_of_nothing(self) -> None:
        drawn = chart([{"hour": "", "hits": 0, "misses": 0}])
        assert (drawn.top, drawn.bars[0].hits_height) == (0, 0)
        assert chart([]).bars == ()


class TestRecipes:
    def test_over_http_hosts_are_to_be_trusted(self) -> None:
        told = {recipe.client: recipe.text for recipe in recipes(BASE)}
        assert told["pip"].endswith("pip config set global.trusted-host cache.example")
        assert told["Dockerfile"].splitlines()[2:] == [
            "ENV PIP_TRUSTED_HOST=cache.example",
            "ENV UV_INSECURE_HOST=cache.example:8080",
        ]
        assert "verify_ssl = false" in told["pipenv"]
        assert set(told) == {"pip", "uv", "poetry", "pdm", "pipenv", "buildout", "Dockerfile", "CI"}

    def test_over_https_none_is(self) -> None:
        everything = "\n".join(recipe.text for recipe in recipes("https://cache.example"))
        assert not re.search("trusted|insecure|verify_ssl = false|verify_ssl false", everything, re.IGNORECASE)
        assert everything.count("https://cache.example/simple/") == 11

    def test_npm_is_named_where_it_is_served(self) -> None:
        told = {recipe.client: recipe.text for recipe in recipes(BASE, npm=True)}
        assert told["npm"] == f"npm config set registry {BASE}/npm/"

    def test_an_address_of_six(self) -> None:
        assert "trusted-host [::1]" in recipes("http://[::1]:8080")[0].text


class TestWording:
    @pytest.mark.parametrize(
        ("amount", "words"),
        [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_570, "1.0 MiB"),
            (150 << 20, "150 MiB"),
            (1536 << 20, "1.5 GiB"),
            (5 << 50, "5120 TiB"),
            (None, "?"),
        ],
    )
    def test_sizes(self, amount: int | None, words: str) -> None:
        assert size_text(amount) == words

    @pytest.mark.parametrize(
        ("seconds", "words"),
        [(0, "0 s"), (119, "119 s"), (300, "5 min"), (7200, "2 h"), (86_400 * 9, "9 d"), (None, "–")],
    )
    def test_durations(self, seconds: float | None, words: str) -> None:
        assert duration_text(seconds) == words
        assert ago_text(seconds) == (words if seconds is None else f"{words} ago")

    @pytest.mark.parametrize(
        ("share", "words"),
        [(None, "–"), (0, "0.0 %"), (0.0001, "< 0.1 %"), (0.5, "50.0 %"), (0.99999, "> 99.9 %"), (1, "100.0 %")],
    )
    def test_shares(self, share: float | None, words: str) -> None:
        assert share_text(share) == words

    def test_counts(self) -> None:
        assert count_text(1_234_567) == "1\u202f234\u202f567"
