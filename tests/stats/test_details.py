from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.stats.details import OTHER_GROUPS, Details
from cache_monitor.stats.encoding import decode, encode
from cache_monitor.stats.hotkeys import HotKeys

uses = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=30)
Uses = list[tuple[str, bool]]


def _details(made: Uses, group_limit: int = 10) -> Details:
    details = Details(0, 60, HotKeys(10), group_limit)
    for key, hit in made:
        details.uses += 1
        group = details.group(key, "key")
        group.count(hit, not hit, 1)
        group.add_key(ord(key))
        group.add_bytes(1, wrote=not hit)
        details.hot_keys.entry(key, key).count(hit, not hit, 1)
    return details


def _merged(*parts: Details) -> Details:
    whole = Details(0, 60, HotKeys(10), 10)
    for part in parts:
        whole.merge(decode(encode(part), Details))
    return whole


@given(uses, uses)
def test_the_merge_of_the_parts_is_the_whole(one: Uses, other: Uses) -> None:
    assert _merged(_details(one), _details(other)) == _merged(_details(one + other))


@given(uses, uses, uses)
def test_merging_is_associative_and_commutative(one: Uses, two: Uses, three: Uses) -> None:
    first, second, third = _details(one), _details(two), _details(three)
    left = _merged(_merged(first, second), third)
    assert left == _merged(first, _merged(second, third))
    assert left == _merged(third, second, first)


def test_groups_over_the_limit_share_one() -> None:
    details = _details([("a", True), ("b", True), ("c", True)], group_limit=2)
    assert set(details.groups) == {"a", "b", OTHER_GROUPS}
    assert details.groups[OTHER_GROUPS].lookups == 1
