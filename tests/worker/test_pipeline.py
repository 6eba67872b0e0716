"""On real caches: how long values took to produce, and how old those are that were found."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from django.views.decorators.cache import cache_page

import cache_monitor
from cache_monitor.reports.traced import newer_rows
from cache_monitor.stats.codec import decode
from cache_monitor.stats.details import Details, DetailsMerge, StoredDetails
from cache_monitor.stats.groups import GroupStats
from cache_monitor.stats.hot_keys import KeyStats
from cache_monitor.stats.sketches import middle_of
from cache_monitor.stores.base import get_store
from cache_monitor.stores.rows import trace_settings
from cache_monitor.worker import wiring
from tests.anew import begin_anew
from tests.clocks import timing_clock
from tests.services import Server

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
MEMORY = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}
WORK = 0.02


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """A process that has recorded nothing."""
    with override_settings(CACHES={"default": {"BACKEND": LOCMEM}}, CACHE_MONITOR=MEMORY):
        begin_anew()
        caches["default"].clear()
        yield
        caches["default"].clear()
        begin_anew()


def _group(name: str) -> GroupStats:
    return _details().groups[name]


def _details() -> Details:
    """What is counted, and what the trace tells beside it."""
    cache_monitor.flush()
    store = get_store()
    told = newer_rows(store, trace_settings(), time.time())
    merging = DetailsMerge(0, 60, 1000)
    for row in (*store.read("details", 0, 2**40, None), *told):
        if row.kind == "details":
            merging.add(decode(row.payload, StoredDetails))
    return merging.whole(1000)


def _hot(key: str) -> KeyStats:
    return _details().hot_keys.table[key]


def _work() -> int:
    time.sleep(WORK)
    return 1


def test_what_get_or_set_produces_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = timing_clock(monkeypatch)

    def work() -> int:
        clock.go_on(WORK)
        return 1

    for _ in range(3):
        caches["default"].get_or_set("a", work)
    assert _group("a").produced == _hot("a").produced == 1
    assert _group("a").produce_seconds == _hot("a").produce_seconds == pytest.approx(WORK)
    operation = cache_monitor.report().caches["default"].operations["get_or_set"]
    assert operation.seconds.total == 0


def test_get_work_set_is_timed() -> None:
    cache = caches["default"]
    for _ in range(3):
        if cache.get("a") is None:
            cache.set("a", _work())
    assert _group("a").produced == 1
    assert _group("a").produce_seconds >= WORK


def test_get_work_set_of_a_task_is_timed() -> None:
    async def work(key: str) -> None:
        cache = caches["default"]
        if await cache.aget(key) is None:
            await asyncio.sleep(WORK)
            await cache.aset(key, 1)

    async def work_on_many() -> None:
        await asyncio.gather(*(work(f"user:{n}") for n in range(20)))

    asyncio.run(work_on_many())
    group = _group("user:{int}")
    assert group.produced == 20
    assert group.produce_seconds >= 20 * WORK


def test_keys_that_were_missed_and_written_together_share_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = timing_clock(monkeypatch)
    cache = caches["default"]
    missing = {f"user:{n}" for n in range(4)} - cache.get_many(["user:0"]).keys()
    assert cache.get_many(missing) == {}
    clock.go_on(WORK)
    cache.set_many(dict.fromkeys(missing, 1))
    group = _group("user:{int}")
    assert group.produced == 4
    assert group.produce_seconds == pytest.approx(WORK)


@cache_page(60)
def _page(request: HttpRequest) -> HttpResponse:
    _work()
    answer = HttpResponse("page")
    answer["Vary"] = "Accept"
    return answer


def _groups_of_pages() -> dict[str, GroupStats]:
    return {group.kind: group for group in _details().groups.values()}


def test_a_page_is_produced_and_its_headers_are_not() -> None:
    for _ in range(2):
        _page(RequestFactory().get("/a/"))
    groups = _groups_of_pages()
    assert (groups["page"].produced, groups["page_headers"].produced) == (1, 0)
    assert groups["page"].produce_seconds >= WORK


def test_another_page_of_the_same_address_is_produced_too() -> None:
    for accept in ("text/html", "text/plain"):
        _page(RequestFactory().get("/a/", headers={"Accept": accept}))
    groups = _groups_of_pages()
    assert (groups["page"].produced, groups["page_headers"].produced) == (2, 0)
    assert groups["page"].produce_seconds >= 2 * WORK


def test_the_age_of_what_was_found_is_the_time_since_its_write() -> None:
    cache = caches["default"]
    cache.set("a", 1)
    time.sleep(0.2)
    cache.touch("a", 300)
    cache.get("a")
    cache.get_many(["a", "b"])
    cache.get("c")
    ages = {middle_of(bucket): hits for bucket, hits in _group("a").ages.items()}
    assert sum(ages.values()) == 2
    assert min(ages) >= 0.19
    assert _group("c").ages == {}


def test_ages_of_many_hits_stand_for_all_of_them() -> None:
    cache = caches["default"]
    cache.set("a", 1)
    cache_monitor.flush()
    for _ in range(1000):
        cache.get("a")
    assert sum(_group("a").ages.values()) == 1000


def test_a_call_on_no_keys_is_counted_beside_others() -> None:
    cache = caches["default"]
    assert cache.get_many([]) == {}
    cache.get("a")
    operations = cache_monitor.report().caches["default"].operations
    assert (operations["get_many"].calls, operations["get"].calls) == (1, 1)


def test_a_hot_key_tells_why_it_was_missed() -> None:
    cache = caches["default"]
    cache.get("a")
    cache.set("a", 1)
    cache.delete("a")
    cache.get("a")
    assert _hot("a").reasons == {"never_set": 1, "deleted": 1}


def test_what_django_redis_adds_explains_misses(redis_server: Server) -> None:
    pytest.importorskip("django_redis")
    redis = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": redis_server.url}
    with override_settings(CACHES={"default": {**redis, "KEY_PREFIX": "site"}}):
        cache: Any = caches["default"]
        cache.client.get_client().flushall()
        cache.set_many({"user:1": 1, "user:2": 2, "page:1": 3, "list": 4, "kept": 5}, 300)
        cache.delete_pattern("user:*")
        cache.expire("page:1", 0)
        cache.incr_version("list", 3)
        cache.expire("kept", 1)
        cache.persist("kept")
        time.sleep(1.1)
        assert cache.get_many(["user:1", "user:2", "page:1", "list"]) == {}
        assert cache.get("list", version=4) == 4
        assert cache.get("kept") == 5
        cache.client.get_client().delete(cache.make_key("kept"))
        assert cache.get("kept") is None
        wiring.background_worker.drain()
        wiring.background_worker.jobs.read_evictions()
        details = _details()
        cache.client.get_client().flushall()
    reasons = {name: group.reasons for name, group in details.groups.items() if group.misses}
    assert reasons == {
        "user:{int}": {"deleted": 2},
        "page:{int}": {"expired": 1},
        "list": {"version_changed": 1},
        "kept": {"lost": 1},
    }


@pytest.mark.parametrize("way", ["get_or_set", "get and set"])
def test_of_callers_who_produce_the_same_at_once_all_but_one_do_so_in_vain(way: str) -> None:
    everybody = Barrier(4)

    def work() -> int:
        everybody.wait(timeout=60)
        return _work()

    def ask(_: int) -> None:
        cache = caches["default"]
        if way == "get_or_set":
            cache.get_or_set("rush", work)
        elif cache.get("rush") is None:
            cache.set("rush", work())

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(ask, range(4)))
    caches["default"].get_or_set("alone", _work)
    assert (_group("rush").produced, _group("rush").stampedes) == (4, 3)
    assert _group("alone").stampedes == 0


def _nested_get_or_set(work: Callable[[], int]) -> None:
    def outer() -> Any:
        _work()
        value = caches["default"].get_or_set("deep", work)
        _work()
        return value

    caches["default"].get_or_set("deep", outer)


def _recursive(work: Callable[[], int], depth: int = 3) -> None:
    def outer() -> int:
        if depth:
            _recursive(work, depth - 1)
        return work()

    caches["default"].get_or_set("deep", outer)


def _get_and_set_around_get_or_set(work: Callable[[], int]) -> None:
    if caches["default"].get("deep") is None:
        _work()
        caches["default"].set("deep", caches["default"].get_or_set("deep", work))


def _get_and_set_in_get_or_set(work: Callable[[], int]) -> None:
    def outer() -> int:
        if caches["default"].get("deep") is None:
            caches["default"].set("deep", work())
        return _work()

    caches["default"].get_or_set("deep", outer)


@pytest.mark.parametrize(
    "compute",
    [_nested_get_or_set, _recursive, _get_and_set_around_get_or_set, _get_and_set_in_get_or_set],
)
def test_a_value_computed_within_its_own_computation_is_no_stampede(
    compute: Callable[[Callable[[], int]], None],
) -> None:
    compute(_work)
    assert _group("deep").produced >= 2
    assert _group("deep").stampedes == 0


def test_a_value_of_another_version_that_came_too_late_is_no_stampede() -> None:
    both = Barrier(2)

    def late() -> None:
        cache = caches["default"]
        assert cache.get("two", version=2) is None
        both.wait(timeout=60)
        both.wait(timeout=60)
        assert not cache.add("two", _work(), version=2)

    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(late)
        assert caches["default"].get("two") is None
        both.wait(timeout=60)
        caches["default"].set("two", 0, version=2)
        both.wait(timeout=60)
        caches["default"].set("two", _work())
        done.result(timeout=60)
    assert (_group("two").produced, _group("two").stampedes) == (2, 0)
