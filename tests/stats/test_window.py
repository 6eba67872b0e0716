import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.stats.codec import decode, encode
from cache_monitor.stats.sketches import hash_of
from cache_monitor.stats.window import Window, percent, ratio, total

calls = st.lists(
    st.tuples(
        st.sampled_from(["get", "set"]),
        st.sampled_from(["a", "b", "c"]),
        st.booleans(),
        # Fractions of two add up without rounding, in whichever order.
        st.integers(min_value=1, max_value=64).map(lambda n: n / 64),
    ),
    max_size=30,
)
Calls = list[tuple[str, str, bool, float]]
counters = st.none() | st.integers(min_value=0, max_value=5)


def _window(made: Calls, evictions: int | None = None) -> Window:
    window = Window(0, 10, evictions=evictions)
    for operation, process, hit, seconds in made:
        stats = window.operation(operation)
        stats.calls += 1
        stats.hits += hit
        stats.seconds += seconds
        stats.times.count([seconds])
        window.processes.add(hash_of(process))
        window.add_bytes(1, wrote=hit)
    return window


def _merged(*windows: Window) -> Window:
    whole = Window(0, 10)
    for window in windows:
        whole.merge(decode(encode(window), Window))
    return whole


@given(calls, calls)
def test_the_merge_of_the_parts_is_the_whole(one: Calls, other: Calls) -> None:
    assert _merged(_window(one), _window(other)) == _merged(_window(one + other))


@given(st.tuples(calls, counters), st.tuples(calls, counters), st.tuples(calls, counters))
def test_merging_is_associative_and_commutative(
    one: tuple[Calls, int | None], two: tuple[Calls, int | None], three: tuple[Calls, int | None]
) -> None:
    first, second, third = _window(*one), _window(*two), _window(*three)
    left = _merged(_merged(first, second), third)
    assert left == _merged(first, _merged(second, third))
    assert left == _merged(third, second, first)


def test_a_counter_of_evictions_does_not_add_up() -> None:
    """Each process sees the same counter, of the server that all of them share."""
    assert _merged(*(_window([], counter) for counter in (7, None, 9, 8))).evictions == 9
    assert _merged(_window([]), _window([])).evictions is None
    assert _merged(_window([]), _window([], 0)).evictions == 0


def test_a_window_whose_counter_alone_has_changed_is_another_one() -> None:
    assert len({_window([], counter).revision for counter in (None, 0, 1)}) == 3


def test_a_total_of_what_is_known_is_unknown_only_where_nothing_is_known() -> None:
    assert total(None, None) is None
    assert total(None, 0) == 0
    assert total(2, 3) == 5


@pytest.mark.parametrize(
    ("part", "whole", "share", "per_cent"),
    [
        (0, 0, None, None),
        (0, 5, 0.0, 0),
        (5, 5, 1.0, 100),
        (1, 3, 0.3333, 33),
        (99_999, 100_000, 0.9999, 99),
        (1, 100_000, 0.0001, 1),
        (1.2, 1.0, 1.0, 100),
    ],
)
def test_only_a_true_nothing_or_everything_reads_as_such(
    part: float, whole: float, share: float | None, per_cent: int | None
) -> None:
    assert ratio(part, whole) == share
    assert percent(part, whole) == per_cent
