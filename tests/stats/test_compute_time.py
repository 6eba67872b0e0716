"""How long values took to produce is told from the calls around it."""

from collections import deque
from typing import Any

import pytest

from cache_monitor.calls import Call, Source
from cache_monitor.stats.compute_time import MOST_SECONDS, ComputedValue, MissSetMatcher

HEADERS = "views.decorators.cache.cache_header.shop." + "a" * 32 + ".en-us.UTC"
PAGE = "views.decorators.cache.cache_page.shop.GET." + "a" * 32 + "." + "b" * 32 + ".en-us.UTC"
OTHER_PAGE = PAGE.replace("a" * 32, "c" * 32)


def _call(operation: str, at: float, key: Any = "a", **extra: Any) -> Any:
    seconds = extra.pop("seconds", 0.0)
    alias = extra.pop("alias", "default")
    return Call(Source(alias, operation), at, seconds, key, **extra)


def _miss(at: float, key: Any = "a", **extra: Any) -> Any:
    outcome = (False,) * len(key) if isinstance(key, tuple) else False
    operation = "get_many" if isinstance(key, tuple) else "get"
    return _call(operation, at, key, outcome=outcome, **extra)


def _made(
    *calls: Any, pairing: MissSetMatcher | None = None, contexts: Any = None
) -> list[ComputedValue]:
    pairing = pairing or MissSetMatcher()
    where = contexts or [1] * len(calls)
    made = [call._replace(context=each) for call, each in zip(calls, where, strict=True)]
    return [each for values in pairing.match(made, deque()).values() for each in values]


def test_the_time_from_the_end_of_the_miss_to_the_begin_of_the_write_counts() -> None:
    assert _made(_miss(10.0, seconds=0.5), _call("set", 13.0, seconds=0.5)) == [
        ComputedValue("a", 2.5)
    ]


def test_an_add_counts_even_where_it_stored_nothing() -> None:
    assert _made(_miss(1.0), _call("add", 2.0, effect=False)) == [ComputedValue("a", 1.0)]


def test_what_get_or_set_called_is_timed_by_itself() -> None:
    called = _call("get_or_set", 1.0, outcome=False, seconds=2.0, produced=1.5)
    given = _call("get_or_set", 1.0, outcome=False, seconds=2.0)
    assert _made(called, given, _call("set", 9.0)) == [ComputedValue("a", 1.5)]


def test_a_write_without_a_miss_and_a_second_write_tell_nothing() -> None:
    assert _made(_call("set", 1.0), _miss(2.0), _call("set", 3.0), _call("set", 5.0)) == [
        ComputedValue("a", 1.0)
    ]


@pytest.mark.parametrize(
    "write",
    [
        _call("set", 2.0, "b"),
        _call("set", 2.0, alias="other"),
        _call("set", 2.0, version=2),
        _call("set", 2.0, error="TimeoutError"),
        _call("set", 1.0 + MOST_SECONDS + 1),
        _call("touch", 2.0),
    ],
    ids=["key", "alias", "version", "error", "late", "operation"],
)
def test_a_write_of_something_else_tells_nothing(write: Any) -> None:
    assert _made(_miss(1.0), write) == []


def test_another_thread_has_not_produced_it() -> None:
    assert _made(_miss(1.0), _call("set", 2.0), contexts=[1, 2]) == []


def test_keys_missed_together_and_written_together_share_the_time() -> None:
    found = _made(_miss(1.0, ("a", "b", "c")), _call("set_many", 4.0, ("a", "b", "c")))
    assert found == [ComputedValue("a", 1.0), ComputedValue("b", 1.0), ComputedValue("c", 1.0)]


def test_keys_missed_together_and_written_one_by_one_take_the_time_in_turn() -> None:
    found = _made(
        _miss(1.0, ("a", "b")), _call("set", 2.0, "a", seconds=0.5), _call("set", 3.0, "b")
    )
    assert found == [ComputedValue("a", 1.0), ComputedValue("b", 0.5)]


def test_keys_missed_one_by_one_and_then_written_take_the_time_in_turn() -> None:
    calls = [_miss(1.0, "a"), _miss(2.0, "b"), _miss(3.0, "c")]
    writes = [
        _call("set", at, key, seconds=0.5) for at, key in ((5.0, "a"), (7.0, "b"), (9.0, "c"))
    ]
    assert _made(*calls, *writes) == [
        ComputedValue("a", 4.0),
        ComputedValue("b", 1.5),
        ComputedValue("c", 1.5),
    ]


def test_what_is_made_while_another_value_is_made_is_a_part_of_it() -> None:
    inner = [
        each
        for at, key in ((2.0, "b"), (4.0, "c"))
        for each in (_miss(at, key), _call("set", at + 1, key))
    ]
    assert _made(_miss(1.0, "a"), *inner, _call("set", 7.0, "a")) == [
        ComputedValue("b", 1.0),
        ComputedValue("c", 1.0),
        ComputedValue("a", 6.0),
    ]


def test_what_another_thread_makes_meanwhile_takes_no_time_from_it() -> None:
    calls = [_miss(1.0, "a"), _miss(2.0, "b"), _call("set", 3.0, "a"), _call("set", 4.0, "b")]
    assert _made(*calls, contexts=[1, 2, 1, 2]) == [
        ComputedValue("a", 2.0),
        ComputedValue("b", 2.0),
    ]


def test_of_several_keys_only_those_that_missed_wait() -> None:
    both = _call("get_many", 1.0, ("a", "b"), outcome=(True, False))
    assert _made(both, _call("set_many", 2.0, ("a", "b"))) == [ComputedValue("b", 1.0)]


def test_a_page_whose_headers_were_not_known_belongs_to_their_miss() -> None:
    calls = [_miss(1.0, HEADERS), _call("set", 3.0, HEADERS), _call("set", 4.0, PAGE)]
    assert _made(*calls) == [ComputedValue(PAGE, 3.0)]


def test_a_page_that_was_looked_up_belongs_to_its_own_miss() -> None:
    hit = _call("get", 1.0, HEADERS, outcome=True)
    calls = [hit, _miss(2.0, PAGE), _call("set", 3.0, HEADERS), _call("set", 4.0, PAGE)]
    assert _made(*calls) == [ComputedValue(PAGE, 2.0)]


def test_the_page_of_another_address_has_nothing_to_do_with_the_headers() -> None:
    assert _made(_miss(1.0, HEADERS), _call("set", 4.0, OTHER_PAGE)) == []


def test_what_a_thread_missed_ends_with_its_request() -> None:
    pairing = MissSetMatcher()
    assert _made(_miss(1.0), pairing=pairing) == []
    pairing.begin(1, 2.0)
    assert _made(_call("set", 3.0), pairing=pairing) == []
    assert _made(_miss(4.0), _call("set", 5.0), pairing=pairing) == [ComputedValue("a", 1.0)]


def test_what_waits_is_bounded_and_the_newest_stay() -> None:
    pairing = MissSetMatcher(most=10)
    _made(*(_miss(1.0, f"key:{n}") for n in range(50)), pairing=pairing)
    for n in range(50):
        pairing.begin(n, 0.0)
    assert len(pairing._pending) == len(pairing._begun) == 10
    for n in range(50):
        _made(_miss(1.0), _call("set", 2.0), pairing=pairing, contexts=[n, n])
    assert len(pairing._spans) == 10
    assert _made(_call("set", 2.0, "key:0"), _call("set", 2.0, "key:49"), pairing=pairing) == [
        ComputedValue("key:49", 1.0)
    ]
