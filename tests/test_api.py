"""The report, through the door that users take."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from django.core.cache import caches
from django.core.signals import request_started
from django.test import override_settings

import cache_monitor
from cache_monitor import context
from cache_monitor.api import UnknownAlias, key_series, problem_of, store_problem
from cache_monitor.keys.naming import SESSION_MASK
from cache_monitor.reports import Report
from cache_monitor.stats.codec import decode, encode
from cache_monitor.stats.sketches import hash_of
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Row, StoreError, get_store
from cache_monitor.stores.memory import MemoryStore
from cache_monitor.worker import batch, wiring
from tests.anew import begin_anew

LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
MEMORY = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """A process that has recorded nothing, with a store of its own."""
    with override_settings(CACHES={"default": LOCMEM, "other": LOCMEM}, CACHE_MONITOR=MEMORY):
        begin_anew()
        yield
        begin_anew()
        caches["default"].clear()


def _report(**arguments: Any) -> Report:
    return cache_monitor.report(**arguments)


def test_a_site_without_traffic_has_no_ratio() -> None:
    cache = _report().caches["default"]
    assert (cache.lookups, cache.hit_ratio, cache.operations) == (0, None, {})


def test_operations_hits_and_misses_are_counted() -> None:
    cache = caches["default"]
    cache.set("user:1", "a")
    cache.get("user:1")
    cache.get("user:2")
    cache.get_many(["user:1", "user:3"])
    report = _report().caches["default"]
    assert (report.lookups, report.hits, report.misses, report.hit_ratio) == (4, 2, 2, 0.5)
    assert {name: each.calls for name, each in report.operations.items()} == {
        "get": 2,
        "get_many": 1,
        "set": 1,
    }
    assert report.operations["get_many"].keys == 2
    assert report.operations["set"].hits is None
    seconds = report.operations["get"].seconds
    assert seconds.p50 is not None
    assert seconds.max is not None
    assert 0 < seconds.p50 <= seconds.max <= seconds.total


def test_hot_keys_and_groups_are_named() -> None:
    cache = caches["default"]
    cache.set("user:1", "a")
    for _ in range(3):
        cache.get("user:1")
    cache.get("user:2")
    report = _report().caches["default"]
    hottest = report.hot_keys[0]
    assert (hottest.key, hottest.group, hottest.lookups) == ("user:1", "user:{int}", 3)
    assert (hottest.share, hottest.max_overcount, hottest.sets) == (0.75, 0, 1)
    assert hottest.bytes is not None
    [group] = report.key_groups
    assert (group.group, group.distinct_keys, group.lookups, group.hits) == ("user:{int}", 2, 4, 3)


def test_groups_have_samples_of_what_was_found_and_missed() -> None:
    cache = caches["default"]
    cache.set("user:1", "a")
    cache.get_many(["user:1", "user:2"])
    cache.get("user:3")
    [group] = _report().caches["default"].key_groups
    assert group.sample_hits == ["user:1"]
    assert sorted(group.sample_misses) == ["user:2", "user:3"]


def test_a_session_is_no_sample_but_masked() -> None:
    caches["default"].get("django.contrib.sessions.cache" + "x" * 32)
    [group] = _report().caches["default"].key_groups
    assert group.sample_misses == [SESSION_MASK]


def test_the_use_of_single_keys_over_time_is_told_flushed_or_not() -> None:
    cache = caches["default"]
    cache.set("user:1", "a")
    cache.get("user:1")
    cache_monitor.flush()
    cache.get("user:1")
    cache.get("user:2")
    found = key_series(["user:1", "user:2", "user:3"], None, None, "default")
    counted = {
        key: (sum(each.lookups for each in line), sum(each.hits for each in line))
        for key, line in found.items()
    }
    assert counted == {"user:1": (2, 2), "user:2": (1, 0), "user:3": (0, 0)}


def test_the_keys_of_an_unknown_alias_are_refused() -> None:
    with pytest.raises(UnknownAlias, match="typo"):
        key_series(["a"], None, None, "typo")


def test_the_series_adds_up_to_the_totals() -> None:
    for n in range(5):
        caches["default"].get(f"absent:{n}")
    cache = _report().caches["default"]
    assert sum(point.misses for point in cache.series) == cache.misses == 5


def test_an_error_is_counted() -> None:
    caches["default"].set("text", "no number")
    with pytest.raises(TypeError):
        caches["default"].incr("text")
    cache = _report().caches["default"]
    assert (cache.errors, cache.operations["incr"].errors) == (1, 1)


def test_flushed_records_are_counted_once() -> None:
    caches["default"].get("a")
    assert cache_monitor.flush()
    caches["default"].get("b")
    assert _report().caches["default"].lookups == 2
    assert cache_monitor.flush()
    assert _report().caches["default"].lookups == 2


def test_reports_without_calls_between_them_write_once(monkeypatch: pytest.MonkeyPatch) -> None:
    caches["default"].get("a")
    written: list[int] = []
    put = MemoryStore.put

    def noted(store: MemoryStore, rows: Sequence[Row], now: int) -> None:
        written.append(len(rows))
        put(store, rows, now)

    monkeypatch.setattr(MemoryStore, "put", noted)
    for _ in range(3):
        assert _report().caches["default"].lookups == 1
        key_series(["a"], None, None, "default")
    assert len(written) == 1


def test_other_processes_are_merged_in() -> None:
    caches["default"].get("a")
    cache_monitor.flush()
    [row] = get_store().read("window", 0, 2**40, None)
    window = decode(row.payload, Window)
    window.processes = {hash_of("another")}
    get_store().put([row._replace(process="another", payload=encode(window))], now=1)
    report = _report()
    assert report.caches["default"].lookups == 2
    assert report.quality.processes == 2


def test_a_row_that_cannot_be_read_is_counted_and_skipped() -> None:
    caches["default"].get("a")
    now = int(datetime.now(UTC).timestamp())
    get_store().put([Row("window", "another", "default", now, 10, b"rubbish")], now)
    report = _report()
    assert report.caches["default"].lookups == 1
    assert report.quality.corrupt_windows == 1


def test_one_alias_can_be_asked_for() -> None:
    caches["other"].get("a")
    assert set(_report(alias="other").caches) == {"other"}


def test_an_unknown_alias_is_refused_with_the_known_ones() -> None:
    with pytest.raises(cache_monitor.UnknownAlias, match="'default', 'other'"):
        _report(alias="nowhere")


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    now = datetime.now(UTC)
    with pytest.raises(ValueError, match="since must be before until"):
        _report(since=now, until=now - timedelta(hours=1))


def test_a_period_in_the_past_leaves_out_what_came_later() -> None:
    caches["default"].get("a")
    now = datetime.now(UTC)
    report = _report(since=now - timedelta(hours=3), until=now - timedelta(hours=2))
    assert report.caches["default"].lookups == 0


class Broken:
    """A store whose server is away."""

    working = False

    def put(self, rows: object, now: int) -> None:
        self._use()

    def read(self, *_: object, **__: object) -> list[Row]:
        self._use()
        return []

    def prune(self, before: int) -> int:
        self._use()
        return 0

    def lock(self, name: str, seconds: int, now: int) -> bool:
        return False

    def _use(self) -> None:
        if not self.working:
            raise StoreError("The server is away: start it.")


@override_settings(CACHE_MONITOR={"STORE": {"BACKEND": f"{__name__}.Broken"}})
def test_a_broken_store_harms_nobody_and_its_losses_are_shown(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        caches["default"].get("a")
        assert not cache_monitor.flush()
    report = _report()
    assert report.quality.dropped_calls == 3
    assert store_problem() == "The server is away: start it."
    assert [record.message for record in caplog.records] == [
        "The server is away: start it. Until then the statistics wait in memory."
    ]
    monkeypatch.setattr(Broken, "working", True)
    assert cache_monitor.flush()
    assert _report().quality.dropped_calls == 0


@pytest.mark.parametrize("reads", [0, 1, 2, 3])
def test_a_report_says_that_the_store_failed_while_it_was_made(
    monkeypatch: pytest.MonkeyPatch, reads: int
) -> None:
    """Whoever asks afterwards what is wrong with the store would hear that it is well."""
    store, left = get_store(), count()
    read = store.read

    def fails_once(*asked: Any, **only: Any) -> Iterable[Row]:
        if next(left) == reads:
            raise StoreError("The server is away: start it.")
        return read(*asked, **only)

    monkeypatch.setattr(store, "read", fails_once)
    report = _report()
    assert report.quality.store_problem == "The server is away: start it."
    assert store_problem() is None
    assert problem_of(report) == "The server is away: start it."
    assert problem_of(_report()) is None


def test_windows_that_no_store_takes_are_given_up_at_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cache_monitor.worker.pipeline.MOST_BUCKETS", 1)
    with override_settings(CACHE_MONITOR={"STORE": {"BACKEND": f"{__name__}.Broken"}}):
        caches["default"].get("a")
        caches["other"].get("a")
        cache_monitor.flush()
        assert _report().quality.dropped_calls == 2


def test_the_toolbars_own_keys_are_no_news() -> None:
    caches["default"].get("djdt:request_ids")
    caches["default"].get("mine")
    assert _report().caches["default"].lookups == 1


def test_a_session_key_is_never_shown() -> None:
    secret = "abcdefghijklmnopqrstuvwxyz012345"
    caches["default"].get(f"django.contrib.sessions.cache{secret}")
    assert secret not in str(_report())


def test_a_full_buffer_drops_what_nobody_can_drain() -> None:
    """With the draining thread stuck, calls are dropped and counted, and memory stays bounded."""
    with override_settings(CACHE_MONITOR={**MEMORY, "BUFFER_SIZE": 1000}):
        background_worker = wiring.background_worker
        caches["default"].get("first")
        with background_worker._draining:
            for n in range(5000):
                caches["default"].get(f"key:{n % 10}")
            assert len(background_worker._recorder.buffer) <= 2100
        report = _report()
    calls = report.caches["default"].operations["get"].calls
    assert calls + report.quality.dropped_calls == 5001
    assert report.quality.dropped_calls > 2000


def test_the_real_backend_is_named_where_it_is_wrapped() -> None:
    wrapped = {"BACKEND": "cache_monitor.backends.MonitoredCache", "WRAPS": LOCMEM["BACKEND"]}
    with override_settings(CACHES={"default": wrapped}):
        assert _report().caches["default"].backend == LOCMEM["BACKEND"]


@pytest.mark.django_db
def test_a_child_that_python_was_not_told_of_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """uWSGI forks in C, past Python's own hooks."""
    before = wiring.background_worker.process
    request_started.send(None)
    assert wiring.background_worker.process == before
    monkeypatch.setattr("cache_monitor.worker.worker.os.getpid", lambda: -1)
    request_started.send(None)
    assert wiring.background_worker.process != before


@pytest.mark.django_db
def test_an_operation_that_never_ended_is_left_when_the_next_request_begins() -> None:
    """As after an exception that a signal raised at the wrong moment."""
    context.enter(context.CallContext(inside="default"))
    caches["default"].get("hidden")
    request_started.send(None)
    caches["default"].get("seen")
    assert [key.key for key in _report().caches["default"].hot_keys] == ["seen"]


def test_two_flushes_at_once_both_wait_for_their_own() -> None:
    caches["default"].get("a")
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda _: cache_monitor.flush(), range(8)))


def test_the_length_of_a_long_key_is_the_one_it_had() -> None:
    with pytest.warns(match="longer than"):
        caches["default"].get("x" * 100_000)
    [key] = _report().caches["default"].hot_keys
    assert key.key.endswith("… (100,000 characters)")


def test_no_session_key_is_remembered() -> None:
    secret = "zyxwvutsrqponmlkjihgfedcba543210"
    caches["default"].get(f"django.contrib.sessions.cache{secret}")
    _report()
    assert not [key for _, key in batch._remembered.young if secret in key]
