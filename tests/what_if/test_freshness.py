"""What is told of values is what is true of them: here the test knows when they change."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cache
from math import inf
from random import Random

import pytest
from msgspec import structs

from cache_monitor.trace import DELETE, HIT, MISS, NEVER, SECOND, WRITE, CallType, Event
from cache_monitor.what_if.freshness import Values, entries_by_group, stale_share
from cache_monitor.what_if.workload import simulated_calls

GROUPS = dict.fromkeys(range(1, 101), "product:{int}")
HOURS = 4


class Source:
    """Values that change, each key's at times of its own."""

    def __init__(self, changes: dict[int, list[float]]) -> None:
        self._changes = changes

    def value(self, key: int, at: float) -> int:
        return 1 + bisect_right(self._changes[key], at)


def by_chance(random: Random, mean: float) -> list[float]:
    times, at = [], random.expovariate(1 / mean)
    while at < HOURS * 3600:
        times.append(at)
        at += random.expovariate(1 / mean)
    return times


def by_the_clock(random: Random, every: float) -> list[float]:
    first = random.uniform(0, every)
    return [first + every * number for number in range(int(HOURS * 3600 / every))]


Process = Callable[[Random, float], list[float]]


def source(process: Process, seconds: float) -> Source:
    random = Random(3)
    return Source({key: process(random, seconds) for key in GROUPS})


@cache
def asked(seed: int = 1, number: int = 12_000) -> Sequence[tuple[float, int]]:
    random = Random(seed)
    keys = random.choices(sorted(GROUPS), [1 / rank for rank in GROUPS], k=number)
    return sorted((random.uniform(0, HOURS * 3600), key) for key in keys)


def event(kind: int, key: int, at: float, timeout: float = inf, value: int = 0) -> Event:
    began = round(at * SECOND)
    form = CallType(kind, "default", 1, NEVER if timeout == inf else round(timeout * SECOND))
    took = 1000 if kind == WRITE else 0
    return Event(key, form, began, began + 1, 1, 1, fingerprint=value, compute_time=took)


def cached(truth: Source, timeout: float) -> tuple[list[Event], float, float]:
    """What a trace has of get-then-set with that timeout, the share of hits that served a value
    which had changed, and the share of rewrites that brought the same."""
    held: dict[int, tuple[float, int]] = {}
    events, stale, hits = list[Event](), 0, 0
    rewrites = unchanged = 0
    for at, key in asked():
        now = truth.value(key, at)
        known = held.get(key)
        if known is not None and known[0] > at:
            events.append(event(HIT, key, at))
            hits += 1
            stale += known[1] != now
        else:
            events += [event(MISS, key, at), event(WRITE, key, at + 0.002, timeout, now)]
            if known is not None:
                rewrites += 1
                unchanged += known[1] == now
            held[key] = at + 0.002 + timeout, now
    return events, stale / hits, unchanged / rewrites


@pytest.mark.parametrize("process", [by_chance, by_the_clock])
@pytest.mark.parametrize("seconds", [400, 1800, 7200])
def test_the_stale_share_of_another_timeout_is_what_that_timeout_serves(
    process: Process, seconds: float
) -> None:
    truth = source(process, seconds)
    events, *_ = cached(truth, 150)
    asked_for, values = [simulated_calls(events, GROUPS)], Values(events)
    for factor in (0.5, 1.0, 2.0, 4.0):
        _, expected, _ = cached(truth, 150 * factor)
        found = stale_share(asked_for, values, "product:{int}", factor)
        assert found == pytest.approx(expected, abs=0.03), factor


@pytest.mark.parametrize("process", [by_chance, by_the_clock])
@pytest.mark.parametrize("seconds", [400, 1800, 7200])
def test_the_share_of_rewrites_that_changed_nothing_is_what_it_is(
    process: Process, seconds: float
) -> None:
    events, _, expected = cached(source(process, seconds), 150)
    entries = entries_by_group([simulated_calls(events, GROUPS)])["product:{int}"]
    found = Values(events).rewrites(entries)
    assert found.unchanged == pytest.approx(expected, abs=0.005)
    assert found.rewrites == pytest.approx(
        sum(each.call.kind == WRITE for each in events) - len(GROUPS), abs=5
    )


@pytest.mark.parametrize("seconds", [400, 1800, 7200])
def test_how_long_values_last_is_estimated(seconds: float) -> None:
    events, *_ = cached(source(by_chance, seconds), 150)
    entries = entries_by_group([simulated_calls(events, GROUPS)])["product:{int}"]
    assert Values(events).rewrites(entries).seconds_to_change == pytest.approx(seconds, rel=0.1)


def test_where_fingerprints_are_missing_nothing_is_told() -> None:
    events, *_ = cached(source(by_chance, 1800), 150)
    blind = [structs.replace(each, fingerprint=0) for each in events]
    asked_for, values = [simulated_calls(blind, GROUPS)], Values(blind)
    assert stale_share(asked_for, values, "product:{int}") is None
    found = values.rewrites(entries_by_group(asked_for)["product:{int}"])
    assert found.rewrites > 500
    assert (found.unchanged, found.seconds_to_change) == (None, None)


def test_what_never_changes_has_no_time_to_its_change() -> None:
    events, *_ = cached(Source({key: [] for key in GROUPS}), 150)
    asked_for, values = [simulated_calls(events, GROUPS)], Values(events)
    assert stale_share(asked_for, values, "product:{int}", 10.0) == 0.0
    found = values.rewrites(entries_by_group(asked_for)["product:{int}"])
    assert (found.unchanged, found.seconds_to_change) == (1.0, None)


def test_a_value_that_was_deleted_when_it_changed_is_never_stale() -> None:
    changes = {key: [100.0 * number for number in range(1, 140)] for key in GROUPS}
    truth = Source(changes)
    lookups: list[tuple[float, int, bool]] = [(at, key, False) for at, key in asked()]
    lookups += [(at, key, True) for key, times in changes.items() for at in times]
    held, events = set[int](), list[Event]()
    for at, key, changed in sorted(lookups):
        if changed:
            held.discard(key)
            events.append(event(DELETE, key, at))
        elif key in held:
            events.append(event(HIT, key, at))
        else:
            value = truth.value(key, at)
            events += [event(MISS, key, at), event(WRITE, key, at, 3600, value)]
            held.add(key)
    found = Values(events).rewrites(
        entries_by_group([simulated_calls(events, GROUPS)])["product:{int}"]
    )
    # No entry has expired: what is written after a delete says nothing of the timeout.
    assert (found.rewrites, found.unchanged) == (0.0, None)


def test_other_groups_do_not_count() -> None:
    events, *_ = cached(source(by_chance, 1800), 150)
    assert stale_share([simulated_calls(events, GROUPS)], Values(events), "user:{int}") is None
