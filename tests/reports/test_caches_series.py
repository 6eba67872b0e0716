from typing import Any

import pytest
from django.core.cache import caches

from cache_monitor.reports.caches import MOST_POINTS, STEPS, Series
from cache_monitor.reports.keys import exact_reasons
from cache_monitor.stats.codec import encode
from cache_monitor.stats.window import Window, rfc3339
from cache_monitor.worker.aggregator import Aggregator
from tests.reports.synthetic import BEGIN, END, calls, window
from tests.scan.inspection import inspect_cache
from tests.services import Server

DAY = 86400


@pytest.mark.parametrize("length", [60, 600, 3600, 6 * 3600, DAY, 7 * DAY, 30 * DAY, 365 * DAY])
def test_a_period_has_no_more_steps_than_a_chart_can_show(length: int) -> None:
    series = Series(BEGIN, BEGIN + length, BEGIN + length)
    assert series.step in STEPS
    assert length / series.step <= MOST_POINTS


@pytest.mark.parametrize(
    ("length", "ago", "step"),
    [
        (20, 0, 10),
        (900, 0, 10),
        (1800, 0, 60),
        (3600, 0, 60),
        (600, 3 * 3600, 300),
        (3600, 30 * 3600, 3600),
    ],
)
def test_no_step_is_finer_than_the_rows_of_its_time(length: int, ago: int, step: int) -> None:
    assert Series(END - length, END, END + ago).step == step


def test_a_period_of_rolled_up_windows_has_no_gaps() -> None:
    series = Series(BEGIN, BEGIN + 1800, BEGIN + 1800)
    for n in range(30):
        rolled_up = window(BEGIN + 60 * n, get=calls(1, 0, 0.5))
        rolled_up.seconds = 60
        series.add(rolled_up)
    assert [point.lookups for point in series.points()] == [1] * 30


def test_steps_without_calls_are_there_and_are_zero() -> None:
    series = Series(BEGIN, END, END)
    series.add(window(BEGIN + series.step, get=calls(2, 1, 0.5, 0.5, 0.5)))
    points = list(series.points())
    assert [point.lookups for point in points[:3]] == [0, 3, 0]
    assert len(points) == (END - BEGIN) / series.step
    assert (points[0].p99, points[0].memory_bytes) == (None, None)
    assert points[1].p99 == pytest.approx(0.5, rel=0.05)


def test_a_step_tells_its_calls_how_long_they_took_and_why_lookups_missed() -> None:
    series = Series(BEGIN, END, END)
    seconds = [n / 1000 for n in range(1, 101)]
    called = window(BEGIN, get=calls(96, 4, *seconds), set=calls(0, 0, 0.1))
    called.reasons, called.traced_misses, called.classified_misses = {"expired": 3}, 3, 3
    series.add(called)
    quiet = window(BEGIN + series.step, set=calls(0, 0, 0.1))
    series.add(quiet)
    first, second, *_ = series.points()
    assert (first.calls, first.lookups, second.calls, second.lookups) == (101, 100, 1, 0)
    assert first.p50 == pytest.approx(0.050, rel=0.05)
    assert first.p90 == pytest.approx(0.090, rel=0.05)
    assert first.miss_reasons == exact_reasons(4, {"expired": 3})
    assert second.miss_reasons is None


def test_a_step_tells_when_it_begins() -> None:
    assert next(Series(BEGIN, END, END).points()).at == rfc3339(BEGIN)


def test_the_steps_add_up_to_the_total() -> None:
    series = Series(BEGIN, END, END)
    for n in range(20):
        series.add(window(BEGIN + 100 * n, get=calls(n, 1, 0.5), set=calls(0, 0, 0.25)))
    total = series.total()
    points = list(series.points())
    assert sum(point.hits for point in points) == total.operations["get"].hits == 190
    assert sum(point.seconds for point in points) == 20 * 0.75
    assert total.operations["set"].calls == 20


def test_a_window_stays_as_it_was_when_others_come_into_its_step() -> None:
    series = Series(BEGIN, END, END)
    first = window(get=calls(1, 0, 0.5))
    before = encode(first)
    for _ in range(3):
        series.add(first)
    series.total()
    assert encode(first) == before
    assert series.total().operations["get"].hits == 3


def _memory(*held: tuple[float, dict[int, int]], minutes: int = 1) -> list[int | None]:
    """What steps of so many minutes tell of the bytes that were held at moments of a period."""
    series = Series(BEGIN, BEGIN + minutes * 12_000, END)
    for at, own in held:
        series.add(Window(BEGIN + int(at), 10, own_memory=own))
    return [point.memory_bytes for point in series.points()]


