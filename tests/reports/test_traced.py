"""What is told of one key, whichever it is."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from django.urls import ResolverMatch
from django.views.decorators.cache import cache_page

import cache_monitor
from cache_monitor.middleware import CacheMonitorMiddleware
from cache_monitor.reports import traced
from cache_monitor.reports.traced import KeyHistory, key_history
from cache_monitor.scan.identity import store_of, trace_store
from cache_monitor.stores.base import Row, get_store
from cache_monitor.stores.rows import trace_settings
from cache_monitor.trace import CLEAR, DELETE, HIT, MISS, SECOND, WRITE, Plan
from cache_monitor.trace.miss_reasons import REASONS
from cache_monitor.trace.slices import Slice, SliceWriter
from cache_monitor.worker import rollup, wiring
from cache_monitor.worker.wiring import background_worker
from tests.anew import begin_anew

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
MEMORY = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}


def tenants_key(key: str, prefix: str, version: int) -> str:
    return f"{tenant[0]}:{key}"


tenant = ["one"]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    entries: dict[str, Any] = {
        "default": {"BACKEND": LOCMEM, "LOCATION": "history", "KEY_PREFIX": "site"},
        "tenants": {"BACKEND": LOCMEM, "LOCATION": "tenants", "KEY_FUNCTION": tenants_key},
    }
    with override_settings(CACHES=entries, CACHE_MONITOR=MEMORY):
        begin_anew()
        yield
        for cache in caches.all():
            cache.clear()
        tenant[0] = "one"
        begin_anew()


def told(key: str, alias: str = "default") -> KeyHistory:
    cache_monitor.flush()
    now = time.time()
    found = key_history(get_store(), alias, key, now - 3600, now + 60)
    assert found is not None
    return found


def kinds(history: KeyHistory) -> list[tuple[int, str | None]]:
    """The oldest first."""
    return [(each.kind, each.reason) for each in reversed(history.moments)]


def test_a_key_that_is_used_once_in_a_while_has_its_history() -> None:
    cache = caches["default"]
    for n in range(50):
        cache.set(f"busy:{n}", 1)
    cache.set("rare", 1, 100)
    cache.get("rare")
    cache.delete("rare")
    cache.get("rare")
    cache.set("rare", 2, None)
    cache.clear()
    cache.get("rare")
    found = told("rare")
    assert kinds(found) == [
        (WRITE, None),
        (HIT, None),
        (DELETE, None),
        (MISS, "deleted"),
        (WRITE, None),
        (CLEAR, None),
        (MISS, "cleared"),
    ]
    assert [each.process for each in found.moments] == [wiring.background_worker.process] * 7
    assert (found.lives.deleted, found.lives.cleared, found.lives.unread) == (1, 1, 1)


def _row_of(place: str, part: Slice, writer: SliceWriter, now: float) -> Row:
    payload = writer.encode(part, now)
    return Row("trace", writer.process, place, part.start, part.seconds, payload)


def visit(view: str, work: Callable[[], object]) -> None:
    """Answer a request of ``view``, which does ``work``."""

    def answer(request: HttpRequest) -> HttpResponse:
        request.resolver_match = ResolverMatch(work, (), {}, url_name=view)
        work()
        return HttpResponse()

    CacheMonitorMiddleware(answer)(RequestFactory().get("/"))


def test_the_view_that_wrote_or_deleted_is_told() -> None:
    cache = caches["default"]
    visit("product", lambda: cache.get_or_set("rare", lambda: 1))
    visit("edit", lambda: cache.set_many({"rare": 2, "other": 3}))
    cache.set("rare", 4)
    background_worker.drain()
    visit("remove", lambda: (cache.get("rare"), cache.delete("rare")))
    found = told("rare")
    assert [(each.kind, each.view) for each in reversed(found.moments)] == [
        (MISS, ""),
        (WRITE, "product"),
        (WRITE, "edit"),
        (WRITE, ""),
        (HIT, ""),
        (DELETE, "remove"),
    ]
    rollup.roll_trace(get_store(), int(time.time()) + 200, trace_settings())
    assert [each.view for each in told("other").moments] == ["edit"]


def test_the_view_is_told_where_a_tenants_function_makes_the_keys() -> None:
    visit("product", lambda: caches["tenants"].set("a", 1))
    cache_monitor.flush()
    rollup.roll_trace(get_store(), int(time.time()) + 200, trace_settings())
    assert [each.view for each in told("a", "tenants").moments] == ["product"]


def test_a_view_whose_call_was_written_while_it_still_worked_is_told() -> None:
    """The calls of a request are mostly drained before it ends."""

    def work() -> None:
        caches["default"].set("rare", 1)
        cache_monitor.flush()

    visit("slow", work)
    assert [each.view for each in told("rare").moments] == ["slow"]


def test_what_was_rolled_up_is_part_of_it() -> None:
    caches["default"].set("rare", 1)
    cache_monitor.flush()
    begin_anew()
    rollup.roll_trace(get_store(), int(time.time()) + 200, trace_settings())
    caches["default"].delete("other")
    assert kinds(told("rare")) == [(WRITE, None)]


def reason_in_report(key: str) -> str:
    reasons = [
        each.miss_reasons
        for each in cache_monitor.report().caches["default"].hot_keys
        if each.key == key
    ]
    return next(each for each in (*REASONS, "unknown") if getattr(reasons[0], each))


def test_a_miss_that_the_trace_begins_with_has_the_reason_that_the_report_gives() -> None:
    caches["default"].get("rare")
    assert kinds(told("rare")) == [(MISS, "never_set")]
    assert reason_in_report("rare") == "never_set"
    # Long afterwards the process has not reported again: what it did besides is unknown.
    rollup.roll_trace(get_store(), int(time.time()) + 200, trace_settings())
    assert reason_in_report("rare") == "unknown"
    assert kinds(told("rare")) == [(MISS, "unknown")]


def test_of_what_was_before_the_period_nothing_is_made_up() -> None:
    """Whether the trace before it was rolled up or not."""
    now = time.time()
    writer = SliceWriter(background_worker.process, 1)
    place = trace_store("default", caches["default"], writer.process)
    part = writer.at(place, int((now - 7000) * SECOND))
    get_store().put([_row_of(place, part, writer, now)], int(now))
    caches["default"].get("rare")
    assert kinds(told("rare")) == [(MISS, "unknown")]
    rollup.roll_trace(get_store(), int(now) + 200, trace_settings())
    assert kinds(told("rare")) == [(MISS, "unknown")]


def test_a_key_that_is_not_in_the_trace_is_known_as_such() -> None:
    from cache_monitor.stats.codec import compress
    from cache_monitor.stores.base import Row

    caches["default"].set("rare", 1)
    family = store_of("default")
    assert family is not None
    get_store().put([Row("trace", "", family, 0, 0, compress(Plan(1, 48)))], 1)
    assert not told("rare").is_traced


def test_where_two_tenants_have_the_key_neither_is_told_for_the_other() -> None:
    caches["tenants"].set("a", 1)
    cache_monitor.flush()
    rollup.roll_trace(get_store(), int(time.time()) + 200, trace_settings())
    assert kinds(told("a", "tenants")) == [(WRITE, None)]
    tenant[0] = "two"
    caches["tenants"].set("a", 1)
    cache_monitor.flush()
    rollup.roll_trace(get_store(), int(time.time()) + 400, trace_settings())
    now = time.time()
    assert key_history(get_store(), "tenants", "a", now - 3600, now + 60) is None


def test_what_happened_often_is_counted_beyond_what_is_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(traced, "MOST_MOMENTS", 2)
    for n in range(5):
        caches["default"].set("often", n)
        caches["default"].delete("often")
    found = told("often")
    assert (found.total, len(found.moments)) == (10, 2)
    assert (found.times(WRITE), found.times(DELETE)) == (5, 5)


def test_a_cached_page_was_missed_where_the_list_of_its_headers_was() -> None:
    page: Any = cache_page(60)(lambda request: HttpResponse("page"))
    page(RequestFactory().get("/page/"))
    page(RequestFactory().get("/page/"))
    names = [key.partition(":1:")[2] for key in caches["default"]._cache]  # type: ignore[attr-defined]  # LocMemCache
    [key] = [name for name in names if "cache_page" in name]
    found = told(key)
    assert kinds(found) == [(MISS, "never_set"), (WRITE, None), (HIT, None)]
    assert (found.total, found.times(MISS)) == (3, 1)


def test_while_another_process_may_still_report_the_last_misses_are_unknown(tmp_path: Path) -> None:
    directory = "django.core.cache.backends.filebased.FileBasedCache"
    with override_settings(
        CACHES={"files": {"BACKEND": directory, "LOCATION": str(tmp_path)}}, CACHE_MONITOR=MEMORY
    ):
        begin_anew()
        caches["files"].set("a", 1)
        caches["files"].delete("a")
        caches["files"].get("a")
        assert told("a", "files").moments[0].reason == "deleted"
        place, now = trace_store("files", caches["files"], "other"), time.time()
        others = SliceWriter("other", 1)
        for is_ended, reason in ((False, "unknown"), (True, "deleted")):
            if is_ended:
                others.end(now)
            part = others.at(place, int(now * SECOND))
            get_store().put([_row_of(place, part, others, now)], int(now))
            assert told("a", "files").moments[0].reason == reason
        begin_anew()
