import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.stats import sketches
from cache_monitor.stats.sketches import FIRST_BUCKET, LAST_BUCKET, Histogram

durations = st.floats(min_value=1e-9, max_value=1e4, allow_nan=False)


def _buckets(seconds: list[float]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for bucket in sketches.buckets_of(seconds):
        counts[bucket] = counts.get(bucket, 0) + 1
    return counts


@given(durations)
def test_a_duration_read_back_is_at_most_five_percent_off(seconds: float) -> None:
    [bucket] = sketches.buckets_of([seconds])
    assert sketches.middle_of(bucket) == pytest.approx(seconds, rel=0.05)


def test_a_duration_of_zero_has_a_bucket() -> None:
    [bucket] = sketches.buckets_of([0.0])
    assert sketches.middle_of(bucket) < 1e-9


@given(st.lists(durations, min_size=1), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_is_within_five_percent_of_the_true_one(
    seconds: list[float], fraction: float
) -> None:
    ordered = sorted(seconds)
    true = next(each for n, each in enumerate(ordered, 1) if n >= fraction * len(ordered))
    [found] = sketches.quantiles(_buckets(seconds), (fraction,), max(seconds))
    assert found == pytest.approx(true, rel=0.05)


@given(st.lists(durations | st.sampled_from([0.0, 1e-12, 1e300])))
def test_durations_are_counted_at_once_as_one_by_one(seconds: list[float]) -> None:
    assert sketches.counts_of(seconds) == _buckets(seconds)


@given(st.lists(durations), st.lists(durations))
def test_merging_two_histograms_gives_the_histogram_of_both(
    one: list[float], other: list[float]
) -> None:
    merged = _buckets(one)
    sketches.add_counts(merged, _buckets(other))
    assert merged == _buckets(one + other)


def test_without_calls_there_is_no_quantile() -> None:
    assert sketches.quantiles({}, (0.5, 0.99), 0.0) == [None, None]


def test_no_quantile_is_above_the_slowest_call() -> None:
    assert sketches.quantiles(_buckets([1.0]), (0.99,), 1.0) == [1.0]


def _histogram(seconds: list[float]) -> Histogram:
    made = Histogram()
    made.count(seconds)
    return made


many = st.lists(durations | st.sampled_from([0.0, 1e-12, 1e6, 1e300]), min_size=1, max_size=400)


@given(st.lists(durations, min_size=1))
def test_a_histogram_counts_as_its_buckets_do(seconds: list[float]) -> None:
    assert list(_histogram(seconds).items()) == sorted(_buckets(seconds).items())


@given(many, many, many)
def test_histograms_merge_to_that_of_all_calls(
    one: list[float], two: list[float], three: list[float]
) -> None:
    left, right = _histogram(one), _histogram(three)
    left.merge(_histogram(two))
    left.merge(_histogram(three))
    right.merge(_histogram(two))
    right.merge(_histogram(one))
    assert left == right == _histogram(one + two + three)


@given(many, st.integers(min_value=0, max_value=33))
def test_a_histogram_is_read_back_whatever_its_counts_take(
    seconds: list[float], doublings: int
) -> None:
    made = _histogram(seconds)
    for _ in range(doublings):
        made.merge(Histogram.unpack(made.pack()))
    assert Histogram.unpack(made.pack()) == made
    assert sum(count for _, count in made.items()) == len(seconds) << doublings


@given(st.lists(st.floats(1e-9, 1e4), min_size=1), st.lists(st.floats(0.001, 1), max_size=5))
def test_a_histogram_has_the_quantiles_of_its_buckets(
    seconds: list[float], fractions: list[float]
) -> None:
    asked, slowest = tuple(sorted(fractions)), max(seconds)
    whole = _histogram(seconds)
    assert whole.quantiles(asked, slowest) == sketches.quantiles(
        dict(whole.items()), asked, slowest
    )


def test_what_no_bucket_is_for_is_counted_in_the_next() -> None:
    assert dict(_histogram([0.0, 1e-12, 1e300]).items()) == {FIRST_BUCKET: 2, LAST_BUCKET: 1}
    assert _histogram([0.0, 1e-12]).quantiles((0.5,), 1e-12) == [1e-12]


def test_a_histogram_of_nothing_takes_no_bytes() -> None:
    assert Histogram().pack() == b""
    assert Histogram.unpack(b"") == Histogram()
    assert Histogram().quantiles((0.5,), 0.0) == [None]


def test_few_calls_take_a_byte_a_bucket() -> None:
    """Some 16 buckets for each doubling, and the head."""
    assert len(_histogram([1e-5, 8e-5]).pack()) == 3 + 3 * 16 + 1
