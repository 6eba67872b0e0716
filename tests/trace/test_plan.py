"""The level follows what the trace takes."""

import itertools

from cache_monitor.trace import Plan, TraceLimits, TraceUsage, hash_of, level_of, next_level

LIMITS = TraceLimits(keys=8000, events=1000, bytes=86_400_000)


def level(now: int, keys: int = 5000, events: int = 30_000, size: int = 30_000) -> int:
    return next_level(now, TraceUsage(keys, events, size, 60.0), LIMITS)


def test_what_fits_stays() -> None:
    assert level(0) == 0
    assert level(3) == 3


def test_too_many_keys_events_or_bytes_raise_it_as_far_as_needed() -> None:
    assert level(0, keys=8100) == 1
    assert level(2, keys=800_000) == 10
    assert level(0, events=240_000) == 3
    assert level(0, size=120_000) == 2


def test_much_room_lowers_it_by_one() -> None:
    assert level(5, keys=100, events=60, size=100) == 4
    assert level(0, keys=100, events=60, size=100) == 0


def test_each_level_has_half_of_the_keys_of_the_one_before() -> None:
    keys = [hash_of(f"key:{number}") for number in range(4000)]
    taken = [sum(Plan(level=level).takes(key) for key in keys) for level in range(5)]
    assert taken[0] == 4000
    for one, other in itertools.pairwise(taken):
        assert 0.4 * one < other < 0.6 * one
    assert all(level_of(key) >= 4 for key in keys if Plan(level=4).takes(key))
