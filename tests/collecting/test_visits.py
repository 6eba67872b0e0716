"""What a request did is added up once, wherever its calls came from."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cache_monitor.calls import Call, Source
from cache_monitor.collecting import visits
from cache_monitor.collecting.visits import MOST_GATHERED, MOST_HEARD, Tally, Use, Visit


def _call(operation: str = "get", at: float = 0.0, key: Any = "a", **extra: Any) -> Any:
    return Call(Source("default", operation), at, extra.pop("seconds", 0.5), key, **extra)


def test_lookups_misses_and_times_are_those_of_the_calls() -> None:
    tally = Tally()
    tally.heard(_call(outcome=True))
    tally.heard(_call("get_many", key=("a", "b", "c"), outcome=(True, False, False)))
    tally.heard(_call("set", key="d"))
    assert tally.end()
    assert tally.uses() == {"default": Use(lookups=4, misses=2, seconds=1.5)}
    assert tally.calls == 3
    assert tally.seconds > 0


def test_what_the_view_produced_is_no_time_of_the_cache() -> None:
    tally = Tally()
    tally.heard(_call("get_or_set", outcome=False, seconds=2.5, produced=2.0))
    tally.heard(_call("get", 10.0, "b", outcome=False))
    tally.heard(_call("set", 13.5, "b"))
    assert tally.uses()["default"] == Use(2, 2, 1.5, produced=2, produce_seconds=5.0)


def test_one_thread_may_miss_and_another_write() -> None:
    tally = Tally()
    tally.heard(_call(outcome=False, context=1))
    tally.heard(_call("set", 1.0, context=2))
    assert tally.uses()["default"].produced == 1


def test_the_toolbars_own_calls_are_none() -> None:
    tally = Tally()
    tally.heard(_call(key="djdt:a", outcome=True))
    assert tally.uses() == {}
    assert tally.calls == 0


def test_a_request_without_calls_ends_with_nothing() -> None:
    assert not Tally().end()


def test_a_request_with_many_calls_holds_few_of_them() -> None:
    tally = Tally()
    for _ in range(10 * MOST_HEARD):
        tally.heard(_call(outcome=True))
        assert len(tally._heard) <= MOST_HEARD + 1
    assert tally.uses()["default"].lookups == 10 * MOST_HEARD


def test_calls_of_several_threads_are_all_counted() -> None:
    tally = Tally()

    def hear(_: int) -> None:
        for _ in range(2000):
            tally.heard(_call(outcome=True))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(hear, range(4)))
    assert tally.uses()["default"].lookups == 8000


def test_where_many_visits_wait_they_hold_no_calls() -> None:
    try:
        for _ in range(MOST_GATHERED + 10):
            tally = Tally()
            tally.heard(_call(outcome=True))
            visits.note(Visit("view", tally))
        assert sum(len(visit.tally._heard) for visit in visits.waiting) == MOST_GATHERED
        assert len(visits.take()) == MOST_GATHERED + 10
    finally:
        visits.waiting.clear()
