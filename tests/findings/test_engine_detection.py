"""From calls to findings: the report has them, and one process watches for new ones."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

import pytest
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings

import cache_monitor
from cache_monitor import api
from cache_monitor.conf import get_conf
from cache_monitor.findings import engine as rules
from cache_monitor.middleware import CacheMonitorMiddleware
from cache_monitor.reports import KeyGroup
from cache_monitor.stores.base import Store, get_store
from cache_monitor.stores.memory import MemoryStore
from cache_monitor.worker import wiring
from cache_monitor.worker.jobs import Maintenance
from tests.anew import begin_anew
from tests.clocks import unix_clock
from tests.waiting import until

LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "detection"}
MEMORY = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}
LARGE = "x" * 300_000


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """A process that has recorded nothing, with a store of its own."""
    with override_settings(CACHES={"default": LOCMEM, "other": LOCMEM}, CACHE_MONITOR=MEMORY):
        begin_anew()
        yield
        begin_anew()
        caches["default"].clear()


def _nothing(store: Store) -> None:
    """Nobody predicts anything."""


def _found(**arguments: Any) -> list[tuple[str, str | None]]:
    return [(each.code, each.group) for each in cache_monitor.report(**arguments).findings]


def _group(name: str) -> KeyGroup:
    groups = cache_monitor.report().caches["default"].key_groups
    return next(each for each in groups if each.group == name)


def _in_a_request(work: Any) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        work()
        return HttpResponse()

    CacheMonitorMiddleware(view)(RequestFactory().get("/"))


def test_a_mistake_in_the_calls_is_in_the_report() -> None:
    assert _found() == []
    caches["default"].set("export:7", LARGE, timeout=60)
    assert _found() == [("large-values", "export:{int}")]
    assert _found(alias="other") == []
    earlier = datetime.now(UTC) - timedelta(hours=2)
    assert _found(since=earlier, until=earlier + timedelta(hours=1)) == []


def test_what_the_sites_own_function_raises_is_no_fault_of_the_backend() -> None:
    """However often it does; but what then fails to be stored is the cache's."""

    class Unreachable(Exception):
        pass

    def unanswered() -> None:
        raise Unreachable

    for number in range(60):
        with pytest.raises(Unreachable):
            caches["default"].get_or_set(f"rates:{number}", unanswered)
    operation = cache_monitor.report().caches["default"].operations["get_or_set"]
    assert (operation.calls, operation.errors, operation.absent) == (60, 60, 60)
    assert cache_monitor.report().caches["default"].errors == 0
    assert _found() == []
    for number in range(60):
        # It cannot be stored, which is found out after the function.
        with pytest.raises(TypeError):
            caches["default"].get_or_set(f"rates:{number}", Lock)
    assert _found() == [("backend-errors", None)]


def test_the_settings_say_what_a_mistake_is() -> None:
    with override_settings(CACHE_MONITOR={**MEMORY, "FINDINGS": {"LARGE_VALUE_BYTES": 400_000}}):
        caches["default"].set("export:7", LARGE, timeout=60)
        assert _found() == []


def test_a_rule_that_fails_does_not_break_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(context: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(rules, "RULES", {**rules.RULES, "hot-key": broken})
    caches["default"].set("export:7", LARGE, timeout=60)
    assert _found() == [("large-values", "export:{int}")]


def test_whoever_watches_tells_of_a_finding_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    unix_clock(monkeypatch)
    caches["default"].set("export:7", LARGE, timeout=60)
    with caplog.at_level(logging.INFO, "cache_monitor.findings"):
        for _ in range(2):
            api.watch_findings(get_store())
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "large-values (default, export"
    ]
    [finding] = cache_monitor.report().findings
    assert finding.id
    assert finding.first_seen == finding.last_seen is not None


def test_a_muted_finding_is_not_in_the_report() -> None:
    caches["default"].set("export:7", LARGE, timeout=60)
    [finding] = cache_monitor.report().findings
    api.mute(finding, "ann", "The export is meant to be large.")
    assert _found() == []
    assert {name: each.by for name, each in api.muted().items()} == {finding.id: "ann"}
    assert api.unmute(finding.id) is not None
    assert _found() == [("large-values", "export:{int}")]
    assert api.muted() == {}


def test_what_a_request_gets_one_by_one_is_counted_for_its_group() -> None:
    def loop() -> None:
        for number in range(7):
            caches["default"].get(f"line:{number}")

    _in_a_request(loop)
    _in_a_request(lambda: caches["default"].get("line:1"))
    group = _group("line:{int}")
    assert (group.single_gets, group.single_gets_requests) == (7, 1)
    assert (group.repeated_gets, group.repeated_gets_requests) == (0, 0)


def test_what_a_request_gets_again_and_again_is_counted_for_its_group() -> None:
    def again() -> None:
        caches["default"].set("rate:eur", 1)
        for _ in range(9):
            caches["default"].get("rate:eur")

    for _ in range(2):
        _in_a_request(again)
    group = _group("rate:eur")
    assert (group.repeated_gets, group.repeated_gets_requests) == (16, 2)
    assert (group.single_gets, group.single_gets_requests) == (0, 0)


def test_without_the_middleware_nothing_is_known_of_requests() -> None:
    caches["default"].get("line:1")
    group = _group("line:{int}")
    assert (group.single_gets, group.repeated_gets_requests) == (None, None)


def test_locks_and_counters_are_uses_without_a_lookup() -> None:
    cache = caches["default"]
    cache.add("lock:1", 1)
    cache.has_key("lock:1")
    cache.incr("lock:1")
    cache.touch("lock:1")
    cache.get("lock:1")
    assert _group("lock:{int}").other_uses == 4


@override_settings(CACHE_MONITOR=MEMORY)
def test_one_process_a_minute_is_asked_to_watch() -> None:
    store = MemoryStore()
    seen: list[object] = []
    faults: list[Exception] = []
    processes = [
        Maintenance(get_conf, faults.append, lambda store, now: None, _nothing) for _ in range(3)
    ]
    for _ in range(2):
        for process in processes:
            process.work(store, seen.append)
    assert seen == [store]
    assert faults == []


def test_a_watcher_that_fails_is_no_fault_of_the_store() -> None:
    faults: list[Exception] = []

    def broken(store: object) -> None:
        raise RuntimeError("broken")

    Maintenance(get_conf, faults.append, lambda store, now: None, _nothing).work(
        MemoryStore(), broken
    )
    assert [str(each) for each in faults] == ["broken"]


def test_the_thread_that_tidies_the_store_up_watches_too(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caches["default"].set("export:7", LARGE, timeout=60)
    assert cache_monitor.flush()
    # The last turn of an earlier test's thread may have been this process's for a minute.
    faults: list[Exception] = []
    tidying = Maintenance(get_conf, faults.append, lambda store, now: None, _nothing)
    monkeypatch.setattr(wiring.background_worker.jobs, "_maintenance", tidying)
    monkeypatch.setattr(wiring.background_worker, "_next_flush", 0.0)
    caches["default"].get("export:7")
    with caplog.at_level(logging.INFO, "cache_monitor.findings"):
        assert cache_monitor.flush()
        until(lambda: bool(caplog.records))
        until(lambda: not wiring.background_worker.jobs.is_busy)
    assert faults == []
    assert {record.threadName for record in caplog.records} == {"cache-monitor-tidy"}
    assert cache_monitor.report().findings[0].first_seen is not None
