"""The memory page and that of the stale entries."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.test import Client, override_settings
from django.urls import reverse
from msgspec.structs import replace

from cache_monitor.reports import Memory, ProcessMemory, Stale
from tests.dashboard.conftest import ShowReport
from tests.dashboard.reports import NOW, at, busy_cache, memory, quiet_cache, report_of, stale_entry
from tests.dashboard.test_pages import page_of


@pytest.fixture(autouse=True)
def _utc() -> Iterator[None]:
    with override_settings(TIME_ZONE="UTC"):
        yield


def test_stale_entries_are_shown_apart(viewer: Client, show_report: ShowReport) -> None:
    entries = [
        replace(stale_entry("old"), why=["expired"], expires_in=-90.0),
        replace(stale_entry("forever"), why=["no_expiry"], expires_in=None),
    ]
    show_report(report_of(default=replace(busy_cache(), stale=Stale(expired=7, entries=entries))))
    every = page_of(viewer, "stale")
    assert "1\u202fmin 30\u202fs ago" in every
    assert "old" in every
    assert "forever" in every
    expired = page_of(viewer, "stale", why="expired")
    assert ">old<" in expired
    assert ">forever<" not in expired
    response = viewer.get(reverse("admin:cache_monitor_stale", query={"why": "ugly"}))
    assert response.status_code == 400
    assert "no_expiry" in response.content.decode()


def test_an_estimate_says_what_it_rests_on(viewer: Client, show_report: ShowReport) -> None:
    sampled = replace(memory("k"), exact=False, examined=1000)
    show_report(report_of(default=replace(busy_cache(), memory=sampled)))
    page = page_of(viewer, "memory")
    assert "~estimated from the 1,000 entries scanned" in page
    assert "~4.0" in page


def test_a_backend_that_cannot_be_asked_says_why(viewer: Client, show_report: ShowReport) -> None:
    refused = Memory(measured_at=at(NOW), problem="The server wants a password.")
    show_report(report_of(default=replace(busy_cache(), memory=refused)))
    assert "The server wants a password." in page_of(viewer, "memory")
    assert "The server wants a password." in page_of(viewer, "stale")


def test_caches_without_entries_share_one_line(viewer: Client, show_report: ShowReport) -> None:
    looked = replace(memory("k"), entries=0, bytes=0, groups=[], largest=[])
    empty = {f"empty{n}": replace(quiet_cache(), memory=looked) for n in range(12)}
    show_report(report_of(default=busy_cache(), files=quiet_cache(), **empty))
    page = page_of(viewer, "memory")
    assert page.count('class="cm-live"') == 1
    line = page.partition("Nothing is stored in:")[2].partition("</p>")[0]
    assert [f"<code>empty{n}</code>" in line for n in range(12)] == [True] * 12
    unseen = page.partition("Not scanned yet:")[2].partition("</p>")[0]
    assert "<code>files</code>" in unseen
    stale = page_of(viewer, "stale")
    assert "<bdi>empty1</bdi>" not in stale.partition("<table")[2].partition("</table>")[0]
    assert "<code>empty1</code>" in stale.partition("Nothing is stored in:")[2]
    assert "INSPECT_INTERVAL" in unseen


def test_each_process_of_a_cache_in_memory_is_shown(
    viewer: Client, show_report: ShowReport
) -> None:
    shares = [
        ProcessMemory(measured_at=at(NOW - timedelta(seconds=n)), entries=10 + n, bytes=None)
        for n in range(2)
    ]
    show_report(
        report_of(default=replace(busy_cache(), memory=replace(memory("k"), processes=shares)))
    )
    page = page_of(viewer, "memory")
    assert "Per process" in page
    assert "11:59:59" in page
