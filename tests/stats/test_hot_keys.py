import random
from collections import Counter
from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.stats.hot_keys import HotKeys

keys = st.lists(st.sampled_from([f"key:{n}" for n in range(40)]), max_size=300)


def _table(used: Iterable[str], capacity: int = 5) -> HotKeys:
    table = HotKeys(capacity)
    for key in used:
        table.entry(key, "key:{int}").count(True, False, 1)
    return table


def _assert_bounds(table: HotKeys, truth: Counter[str]) -> None:
    for key, stats in table.table.items():
        assert stats.lookups <= truth[key] <= stats.weight()
    for key, count in truth.items():
        assert key in table.table or count <= table.floor


@given(keys)
def test_the_true_count_lies_between_the_counted_and_the_stated_bound(used: list[str]) -> None:
    _assert_bounds(_table(used), Counter(used))


@given(keys)
def test_the_table_never_outgrows_twice_its_capacity(used: list[str]) -> None:
    assert len(_table(used).table) <= 10


uses = st.lists(
    st.one_of(
        # A call of another kind, on one key, and plain hits and misses of many.
        st.sampled_from(range(40)),
        st.tuples(
            st.booleans(),
            st.lists(st.tuples(st.sampled_from(range(40)), st.integers(1, 3)), max_size=30),
        ),
    ),
    max_size=20,
)


def _count(used: list[Any]) -> tuple[HotKeys, Counter[str]]:
    """Keys of three groups, and how often each was used."""
    table, truth = HotKeys(5), Counter[str]()
    for use in used:
        if isinstance(use, int):
            table.entry(f"{use % 3}:{use}", str(use % 3)).count(False, False, 1)
            truth[f"{use % 3}:{use}"] += 1
            continue
        is_hit, looked_up = use
        for group in range(3):
            keys = [(f"{group}:{n}", n, times) for n, times in looked_up if n % 3 == group]
            if is_hit:
                table.count_hits(str(group), keys)
            else:
                table.count_misses(str(group), [(key, times) for key, _, times in keys])
            for key, _, times in keys:
                truth[key] += times
    return table, truth


@given(uses)
def test_the_bounds_hold_for_keys_that_were_but_a_number(used: list[Any]) -> None:
    table, truth = _count(used)
    _assert_bounds(table.heaviest(1000), truth)
    for most in (1, 5, 10):
        kept = table.heaviest(most)
        assert len(kept.table) <= most
        _assert_bounds(kept, truth)
        assert all(stats.group == key[0] for key, stats in kept.table.items())
        assert all(stats.bytes in {None, int(key[2:])} for key, stats in kept.table.items())
        assert all(each.lookups == each.hits + each.misses for each in kept.table.values())


@given(uses)
def test_what_waits_is_bounded_and_known_to_the_number(used: list[Any]) -> None:
    table, _ = _count(used)
    assert len(table.table) <= 10
    numbers = [*table.found.values(), *table.missed.values()]
    assert table.waiting == sum(map(len, numbers)) <= 20
    assert not any(key in table.table for each in numbers for key in each)


def test_a_look_at_the_heaviest_changes_nothing() -> None:
    table = HotKeys(2)
    table.count_hits("a", [(key, 10, 1) for key in "abcd"])
    assert (table.heaviest(3), table.waiting) == (table.heaviest(3), 2)
    table.entry("c", "a").count(False, False, 1)
    found = table.heaviest(4).table["c"]
    assert (found.lookups, found.hits, found.misses, found.bytes) == (2, 1, 1, 10)


def test_few_keys_are_counted_exactly() -> None:
    table = _table(["a", "b", "a", "a"])
    assert table.table["a"].lookups == 3
    assert table.table["a"].missing == 0


def test_the_hottest_of_many_keys_are_found() -> None:
    source = random.Random(1)
    weights = [1 / rank for rank in range(1, 20_001)]
    used = source.choices([f"key:{n}" for n in range(20_000)], weights, k=200_000)
    table = _table(used, capacity=200)
    found = sorted(table.table, key=lambda key: -table.table[key].weight())[:20]
    true = [key for key, _ in Counter(used).most_common(20)]
    assert len(set(found) & set(true)) >= 19
