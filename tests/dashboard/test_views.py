"""What the page shows of a report."""

from __future__ import annotations

import re

import pytest
from django.test import Client, override_settings
from django.urls import reverse
from msgspec.structs import replace

from cache_monitor import api
from cache_monitor.reports import Report
from tests.dashboard.conftest import ShowReport
from tests.dashboard.reports import HOSTILE, busy_cache, hot_key, operation, quiet_cache, report_of


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

    monkeypatch.setattr("cache_monitor.dashboard.views.static", missing)
    page = viewer.get(page_url).content.decode()
    assert "make frontend" in page
    assert '<script src="/static/cache_monitor/vendor' not in page
    assert "91.7%" in page


@pytest.mark.usefixtures("full_report")
@pytest.mark.parametrize("use_tz", [True, False])
def test_times_are_in_the_users_time_zone(viewer: Client, page_url: str, use_tz: bool) -> None:
    with override_settings(TIME_ZONE="Asia/Tokyo", USE_TZ=use_tz):
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


def test_of_many_caches_each_has_a_line_the_worst_first(
    viewer: Client, page_url: str, show_report: ShowReport
) -> None:
    caches = {
        f"cache{place}": replace(busy_cache(), hit_ratio=0.9 - place / 100, errors=0)
        for place in range(12)
    }
    caches["cache3"] = replace(caches["cache3"], errors=4)
    show_report(report_of(**caches))
    page = viewer.get(page_url).content.decode()
    lines = re.findall(r"<summary>\s*<h3>(\w+)</h3>", page)
    places = [3, *(place for place in range(11, -1, -1) if place != 3)]
    assert lines == [f"cache{place}" for place in places]


def test_few_caches_show_all_of_their_figures_as_the_settings_have_them(
    viewer: Client, page_url: str, show_report: ShowReport
) -> None:
    show_report(report_of(one=busy_cache(), two=replace(busy_cache(), errors=9)))
    page = viewer.get(page_url).content.decode()
    assert "cm-line" not in page
    assert page.index(">one</a></h3>") < page.index(">two</a></h3>")


@pytest.mark.usefixtures("full_report")
def test_a_choice_of_columns_stays_in_the_addresses_of_the_page(viewer: Client) -> None:
    url = reverse("admin:cache_monitor_groups", query={"hide": "misses,sets"})
    page = viewer.get(url).content.decode()
    assert "hide=misses%2Csets" in page
    assert '<input type="hidden" name="hide" value="misses,sets">' in page
    refused = viewer.get(reverse("admin:cache_monitor_groups", query={"hide": "colour"}))
    assert refused.status_code == 400
    assert "<code>hide</code>" in refused.content.decode()
