"""One reading of the report for everybody who asks the same within a few seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable

import msgspec
import pytest
from django.test import Client

from cache_monitor import api
from cache_monitor.concurrency import TimedValues
from cache_monitor.dashboard.query import MOST, CachedReport, readings
from cache_monitor.reports import Report
from tests.dashboard.reports import busy_cache, report_of


class Store:
    """Counts how often it is read."""

    def __init__(self) -> None:
        self.reads = 0

    def read(self) -> CachedReport:
        self.reads += 1
        return CachedReport(report_of(), None)


def test_the_same_question_is_answered_from_the_same_reading() -> None:
    store, kept = Store(), TimedValues[CachedReport](MOST)
    first = kept.get("1h", store.read, seconds=60)
    assert kept.get("1h", store.read, seconds=60) is first
    assert kept.get("6h", store.read, seconds=60) is not first
    assert store.reads == 2


def test_an_old_reading_is_read_anew() -> None:
    store, kept = Store(), TimedValues[CachedReport](MOST)
    kept.get("1h", store.read, seconds=60)
    kept.get("1h", store.read, seconds=-1)
    assert store.reads == 2


def test_it_keeps_a_bounded_number() -> None:
    store, kept = Store(), TimedValues[CachedReport](MOST)
    for number in range(MOST + 1):
        kept.get(number, store.read, seconds=60)
    kept.get(MOST, store.read, seconds=60)
    assert store.reads == MOST + 1
    kept.get(0, store.read, seconds=60)
    assert store.reads == MOST + 2


def test_what_goes_wrong_is_not_kept() -> None:
    store, kept = Store(), TimedValues[CachedReport](MOST)

    def fail() -> CachedReport:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        kept.get("1h", fail, seconds=60)
    kept.get("1h", store.read, seconds=60)
    assert store.reads == 1


def test_those_who_ask_at_once_wait_for_one_reading() -> None:
    store, kept = Store(), TimedValues[CachedReport](MOST)
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> CachedReport:
        begun.set()
        assert go_on.wait(10)
        return store.read()

    threads = [threading.Thread(target=kept.get, args=("1h", slow, 60)) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert store.reads == 1


def test_a_page_and_its_json_are_one_reading(
    viewer: Client, page_url: str, json_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str | None] = []

    def report(since: object = None, until: object = None, alias: str | None = None) -> Report:
        reads.append(alias)
        return report_of(default=busy_cache())

    monkeypatch.setattr(api, "report", report)
    readings.clear()
    for url in (page_url, json_url, f"{page_url}?partial=1", f"{page_url}?range=1h"):
        assert viewer.get(url).status_code == 200
    assert reads == [None]
    viewer.get(f"{json_url}?alias=default")
    assert reads == [None, "default"]


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("range=15m", 2.0), ("range=1h", 2.0), ("range=24h", 30.0), ("range=30d", 30.0)],
)
def test_the_reading_of_a_long_period_is_used_longer(
    viewer: Client,
    page_url: str,
    full_report: Report,
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
    seconds: float,
) -> None:
    used: list[float] = []
    get = readings.get

    def noting(
        question: Hashable, read: Callable[[], CachedReport], fresh_for: float
    ) -> CachedReport:
        used.append(fresh_for)
        return get(question, read, fresh_for)

    monkeypatch.setattr(readings, "get", noting)
    assert viewer.get(f"{page_url}?{asked}").status_code == 200
    assert used == [seconds]


def test_the_reading_of_a_store_that_failed_is_not_kept_for_long(
    viewer: Client, page_url: str, full_report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = msgspec.structs.replace(full_report.quality, store_problem="The server was away.")
    told = [msgspec.structs.replace(full_report, quality=lacking), full_report]
    monkeypatch.setattr(api, "report", lambda **_: told.pop(0))
    assert b"The server was away." in viewer.get(f"{page_url}?range=30d").content
    monkeypatch.setattr("cache_monitor.dashboard.query.FRESH_FOR", -1.0)
    assert b"The server was away." not in viewer.get(f"{page_url}?range=30d").content
