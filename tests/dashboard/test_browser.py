"""The dashboard in a real browser, over a real server, under a strict Content-Security-Policy."""

from __future__ import annotations

import time
import urllib.request

import pytest
from django.contrib.staticfiles import finders
from playwright.sync_api import Browser, Page, expect

from cache_monitor.dashboard.page import CHART_JS

DASHBOARD = "/admin/cache_monitor/dashboard/"
CHARTS = ("hit_ratio", "rate", "latency", "memory")
PAINTED = """canvas => {
    const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.some((value, place) => place % 4 === 3 && value > 0);
}"""
SIDEWAYS = "document.documentElement.scrollWidth > window.innerWidth"

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("dashboard")]


def wait_until(page: Page, function: str, argument: object = None, seconds: float = 15) -> None:
    """Wait until the JavaScript ``function`` answers yes.

    Playwright's own ``wait_for_function`` polls inside the page, where the policy of the page
    forbids it to evaluate anything.
    """
    deadline = time.monotonic() + seconds
    while not page.evaluate(function, argument):
        assert time.monotonic() < deadline, function
        page.wait_for_timeout(50)


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
    page.goto(site + DASHBOARD)
    page.route("**/*partial=1*", lambda route: route.abort())
    status = page.locator("[data-cm-status]")
    expect(status).to_be_visible(timeout=10_000)
    expect(status).to_contain_text("old")
    page.unroute("**/*partial=1*")
    expect(status).to_be_hidden(timeout=20_000)


@pytest.mark.once
def test_a_refresh_after_the_logout_says_so(page: Page, site: str) -> None:
    make_traffic(site)
    page.goto(site + DASHBOARD)
    page.context.clear_cookies()
    expect(page.locator("[data-cm-status]")).to_contain_text("logged out", timeout=10_000)


@pytest.mark.once
def test_it_can_be_paused(page: Page, site: str) -> None:
    make_traffic(site)
    page.goto(site + DASHBOARD)
    page.locator("[data-cm-pause]").click()
    expect(page.locator("[data-cm-pause]")).to_have_text("Resume")
    # A refresh may have been under way.
    page.wait_for_timeout(2000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(2500)
    assert asked == []


@pytest.mark.once
def test_a_hidden_tab_asks_nothing(page: Page, site: str) -> None:
    make_traffic(site)
    page.goto(site + DASHBOARD)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate(
        """() => {
            Object.defineProperty(document, "hidden", {get: () => window.pretendHidden});
            window.pretendHidden = true;
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    page.wait_for_timeout(2500)
    assert len(asked) <= 2  # one refresh may have been under way
    asked.clear()
    with page.expect_request("**/*partial=1*"):
        page.evaluate(
            "window.pretendHidden = false; document.dispatchEvent(new Event('visibilitychange'))"
        )


@pytest.mark.once
def test_a_period_that_has_ended_is_not_fetched_again(page: Page, site: str) -> None:
    make_traffic(site)
    page.goto(f"{site}{DASHBOARD}?since=3h&until=2h")
    expect(page.locator("[data-cm-pause]")).to_be_hidden()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_timeout(1500)
    assert asked == []


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
