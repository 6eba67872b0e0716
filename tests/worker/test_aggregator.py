"""Calls are counted into the stretches of time that they ended in, each exactly once."""

from collections import Counter
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.calls import PLAIN_HIT, Call, Source
from cache_monitor.keys.naming import known_group
from cache_monitor.stats.compute_time import ComputedValue
from cache_monitor.stats.details import Details, ViewUse
from cache_monitor.stats.window import Window
from cache_monitor.worker import aggregator as module
from cache_monitor.worker import counting
from cache_monitor.worker.aggregator import DETAILS_SECONDS, WINDOW_SECONDS, Aggregator, Bucket
from cache_monitor.worker.batch import name_and_hash
from cache_monitor.worker.requests import RequestRecord, RequestStats

NOW = 1_800_000_000.0
"""Begins a window and details; Unix time."""
GET, SET, GET_OR_SET, GET_MANY = (
    Source("default", name) for name in ("get", "set", "get_or_set", "get_many")
)


def _aggregator(sizes: dict[str, int] | None = None) -> Aggregator:
    known = sizes or {}
    return Aggregator(
        "process", hot_keys=100, key_groups=50, measure=lambda _, key, __: known.get(str(key))
    )


def _call(source: Source, at: float = 0.0, key: Any = "a", **extra: Any) -> Any:
    # Exactly so many in whatever order they are added up.
    return Call(source, at, extra.pop("seconds", 2.0**-10), key, **extra)


def _hit(at: float = 0.0, key: str = "a", **extra: Any) -> Any:
    return _call(GET, at, key, outcome=True, **extra)


def _miss(at: float = 0.0, key: str = "a", **extra: Any) -> Any:
    return _call(GET, at, key, outcome=False, **extra)


def _windows(made: Aggregator) -> list[Window]:
    return [part for _, part in made.buckets() if isinstance(part, Window)]


def _details(made: Aggregator) -> list[Details]:
    return [part for _, part in made.buckets() if isinstance(part, Details)]


def _hot(made: Aggregator, key: str) -> Any:
    [details] = _details(made)
    return details.hot_keys.table[key]


_keys = st.sampled_from(
    [*(f"user:{n}" for n in range(30)), "somebody", "page:1:of:2", "djdt:1", "a" * 300 + ":1"]
)


_lookups = st.lists(st.tuples(_keys, st.sampled_from([None, 10, 20, "miss"])), max_size=30)


@given(st.lists(_lookups))
def test_lookups_come_to_the_same_by_groups_or_one_by_one_and_cut_off_or_whole(
    batches: list[list[tuple[str, Any]]],
) -> None:
    made = []
    for is_group_known, is_cut_off in (
        (known_group, False),
        (lambda key: None, False),
        (known_group, True),
    ):
        with patch.object(counting, "known_group", is_group_known):
            aggregator = _aggregator({"user:1": 5, "user:2": 7})
            for batch in batches:
                calls = [
                    _miss(key=key) if size == "miss" else _hit(key=key, size=size)
                    for key, size in batch
                ]
                if is_cut_off:
                    calls = [
                        each[:PLAIN_HIT] if each.outcome and each.size is None else each
                        for each in calls
                    ]
                aggregator.add(calls, NOW)
            details = [(each.groups, each.hot_keys.heaviest(100)) for each in _details(aggregator)]
            made.append((_windows(aggregator), details))
    by_group, one_by_one, cut_off = made
    assert by_group == one_by_one == cut_off


@pytest.mark.parametrize("hits", [1, 10])
def test_a_lookup_whose_key_nobody_knows_counts_all_the_same(hits: int) -> None:
    made = _aggregator()
    made.add([_call(GET, key=None, outcome=True)] * hits + [_hit()] * hits, NOW)
    made.add([_call(GET, key=None, outcome=False)], NOW)
    [window] = _windows(made)
    operation = window.operations["get"]
    assert (operation.hits, operation.misses, operation.keys) == (2 * hits, 1, 2 * hits + 1)
    assert (operation.calls, window.dropped) == (2 * hits + 1, 0)
    assert [*_details(made)[0].groups] == ["a"]


def test_the_size_of_a_hot_key_is_the_greatest_however_its_hits_wait() -> None:
    made = _aggregator()
    made.add([_hit(size=10) for _ in range(4)], NOW)
    made.add([_call(SET, size=5000)], NOW)
    made.add([_hit(size=20) for _ in range(4)], NOW)
    assert _hot(made, "a").bytes == 5000


