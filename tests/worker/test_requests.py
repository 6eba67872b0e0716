"""What a request did is added up once, wherever its calls came from."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cache_monitor.calls import Call, Source
from cache_monitor.worker import requests, wiring
from cache_monitor.worker.requests import (
    MOST_CALLS_WAITING,
    MOST_KEYS,
    MOST_UNCOUNTED,
    RequestRecord,
    RequestStats,
)


def _call(operation: str = "get", at: float = 0.0, key: Any = "a", **extra: Any) -> Any:
    return Call(Source("default", operation), at, extra.pop("seconds", 0.5), key, **extra)


def test_lookups_misses_and_times_are_those_of_the_calls() -> None:
    tally = RequestStats()
    tally.on_call(_call(outcome=True))
    tally.on_call(_call("get_many", key=("a", "b", "c"), outcome=(True, False, False)))
    tally.on_call(_call("set", key="d"))
    assert tally.end()
    use = tally.uses()["default"]
    assert (use.lookups, use.misses, use.seconds, use.calls) == (4, 2, 1.5, 3)
    assert tally.calls == 3
    assert tally.seconds > 0


def test_what_the_view_produced_is_no_time_of_the_cache() -> None:
    tally = RequestStats()
    tally.on_call(_call("get_or_set", outcome=False, seconds=2.5, produced=2.0))
    use = tally.uses()["default"]
    assert (use.seconds, use.keys["a"].seconds) == (0.5, 0.5)


def test_each_key_has_its_share_of_its_own_calls() -> None:
    tally = RequestStats()
    tally.on_call(_call(outcome=True))
    tally.on_call(_call("get_many", key=("a", "b"), outcome=(True, False), seconds=0.25))
    tally.on_call(_call("set", key="b"))
    keys = tally.uses()["default"].keys
    found = {key: (use.calls, use.lookups, use.hits, use.seconds) for key, use in keys.items()}
    assert found == {"a": (2, 2, 2, 0.625), "b": (2, 1, 0, 0.625)}


def test_what_is_written_after_it_was_found_is_a_rewrite_once() -> None:
    tally = RequestStats()
    for outcome in (False, True, True):
        tally.on_call(_call(outcome=outcome))
        tally.on_call(_call("set"))
        tally.on_call(_call("set"))
    assert tally.uses()["default"].keys["a"].rewrites == 2


def test_a_request_of_very_many_keys_tells_some_of_them_apart() -> None:
    tally = RequestStats()
    for number in range(MOST_KEYS + 10):
        tally.on_call(_call(key=str(number), outcome=True))
    use = tally.uses()["default"]
    assert (len(use.keys), use.lookups) == (MOST_KEYS, MOST_KEYS + 10)


def test_the_toolbars_own_calls_are_none() -> None:
    tally = RequestStats()
    tally.on_call(_call(key="djdt:a", outcome=True))
    assert tally.uses() == {}
    assert tally.calls == 0


def test_a_request_without_calls_ends_with_nothing() -> None:
    assert not RequestStats().end()


def test_a_request_with_many_calls_holds_few_of_them() -> None:
    tally = RequestStats()
    for _ in range(10 * MOST_CALLS_WAITING):
        tally.on_call(_call(outcome=True))
        assert len(tally._waiting_calls) <= MOST_CALLS_WAITING + 1
    assert tally.uses()["default"].lookups == 10 * MOST_CALLS_WAITING


def test_calls_of_several_threads_are_all_counted() -> None:
    tally = RequestStats()

    def hear(_: int) -> None:
        for _ in range(2000):
            tally.on_call(_call(outcome=True))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(hear, range(4)))
    assert tally.uses()["default"].lookups == 8000


def test_where_many_visits_wait_they_hold_no_calls() -> None:
    # The worker of an earlier test may be at work, and would count them.
    with wiring.background_worker._draining:
        try:
            for _ in range(MOST_UNCOUNTED + 10):
                tally = RequestStats()
                tally.on_call(_call(outcome=True))
                requests.note(RequestRecord("view", tally))
            waiting = sum(len(each.stats._waiting_calls) for each in requests.waiting)
            assert waiting == MOST_UNCOUNTED
            assert len(requests.take()) == MOST_UNCOUNTED + 10
        finally:
            requests.waiting.clear()
