import random
from collections import Counter
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.stats.hotkeys import HotKeys

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
