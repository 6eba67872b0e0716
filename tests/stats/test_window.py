from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.stats.encoding import decode, encode
from cache_monitor.stats.hotkeys import HotKeys
from cache_monitor.stats.window import OTHER_GROUPS, Window, total

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


def _window(made: Calls, group_limit: int = 10) -> Window:
    window = Window(0, 10, HotKeys(10), group_limit)
    for operation, key, hit, seconds in made:
        stats = window.operation(operation)
        stats.calls += 1
        stats.hits += hit
        stats.seconds += seconds
        stats.buckets[1] = stats.buckets.get(1, 0) + 1
        window.group(key, "key").count(hit, False, 1)
        window.hot_keys.entry(key, key).count(hit, False, 1)
        window.add_bytes(1, wrote=hit)
    return window


def _merged(*windows: Window) -> Window:
    whole = Window(0, 10, HotKeys(10), 10)
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


def test_groups_over_the_limit_share_one() -> None:
    made: Calls = [("get", key, True, 1.0) for key in "abc"]
    window = _window(made, group_limit=2)
    assert set(window.groups) == {"a", "b", OTHER_GROUPS}
    assert window.groups[OTHER_GROUPS].lookups == 1


def test_a_total_of_what_is_known_is_unknown_only_where_nothing_is_known() -> None:
    assert total(None, None) is None
    assert total(None, 0) == 0
    assert total(2, 3) == 5
