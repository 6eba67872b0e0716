"""What the page shows of a report."""

from __future__ import annotations

import pytest
from django.test import Client, override_settings
from msgspec.structs import replace

from cache_monitor import api
from cache_monitor.reports.schema import Report
from tests.dashboard.conftest import ShowReport
from tests.dashboard.reports import (
    HOSTILE,
    busy_cache,
    hot_key,
    operation,
    quiet_cache,
    report_of,
)


@pytest.mark.usefixtures("full_report")
def test_the_figures_of_a_cache_are_there(viewer: Client, page_url: str) -> None:
    page = viewer.get(page_url).content.decode()
    for text in ("91.7%", "1,200", "238", "of 16.0", "never set", "Newest record"):
        assert text in page


@pytest.mark.usefixtures("full_report")
def test_a_cache_that_nobody_called_is_named(viewer: Client, page_url: str) -> None:
    page = viewer.get(page_url).content.decode()
    assert "Not called in this period" in page
    assert "<code>files</code>" in page


def test_hostile_keys_are_escaped(viewer: Client, page_url: str, show_report: ShowReport) -> None:
    """A key is text that a visitor of the site may have written."""
    show_report(report_of(default=busy_cache(HOSTILE)))
    page = viewer.get(page_url).content.decode()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "x" * 1000 not in page


def test_without_traffic_the_page_tells_what_will_come(
    viewer: Client, page_url: str, show_report: ShowReport
) -> None:
    report = report_of(default=quiet_cache())
    show_report(replace(report, quality=replace(report.quality, newest_record_at=None)))
    page = viewer.get(page_url).content.decode()
    assert "No cache calls in this period" in page
    assert "0%" not in page
    assert "100%" not in page


def test_calls_without_lookups_have_no_ratio(
    viewer: Client, page_url: str, show_report: ShowReport
) -> None:
    show_report(
        report_of(default=replace(quiet_cache(), operations={"set": operation(3, None, None)}))
    )
    page = viewer.get(page_url).content.decode()
    assert '<strong class="cm-big">–</strong>' in page


def test_a_store_problem_says_what_to_do(
    viewer: Client, page_url: str, show_report: ShowReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    show_report(report_of(default=quiet_cache()))
    monkeypatch.setattr(api, "store_problem", lambda: "Run manage.py migrate.")
    page = viewer.get(page_url).content.decode()
    assert "Run manage.py migrate." in page
    assert "No cache calls" not in page


def test_tables_are_bounded_and_say_so(
    viewer: Client, page_url: str, show_report: ShowReport
) -> None:
    keys = [hot_key(f"product:{number:04}", max_overcount=7) for number in range(150)]
    show_report(report_of(default=replace(busy_cache(), hot_keys=keys)))
    page = viewer.get(page_url).content.decode()
    assert "5 of 150" in page
    assert "product:0004" in page
    assert "product:0005" not in page
    assert "~900" in page


@pytest.mark.usefixtures("full_report")
def test_a_partial_page_is_the_inside_alone(viewer: Client, page_url: str) -> None:
    inside = viewer.get(f"{page_url}?partial=1").content.decode()
    assert "91.7%" in inside
    assert "<html" not in inside
    assert "<form" not in inside


@pytest.mark.usefixtures("full_report")
def test_only_a_period_that_ends_now_is_refreshed(viewer: Client, page_url: str) -> None:
    assert 'data-refresh-seconds="5.0"' in viewer.get(page_url).content.decode()
    ended = viewer.get(f"{page_url}?since=2h&until=1h").content.decode()
    assert 'data-refresh-seconds="0"' in ended


@pytest.mark.usefixtures("full_report")
def test_nothing_inline(viewer: Client, page_url: str) -> None:
    """The page works under a Content-Security-Policy of default-src 'self'."""
    page = viewer.get(page_url).content.decode()
    assert " style=" not in page
    assert "<style" not in page
    assert "<script>" not in page
    assert " onclick=" not in page


def test_the_json_is_the_report(viewer: Client, json_url: str, full_report: Report) -> None:
    from cache_monitor.exporters import json

    response = viewer.get(json_url)
    assert response["Content-Type"] == "application/json"
    assert response.content == json.encode(full_report)


@pytest.mark.usefixtures("full_report")
def test_a_site_without_collected_files_still_shows_its_tables(
    viewer: Client, page_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(path: str) -> str:
        raise ValueError(path)

    monkeypatch.setattr("cache_monitor.dashboard.frontend.static", missing)
    page = viewer.get(page_url).content.decode()
    assert "make frontend" in page
    assert '<script src="/static/cache_monitor/vendor' not in page
    assert "91.7%" in page


@pytest.mark.usefixtures("full_report")
def test_times_are_in_the_users_time_zone(viewer: Client, page_url: str) -> None:
    with override_settings(TIME_ZONE="Asia/Tokyo"):
        page = viewer.get(page_url).content.decode()
    assert "21:00:00" in page
    assert 'data-time-zone="Asia/Tokyo"' in page


def test_a_chart_without_figures_says_so(
    viewer: Client, page_url: str, show_report: ShowReport
) -> None:
    """An empty chart would show a scale that nobody measured."""
    busy = busy_cache()
    unweighed = [replace(point, memory_bytes=None) for point in busy.series]
    show_report(report_of(default=replace(busy, series=unweighed)))
    page = viewer.get(page_url).content.decode()
    assert 'data-cm-chart="rate"' in page
    assert 'data-cm-chart="memory"' not in page
    assert "Nothing measured in this period" in page


@pytest.mark.usefixtures("full_report")
def test_a_chart_has_its_figures_as_a_table(viewer: Client, page_url: str) -> None:
    page = viewer.get(page_url).content.decode()
    assert "default misses" in page
    assert "30 of 120" in page
    assert "table=rate&amp;format=csv" in page
