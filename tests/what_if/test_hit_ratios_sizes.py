"""Where a cache has room for bytes, each entry takes what it takes."""

from collections.abc import Sequence
from random import Random

import pytest

from cache_monitor.what_if.hit_ratios import MeasuredContents, predict, sized
from cache_monitor.what_if.simulated_caches import Access
from cache_monitor.what_if.simulated_servers import RedisLru
from cache_monitor.what_if.workload import SimulatedCall
from tests.what_if import asking

BESIDE = 60
"""Bytes that an entry takes beside its value."""


def value_of(key: int) -> int:
    return 2000 if key < 20 else 100


def asked(number: int = 8000, different: int = 900) -> Sequence[int]:
    weights = [1 / rank for rank in range(1, different + 1)]
    return Random(3).choices(range(different), weights, k=number)


def simulated_calls(keys: Sequence[int]) -> list[SimulatedCall]:
    group = ["large" if key < 20 else "small" for key in range(900)]
    return [
        SimulatedCall("get", Access(key, float(at)), True, group[key], bytes=value_of(key))
        for at, key in enumerate(keys)
    ]


def filled(keys: Sequence[int], most: int) -> tuple[float, MeasuredContents]:
    """The hit ratio of a server of so many bytes, and what it holds after those lookups."""
    server = RedisLru(most)
    accesses = [Access(key, float(at), size=value_of(key) + BESIDE) for at, key in enumerate(keys)]
    hit_ratio = asking.hits(server, accesses) / len(keys)
    held = [value_of(key) + BESIDE for key in range(900) if server.has(Access(key, 1e9))]
    large = [each for each in held if each > 1000]
    small = [each for each in held if each < 1000]
    groups = {"large": 2000.0 + BESIDE, "small": 100.0 + BESIDE}
    assert large
    assert small
    return hit_ratio, MeasuredContents(len(held), sum(held), groups, most + 5000, 5000)


@pytest.mark.parametrize("factor", [0.5, 1, 2])
def test_another_memory_hits_what_a_server_of_that_memory_would_have(factor: float) -> None:
    keys = asked()
    _, held = filled(keys, 100_000)
    truth, _ = filled(keys, int(factor * 100_000))
    room = held.room(5000 + factor * 100_000)
    found = predict(sized([simulated_calls(keys)], held)[0], RedisLru, room)
    assert found.hit_ratio == pytest.approx(truth, abs=0.005)


def test_that_the_most_wanted_are_the_largest_is_minded() -> None:
    keys = asked()
    _, held = filled(keys, 100_000)
    truth, _ = filled(keys, 25_000)
    room = held.room(30_000)
    right = predict(sized([simulated_calls(keys)], held)[0], RedisLru, room)
    alike = predict(simulated_calls(keys), RedisLru, room)
    assert right.hit_ratio == pytest.approx(truth, abs=0.01)
    assert alike.hit_ratio != pytest.approx(truth, abs=0.03)


def test_an_entry_whose_bytes_nobody_saw_takes_what_its_group_takes() -> None:
    held = MeasuredContents(10, 1000, {"large": 300.0}, 1000)
    unknown = SimulatedCall("get", Access("a", 0.0), True, "large")
    other = SimulatedCall("get", Access("b", 0.0), True, "other")
    known = SimulatedCall("get", Access("c", 0.0), True, "large", 1, True, 250)
    smaller = SimulatedCall("get", Access("d", 0.0), True, "large", 1, True, 150)
    [found] = sized([[unknown, other, known, smaller]], held)
    # Those of the group that were seen are 200 on the average: 100 bytes come beside.
    assert [each.access.size for each in found] == [3.0, 1.0, 3.5, 2.5]


def test_memory_and_entries_are_two_ways_to_say_the_same() -> None:
    held = MeasuredContents(entries=100, bytes=20_000, groups={}, used=40_000, empty=10_000)
    assert held.room(40_000) == 100
    assert held.room(70_000) == 200
    assert held.bytes_for(200) == 70_000
    assert held.room(5000) == 1
