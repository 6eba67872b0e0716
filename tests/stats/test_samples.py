from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.stats.samples import KEPT, MergedSample, Samples, noted, smallest

names = st.lists(st.text(max_size=5), max_size=30)


def _gathered(*samples: Samples) -> Samples:
    gathering = MergedSample()
    for each in samples:
        gathering.add(each)
    return gathering.samples()


@given(names, names)
def test_the_merge_of_the_parts_is_the_sample_of_the_whole(one: list[str], two: list[str]) -> None:
    assert _gathered(smallest(one), smallest(two)) == smallest(one + two)


@given(names, names, names)
def test_merging_is_associative_and_commutative(
    one: list[str], two: list[str], three: list[str]
) -> None:
    first, second, third = smallest(one), smallest(two), smallest(three)
    left = _gathered(_gathered(first, second), third)
    assert left == _gathered(first, _gathered(second, third)) == _gathered(third, second, first)


@given(names)
def test_a_sample_is_bounded_and_of_different_names(all_of_them: list[str]) -> None:
    sample = smallest(all_of_them)
    assert len(sample) == len(set(sample)) == min(KEPT, len(set(all_of_them)))
    assert set(sample) <= set(all_of_them)


def test_many_names_are_not_all_held() -> None:
    gathering = MergedSample()
    every = [f"key:{n}" for n in range(10_000)]
    for name in every:
        gathering.add((name,))
        assert len(gathering._names) <= KEPT
    assert gathering.samples() == smallest(every)


def test_the_sample_does_not_favour_names_that_come_first_in_the_alphabet() -> None:
    every = sorted(f"key:{n}" for n in range(10_000))
    assert not set(smallest(every)) <= set(every[:5000])


@given(names)
def test_the_first_few_different_names_are_noted(all_of_them: list[str]) -> None:
    samples: Samples = ()
    for name in all_of_them:
        samples = noted(samples, name)
    first = list(dict.fromkeys(all_of_them))[:KEPT]
    assert samples == smallest(first)
