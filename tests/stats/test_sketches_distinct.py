import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.stats import sketches

hashes = st.sets(st.integers(min_value=0, max_value=2**32 - 1), max_size=400)


@given(st.sets(st.integers(), max_size=sketches.SIZE - 1))
def test_few_keys_are_counted_exactly(numbers: set[int]) -> None:
    keys = [f"user:{number}" for number in numbers]
    assert sketches.estimate(sketches.smallest(map(sketches.hash_of, keys))) == len(numbers)


def test_many_keys_are_estimated_within_three_standard_errors() -> None:
    sketch = sketches.smallest(sketches.hash_of(f"user:{n}") for n in range(100_000))
    assert sketches.estimate(sketch) == pytest.approx(100_000, rel=3 * 0.089)


@given(hashes, hashes, hashes)
def test_merging_sketches_gives_the_sketch_of_all_in_any_order(
    one: set[int], two: set[int], three: set[int]
) -> None:
    smallest = sketches.smallest
    whole = smallest(one | two | three)
    assert smallest(smallest(one | two) | smallest(three)) == whole
    assert smallest(smallest(three) | smallest(smallest(two) | one)) == whole


@given(st.lists(st.sets(st.integers(min_value=0, max_value=2**32 - 1), max_size=200), max_size=20))
def test_the_union_of_many_sketches_is_the_sketch_of_all(sets: list[set[int]]) -> None:
    union = sketches.Union()
    for each in sets:
        union.add(sketches.pack_sketch(each))
    assert union.sketch() == sketches.smallest(set().union(*sets))


@given(st.binary(max_size=600))
def test_arbitrary_bytes_for_a_sketch_do_no_harm(packed: bytes) -> None:
    union = sketches.Union()
    union.add(packed)
    assert len(union.sketch()) <= sketches.SIZE


def test_a_hash_that_is_too_large_is_not_packed() -> None:
    assert list(sketches.unpack_sketch(sketches.pack_sketch({1, 2**32, 2**60}))) == [1]


def test_a_hash_is_the_same_in_every_process() -> None:
    assert sketches.hash_of("user:1") == 3698912738


def test_a_lone_surrogate_can_be_hashed() -> None:
    assert sketches.hash_of("\ud800") != sketches.hash_of("\ud801")
