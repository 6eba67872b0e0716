"""The panel on the demo's product page, in Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.demo_site.site import Demo, RunningDemo

PRODUCT = "/products/42/"
UNVISITED = "/products/7/"


@pytest.fixture(autouse=True)
def toolbar_site() -> None:
    """The demo runs in a process of its own; this one needs no toolbar."""


@pytest.fixture(scope="module")
def demo_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    demo = Demo(Path(tmp_path_factory.mktemp("panel")) / "var")
    demo.prepare()
    with demo.running() as running:
        yield running


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console says and which requests fail."""
    return []


@pytest.fixture
def page(browser: Browser, complaints: list[str]) -> Page:
    page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme="dark")
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    return page


def open_panel(page: Page, url: str) -> Locator:
    page.goto(url)
    # The theme is the last thing that the toolbar's script sets.
    expect(page.locator("#djDebug")).to_have_attribute("data-theme", re.compile("dark|light"))
    if page.locator("#djShowToolBarButton").is_visible():
        page.locator("#djShowToolBarButton").click()
    with page.expect_response(lambda response: response.url.endswith("/panel/panel.css")):
        page.locator("#djdt-CacheMonitorPanel a").click()
    panel = page.locator("#CacheMonitorPanel .cm-panel")
    expect(panel.locator(".cm-totals")).to_have_css("display", "flex")
    return panel


def rows(panel: Locator) -> list[list[str]]:
    """Cache, operation, key and outcome of each call."""
    found = panel.locator("table.cm-calls tbody tr").all()
    return [
        [cell.inner_text().split("\n")[0] for cell in row.locator("td").all()[1:5]] for row in found
    ]


def test_the_panel_lists_exactly_the_calls_of_the_product_page(
    page: Page, demo_site: RunningDemo, complaints: list[str]
) -> None:
    first = rows(open_panel(page, demo_site.url + UNVISITED))
    second = rows(open_panel(page, demo_site.url + UNVISITED))

    assert first == [
        ["default", "get", "product:7", "miss"],
        ["default", "set", "product:7", "–"],
    ]
    assert second == [["default", "get", "product:7", "hit"]]
    assert complaints == []


def test_the_side_bar_and_the_totals_tell_the_same(
    page: Page, demo_site: RunningDemo, complaints: list[str]
) -> None:
    panel = open_panel(page, demo_site.url + "/stock/")

    side_bar = page.locator("#djdt-CacheMonitorPanel small").inner_text()
    totals = dict(
        part.inner_text().split("\n", 1) for part in panel.locator(".cm-totals > div").all()
    )
    assert totals["CALLS"].strip() == side_bar.split()[0]
    assert totals["HIT RATIO"].strip() in side_bar
    assert complaints == []


def test_the_style_sheet_reaches_into_the_toolbar(page: Page, demo_site: RunningDemo) -> None:
    number = open_panel(page, demo_site.url + PRODUCT).locator("td.cm-number").first
    expect(number).to_have_css("text-align", "right")
    expect(number).to_have_css("font-variant-numeric", "tabular-nums")


def test_a_narrow_window_scrolls_the_tables_and_not_the_panel(
    page: Page, demo_site: RunningDemo
) -> None:
    page.set_viewport_size({"width": 700, "height": 900})
    panel = open_panel(page, demo_site.url + PRODUCT)
    hidden_width = "element => element.scrollWidth - element.clientWidth"
    assert panel.locator(".cm-scroll").last.evaluate(hidden_width) > 0
    assert panel.evaluate(hidden_width) == 0