def test_hits_of_several_batches_are_counted_when_somebody_looks() -> None:
    made = _aggregator()
    for _ in range(3):
        made.add([_hit() for _ in range(10)], NOW)
    [window] = _windows(made)
    operation = window.operations["get"]
    assert (operation.calls, operation.keys, operation.hits) == (30, 30, 30)
    assert (_hot(made, "a").hits, _hot(made, "a").lookups) == (30, 30)
    assert [_windows(made)[0].operations["get"].hits for _ in range(2)] == [30, 30]


calls = st.lists(
    st.tuples(
        st.sampled_from([GET, SET, GET_OR_SET]),
        st.integers(0, 100).map(float),
        st.sampled_from(["a", "b", "user:1"]),
        st.sampled_from([True, False, None]),
        st.sampled_from([None, 7]),
        st.sampled_from([None, 2]),
        st.sampled_from([None, "TimeoutError"]),
    ),
    max_size=60,
)


@given(calls, st.lists(st.integers(0, 60), max_size=5))
def test_whatever_the_batches_no_call_is_lost_or_counted_twice(
    drawn: list[tuple[Any, ...]], cuts: list[int]
) -> None:
    made = _aggregator({"a": 100})
    every = [
        _call(source, at, key, outcome=outcome, size=size, version=version, error=error)
        for source, at, key, outcome, size, version, error in sorted(drawn, key=lambda it: it[1])
    ]
    borders = [0, *sorted(cuts), len(every)]
    for begin, end in pairwise(borders):
        made.add(every[begin:end], NOW)
        if begin % 2:
            _windows(made)
    counted: Counter[str] = Counter()
    hits = 0
    for window in _windows(made):
        for name, operation in window.operations.items():
            counted[name] += operation.calls
            hits += operation.hits
            assert (
                sum(count for _, count in operation.times.items())
                == operation.calls
                == operation.keys
            )
    assert counted == Counter(call.source.operation for call in every)
    assert hits == sum(call.outcome is True for call in every)
    grouped = sum(each.hits for part in _details(made) for each in part.groups.values())
    assert grouped == hits


def test_a_batch_over_the_end_of_a_window_is_parted_call_by_call() -> None:
    made = _aggregator()
    made.add([_hit(WINDOW_SECONDS - 1.0), _hit(WINDOW_SECONDS - 0.5), _hit(WINDOW_SECONDS)], NOW)
    found = {window.start - NOW: window.operations["get"].hits for window in _windows(made)}
    assert found == {0: 2, WINDOW_SECONDS: 1}
    assert sorted(window.newest - NOW for window in _windows(made)) == pytest.approx(
        [WINDOW_SECONDS - 0.499, WINDOW_SECONDS + 0.001], abs=1e-4
    )


def test_details_take_longer_stretches_than_windows() -> None:
    made = _aggregator()
    for at in range(0, 2 * DETAILS_SECONDS, WINDOW_SECONDS):
        made.add([_hit(float(at))], NOW)
    assert [each.groups["a"].hits for each in _details(made)] == [6, 6]


def test_what_comes_for_a_sealed_stretch_goes_to_the_next() -> None:
    made = _aggregator()
    made.add([_hit()] * 10, NOW)
    parts: list[tuple[str, Bucket]] = list(made.buckets())
    for _, part in parts:
        made.seal(part)
    made.add([_hit()] * 5, NOW)
    assert [window.operations["get"].hits for window in _windows(made)] == [10, 5]
    assert [details.groups["a"].hits for details in _details(made)] == [10, 5]


def test_hits_that_wait_are_in_what_is_forgotten_and_nowhere_else() -> None:
    made = _aggregator()
    made.add([_hit()] * 10, NOW)
    window, details = made._window("default", NOW), made._details_at("default", NOW)
    made.forget("default", window)
    made.forget("default", details)
    assert (window.operations["get"].hits, details.groups["a"].hits) == (10, 10)
    made.add([_hit()] * 5, NOW)
    assert [each.operations["get"].hits for each in _windows(made)] == [5]


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 100)
    made = _aggregator()
    for turn in range(20):
        made.add([_hit(key=f"{turn}:{n}") for n in range(20)] * 3, NOW)
        assert sum(len(each.waiting) for each in made._countings.values()) <= 100
    assert _windows(made)[0].operations["get"].hits == 1200


