"""The dashboard in a real browser, over a real server, under a strict Content-Security-Policy."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.staticfiles import finders
from playwright.sync_api import Browser, Page, Request, expect

from cache_monitor.dashboard.views import CHART_JS
from tests.dashboard.visiting import wait_until

DASHBOARD = "/admin/cache_monitor/dashboard/"
REFRESH = "**/*partial=1*"
CHARTS = ("hit_ratio", "rate", "latency", "memory")
PAINTED = """canvas => {
    const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.some((value, place) => place % 4 === 3 && value > 0);
}"""
SIDEWAYS = "document.documentElement.scrollWidth > window.innerWidth"

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("dashboard")]


def make_traffic(site: str) -> None:
    urllib.request.urlopen(f"{site}/traffic/", timeout=60).close()  # noqa: S310 - our own site


@pytest.mark.skipif(finders.find(CHART_JS) is None, reason="make frontend fetches Chart.js")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_the_charts_are_drawn(
    page: Page, site: str, complaints: list[str], scheme: str, width: int
) -> None:
    make_traffic(site)
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(site + DASHBOARD)
    for chart in CHARTS:
        canvas = page.locator(f"canvas[data-cm-chart={chart}]")
        expect(canvas).to_be_visible()
        wait_until(
            page,
            f"chart => ({PAINTED})(document.querySelector(`canvas[data-cm-chart=${{chart}}]`))",
            argument=chart,
        )
    assert not page.evaluate(SIDEWAYS)
    assert complaints == []


def test_the_page_refreshes_itself_and_keeps_what_was_opened(
    page: Page, site: str, complaints: list[str]
) -> None:
    make_traffic(site)
    page.goto(site + DASHBOARD)
    lookups = page.locator(".cm-strip", has_text="default").locator("dd").first
    before = lookups.inner_text()
    table = page.locator("#cm-chart-rate details")
    table.locator("summary").click()
    page.locator("[data-cm-pause]").focus()
    make_traffic(site)
    expect(lookups).not_to_have_text(before, timeout=15_000)
    expect(table).to_have_attribute("open", "")
    expect(page.locator("[data-cm-pause]")).to_be_focused()
    assert complaints == []


@pytest.mark.once
def test_the_page_says_that_its_figures_are_old(page: Page, site: str) -> None:
    make_traffic(site)
    page.clock.install()
    page.goto(site + DASHBOARD)
    page.route(REFRESH, lambda route: route.abort())
    status = page.locator("[data-cm-status]")
    let_a_minute_pass_until(page, status.is_visible)
    expect(status).to_contain_text("old")
    page.unroute(REFRESH)
    let_a_minute_pass_until(page, status.is_hidden)


def let_a_minute_pass_until(page: Page, is_so: Callable[[], bool]) -> None:
    """Often enough for a refresh that was under way to end, and for the next to begin."""
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        page.clock.fast_forward(60_000)
        page.wait_for_timeout(50)


@pytest.mark.once
def test_a_refresh_after_the_logout_says_so(page: Page, site: str) -> None:
    make_traffic(site)
    page.goto(site + DASHBOARD)
    page.context.clear_cookies()
    expect(page.locator("[data-cm-status]")).to_contain_text("logged out", timeout=10_000)


class Clock:
    """The clock of a page, which stands still unless the test moves it, and what the page asks
    for."""

    def __init__(self, page: Page) -> None:
        self.asked: list[str] = []
        self._reports = 0
        self._page = page
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("requestfinished", self._count)
        page.clock.install()
        page.clock.pause_at(datetime.now(UTC) + timedelta(hours=1))

    def _count(self, request: Request) -> None:
        self._reports += "stats.json" in request.url

    def open(self, address: str) -> None:
        """Until the charts have what they draw."""
        self._page.goto(address)
        self._wait_for_report()

    def refresh(self) -> None:
        """Let it be time for one, and wait for the charts', which is the last that it asks for."""
        with self._page.expect_request(REFRESH):
            self._page.clock.fast_forward(60_000)
        self._wait_for_report()

    def _wait_for_report(self) -> None:
        deadline = time.monotonic() + 60
        while self._reports == 0:
            assert time.monotonic() < deadline, self.asked
            self._page.wait_for_timeout(20)
        self._reports = 0

    def let_nothing_be_asked(self) -> None:
        """However much time passes."""
        self.asked.clear()
        for _ in range(3):
            self._page.clock.fast_forward(60_000)
        last = self._page.evaluate("fetch('?last').then(answer => answer.url)")
        assert self.asked == [last]


@pytest.mark.once
def test_it_can_be_paused(page: Page, site: str) -> None:
    make_traffic(site)
    clock = Clock(page)
    clock.open(site + DASHBOARD)
    clock.refresh()
    page.locator("[data-cm-pause]").click()
    expect(page.locator("[data-cm-pause]")).to_have_text("Resume")
    clock.let_nothing_be_asked()
    page.locator("[data-cm-pause]").click()
    with page.expect_request(REFRESH):
        page.clock.fast_forward(1)


@pytest.mark.once
def test_a_hidden_tab_asks_nothing(page: Page, site: str) -> None:
    make_traffic(site)
    clock = Clock(page)
    clock.open(site + DASHBOARD)
    clock.refresh()
    page.evaluate(
        """() => {
            Object.defineProperty(document, "hidden", {get: () => window.pretendHidden});
            window.pretendHidden = true;
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    clock.let_nothing_be_asked()
    page.evaluate(
        "window.pretendHidden = false; document.dispatchEvent(new Event('visibilitychange'))"
    )
    with page.expect_request(REFRESH):
        page.clock.fast_forward(1)


@pytest.mark.once
def test_a_period_that_has_ended_is_not_fetched_again(page: Page, site: str) -> None:
    make_traffic(site)
    clock = Clock(page)
    page.goto(f"{site}{DASHBOARD}?since=3h&until=2h")
    expect(page.locator("[data-cm-pause]")).to_be_hidden()
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    clock.let_nothing_be_asked()


@pytest.mark.once
@pytest.mark.skipif(finders.find(CHART_JS) is None, reason="make frontend fetches Chart.js")
def test_the_charts_follow_the_theme(page: Page, site: str) -> None:
    make_traffic(site)
    page.goto(site + DASHBOARD)
    chart = "Chart.getChart(document.querySelector('[data-cm-chart=hit_ratio]'))"
    line = f"{chart}?.data.datasets[0]?.borderColor"
    wait_until(page, f"() => Boolean({line})")
    before = page.evaluate(line)
    page.locator(".theme-toggle").first.click()
    wait_until(page, f"before => {line} !== before", before)


def test_without_chart_js_the_tables_stay(page: Page, site: str) -> None:
    make_traffic(site)
    page.route("**/chart.umd.min.js", lambda route: route.abort())
    page.goto(site + DASHBOARD)
    expect(page.locator("[data-cm-no-charts]")).to_contain_text("make frontend")
    expect(page.locator("canvas").first).to_be_hidden()
    expect(page.get_by_role("table", name="Operations").first).to_be_visible()


def test_without_javascript_the_form_and_the_tables_work(
    browser: Browser, page: Page, site: str
) -> None:
    make_traffic(site)
    context = browser.new_context(
        java_script_enabled=False, storage_state=page.context.storage_state()
    )
    plain = context.new_page()
    plain.goto(site + DASHBOARD)
    plain.select_option("#cm-range", "6h")
    plain.select_option("#cm-alias", "default")
    plain.get_by_role("button", name="Show").click()
    assert "range=6h" in plain.url
    expect(plain.get_by_role("table", name="Operations").first).to_be_visible()
