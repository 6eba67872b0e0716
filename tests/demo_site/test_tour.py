"""The start page as a tour: every stop answers, opens its panel, and shows in the dashboard."""

from __future__ import annotations

import json
import re
import time
from html import unescape
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urldefrag, urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from cache_monitor.findings.engine import RULES
from tests.dashboard.axe import violations
from tests.dashboard.visiting import SCHEMES, show_in
from tests.demo_site.site import Demo, RunningDemo, Visitor
from tests.screenshots import WITHOUT_TOOLBAR

LINK: Final = re.compile(r'<a[^>]* href="([^"]+)"')
EFFECT: Final = re.compile(r'<a class="to-dashboard" href="([^"]+)">')
PANEL: Final = re.compile(r'<a class="to-panel" href="([^"]+)">')
DASHBOARD: Final = "/admin/cache_monitor/dashboard/"
SIDEWAYS: Final = "document.documentElement.scrollWidth > window.innerWidth"
DEADLINE: Final = 60.0
POLL_INTERVAL: Final = 0.5


def links(pattern: re.Pattern[str], visitor: Visitor, path: str = "/") -> list[str]:
    return list(dict.fromkeys(unescape(url) for url in pattern.findall(visitor.get(path).text)))


def log_in(visitor: Visitor) -> None:
    visitor.submit("/admin/login/", username="admin", password="admin", next="/admin/")


@pytest.mark.slow
@pytest.mark.at_once("demo")
def test_every_link_of_the_start_page_leads_to_a_page(running_demo: RunningDemo) -> None:
    visitor = running_demo.visitor()
    log_in(visitor)
    found = links(LINK, visitor)
    # The toolbar names its own documentation, which is not asked for.
    asked = [url for url in found if url.startswith("/")]

    assert len(asked) > 80
    assert {url: visitor.get(urldefrag(url).url).status for url in asked} == dict.fromkeys(
        asked, 200
    )


def test_the_start_page_names_every_backend_that_is_configured(running_demo: RunningDemo) -> None:
    done = running_demo.demo.manage(
        "shell",
        "--verbosity",
        "0",
        "--command",
        "from django.conf import settings;print(*{c['BACKEND'] for c in settings.CACHES.values()})",
    )
    shown = "".join(
        running_demo.visitor().get(f"/backends/{alias}/").text
        for alias in ("default", "files", "database", "dummy")
    )
    # The gallery's Redis is one that is away; without a server the tour has no other.
    away = "django.core.cache.backends.redis.RedisCache"

    assert [path for path in done.stdout.split() if path not in shown and path != away] == []


def test_the_start_page_has_every_finding(running_demo: RunningDemo) -> None:
    start = running_demo.visitor().get("/").text

    assert len(RULES) >= 20
    assert [code for code in RULES if f'<p class="way">{code}</p>' not in start] == []


def test_what_is_not_running_is_said_on_the_start_page(visitor: Visitor) -> None:
    start = visitor.get("/").visible_text

    # Redis by two packages, and memcached.
    assert start.count("Not running: the page says how to get it.") == 3


def report_of(demo: Demo) -> dict[str, Any]:
    done = demo.manage("cache_stats", "--format", "json")
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def shows(report: dict[str, Any], effect: str) -> bool:
    """Whether the report that the dashboard shows has what the link is to show."""
    path, asked = urlsplit(effect).path, parse_qs(urlsplit(effect).query)
    caches = [report["caches"][alias] for alias in asked.get("alias", report["caches"])]
    page = path.removeprefix(DASHBOARD).strip("/")
    if page == "findings":
        return any(each["alias"] in asked["alias"] for each in report["findings"])
    if page == "stale":
        return any(cache["stale"] and cache["stale"][asked["why"][0]] for cache in caches)
    if page == "memory":
        return any(cache["memory"] for cache in caches)
    if page == "views":
        return any(cache["views"] for cache in caches)
    if "group" in asked:
        return asked["group"][0] in [
            group["group"] for cache in caches for group in cache["key_groups"]
        ]
    return any(cache["operations"] for cache in caches)


@pytest.mark.slow
@pytest.mark.at_once("demo")
def test_a_visit_shows_where_the_tour_says(prepared_demo: Demo, tmp_path: Path) -> None:
    own_demo = prepared_demo.copy(tmp_path / "var")
    with own_demo.running() as running:
        visitor = running.visitor()
        start = visitor.get("/").text
        # The gallery has a test of its own: tests/demo_site/test_gallery.py.
        tour = start[: start.index("<h2>Findings</h2>")]
        stops = [urldefrag(url).url for url in PANEL.findall(tour)]
        for stop in [*stops, *stops, "/low-level/?do=get", "/streaming/lines/"]:
            assert visitor.get(stop).status == 200
        visitor.submit("/basket/")
        visitor.get("/basket/")
        effects = unseen = [unescape(url) for url in EFFECT.findall(tour)]
        ends = time.monotonic() + DEADLINE
        while unseen:
            report = report_of(own_demo)
            unseen = [each for each in unseen if not shows(report, each)]
            assert time.monotonic() < ends, unseen
            time.sleep(POLL_INTERVAL)

    assert len(effects) > 25


def complain(message: ConsoleMessage, complaints: list[str]) -> None:
    if message.type in {"error", "warning"}:
        complaints.append(message.text)


def open_start(browser: Browser, url: str, complaints: list[str], **options: Any) -> Page:
    page = browser.new_context(**options).new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complain(message, complaints))
    page.goto(url)
    return page


@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 390])
def test_the_tour_can_be_used_by_everybody(
    browser: Browser, running_demo: RunningDemo, axe_script: str, width: int
) -> None:
    complaints: list[str] = []
    page = open_start(
        browser,
        running_demo.url,
        complaints,
        viewport={"width": width, "height": 900},
        # Without the toolbar, which is not ours to judge.
        user_agent=WITHOUT_TOOLBAR,
    )
    for path in ("/", "/products/1/", "/basket/", "/backends/redis/", "/backends/database/"):
        page.goto(running_demo.url + path)
        assert not page.evaluate(SIDEWAYS), path
        for scheme in SCHEMES:
            show_in(page, scheme)
            assert violations(page, axe_script) == [], (path, scheme)
    assert complaints == []


@pytest.mark.slow
def test_a_link_to_the_panel_opens_it_on_the_page(
    browser: Browser, running_demo: RunningDemo
) -> None:
    complaints: list[str] = []
    page = open_start(browser, running_demo.url, complaints)
    page.get_by_role("link", name="Panel of Product page").first.click()

    expect(page).to_have_url(f"{running_demo.url}/products/1/")
    expect(page.locator("#CacheMonitorPanel .cm-totals")).to_be_visible(timeout=20_000)
    expect(page.locator("#CacheMonitorPanel")).to_contain_text("product:1")
    page.reload()
    expect(page.locator("#djShowToolBarButton")).to_be_visible()
    expect(page.locator("#CacheMonitorPanel")).to_be_hidden()
    assert complaints == []