def test_countings_are_bounded_where_nobody_looks_for_an_hour() -> None:
    made = _aggregator()
    for turn in range(2000):
        made.add([_hit(float(turn * WINDOW_SECONDS))], NOW)
        assert len(made._countings) == 1
    assert sum(window.operations["get"].hits for window in _windows(made)) == 2000


def test_the_toolbars_own_calls_make_no_window() -> None:
    made = _aggregator()
    made.add([_hit(key="djdt:a")] * 3, NOW)
    assert list(made.buckets()) == []
    made.add([_hit(key="djdt:a"), _hit(), _miss(key="djdt:b")], NOW)
    assert _windows(made)[0].operations["get"].calls == 1


def test_a_size_is_looked_up_once_and_counts_for_every_hit() -> None:
    made = _aggregator({"a": 100})
    made.add([_hit()] * 10, NOW)
    made.add([_hit()] * 10, NOW)
    assert _windows(made)[0].bytes_read == 2000
    assert (_details(made)[0].groups["a"].bytes_read, _hot(made, "a").bytes) == (2000, 100)


def test_a_size_that_the_call_has_is_taken() -> None:
    made = _aggregator({"a": 100})
    made.add([_hit(size=7), _hit(size=7), _call(SET, size=9)], NOW)
    assert (_windows(made)[0].bytes_read, _windows(made)[0].bytes_written) == (14, 9)


def test_what_the_sites_own_function_took_is_not_the_caches_time() -> None:
    made = _aggregator()
    made.add([_call(GET_OR_SET, outcome=False, seconds=2.0, produced=1.5)], NOW)
    operation = _windows(made)[0].operations["get_or_set"]
    assert (operation.seconds, operation.slowest) == (0.5, 0.5)
    assert _windows(made)[0].newest == NOW + 2


def test_a_produced_value_counts_for_its_group_and_its_hot_key() -> None:
    made = _aggregator()
    made.add([_miss(key="user:1"), _call(SET, key="user:1")], NOW)
    before = _details(made)[0].revision
    made.add_produced("default", NOW, [ComputedValue("user:1", 0.5)] * 2)
    [details] = _details(made)
    group, hot = details.groups["user:{int}"], details.hot_keys.table["user:1"]
    assert (group.produced, group.produce_seconds) == (2, 1.0)
    assert (hot.produced, hot.produce_seconds) == (2, 1.0)
    assert details.revision != before


def test_a_session_key_is_counted_by_its_mask() -> None:
    made = _aggregator()
    secret = "django.contrib.sessions.cache" + "s" * 32
    made.add([_miss(key=secret), *[_hit(key=secret)] * 5], NOW)
    [details] = _details(made)
    assert list(details.groups) == ["session"]
    assert details.groups["session"].hits == 5
    assert secret not in details.hot_keys.table


def test_keys_of_one_call_count_each() -> None:
    made = _aggregator()
    made.add([_call(GET_MANY, key=("a", "b"), outcome=(True, False))], NOW)
    operation = _windows(made)[0].operations["get_many"]
    assert (operation.calls, operation.keys, operation.hits, operation.misses) == (1, 2, 1, 1)


def test_dropped_calls_and_memory_are_noted_where_they_belong() -> None:
    made = _aggregator()
    made.add_dropped(Counter({"default": 3}), NOW)
    made.note_memory("default", 500, True, NOW)
    [window] = _windows(made)
    assert (window.dropped, window.memory_bytes, window.memory_is_shared) == (3, 500, True)


def test_what_this_process_holds_is_said_in_each_window_until_it_is_looked_at_anew() -> None:
    made = _aggregator()
    for used, at in ((500, NOW), (700, NOW + 20)):
        made.note_memory("default", used, False, at)
        made.add([_call(GET, at=at + 10)], 0.0)
    made.add([_call(Source("other", "get"), NOW)], 0.0)
    told = [[*window.own_memory.values()] for window in _windows(made)]
    assert told == [[500], [500], [700], [700], []]
    assert {window.memory_bytes for window in _windows(made)} == {None}


def test_a_process_that_ends_holds_nothing_more() -> None:
    made = _aggregator()
    made.note_memory("default", 500, False, NOW)
    made.note_end(NOW + 10)
    assert [[*window.own_memory.values()] for window in _windows(made)] == [[500], [0]]


