from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.stats.distinct import hash_of
from cache_monitor.stats.encoding import decode, encode
from cache_monitor.stats.window import Memory, Window, total

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


def _window(made: Calls) -> Window:
    window = Window(0, 10)
    for operation, process, hit, seconds in made:
        stats = window.operation(operation)
        stats.calls += 1
        stats.hits += hit
        stats.seconds += seconds
        stats.buckets[1] = stats.buckets.get(1, 0) + 1
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


@given(calls, calls, calls)
def test_merging_is_associative_and_commutative(one: Calls, two: Calls, three: Calls) -> None:
    first, second, third = _window(one), _window(two), _window(three)
    left = _merged(_merged(first, second), third)
    assert left == _merged(first, _merged(second, third))
    assert left == _merged(third, second, first)


def test_a_total_of_what_is_known_is_unknown_only_where_nothing_is_known() -> None:
    assert total(None, None) is None
    assert total(None, 0) == 0
    assert total(2, 3) == 5


def _seen(size: int, *, shared: bool) -> Window:
    return Window(0, 10, memory_bytes=size, memory_is_shared=shared)


def test_the_memory_of_processes_adds_up_and_that_of_one_over_time_does_not() -> None:
    memory = Memory()
    for process, size in (("a", 10), ("a", 30), ("a", 20), ("b", 5)):
        memory.add(process, _seen(size, shared=False))
    assert memory.bytes() == 35


def test_a_cache_that_processes_share_is_one() -> None:
    memory = Memory()
    memory.add("a", _seen(10, shared=True))
    memory.add("b", _seen(12, shared=True))
    assert memory.bytes() == 12


def test_memory_that_nobody_looked_at_is_unknown() -> None:
    memory = Memory()
    memory.add("a", Window(0, 10))
    assert memory.bytes() is None