def test_what_each_process_holds_adds_up() -> None:
    assert _memory((0, {1: 10}), (20, {1: 30}), (50, {2: 5}))[:2] == [35, None]


def test_a_process_that_has_not_told_in_this_step_yet_counts_as_in_the_one_before() -> None:
    told = _memory((0, {1: 10}), (20, {2: 20}), (60, {1: 11}), (150, {1: 12}))
    assert told[:3] == [30, 31, 12]
    assert _memory((890, {1: 10, 2: 20}), (900, {1: 11}), minutes=15)[:2] == [30, 31]


def test_processes_that_followed_each_other_do_not_add_up() -> None:
    """Workers that are replaced after so many requests."""
    ends = ((10 * n, {n: 10, n - 1: 0}) for n in range(30))
    assert _memory(*ends, minutes=5)[:2] == [10, None]


def test_a_cache_that_was_emptied_is_drawn_so() -> None:
    assert _memory((0, {1: 100}), (60, {1: 1}), (120, {1: 2}))[:3] == [100, 1, 2]


def test_what_was_rolled_up_and_what_was_not_yet_are_not_added_up() -> None:
    series = Series(BEGIN, BEGIN + 60_000, END)
    series.add(Window(BEGIN, 60, memory_bytes=30))
    series.add(Window(BEGIN + 60, 10, own_memory={1: 10, 2: 21}))
    assert next(series.points()).memory_bytes == 31


def test_the_memory_of_a_cache_that_processes_share_is_one() -> None:
    series = Series(BEGIN, END, END)
    for used in (10, 30, 20):
        series.add(Window(BEGIN, 10, memory_bytes=used, memory_is_shared=True))
    assert next(series.points()).memory_bytes == 30


def evicted(*counters: int | None, length: int = 10) -> list[int | None]:
    """What steps of a minute tell of windows of ``length`` seconds, in which the counter was seen
    at one of ``counters`` each."""
    series = Series(BEGIN, END, END)
    for place, counter in enumerate(counters):
        series.add(Window(BEGIN + length * place, length, evictions=counter))
    steps = -(-len(counters) * length // series.step)
    return [point.evictions for point in series.points()][:steps]


def test_a_step_tells_what_was_evicted_since_the_one_before_that_knows() -> None:
    assert evicted(100, 100, None, None, 130, length=60) == [None, 0, None, None, 30]


def test_the_first_step_that_knows_the_counter_has_nothing_to_compare_it_with() -> None:
    assert evicted(None, 100, length=60) == [None, None]
    assert evicted(length=60) == []


def test_what_servers_evicted_by_the_restart_of_one_is_not_known() -> None:
    assert evicted(100, 7, 9, length=60) == [None, None, 2]


def test_no_eviction_is_counted_twice_however_many_windows_a_step_is_merged_of() -> None:
    counters = [5 * n for n in range(24)]
    assert evicted(*counters) == [None, 30, 30, 30]
    # A restart in the midst of a step: 10 before it. From 7 on it is known again.
    assert evicted(*[100] * 6, 105, 110, 1, 2, 3, 4, *[7] * 6, *[9] * 6) == [None, 10, None, 2]


def test_windows_that_several_processes_have_looked_in_are_of_one_server() -> None:
    series = Series(BEGIN, END, END)
    for step, counter in ((0, 10), (1, 15), (1, 12), (2, 15)):
        series.add(Window(BEGIN + step * series.step, 10, evictions=counter))
    assert [point.evictions for point in series.points()][:3] == [None, 5, 0]


def test_what_a_full_redis_evicts_is_told_step_by_step(small_redis: Server, settings: Any) -> None:
    redis = "django.core.cache.backends.redis.RedisCache"
    settings.CACHES = {"default": {"BACKEND": redis, "LOCATION": f"{small_redis.url}/5"}}
    cache: Any = caches["default"]
    client = cache._cache.get_client()
    made = Aggregator("one", hot_keys=10, key_groups=10, measure=lambda *_: None)
    series = Series(BEGIN, END, END)
    counters = []
    for step, written in enumerate([0, 100, 0, 60]):
        for number in range(written):
            cache.set(f"{step}:{number}", b"x" * 50_000)
        look = inspect_cache("default", cache, limit=1000, seconds=10, stale_after=60)
        assert look.evictions is not None
        made.note_evictions("default", look.evictions, BEGIN + step * series.step)
        counters.append(client.info("stats")["evicted_keys"])
    for _, part in made.buckets():
        assert isinstance(part, Window)
        series.add(part)
    told = [point.evictions for point in series.points()][:4]
    first, second, third, fourth = counters
    assert told == [None, second - first, 0, fourth - third]
    assert second > first
    assert third == second
    assert fourth > third
