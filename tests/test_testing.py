"""``capture_cache_calls``, as users' tests use it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.cache import cache, caches
from django.test import SimpleTestCase, override_settings

from cache_monitor.testing import (
    CacheCallsMixin,
    NotMonitored,
    assert_cache_calls,
    capture_cache_calls,
)


@pytest.fixture(autouse=True)
def empty_caches() -> Iterator[None]:
    for alias in ("default", "files"):
        caches[alias].clear()
    yield
    for alias in ("default", "files"):
        caches[alias].clear()


def test_the_calls_inside_are_captured_and_those_around_are_not() -> None:
    cache.get("before")
    with capture_cache_calls() as captured:
        cache.set("inside", 1, 300)
        cache.get_many(["inside", "absent"])
    cache.get("after")

    assert len(captured) == 2
    assert captured.keys == ("inside", "inside", "absent")
    assert (captured.hits, captured.misses) == (1, 1)
    assert [call.operation for call in captured] == ["set", "get_many"]
    assert captured[0].timeout == 300
    assert captured[1:] == captured.calls[1:]


def test_the_calls_can_be_read_inside_the_block() -> None:
    with capture_cache_calls() as captured:
        assert len(captured) == 0
        cache.get("first")
        assert captured.misses == 1
        cache.get("second")
    assert captured.keys == ("first", "second")


def test_calls_can_be_chosen_by_alias_and_operation() -> None:
    with capture_cache_calls() as captured:
        cache.set("a", 1)
        cache.get("a")
        caches["files"].get("b")

    assert captured.of(alias="files").keys == ("b",)
    assert captured.of(operation="get").keys == ("a", "b")
    assert captured.of(alias="default", operation="get").hits == 1
    assert captured.of(alias="default").of(operation="set").keys == ("a",)
    assert len(captured.of(alias="dummy")) == 0


def test_an_alias_that_is_not_configured_is_an_error() -> None:
    with capture_cache_calls() as captured, pytest.raises(NotMonitored, match="no cache 'typo'"):
        captured.of(alias="typo")


def test_all_calls_are_kept_however_many() -> None:
    with capture_cache_calls() as captured:
        for number in range(10_000):
            cache.get(f"key:{number}")
    assert len(captured) == captured.misses == 10_000


def test_the_calls_of_an_error_inside_are_captured() -> None:
    with capture_cache_calls() as captured, pytest.raises(ValueError, match="not found"):
        cache.incr("absent")
    assert captured[0].error == "ValueError"


def test_the_capture_ends_with_the_error_that_ends_the_block() -> None:
    with suppress(ValueError), capture_cache_calls() as captured:
        cache.get("inside")
        cache.incr("absent")
    cache.get("after")
    assert captured.keys == ("inside", "absent")


def test_captures_nest() -> None:
    with capture_cache_calls() as outer:
        cache.get("outside")
        with capture_cache_calls() as inner:
            cache.get("inside")
    assert outer.keys == ("outside", "inside")
    assert inner.keys == ("inside",)


def test_async_code_its_tasks_and_its_threads_are_captured() -> None:
    async def work() -> tuple[str, ...]:
        with capture_cache_calls() as captured:
            await cache.aget("awaited")
            await sync_to_async(cache.get)("in-asgirefs-thread")
            await asyncio.to_thread(cache.get, "in-a-thread")
            await asyncio.gather(cache.aget("in-a-task"))
        await cache.aget("after")
        return captured.keys

    assert async_to_sync(work)() == (
        "awaited",
        "in-asgirefs-thread",
        "in-a-thread",
        "in-a-task",
    )


def test_a_task_that_outlives_the_block_is_not_captured_further() -> None:
    async def work() -> tuple[str, ...]:
        called, ended = asyncio.Event(), asyncio.Event()

        async def go_on() -> None:
            await cache.aget("inside")
            called.set()
            await ended.wait()
            await cache.aget("after")

        with capture_cache_calls() as captured:
            task = asyncio.create_task(go_on())
            await called.wait()
        ended.set()
        await task
        return captured.keys

    assert async_to_sync(work)() == ("inside",)


def test_a_thread_of_the_codes_own_is_not_captured() -> None:
    with capture_cache_calls() as captured:
        thread = threading.Thread(target=cache.get, args=["elsewhere"])
        thread.start()
        thread.join()
    assert len(captured) == 0


def test_the_capture_shows_its_calls() -> None:
    with capture_cache_calls() as captured:
        cache.get("absent")
        cache.clear()
    assert repr(captured) == "<2 cache calls>\n  default.get('absent' miss)\n  default.clear()"


@override_settings(CACHE_MONITOR={"ENABLED": False})
def test_a_monitor_that_is_switched_off_is_an_error() -> None:
    with pytest.raises(NotMonitored, match=r'CACHE_MONITOR\["ENABLED"\] is False'):
        capture_cache_calls().__enter__()


@override_settings(
    CACHE_MONITOR={"INSTRUMENT": "explicit"},
    CACHES={
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "broken": {"BACKEND": "no.such.backend"},
    },
)
def test_no_monitored_cache_is_an_error() -> None:
    with pytest.raises(NotMonitored, match='Add "cache_monitor" to INSTALLED_APPS'):
        capture_cache_calls().__enter__()


def test_a_cache_that_is_not_monitored_is_an_error_to_ask_for() -> None:
    local_memory = "django.core.cache.backends.locmem.LocMemCache"
    explicit = {"BACKEND": "cache_monitor.backends.MonitoredCache", "WRAPS": local_memory}
    settings = override_settings(
        CACHE_MONITOR={"INSTRUMENT": "explicit"},
        CACHES={"default": explicit, "plain": {"BACKEND": local_memory}},
    )
    with settings, capture_cache_calls() as captured:
        cache.get("a")
        assert captured.of(alias="default").keys == ("a",)
        with pytest.raises(NotMonitored, match="'plain' is not monitored"):
            captured.of(alias="plain")


def _look_up_twice() -> None:
    cache.get_or_set("answer", 42)
    cache.get("answer")


def test_an_assertion_that_holds_is_silent_and_gives_the_calls() -> None:
    with assert_cache_calls(hits=1, misses=1, calls=2) as captured:
        _look_up_twice()
    assert captured.keys == ("answer", "answer")


def test_the_second_time_is_served_from_the_cache() -> None:
    _look_up_twice()
    with assert_cache_calls(misses=0):
        _look_up_twice()


def test_a_failed_assertion_shows_the_figures_and_the_calls() -> None:
    with pytest.raises(AssertionError) as raised, assert_cache_calls(hits=2, misses=0, calls=2):
        _look_up_twice()
    assert str(raised.value) == (
        "hits: 1 instead of 2, misses: 1 instead of 0:\n"
        "<2 cache calls>\n"
        "  default.get_or_set('answer' miss)\n"
        "  default.get('answer' hit)"
    )


def test_an_assertion_counts_the_chosen_calls_only() -> None:
    with assert_cache_calls(calls=1, alias="default", operation="get"):
        _look_up_twice()
        caches["files"].get("answer")
    with (
        pytest.raises(AssertionError, match=r"calls: 1 instead of 0 on \*\.get:"),
        assert_cache_calls(calls=0, operation="get"),
    ):
        _look_up_twice()
    with (
        pytest.raises(AssertionError, match="misses: 1 instead of 0 on files:"),
        assert_cache_calls(misses=0, alias="files"),
    ):
        caches["files"].get("answer")


def test_the_error_of_the_block_comes_first() -> None:
    with pytest.raises(ValueError, match="not found"), assert_cache_calls(calls=5):
        cache.incr("absent")


def test_an_assertion_of_nothing_is_an_error() -> None:
    with pytest.raises(TypeError, match="at least one of hits"), assert_cache_calls():
        pass


class AssertionsAsAMethod(CacheCallsMixin, SimpleTestCase):
    def test_calls_are_counted(self) -> None:
        with self.assertCacheCalls(calls=2) as captured:
            _look_up_twice()
        assert captured.misses == 1

    def test_a_failure_is_one_of_unittest(self) -> None:
        with pytest.raises(self.failureException), self.assertCacheCalls(calls=0):
            _look_up_twice()
