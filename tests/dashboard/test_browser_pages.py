"""Every page in a real browser: light and dark, wide and narrow, full, empty and hostile."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import cycle

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.dashboard.axe import violations
from tests.dashboard.visiting import SCHEMES, settle, show_in, wait_until

DASHBOARD = "/admin/cache_monitor/dashboard/"
SIDEWAYS = "document.documentElement.scrollWidth > window.innerWidth"
NEVER_RECORDED = "since=2001-01-01T00:00:00Z&until=2001-01-01T01:00:00Z"
PAGES = {
    "overview": "",
    "a comparison": "?compare=1",
    "findings": "findings/",
    "hot keys": "keys/",
    "key groups": "groups/",
    "a group's keys": "keys/?group=user%3A%7Bint%7D%3Aprofile",
    "views": "views/",
    "a view's samples": "views/?view=tests.dashboard.site_urls.traffic",
    "memory": "memory/",
    "stale entries": "stale/",
    "what if": "what-if/",
    "an entry": "entry/?alias=default&key=user:1:profile&value=1",
    "no entry": "entry/?alias=spare&key=nothing",
    "a question": "delete-group/?alias=default&group=user%3A%7Bint%7D%3Aprofile",
    "a refusal": "keys/?sort=colour",
}

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.xdist_group("dashboard")]


def make_traffic(site: str, path: str = "traffic") -> None:
    urllib.request.urlopen(f"{site}/{path}/", timeout=60).close()  # noqa: S310 - our own site


def wait_for_figures(page: Page, site: str, path: str, text: str) -> None:
    """Until what the site recorded has reached the store."""
    page.goto(site + DASHBOARD + path)
    expect(page.get_by_text(text).first).to_be_visible(timeout=20_000)


def chart(name: str) -> str:
    """JavaScript for the chart ``name``."""
    return f"Chart.getChart(document.querySelector('[data-cm-chart={name}]'))"


@contextmanager
def seen_as(page: Page, browser: Browser, **options: object) -> Iterator[Page]:
    """The same user with another screen or another language."""
    state = page.context.storage_state()
    context = browser.new_context(storage_state=state, **options)  # type: ignore[arg-type]  # passed on as they came
    yield context.new_page()
    context.close()


def test_every_page_can_be_used_by_everybody(
    page: Page, site: str, axe_script: str, complaints: list[str]
) -> None:
    make_traffic(site, "predicted")
    wait_for_figures(page, site, "memory/", "user:{int}:profile")
    found = {}
    for (name, path), schemes in zip(PAGES.items(), cycle((SCHEMES, SCHEMES[::-1]))):
        page.set_viewport_size({"width": 1440, "height": 900})
        # Every second page is opened in the dark.
        page.emulate_media(color_scheme=schemes[0])
        page.goto(site + DASHBOARD + path)
        for width in (1440, 390):
            page.set_viewport_size({"width": width, "height": 900})
            settle(page)
            assert not page.evaluate(SIDEWAYS), (name, width)
            for scheme in schemes:
                show_in(page, scheme)
                found[name, width, scheme] = violations(page, axe_script)
    assert {each: said for each, said in found.items() if said} == {}
    # The refusal is an answer with the status 400, of which a console always tells.
    assert [text for text in complaints if "400" not in text] == []


def test_every_empty_page_can_be_used_by_everybody(
    page: Page, site: str, axe_script: str, complaints: list[str]
) -> None:
    for path in ("", "findings/", "keys/", "groups/", "views/", "memory/", "stale/", "what-if/"):
        page.goto(f"{site}{DASHBOARD}{path}?{NEVER_RECORDED}")
        assert not page.evaluate(SIDEWAYS), path
        for scheme in SCHEMES:
            show_in(page, scheme)
            assert violations(page, axe_script) == [], (path, scheme)
    assert complaints == []


def test_hostile_keys_keep_to_their_cells(
    page: Page, site: str, axe_script: str, complaints: list[str]
) -> None:
    make_traffic(site, "hostile")
    wait_for_figures(page, site, "keys/", "onerror")
    for path in ("", "keys/", "groups/", "memory/", "stale/"):
        page.goto(site + DASHBOARD + path)
        settle(page)
        assert "broken" not in page.title()
        assert page.locator("h1").count() <= 2  # the site's name and the page's
        assert not page.evaluate(SIDEWAYS), path
        assert violations(page, axe_script) == [], path
    for link in page.get_by_role("link", name="right").all():
        link.click()
        expect(page.get_by_text("In the cache now")).to_be_visible()
        break
    assert complaints == []


@pytest.mark.parametrize("width", [1440, 390])
def test_it_can_be_read_from_right_to_left(
    page: Page, browser: Browser, site: str, axe_script: str, width: int
) -> None:
    make_traffic(site)
    viewport = {"width": width, "height": 900}
    with seen_as(page, browser, locale="he", viewport=viewport) as hebrew:
        for path in ("", "keys/", "memory/", "stale/", "what-if/"):
            hebrew.goto(site + DASHBOARD + path)
            assert hebrew.locator("html").get_attribute("dir") == "rtl"
            assert not hebrew.evaluate(SIDEWAYS), path
            assert violations(hebrew, axe_script) == [], path


def test_the_chart_of_sizes_has_a_line_for_each_policy_and_marks_today(
    page: Page, site: str, complaints: list[str]
) -> None:
    make_traffic(site, "predicted")
    page.goto(site + DASHBOARD + "what-if/")
    drawn = "Chart.getChart(document.querySelector('[data-cm-whatif=default]'))"
    wait_until(page, f"() => Boolean({drawn})")
    labels = page.evaluate(f"{drawn}.data.datasets.filter(d => !d.band).map(d => d.label)")
    assert labels == ["locmem", "allkeys-lfu", "optimum", "saved an hour"]
    own = page.evaluate(f"{drawn}.data.datasets[0].data.map(p => [p.entries, p.x, p.y])")
    assert own == [[500, -1, 60], [1000, 0, 71], [2000, 1, 80]]
    assert page.evaluate(f"{drawn}.data.datasets[0].pointStyle") == ["circle", "rectRot", "circle"]
    band = page.evaluate(f"{drawn}.data.datasets.filter(d => d.band).map(d => d.data[1].y)")
    assert band == pytest.approx([72, 70])
    saved = page.evaluate(f"{drawn}.data.datasets.at(-1).data.map(p => [p.entries, p.y])")
    assert saved == [[500, -40], [2000, 41]]
    assert complaints == []


def test_a_table_fades_out_where_it_goes_on_until_it_was_scrolled_to_its_end(
    page: Page, site: str
) -> None:
    make_traffic(site)
    wait_for_figures(page, site, "keys/", "user:1:profile")
    faded = "e => parseFloat(getComputedStyle(e).getPropertyValue('--cm-beyond'))"
    table = page.get_by_role("group", name="Hot keys")
    page.set_viewport_size({"width": 2400, "height": 900})
    assert table.evaluate(faded) == 0
    page.set_viewport_size({"width": 390, "height": 900})
    wait_until(page, f"e => ({faded})(e) > 0", table.element_handle())
    table.evaluate("e => { e.scrollLeft = e.scrollWidth }")
    wait_until(page, f"e => ({faded})(e) === 0", table.element_handle())


def test_a_table_is_sorted_and_searched_without_javascript(
    page: Page, browser: Browser, site: str
) -> None:
    make_traffic(site)
    wait_for_figures(page, site, "keys/", "user:1:profile")
    with seen_as(page, browser, java_script_enabled=False) as plain:
        plain.goto(f"{site}{DASHBOARD}keys/?range=6h")
        plain.get_by_role("searchbox").last.fill("user:7")
        plain.get_by_role("button", name="Search").click()
        table = plain.get_by_role("table", name="Hot keys")
        expect(table.locator("tbody tr")).to_have_count(1)
        plain.get_by_role("link", name="Lookups").click()
        assert "sort=lookups" in plain.url
        assert "q=user%3A7" in plain.url
        assert "range=6h" in plain.url
        expect(table.locator("[aria-sort=ascending]")).to_have_text("Lookups")


def test_the_keyboard_reaches_an_entry(page: Page, site: str) -> None:
    make_traffic(site)
    wait_for_figures(page, site, "keys/", "user:1:profile")
    page.get_by_role("link", name="user:1:profile").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="In the cache now")).to_be_visible()


def test_dragging_over_a_chart_looks_closer(page: Page, site: str, complaints: list[str]) -> None:
    make_traffic(site)
    wait_for_figures(page, site, "?alias=default", "Over time")
    # Nothing moves any more: every chart has its place, and no refresh brings others.
    page.get_by_role("button", name="Pause").click()
    canvases = "[...document.querySelectorAll('canvas[data-cm-chart]')]"
    page.wait_for_function(f"{canvases}.every((each) => Chart.getChart(each))")
    canvas = page.locator("canvas[data-cm-chart=rate]")
    canvas.hover()
    box = canvas.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.4, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, middle, steps=4)
    expect(page.locator(".cm-mark")).to_be_visible()
    page.mouse.up()
    page.wait_for_url("**/*since=*")
    assert "until=" in page.url
    assert "alias=default" in page.url
    expect(page.locator("#cm-since")).to_have_value(page.locator("#cm-since").input_value())
    assert complaints == []


def test_a_group_is_deleted_with_a_question_first(page: Page, site: str) -> None:
    make_traffic(site)
    wait_for_figures(page, site, "memory/?alias=default", "user:{int}:profile")
    page.get_by_role("row", name="user:{int}:profile").get_by_role("link", name="Delete").click()
    expect(page.get_by_text("Entries that will go")).to_be_visible()
    page.get_by_role("button", name="Yes").click()
    expect(page.locator(".messagelist")).to_contain_text("10 entries")
    assert "/memory/" in page.url


def test_the_period_before_is_drawn_as_a_ghost(
    page: Page, site: str, complaints: list[str]
) -> None:
    now = datetime.now(UTC)
    began = now.replace(second=now.second // 10 * 10, microsecond=0)  # as the statistics begin
    make_traffic(site, "earlier")
    since, until = (f"{began + timedelta(seconds=n):%Y-%m-%dT%H:%M:%SZ}" for n in (-10, 20))
    page.goto(f"{site}{DASHBOARD}?alias=default&since={since}&until={until}&compare=1")
    settle(page)
    # The lines of the hit ratios; the bars below them have no ghosts.
    lines = "data.datasets.filter(({type}) => type === 'line').map(({label}) => label)"
    assert page.evaluate(f"{chart('hit_ratio')}?.{lines}") == ["default", "default, before"]
    assert page.evaluate(f"{chart('latency')}?.{lines}") == [
        *("default p99", "default p90", "default p50"),
        "default p99, before",
    ]
    expect(page.locator("[name=compare]")).to_be_checked()
    assert complaints == []


def test_the_treemap_and_the_map_of_latency_are_drawn(
    page: Page, site: str, complaints: list[str]
) -> None:
    make_traffic(site)
    wait_for_figures(page, site, "memory/?alias=default", "user:{int}:profile")
    for path, canvas in (
        ("memory/", "[data-cm-treemap=default]"),
        ("", "[data-cm-chart=latency_map]"),
    ):
        page.goto(site + DASHBOARD + path)
        chart = f"Chart.getChart(document.querySelector('{canvas}'))"
        wait_until(page, f"() => {chart}?.getDatasetMeta(0).data.length > 0")
    assert complaints == []


def test_buttons_are_as_large_as_their_words_where_an_admin_takes_them_for_icons(
    page: Page, site: str
) -> None:
    page.goto(f"{site}{DASHBOARD}stale/")
    # As grappelli does, of which every button is a picture.
    page.evaluate(
        """() => {
            const grappelli = new CSSStyleSheet();
            grappelli.replaceSync(
                "button { width: 26px; height: 26px; padding: 0; margin: 0 -1px; overflow: hidden }"
            );
            document.adoptedStyleSheets = [grappelli];
            const sheets = document.styleSheets;
            const own = [...sheets].find((each) => each.href?.includes("dashboard.css"));
            const after = new CSSStyleSheet();
            after.replaceSync([...own.cssRules].map((rule) => rule.cssText).join(""));
            document.adoptedStyleSheets = [grappelli, after];
        }"""
    )
    sizes = page.eval_on_selector_all(
        ".cm button:not([hidden])",
        "all => all.map(one => [one.scrollWidth - one.clientWidth, one.clientWidth])",
    )
    assert sizes
    assert all(beyond <= 0 and width > 30 for beyond, width in sizes), sizes
