"""The memory of caches that each process has for itself."""

from itertools import permutations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.stats import sketches
from cache_monitor.stats.window import KNOWN_FOR, MemoryByProcess, Window, in_all


def _held(*windows: Window, known_for: float = KNOWN_FOR) -> MemoryByProcess:
    held = MemoryByProcess(known_for)
    for window in windows:
        held.add(window)
    return held


def _own(start: int, **sizes: int) -> Window:
    return Window(start, 10, own_memory={ord(name): size for name, size in sizes.items()})


def _sums(*windows: Window, known_for: float = KNOWN_FOR) -> list[int | None]:
    return [size for _, size in _held(*windows, known_for=known_for).sums()]


def test_processes_add_up_and_of_each_its_latest_figure_counts() -> None:
    assert _sums(_own(0, a=10), _own(10, a=30), _own(20, a=20), _own(50, b=5)) == [10, 30, 20, 25]


def test_a_cache_that_was_emptied_is_empty_at_once() -> None:
    assert _sums(_own(0, a=100, b=100), _own(10, a=1, b=0)) == [200, 1]


def test_a_process_that_ended_does_not_count_beside_the_one_that_came_for_it() -> None:
    assert _sums(_own(0, a=100), _own(10, a=0), _own(10, b=50)) == [100, 50]


def test_a_process_of_which_nothing_was_heard_for_long_has_ended() -> None:
    assert _sums(_own(0, a=100), _own(100, b=5), _own(101, b=5), known_for=100) == [100, 105, 5]


def test_windows_may_come_in_any_order() -> None:
    windows = [_own(0, a=10), _own(10, a=30), _own(20, a=20, b=1), _own(20, c=5)]
    for order in permutations(windows):
        assert _sums(*order) == [10, 30, 26]


@pytest.mark.parametrize(("seconds", "own", "whole"), [(60, {97: 3, 98: 5}, None), (300, {}, 30)])
def test_only_windows_of_up_to_a_minute_tell_processes_apart(
    seconds: int, own: dict[int, int], whole: int | None
) -> None:
    window = Window(0, seconds)
    _held(_own(0, a=30), _own(10, a=3, b=5)).note_in(window)
    assert (window.own_memory, window.memory_bytes) == (own, whole)


def test_of_a_cache_that_processes_share_the_greatest_figure_stays() -> None:
    window = Window(0, 60)
    _held(Window(0, 10, memory_bytes=10), Window(0, 10, memory_bytes=12)).note_in(window)
    assert (window.own_memory, window.memory_bytes) == ({}, 12)


def test_memory_that_nobody_looked_at_is_unknown() -> None:
    for seconds in (60, 300):
        window = Window(0, seconds)
        _held(Window(0, 10)).note_in(window)
        assert (window.own_memory, window.memory_bytes) == ({}, None)
    assert in_all({}) is None


@given(st.dictionaries(st.integers(0, 2**32 - 1), st.integers(0, 2**40), max_size=127))
def test_fewer_processes_than_a_sketch_has_add_up_exactly(held: dict[int, int]) -> None:
    assert in_all(held) == (sum(held.values()) if held else None)


def test_very_many_processes_are_estimated_from_some_in_bounded_memory() -> None:
    source = Random(1)
    every = {source.randrange(2**32): source.randrange(900, 1100) for _ in range(3000)}
    held = _held(*(Window(0, 10, own_memory={process: size}) for process, size in every.items()))
    window = Window(0, 60)
    held.note_in(window)
    assert len(window.own_memory) <= 2 * sketches.SIZE
    [(_, told)] = held.sums()
    assert told is not None
    # Three times the standard error of the estimate of how many there are.
    assert abs(told / sum(every.values()) - 1) < 3 * 0.089
