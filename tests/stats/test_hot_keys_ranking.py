from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.stats import hot_keys
from cache_monitor.stats.hot_keys import HotKeys, KeyStats, Ranking, StoredKeys, pack

keys = st.lists(st.sampled_from([f"key:{n}" for n in range(40)]), max_size=300)
tables = st.lists(keys, max_size=5)


def _stored(used: list[str], capacity: int = 5) -> StoredKeys:
    table = HotKeys(capacity)
    for key in used:
        table.entry(key, "key:{int}").count(True, False, 1)
    return pack(table)


def _ranked(stored: list[StoredKeys], most: int) -> tuple[dict[str, KeyStats], int]:
    ranked = Ranking()
    for each in stored:
        ranked.add(each)
    top, floor = ranked.top(most)
    return ranked.gather(stored, top), floor


def _assert_bounds(found: dict[str, KeyStats], floor: int, truth: Counter[str]) -> None:
    for key, stats in found.items():
        assert stats.lookups <= truth[key] <= stats.weight()
    for key, count in truth.items():
        assert key in found or count <= floor


@given(tables, st.integers(1, 30))
def test_the_true_count_lies_between_the_counted_and_the_stated_bound(
    used: list[list[str]], most: int
) -> None:
    found, floor = _ranked([_stored(each) for each in used], most)
    assert len(found) <= most
    _assert_bounds(found, floor, Counter(key for each in used for key in each))


@given(tables, st.integers(1, 30), st.randoms())
def test_the_order_of_the_tables_makes_no_difference(
    used: list[list[str]], most: int, source: Random
) -> None:
    stored = [_stored(each) for each in used]
    shuffled = list(stored)
    source.shuffle(shuffled)
    assert _ranked(stored, most) == _ranked(shuffled, most)


@given(tables, st.integers(1, 30))
def test_ranking_in_two_steps_keeps_the_bounds(used: list[list[str]], most: int) -> None:
    """As the roll-up does: merged tables are merged again."""
    steps = [[_stored(each) for each in used[at::2]] for at in (0, 1)]
    merged = []
    for step in steps:
        found, floor = _ranked(step, most)
        merged.append(pack(HotKeys(most, floor, found)))
    found, floor = _ranked(merged, most)
    _assert_bounds(found, floor, Counter(key for each in used for key in each))


@pytest.fixture
def few_ranked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hot_keys, "MOST_RANKED", 6)


@pytest.mark.usefixtures("few_ranked")
def test_the_bounds_hold_where_there_are_too_many_keys_to_rank() -> None:
    source = Random(1)
    for _ in range(200):
        used = [[f"key:{source.randrange(40)}" for _ in range(60)] for _ in range(4)]
        found, floor = _ranked([_stored(each) for each in used], 3)
        _assert_bounds(found, floor, Counter(key for each in used for key in each))


def test_few_keys_are_counted_exactly() -> None:
    found, floor = _ranked([_stored(["a", "a", "b"]), _stored(["b"])], 10)
    assert {key: (stats.lookups, stats.missing) for key, stats in found.items()} == {
        "a": (2, 0),
        "b": (2, 0),
    }
    assert floor == 0


def test_the_floor_is_the_most_that_a_key_left_out_can_have() -> None:
    stored = [_stored(["a"] * 5 + ["b"] * 3 + ["c"] * 2), _stored(["b"])]
    assert _ranked(stored, 1)[1] == 4
    assert _ranked(stored, 2)[1] == 2
    assert _ranked(stored, 3)[1] == 0


def test_all_that_is_known_of_a_key_adds_up() -> None:
    part = HotKeys(5)
    part.table["a"] = KeyStats(
        "one", 3, 1, 2, 2, bytes=10, produced=2, produce_seconds=0.5, reasons={"expired": 1}
    )
    found, _ = _ranked([pack(part), pack(part)], 1)
    assert found == {
        "a": KeyStats(
            "one", 6, 2, 4, 4, bytes=10, produced=4, produce_seconds=1.0, reasons={"expired": 2}
        )
    }


def test_what_is_known_of_keys_that_are_not_on_top_is_left_out() -> None:
    part = HotKeys(5)
    part.table["a"] = KeyStats("one", 9, 9)
    part.table["b"] = KeyStats("two", 2, 0, 2, 2, None, 0, 1, 0.5, {"expired": 2})
    found, floor = _ranked([pack(part), pack(part)], 1)
    assert found == {"a": KeyStats("one", 18, 18)}
    assert floor == 8


def test_the_hottest_of_many_keys_in_many_tables_are_found() -> None:
    source = Random(1)
    names = [f"key:{n}" for n in range(20_000)]
    weights = [1 / rank for rank in range(1, 20_001)]
    used = [source.choices(names, weights, k=20_000) for _ in range(10)]
    found, _ = _ranked([_stored(each, capacity=200) for each in used], 20)
    true = Counter(key for each in used for key in each).most_common(20)
    assert len(set(found) & {key for key, _ in true}) >= 19
