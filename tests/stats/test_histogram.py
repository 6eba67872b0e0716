import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.stats import histogram

durations = st.floats(min_value=1e-9, max_value=1e4, allow_nan=False)


def _buckets(seconds: list[float]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for bucket in histogram.buckets_of(seconds):
        counts[bucket] = counts.get(bucket, 0) + 1
    return counts


@given(durations)
def test_a_duration_read_back_is_at_most_five_percent_off(seconds: float) -> None:
    [bucket] = histogram.buckets_of([seconds])
    assert histogram.middle_of(bucket) == pytest.approx(seconds, rel=0.05)


def test_a_duration_of_zero_has_a_bucket() -> None:
    [bucket] = histogram.buckets_of([0.0])
    assert histogram.middle_of(bucket) < 1e-9


@given(st.lists(durations, min_size=1), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_is_within_five_percent_of_the_true_one(
    seconds: list[float], fraction: float
) -> None:
    ordered = sorted(seconds)
    true = next(each for n, each in enumerate(ordered, 1) if n >= fraction * len(ordered))
    [found] = histogram.quantiles(_buckets(seconds), (fraction,), max(seconds))
    assert found == pytest.approx(true, rel=0.05)


@given(st.lists(durations), st.lists(durations))
def test_merging_two_histograms_gives_the_histogram_of_both(
    one: list[float], other: list[float]
) -> None:
    merged = _buckets(one)
    histogram.add(merged, _buckets(other))
    assert merged == _buckets(one + other)


def test_without_calls_there_is_no_quantile() -> None:
    assert histogram.quantiles({}, (0.5, 0.99), 0.0) == [None, None]


def test_no_quantile_is_above_the_slowest_call() -> None:
    assert histogram.quantiles(_buckets([1.0]), (0.99,), 1.0) == [1.0]
