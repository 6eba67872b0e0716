"""What a process's calls become in its slices of the trace."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from cache_monitor.calls import Call, Source
from cache_monitor.trace import (
    CLEAR,
    COMPUTE,
    DELETE,
    HIT,
    MISS,
    SECOND,
    WRITE,
    Event,
    Plan,
    hash_of,
)
from cache_monitor.trace.codec import StoredSlice
from cache_monitor.trace.slices import SLICE_SECONDS, Slice
from cache_monitor.worker.batch import deduplicate
from cache_monitor.worker.trace_events import CacheIdentity
from cache_monitor.worker.trace_writer import Tracer

START = 1_700_000_000
SHARED = CacheIdentity("shared", 300, "1", "site")


def call(operation: str, at: float, key: Any, outcome: Any = None, **more: Any) -> Call:
    return Call(Source("default", operation), at, 0.001, key, outcome, **more)


@pytest.fixture
def make() -> Callable[..., Tracer]:
    def make(facts: CacheIdentity | None = SHARED) -> Tracer:
        return Tracer("a process", 1, lambda alias: facts)

    return make


def trace(tracer: Tracer, calls: Sequence[Call], **computed: Any) -> None:
    tracer.trace(deduplicate(calls), START, computed.get("computed", {}))


def parts(tracer: Tracer) -> list[Slice]:
    return [part for _, part in tracer.slices]


def events(tracer: Tracer) -> list[Event]:
    stored: list[StoredSlice] = [part.stored() for part in parts(tracer)]
    return [each for part in stored for each in part.decode_events(part.decode_keys(), frozenset())]


def test_hits_of_one_batch_are_one_event_a_key(make: Callable[..., Tracer]) -> None:
    tracer = make()
    trace(tracer, [call("get", 0.1 * n, f"k:{n % 2}", True) for n in range(6)])
    assert [(each.call.kind, each.times) for each in events(tracer)] == [(HIT, 3)] * 2


def test_a_name_is_written_once_and_again_after_the_names_were_forgotten(
    make: Callable[..., Tracer],
) -> None:
    tracer = make()
    for turn in range(3):
        if turn == 2:
            tracer.forget_keys()
        trace(tracer, [call("get", turn * SLICE_SECONDS, "a", True)])
    assert [len(part.stored().names) for part in parts(tracer)] == [1, 0, 1]


def test_keys_that_get_many_found_are_told_like_plain_hits_and_each_miss_by_itself(
    make: Callable[..., Tracer],
) -> None:
    tracer = make()
    lookups = [
        call("get_many", 0.1 * n + shift, keys, (True, False))
        for n in range(3)
        for shift, keys in ((0.0, ("a", "b")), (0.01, ("c", "d")))
    ]
    trace(tracer, [*lookups[:4], call("set", 0.15, "c"), *lookups[4:]])
    told = [(each.key, each.call.kind, each.times) for each in events(tracer)]
    a, b, c, d = (hash_of(f"site\0{key}") for key in "abcd")
    # Which of two values each hit of "c" found is in their order.
    assert [each[1:] for each in told if each[0] == a] == [(HIT, 3)]
    for missed in (b, d):
        assert [each[1:] for each in told if each[0] == missed] == [(MISS, 1)] * 3
    assert [each[1:] for each in told if each[0] == c] == [(HIT, 2), (WRITE, 1), (HIT, 1)]


def test_a_batch_is_told_in_the_order_of_its_ends(make: Callable[..., Tracer]) -> None:
    tracer = make()
    trace(
        tracer,
        [
            call("get", 0.0, "a", False),
            call("set", 0.1, "a", timeout=5),
            call("get", 0.2, "a", True),
            call("delete", 0.3, "a", effect=True),
        ],
    )
    told = events(tracer)
    assert [each.call.kind for each in told] == [MISS, WRITE, HIT, DELETE]
    assert [each.call.timeout for each in told][1] == 5 * SECOND
    assert told[0].ended == START * SECOND + 1000
    assert [each.key for each in told] == [hash_of("site\0a")] * 4


def test_the_time_that_a_value_took_is_told_with_its_write(make: Callable[..., Tracer]) -> None:
    tracer = make()
    calls = [call("set", 0.1, "a"), call("add", 0.2, "b", effect=False)]
    trace(tracer, calls, computed={0: {"a": 0.5}, 1: {"b": 0.25}})
    told = [(each.call.kind, each.compute_time) for each in events(tracer)]
    assert told == [(WRITE, SECOND // 2), (COMPUTE, SECOND // 4)]


def test_a_key_has_its_name_in_the_first_slice_alone(make: Callable[..., Tracer]) -> None:
    tracer = make()
    trace(tracer, [call("set", 0.0, "a"), call("set", 2.0 * SLICE_SECONDS, "a")])
    names = [key.name for part in parts(tracer) for key in part.stored().decode_keys()]
    assert names == ["site\0a", ""]


def test_a_key_that_is_not_shown_as_it_is_has_no_name(make: Callable[..., Tracer]) -> None:
    tracer = make()
    trace(tracer, [call("get", 0.0, "django.contrib.sessions.cache" + "a" * 32, False)])
    [key] = parts(tracer)[0].stored().decode_keys()
    assert (key.name, key.group) == ("", "session")


def test_what_the_plan_leaves_out_is_not_told(make: Callable[..., Tracer]) -> None:
    tracer = make()
    hot = hash_of("site\0a")
    tracer.follow({"shared": Plan(3, 48, frozenset({hot}))})
    trace(tracer, [call("set", 0.0, "a"), call("set", 0.1, "b")])
    [part] = parts(tracer)
    assert part.plan == 3
    assert [each.key for each in events(tracer)] == [hot]


def test_a_clear_concerns_the_whole_store(make: Callable[..., Tracer]) -> None:
    tracer = make()
    trace(tracer, [call("clear", 0.0, None), call("delete_pattern", 0.1, "a*")])
    [part] = parts(tracer)
    assert [each[3] for each in part.deletes] == [None, "site\0a*"]
    assert CLEAR not in {each.call.kind for each in events(tracer)}


def test_what_comes_late_for_a_sealed_slice_goes_to_the_next(
    make: Callable[..., Tracer],
) -> None:
    tracer = make()
    trace(tracer, [call("set", 0.0, "a")])
    [first] = parts(tracer)
    tracer.slices.seal(first)
    trace(tracer, [call("set", 0.5, "b")])
    assert [part.start for part in parts(tracer)] == [first.start, first.start + SLICE_SECONDS]
    assert len(first) == 1


def test_lookups_that_missed_a_shared_cache_are_asked_for_once(
    make: Callable[..., Tracer],
) -> None:
    tracer = make()
    trace(tracer, [call("get", 0.0, "a", False), call("get_many", 0.1, ("b",), (False,))])
    assert tracer.take_missed() == {"default"}
    assert tracer.take_missed() == set()
    own = make(SHARED._replace(is_own=True))
    trace(own, [call("get", 0.0, "a", False)])
    assert own.take_missed() == set()


def test_a_cache_that_nobody_can_tell_of_is_not_traced(make: Callable[..., Tracer]) -> None:
    tracer = make(None)
    trace(tracer, [call("set", 0.0, "a"), call("get", 0.1, "a", True)])
    tracer.note_gap("default", START)
    assert parts(tracer) == []


OWN = SHARED._replace(own_keys=True)


def test_keys_of_a_projects_own_making_are_told_apart_by_what_was_made_of_them(
    make: Callable[..., Tracer],
) -> None:
    tracer = make(OWN)
    for tenant in ("one", "two"):
        trace(tracer, [call("set", 0.0, "a", entries=((f"{tenant}:a",), True))])
        trace(tracer, [call("get", 0.1, "a", True, entries=((f"{tenant}:a",), True))])
    told = events(tracer)
    assert [each.call.kind for each in told] == [WRITE, HIT, WRITE, HIT]
    assert len({each.key for each in told}) == 2
    # As Django makes it, it is the entry of all aliases whose keys Django makes.
    plain = make(OWN)
    trace(plain, [call("set", 0.0, "a", entries=(("site:1:a",), True))])
    assert [each.key for each in events(plain)] == [hash_of("site\0a")]


def test_a_key_that_nobody_could_tell_is_a_gap(make: Callable[..., Tracer]) -> None:
    tracer = make(OWN)
    trace(tracer, [call("set", 0.0, "a", entries=None)])
    [part] = parts(tracer)
    assert (len(part), part.gap) == (0, True)


def test_a_key_that_the_function_refuses_did_nothing(make: Callable[..., Tracer]) -> None:
    tracer = make(OWN)
    trace(tracer, [call("set", 0.0, "a", error="ValueError", entries=((), True))])
    assert parts(tracer) == []


def test_versions_that_a_key_function_leaves_out_are_one_entry(
    make: Callable[..., Tracer],
) -> None:
    tracer = make(OWN)
    trace(tracer, [call("set", 0.0, "a", version="7", entries=(("a",), False))])
    assert [each.call.version for each in events(tracer)] == ["1"]


def test_a_pattern_takes_the_keys_of_its_own_tenant(make: Callable[..., Tracer]) -> None:
    tracer = make(OWN)
    trace(tracer, [call("delete_pattern", 0.0, "a*", entries=(("one:a*",), True))])
    trace(tracer, [call("delete_pattern", 0.1, "b*", entries=(("digest",), True))])
    [part] = parts(tracer)
    assert [each[3] for each in part.deletes] == ["\0one:\1\0a*"]
    assert part.gap  # whose keys the second one took nobody knows
