"""The lines of the hot keys."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import pytest
from django.contrib.admin import site
from django.http import QueryDict
from django.test import Client
from django.urls import reverse
from msgspec.structs import replace

from cache_monitor import api
from cache_monitor.dashboard.keys import lines_of
from cache_monitor.dashboard.query import Links, PageRequest, parse_query
from cache_monitor.reports import Report
from cache_monitor.reports.build import KeyPoint
from tests.dashboard.conftest import ShowReport
from tests.dashboard.reports import NOW, busy_cache, hot_key, key_line, report_of
from tests.dashboard.test_pages import page_of

LINE = "0 0 3 9 40 120 400 200 80 30 10 8"


def visit_of(report: Report) -> PageRequest:
    query = parse_query(QueryDict("range=1h"), NOW)
    return PageRequest(query, report, Links(site, query), None, lambda permission: True)


@pytest.mark.usefixtures("full_report")
def test_a_hot_key_has_its_line_and_a_text_for_who_does_not_see_it(viewer: Client) -> None:
    page = page_of(viewer, "keys")
    cell = page.partition("cm-spark-cell")[2].partition("</td>")[0]
    assert 'points="0.0,19.0 9.1,19.0' in cell
    assert "at most 400 in one step, 8 in the last" in cell


@pytest.mark.usefixtures("full_report")
@pytest.mark.parametrize("kind", ["json", "csv"])
def test_a_download_has_the_line_as_numbers(viewer: Client, kind: str) -> None:
    asked = {"table": "hot_keys", "format": kind}
    response = viewer.get(reverse("admin:cache_monitor_keys", query=asked))
    assert LINE in response.content.decode()


@pytest.mark.usefixtures("full_report")
def test_nobody_sorts_by_a_line(viewer: Client) -> None:
    url = reverse("admin:cache_monitor_keys", query={"sort": "lookups_over_time"})
    assert viewer.get(url).status_code == 400


def test_a_key_that_is_not_known_in_time_has_no_line(
    viewer: Client, show_report: ShowReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    show_report(report_of(default=busy_cache()))
    monkeypatch.setattr(api, "key_series", lambda keys, since, until, alias: {})
    assert "cm-spark-cell" not in page_of(viewer, "keys")


def test_a_cache_is_read_once_and_only_when_its_keys_are_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[tuple[str, list[str]]] = []

    def series(
        keys: Collection[str], since: datetime, until: datetime | None, alias: str
    ) -> dict[str, list[KeyPoint]]:
        assert until is None
        read.append((alias, sorted(keys)))
        return {key: key_line() for key in keys}

    monkeypatch.setattr(api, "key_series", series)
    keys = [hot_key("a"), hot_key("b")]
    report = report_of(default=replace(busy_cache(), hot_keys=keys), files=busy_cache())
    for _ in range(2):
        lines = lines_of(visit_of(report))
        assert sorted(lines("default")) == ["a", "b"]
        assert len(lines("default")["a"]) == 12
    assert read == [("default", ["a", "b"])]
