import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.stats.codec import decode, encode
from cache_monitor.stats.details import (
    GROUPS_OF_A_VIEW,
    OTHER_GROUPS,
    OTHER_VIEWS,
    VIEW_LIMIT,
    DetailedKeys,
    Details,
    DetailsState,
    StoredDetails,
    ViewStats,
    ViewUse,
)
from cache_monitor.stats.groups import GroupStats
from cache_monitor.stats.hot_keys import HotKeys
from cache_monitor.stats.sketches import pack_sketch
from tests.stored import read_details

names = st.text(max_size=5)


def _details(group_limit: int = 10, capacity: int = 10) -> Details:
    return Details(0, 60, HotKeys(capacity), group_limit)


def test_groups_over_the_limit_share_one() -> None:
    details = _details(group_limit=2)
    for name in ("a", "b", "c", "d"):
        details.group(name, "page").count(True, False, 1)
    assert set(details.groups) == {"a", "b", OTHER_GROUPS}
    assert details.groups[OTHER_GROUPS].lookups == 2
    assert details.groups[OTHER_GROUPS].kind == "key"


def test_views_over_the_limit_share_one() -> None:
    details = _details()
    for n in range(VIEW_LIMIT + 3):
        details.view(f"shop:{n}").requests += 1
    assert len(details.views) == VIEW_LIMIT + 1
    assert details.views[OTHER_VIEWS].requests == 3


@given(st.dictionaries(names, st.tuples(names, st.booleans(), st.integers(1, 9)), max_size=10))
def test_what_a_store_keeps_is_what_was_counted(used: dict[str, tuple[str, bool, int]]) -> None:
    details = _details(group_limit=100)
    for key, (group, hit, times) in used.items():
        details.uses += times
        details.group(group, "key").count(hit, not hit, times)
        stats = details.hot_keys.entry(key, group)
        stats.count(hit, not hit, times)
        if not hit:
            stats.produced, stats.produce_seconds, stats.bytes = times, 0.25 * times, times
            stats.add_reasons({"expired": times})
    assert read_details(encode(details)) == details


def test_details_without_what_is_optional_can_be_read() -> None:
    group = ["key", 3, 2, 1]
    view = [1, 3, 1, 0.5, 4, 0.25]
    written = [60, 60, [10, 0, []], 200, {"a": group}, 3, {"shop:home": view}, True]
    found = read_details(b"\x01" + msgspec.msgpack.encode(written))
    assert (found.groups["a"].lookups, found.views["shop:home"].request_seconds) == (3, 0.25)
    assert found.groups["a"].sample_hits == found.views["shop:home"].sample_misses == ()


def test_the_keys_alone_can_be_read() -> None:
    details = _details()
    details.group("a", "key").count(True, False, 1, "a:1")
    details.hot_keys.entry("a:1", "a").count(True, False, 1)
    payload = encode(details)
    assert decode(payload, DetailedKeys).hot_keys == decode(payload, StoredDetails).hot_keys


@pytest.mark.parametrize("final", [True, False])
def test_whether_they_are_final_can_be_read_alone(final: bool) -> None:
    details = _details()
    details.view("shop:home").requests = 3
    details.hot_keys.entry("a:1", "a").count(True, False, 1)
    details.final = final
    assert decode(encode(details), DetailsState).final is final


def test_a_group_notes_the_first_few_keys_that_it_found_and_missed() -> None:
    stats = _details().group("a", "key")
    for number in range(9):
        stats.count(number % 2 == 0, False, 1, f"a:{number}")
        stats.count(number % 2 == 0, False, 1, f"a:{number}")
    assert set(stats.sample_hits) == {"a:0", "a:2", "a:4", "a:6", "a:8"}
    assert set(stats.sample_misses) == {"a:1", "a:3", "a:5", "a:7"}
    stats.count(True, False, 1, "a:10")
    assert len(stats.sample_hits) == 5


def test_of_a_table_that_has_grown_the_heavier_half_is_stored() -> None:
    details = _details(capacity=2)
    for weight, key in enumerate(("a", "b", "c", "d"), 1):
        details.hot_keys.entry(key, key).count(True, False, weight)
    stored = read_details(encode(details)).hot_keys
    assert set(stored.table) == {"c", "d"}
    assert stored.floor == 2
    assert len(details.hot_keys.table) == 4


@given(st.lists(st.integers(0, 2**32 - 1), max_size=2000), st.integers(1, 700))
def test_many_keys_at_once_make_the_same_sketch_as_one_after_the_other(
    hashes: list[int], at_once: int
) -> None:
    one, many = GroupStats("key"), GroupStats("key")
    for each in hashes:
        one.add_key(each)
    for first in range(0, len(hashes), at_once):
        many.add_keys(hashes[first : first + at_once])
    assert many.packed().sketch == one.packed().sketch


def test_a_sketch_comes_back_from_a_store_and_is_counted_on() -> None:
    details = _details()
    details.group("a", "key").add_keys([*range(0, 1000, 2)])
    again = read_details(encode(details))
    again.group("a", "key").add_keys([1, 3])
    assert again.groups["a"].packed().sketch == pack_sketch({1, 3, *range(0, 1000, 2)})


def test_a_view_tells_so_many_groups_apart() -> None:
    view = ViewStats()
    for number in range(GROUPS_OF_A_VIEW + 5):
        view.use(f"group {number}").calls += 1
    assert len(view.groups) == GROUPS_OF_A_VIEW + 1
    assert view.groups[OTHER_GROUPS].calls == 5
    other = ViewStats(groups={"one more": ViewUse(2, 1)})
    view.merge(other)
    assert (view.groups[OTHER_GROUPS].calls, view.groups[OTHER_GROUPS].lookups) == (7, 1)


def test_writes_are_known_from_the_first_on_with_their_longest_timeout() -> None:
    one, two = GroupStats("key", sets=1), GroupStats("key", sets=3)
    one.note_set(120.0, 60.0)
    two.note_set(100.0, 0.0)
    two.note_set(110.0, 300.0)
    one.merge(two)
    one.merge(GroupStats("key"))
    assert (one.first_set, one.timeout) == (100.0, 300.0)
    # Of each part only the first one is known.
    assert one.mean_set == 105.0
    later = GroupStats("key", sets=4)
    later.note_set(205.0, 0.0)
    one.merge(later)
    assert (one.first_set, one.mean_set) == (100.0, 155.0)