def test_the_highest_a_counter_of_evictions_was_seen_at_is_noted() -> None:
    """What a restart set it back to shows in the next window."""
    made = _aggregator()
    for counter in (0, 7, 2):
        made.note_evictions("default", counter, NOW)
    made.note_evictions("default", 4, NOW + 10)
    assert [window.evictions for window in _windows(made)] == [7, 4]


def test_values_that_somebody_else_had_produced_meanwhile_are_counted_apart() -> None:
    made = _aggregator()
    made.add([_call(SET, key="user:1")], NOW)
    produced = [
        ComputedValue("user:1", 2.0),
        ComputedValue("user:2", 3.0),
    ]
    made.add_produced("default", NOW, produced)
    [details] = _details(made)
    group = details.groups["user:{int}"]
    assert (group.produced, group.produce_seconds) == (2, 5.0)


def test_other_settings_give_a_key_another_name() -> None:
    before = name_and_hash("customer:ann:orders", "default")[0]
    with override_settings(CACHE_MONITOR={"KEY_GROUPS": {"^customer:": "customers"}}):
        assert name_and_hash("customer:ann:orders", "default")[0].group == "customers"
    assert name_and_hash("customer:ann:orders", "default")[0] == before


def test_each_key_of_a_call_on_several_is_charged_its_share() -> None:
    made = _aggregator()
    made.add(
        [
            _call(GET_MANY, key=("a:1", "b:1"), outcome=(True, False), seconds=0.5),
            _hit(key="a:2", seconds=0.125),
            _call(SET, key="b:1", seconds=0.25),
            _call(GET_OR_SET, key="b:1", outcome=False, seconds=2.0, produced=1.0),
        ],
        NOW,
    )
    [details] = _details(made)
    found = {name: (it.lookup_seconds, it.other_seconds) for name, it in details.groups.items()}
    assert found == {"a:{int}": (0.375, 0.0), "b:{int}": (1.25, 0.25)}


def test_the_time_of_hits_that_wait_is_theirs() -> None:
    made = _aggregator()
    for _ in range(3):
        made.add([_hit(key="a:1", seconds=0.25)] * 4 + [_miss(key="a:1", seconds=1.0)], NOW)
    [details] = _details(made)
    assert details.groups["a:{int}"].lookup_seconds == 3 * (4 * 0.25 + 1.0)


def test_the_answer_that_a_counters_key_is_absent_is_no_fault() -> None:
    made = _aggregator()
    incr = Source("default", "incr")
    for error in ("ValueError", "ConnectionError"):
        made.add([_call(incr, error=error)], NOW)
    [window], [details] = _windows(made), _details(made)
    operation, group = window.operations["incr"], details.groups["a"]
    assert (operation.errors, operation.absent, operation.faults) == (2, 1, 1)
    assert (group.errors, group.counts, group.other_uses) == (1, 2, 2)


def test_a_view_counts_what_it_did_with_each_group() -> None:
    made = _aggregator()
    tally = RequestStats()
    tally.on_call(_hit(key="a:1", seconds=0.25))
    tally.on_call(_call(SET, key="a:1", seconds=0.25))
    tally.on_call(_hit(key="b:1", seconds=0.5))
    made.add_request(RequestRecord("shop:home", tally), NOW)
    [details] = _details(made)
    view = details.views["shop:home"]
    assert view.groups == {
        "a:{int}": ViewUse(2, 1, 1, 1, 0.5),
        "b:{int}": ViewUse(1, 1, 1, 0, 0.5),
    }
    assert (view.calls, details.groups["a:{int}"].rewrites) == (3, 1)


def test_writes_say_when_they_came_first_and_for_how_long() -> None:
    made = _aggregator()
    made.add([_call(SET, 1.0, "a:1", timeout=60), _call(SET, 2.0, "a:2", timeout=300)], NOW)
    made.add([_call(SET, 5.0, "a:3", timeout=None), _call(SET, 6.0, "b:1", timeout=object())], NOW)
    made.add([_call(SET, 7.0, "b:2", timeout=float("nan")), _hit(8.0, "c:1")], NOW)
    groups = _details(made)[0].groups
    found: Any = {
        name: (it.first_set and it.first_set - NOW, it.timeout) for name, it in groups.items()
    }
    assert found["a:{int}"] == (pytest.approx(2.0, abs=0.01), 300.0)
    assert found["b:{int}"] == (pytest.approx(6.0, abs=0.01), 0.0)
    assert found["c:{int}"] == (0.0, 0.0)
