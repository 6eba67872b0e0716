"""A trace is taken into memory as far as there is room."""

from collections import Counter
from collections.abc import Iterable

import pytest

from cache_monitor.trace import HIT, MISS, SECOND, CallType, Key, Plan, hash_of, level_of
from cache_monitor.trace.codec import StoredSlice
from cache_monitor.trace.slices import Slice
from cache_monitor.what_if.reading import BoundedTrace, hit_ratio

START = 1_700_000_000
NOBODY: frozenset[int] = frozenset()


def a_slice(names: Iterable[str], kind: int = MISS, level: int = 0) -> StoredSlice:
    made = Slice(START, 10, "process", 1, Plan(level=level))
    for number, name in enumerate(names):
        if not made.takes(hash_of(name)):
            continue
        at = START * SECOND + number
        made.add(Key(hash_of(name), "group"), CallType(kind, "default", 1), at, at + 1)
    return made.stored()


def test_what_there_is_room_for_is_all_there_with_weight_one() -> None:
    trace = BoundedTrace(100, NOBODY)
    trace.add("one", [a_slice(f"key:{n}" for n in range(40))])
    trace.add("two", [a_slice(f"key:{n}" for n in range(60))])
    one, two = trace.pop_traces(START, START + 10)
    assert (len(one.events), len(two.events)) == (40, 60)
    assert {each.weight for each in (*one.events, *two.events)} == {1}
    assert one.share == 1.0
    assert trace.has_room


def test_beyond_that_fewer_keys_are_taken_with_all_their_events() -> None:
    trace = BoundedTrace(1000, NOBODY)
    for _ in range(4):
        trace.add("one", [a_slice(f"key:{n}" for n in range(2000))])
    (found,) = trace.pop_traces(START, START + 10)
    hot = {each.key for each in found.events if each.weight == 1}
    others = {each.key for each in found.events if each.weight > 1}
    assert len(found.events) <= 1000 + 2000
    assert all(level_of(key) >= trace.level for key in others)
    assert {each.weight for each in found.events if each.key in others} == {1 << trace.level}
    counts = [sum(each.key == key for each in found.events) for key in hot | others]
    assert set(counts) == {4}
    assert set(found.groups) == hot | others


def test_no_key_is_taken_that_other_slices_left_out() -> None:
    names = [f"key:{n}" for n in range(2000)]
    trace = BoundedTrace(3000, NOBODY)
    trace.add("one", [a_slice(names, level=level) for level in (0, 1, 0, 2)])
    (found,) = trace.pop_traces(START, START + 10)
    counts = Counter(each.key for each in found.events)
    assert set(counts.values()) == {4}
    assert set(found.groups) == counts.keys()


def test_where_the_hottest_alone_take_the_room_older_ones_are_not_read() -> None:
    trace = BoundedTrace(100, frozenset(hash_of(f"key:{n}") for n in range(60)))
    trace.add("one", [a_slice(f"key:{n}" for n in [*range(60)] * 3)])
    assert not trace.has_room


def test_a_sample_stands_for_all() -> None:
    hot = frozenset(hash_of(f"hot:{n}") for n in range(4))
    trace = BoundedTrace(3000, hot)
    names = [f"key:{n}" for n in range(16_000)]
    trace.add("one", [a_slice(names[at : at + 4000]) for at in range(0, 16_000, 4000)])
    (found,) = trace.pop_traces(START, START + 10)
    assert trace.level > 0
    assert sum(each.weight for each in found.events) == pytest.approx(16_000, rel=0.1)


def test_the_hit_ratio_is_of_what_comes_from_a_moment_on() -> None:
    trace = BoundedTrace(100, NOBODY)
    trace.add("one", [a_slice(["a", "b"]), a_slice(["a", "b", "c"], HIT)])
    found = trace.pop_traces(START, START + 10)
    assert hit_ratio(found, START) == 0.6
    assert hit_ratio(found, START + 1) is None
