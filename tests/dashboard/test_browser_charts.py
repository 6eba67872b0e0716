"""What the charts draw of a report, in a real browser."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest
import redis
from django.contrib.staticfiles import finders
from playwright.sync_api import Browser, Page, expect

from cache_monitor.dashboard import formats
from cache_monitor.dashboard.views import CHART_JS
from tests.dashboard.test_browser_pages import DASHBOARD, chart, make_traffic, wait_for_figures
from tests.dashboard.visiting import log_in, served, wait_until
from tests.services import Server

pytestmark = [
    pytest.mark.once,
    pytest.mark.slow,
    pytest.mark.xdist_group("dashboard"),
    pytest.mark.skipif(finders.find(CHART_JS) is None, reason="make frontend fetches Chart.js"),
]


@pytest.fixture
def overview(page: Page, site: str) -> Page:
    return overview_of(page, site)


def overview_of(page: Page, site: str) -> Page:
    """The overview, with every chart drawn."""
    make_traffic(site)
    wait_for_figures(page, site, "memory/?alias=default", "user:{int}:profile")
    page.goto(f"{site}{DASHBOARD}?alias=default")
    wait_until(page, f"() => ({chart('memory')}?.data.datasets.length ?? 0) > 0")
    return page


def test_the_misses_are_stacked_below_the_hit_ratio(overview: Page, complaints: list[str]) -> None:
    bars = "data.datasets.filter(({type}) => type === 'bar')"
    hit_ratio = chart("hit_ratio")
    assert "never set" in overview.evaluate(f"{hit_ratio}.{bars}.map(({{label}}) => label)")
    sums = f"{hit_ratio}.{bars}.flatMap(({{data}}) => data).reduce((sum, {{y}}) => sum + y, 0)"
    url = overview.locator("[data-cm-root]").get_attribute("data-json-url")
    report = overview.request.get(f"{overview.url.partition('/admin')[0]}{url}").json()
    assert overview.evaluate(sums) == report["caches"]["default"]["misses"] > 0
    # One time axis, the two axes of figures above each other.
    top, middle = (overview.evaluate(f"{hit_ratio}.scales.{axis}.top") for axis in ("y", "misses"))
    assert top < middle
    legend = overview.evaluate(f"{hit_ratio}.legend.legendItems.map(({{text}}) => text)")
    assert "default" not in legend
    assert complaints == []


def test_all_charts_share_one_time_axis(overview: Page) -> None:
    names = ("hit_ratio", "rate", "latency", "memory", "latency_map")
    ends = {
        tuple(overview.evaluate(f"[{chart(name)}.scales.x.min, {chart(name)}.scales.x.max]"))
        for name in names
    }
    assert len(ends) == 1


def test_a_click_on_the_legend_hides_a_percentile_and_a_refresh_keeps_it_hidden(
    overview: Page, site: str
) -> None:
    latency = chart("latency")
    hidden = f"{latency}.data.datasets.map((_, place) => {latency}.isDatasetVisible(place))"
    assert overview.evaluate(f"{latency}.legend.legendItems.map(({{text}}) => text)") == [
        *("p99", "p90", "p50"),
    ]
    assert overview.evaluate(hidden) == [True] * 3
    box = overview.evaluate(
        f"(({{left, top, width, height}}) => [left + width / 2, top + height / 2])"
        f"({latency}.legend.legendHitBoxes[1])"
    )
    canvas = overview.locator("canvas[data-cm-chart=latency]")
    canvas.click(position={"x": box[0], "y": box[1]})
    # The browser gives the page its click when it comes to it.
    wait_until(overview, f"() => {hidden}.join() === 'true,false,true'")
    with overview.expect_response("**/stats.json*"):
        make_traffic(site)
    overview.wait_for_timeout(500)
    assert overview.evaluate(hidden) == [True, False, True]


def test_latency_is_drawn_by_powers_of_ten(overview: Page) -> None:
    ticks = overview.evaluate(f"{chart('latency')}.scales.y.ticks.map(({{value}}) => value)")
    assert len(ticks) >= 2
    assert all(abs(high / low - 10) < 1e-6 for low, high in pairwise(ticks))


def test_the_treemap_writes_sizes_as_the_tables_do(overview: Page, site: str) -> None:
    overview.goto(f"{site}{DASHBOARD}memory/?alias=default")
    map_ = "Chart.getChart(document.querySelector('[data-cm-treemap=default]'))"
    wait_until(overview, f"() => ({map_}?.data.datasets[0].data.length ?? 0) > 0")
    written = overview.evaluate(
        f"(chart => chart.options.plugins.tooltip.callbacks.label("
        f"{{raw: chart.data.datasets[0].data[0]}}))({map_})"
    )
    row = overview.get_by_role("row", name="user:{int}:profile").first
    assert written in row.inner_text()


def test_what_drawing_takes_stands_in_the_browsers_tools(overview: Page) -> None:
    entries = 'performance.getEntriesByName("cache-monitor-drawing")'
    assert overview.evaluate(f"{entries}.length") == 1
    assert overview.evaluate(f"{entries}[0].duration") > 0


def until_traffic_shows(page: Page, site: str, expression: str, seconds: float = 60) -> None:
    """Visit the site until the page shows what ``expression`` asks for."""
    ends = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < ends, expression
        make_traffic(site)
        page.wait_for_timeout(500)


def test_the_evictions_of_a_full_server_stand_below_the_memory_and_in_its_table(
    browser: Browser,
    small_redis: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    complaints: list[str],
) -> None:
    monkeypatch.setenv("SITE_REDIS_URL", small_redis.url)
    with (
        served("tests.dashboard.evicting_site", tmp_path) as site,
        redis.Redis.from_url(small_redis.url) as client,
    ):
        make_traffic(site)
        page = log_in(browser, site, complaints)
        page.goto(f"{site}{DASHBOARD}?range=15m&alias=default")
        told = f"({chart('memory')}?.data.datasets.find(({{type}}) => type === 'bar')?.data ?? [])"
        # The first step that knows the counter has nothing to compare it with.
        # Where nobody calls the cache nobody looks into it either.
        until_traffic_shows(page, site, f"() => {told}.some(({{y}}) => y === 0)")
        for number in range(100):
            client.set(f"big:{number}", b"x" * 50_000)
        client.config_set("maxmemory", 0)
        evicted = client.info("stats")["evicted_keys"]
        everything = f"() => {told}.reduce((sum, {{y}}) => sum + y, 0) === {evicted}"
        until_traffic_shows(page, site, everything)
        *_, last = page.evaluate(f"{told}.filter(({{y}}) => y > 0).map(({{y}}) => y)")
        memory = chart("memory")
        legend = page.evaluate(f"{memory}.legend.legendItems.map(({{text}}) => text)")
        assert legend == ["Evictions"]
        top, below = (page.evaluate(f"{memory}.scales.{axis}.top") for axis in ("y", "evictions"))
        assert top < below
        # The highest label of the bars stays away from the line's lowest.
        scale = f"{memory}.scales.evictions"
        highest = f"Math.max(...{scale}.ticks.map(({{value}}) => value))"
        assert page.evaluate(f"1.2 * {highest} <= {scale}.max")
        table = page.locator("#cm-chart-memory details")
        table.locator("summary").click()
        expect(table.get_by_role("columnheader", name="default evictions")).to_be_visible()
        expect(table.get_by_role("cell", name=str(last), exact=True)).to_be_visible()
        with page.expect_download() as download:
            table.get_by_role("link", name="CSV").click()
        header, *_ = download.value.path().read_text("utf-8-sig").splitlines()
        assert header == "at,default.memory,default.evictions"
        assert complaints == []


def test_a_cache_that_evicts_is_drawn_however_little_it_is_used(overview: Page) -> None:
    drawn = overview.evaluate(
        """async () => {
            const { shown } = await import("/static/cache_monitor/dashboard/datasets.js");
            const point = (evictions) => ({ calls: 1, memory_bytes: 1, evictions });
            const cache = (lookups, evictions) => ({ lookups, series: [point(evictions)] });
            const caches = Object.fromEntries(
                [..."abcdefgh"].map((alias, place) => [alias, cache(100 - place, null)]),
            );
            caches.h = cache(1, 5);
            return shown({ caches }).map(([alias]) => alias).join("");
        }"""
    )
    assert drawn == "abcdeh"


def test_a_chart_writes_a_ratio_as_the_page_does(overview: Page) -> None:
    shares = [0.0, 0.0004, 0.05, 0.999, 0.99999, 1.0]
    drawn = overview.evaluate(
        """async (shares) => {
            const { createFormats } = await import("/static/cache_monitor/dashboard/format.js");
            const made = { language: "en", timeZone: "UTC", sizes: "%s byte|%s bytes|%s KB" };
            return shares.map((share) => createFormats(made).percent(100 * share));
        }""",
        shares,
    )
    assert drawn == ["0%", "<0.1%", "5%", "99.9%", ">99.9%", "100%"]
    of_page = ["0%", "<0.1%", "5.0%", "99.9%", ">99.9%", "100%"]
    assert [formats.ratio(share) for share in shares] == of_page


@pytest.mark.parametrize("caches", [1, 2, 6, 8])
def test_the_legend_says_how_many_caches_are_not_drawn(overview: Page, caches: int) -> None:
    legend = overview.evaluate(
        """async (number) => {
            const { writeLegend } = await import("/static/cache_monitor/dashboard/legends.js");
            const list = document.querySelector("[data-cm-legend]");
            const series = [{ lookups: 1, p99: null, memory_bytes: null, evictions: null }];
            const named = [..."abcdefgh"].slice(0, number);
            const caches = Object.fromEntries(
                named.map((alias, place) => [alias, { lookups: 9 - place, series }]),
            );
            const { textSome } = document.querySelector("[data-cm-root]").dataset;
            writeLegend(list, { caches }, textSome);
            return { hidden: list.hidden, names: [...list.children].map((item) => item.innerText) };
        }""",
        caches,
    )
    assert legend["hidden"] == (caches == 1)
    more = ["6 of 8 caches are drawn: those that evicted, then the busiest"]
    assert legend["names"] == [*"abcdefgh"[: min(caches, 6)], *(more if caches > 6 else [])]


def test_a_cache_whose_evictions_the_processes_count_has_them_below_its_memory(
    overview: Page,
) -> None:
    memory = chart("memory")
    labels = overview.evaluate(f"{memory}.data.datasets.map(({{label}}) => label)")
    assert labels == ["default", "default evictions"]
    assert overview.evaluate(f"Object.keys({memory}.scales).sort().join()") == "evictions,x,y"


def test_where_nobody_counts_evictions_the_memory_has_the_chart_for_itself(
    browser: Browser, tmp_path: Path, complaints: list[str]
) -> None:
    with served("tests.dashboard.uncounted_site", tmp_path) as site:
        page = overview_of(log_in(browser, site, complaints), site)
        memory = chart("memory")
        assert page.evaluate(f"{memory}.data.datasets.map(({{label}}) => label)") == ["default"]
        assert page.evaluate(f"Object.keys({memory}.scales).sort().join()") == "x,y"
        assert page.evaluate(f"{memory}.options.plugins.legend.display") is False
    assert complaints == []
