from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.stats.codec import decode, encode
from cache_monitor.stats.details import (
    OTHER_GROUPS,
    OTHER_VIEWS,
    VIEW_LIMIT,
    Details,
    DetailsMerge,
    StoredDetails,
)
from cache_monitor.stats.hot_keys import HotKeys
from cache_monitor.stats.sketches import few_of, with_one_more

uses = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=30)
Uses = list[tuple[str, bool]]


def _details(made: Uses) -> Details:
    details = Details(0, 60, HotKeys(10), 10)
    for key, hit in made:
        details.uses += 1
        group = details.group(key, "key")
        group.count(hit, not hit, 1, key)
        group.add_key(ord(key))
        group.add_bytes(1, wrote=not hit)
        stats = details.hot_keys.entry(key, key)
        stats.count(hit, not hit, 1)
        stats.bytes = 7
        group.stampedes += not hit
        group.other_uses += 1
        group.repeated_gets, group.single_gets_requests = group.repeated_gets + 2, 0
        group.single_gets += 3
        view = details.view(f"view {key}")
        view.requests += 1
        view.sample_misses = with_one_more(view.sample_misses, key)
        view.request_seconds += 0.5
        if hit:
            group.ages[1] = group.ages.get(1, 0) + 1
        else:
            group.produced, stats.produced = group.produced + 1, stats.produced + 1
            group.produce_seconds += 0.25
            group.reasons["expired"] = group.reasons.get("expired", 0) + 1
            stats.add_reasons({"expired": 1})
    return details


def _merged(*parts: Details, group_limit: int = 10) -> Details:
    merging = DetailsMerge(0, 60, group_limit)
    for part in parts:
        merging.add(decode(encode(part), StoredDetails))
    return merging.whole(10)


@given(uses, uses)
def test_the_merge_of_the_parts_is_the_whole(one: Uses, other: Uses) -> None:
    assert _merged(_details(one), _details(other)) == _merged(_details(one + other))


@given(uses, uses, uses)
def test_merging_is_associative_and_commutative(one: Uses, two: Uses, three: Uses) -> None:
    first, second, third = _details(one), _details(two), _details(three)
    left = _merged(_merged(first, second), third)
    assert left == _merged(first, _merged(second, third))
    assert left == _merged(third, second, first)


keys = st.lists(st.text("abc", min_size=1, max_size=3), max_size=9)


def _sampled(names: list[str]) -> Details:
    """One group and one view that missed these keys, in this order."""
    details = Details(0, 60, HotKeys(10), 10)
    view = details.view("view")
    for name in names:
        details.group("group", "key").count(False, False, 1, name)
        view.sample_hits = with_one_more(view.sample_hits, name)
    return details


@given(keys, keys, keys)
def test_samples_are_the_same_in_whatever_order_they_come(
    one: list[str], two: list[str], three: list[str]
) -> None:
    first, second, third = _sampled(one), _sampled(two), _sampled(three)
    left = _merged(_merged(first, second), third)
    assert left == _merged(first, _merged(second, third)) == _merged(third, first, second)
    every = [name for each in (one, two, three) for name in dict.fromkeys(each)]
    if every:
        samples = left.groups["group"].sample_misses
        assert samples == left.views["view"].sample_hits
        firsts = [name for each in (one, two, three) for name in list(dict.fromkeys(each))[:5]]
        assert samples == few_of(firsts)
        assert left.groups["group"].sample_hits == ()


def test_of_a_keys_sizes_the_greatest_stays_whichever_comes_last() -> None:
    sizes = []
    for size in (5, None, 9, 7):
        details = _details([("a", True)])
        details.hot_keys.table["a"].bytes = size
        sizes.append(details)
    for order in (sizes, sizes[::-1]):
        assert _merged(*order).hot_keys.table["a"].bytes == 9


def test_views_over_the_limit_share_one() -> None:
    parts = [Details(0, 60, HotKeys(10), 10) for _ in range(2)]
    for number in range(VIEW_LIMIT + 3):
        view = parts[number % 2].view(f"view {number}")
        view.requests, view.sample_misses = 1, (f"key {number}",)
    merged = _merged(*parts)
    assert len(merged.views) == VIEW_LIMIT + 1
    assert merged.views[OTHER_VIEWS].requests == 3
    assert len(merged.views[OTHER_VIEWS].sample_misses) == 3


@given(st.lists(uses, max_size=4))
def test_what_was_merged_stays_as_it_is(made: list[Uses]) -> None:
    parts = [decode(encode(_details(each)), StoredDetails) for each in made]
    before = [encode(part) for part in parts]
    merging = reduce(_with, parts, DetailsMerge(0, 60, 10))
    merging.whole(10)
    assert [encode(part) for part in parts] == before


def _with(merging: DetailsMerge, part: StoredDetails) -> DetailsMerge:
    merging.add(part)
    return merging


def test_groups_over_the_limit_share_one() -> None:
    whole = _merged(_details([("a", True), ("b", True)]), _details([("c", True)]), group_limit=2)
    assert set(whole.groups) == {"a", "b", OTHER_GROUPS}
    assert whole.groups[OTHER_GROUPS].keys == {ord("c")}
