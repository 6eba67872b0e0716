from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.stats.sketches import SAMPLE_SIZE, MergedSample, Samples, few_of, with_one_more

names = st.lists(st.text(max_size=5), max_size=30)


def _gathered(*samples: Samples) -> Samples:
    gathering = MergedSample()
    for each in samples:
        gathering.add(each)
    return gathering.samples()


@given(names, names)
def test_the_merge_of_the_parts_is_the_sample_of_the_whole(one: list[str], two: list[str]) -> None:
    assert _gathered(few_of(one), few_of(two)) == few_of(one + two)


@given(names, names, names)
def test_merging_is_associative_and_commutative(
    one: list[str], two: list[str], three: list[str]
) -> None:
    first, second, third = few_of(one), few_of(two), few_of(three)
    left = _gathered(_gathered(first, second), third)
    assert left == _gathered(first, _gathered(second, third)) == _gathered(third, second, first)


@given(names)
def test_a_sample_is_bounded_and_of_different_names(all_of_them: list[str]) -> None:
    sample = few_of(all_of_them)
    assert len(sample) == len(set(sample)) == min(SAMPLE_SIZE, len(set(all_of_them)))
    assert set(sample) <= set(all_of_them)


def test_many_names_are_not_all_held() -> None:
    gathering = MergedSample()
    every = [f"key:{n}" for n in range(10_000)]
    for name in every:
        gathering.add((name,))
        assert len(gathering._names) <= SAMPLE_SIZE
    assert gathering.samples() == few_of(every)


def test_the_sample_does_not_favour_names_that_come_first_in_the_alphabet() -> None:
    every = sorted(f"key:{n}" for n in range(10_000))
    assert not set(few_of(every)) <= set(every[:5000])


@given(names)
def test_the_first_few_different_names_are_noted(all_of_them: list[str]) -> None:
    samples: Samples = ()
    for name in all_of_them:
        samples = with_one_more(samples, name)
    first = list(dict.fromkeys(all_of_them))[:SAMPLE_SIZE]
    assert samples == few_of(first)
