"""What hits were spared, from the values that were seen being produced, and how sure that is."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from cache_monitor.reports.savings import Estimate, ProduceTimes, added
from cache_monitor.stats.groups import GroupStats
from cache_monitor.stats.hot_keys import KeyStats


def _key(hits: int, times: Sequence[float]) -> KeyStats:
    squares = sum(each * each for each in times)
    return KeyStats(
        "a", hits, hits, produced=len(times), produce_seconds=sum(times), produce_squares=squares
    )


def _group(keys: Sequence[KeyStats], others: Sequence[float] = ()) -> GroupStats:
    every = [*keys, _key(0, others)]
    return GroupStats(
        "key",
        produced=sum(each.produced for each in every),
        produce_seconds=sum(each.produce_seconds for each in every),
        produce_squares=sum(each.produce_squares for each in every),
    )


def _times(*keys: KeyStats, others: Sequence[float] = ()) -> ProduceTimes:
    return ProduceTimes(_group(keys, others), keys)


def test_each_key_counts_with_its_own_time() -> None:
    assert _times(_key(100, [1.0]), _key(1, [3.0] * 5)).spared(101).seconds == 100 * 1 + 3


@pytest.mark.parametrize("seconds", [0.0, 1e-200])
def test_what_took_no_time_spares_none(seconds: float) -> None:
    keys = [_key(10, [seconds] * 10) for _ in range(4)]
    spared = _times(*keys).spared(100)
    assert (spared.seconds, spared.error) == pytest.approx((0.0, 0.0))


def test_hits_of_keys_that_are_not_known_one_by_one_count_with_the_time_of_all_others() -> None:
    times = _times(_key(10, [5.0]), others=[1.0, 2.0, 3.0])
    assert times.spared(30).seconds == 10 * 5 + 20 * 2


def test_a_key_that_was_not_seen_being_produced_counts_with_the_time_of_its_group() -> None:
    assert _times(_key(10, []), _key(0, [2.0, 4.0])).spared(10).seconds == 10 * 3


def test_hits_that_saved_nothing_are_taken_from_all_alike() -> None:
    assert _times(_key(60, [1.0]), _key(40, [2.0])).spared(50).seconds == (60 + 80) / 2


def test_keys_that_take_alike_count_with_what_they_take_together() -> None:
    """One of them was asked for most and happened to be slow twice."""
    usual = [_key(1, [0.9, 1.1]) for _ in range(20)]
    estimate = _times(_key(1000, [0.9, 1.3]), *usual).spared(1020)
    assert estimate.seconds == pytest.approx(1020, rel=0.03)


def test_keys_that_differ_and_hardly_vary_keep_what_they_take_themselves() -> None:
    keys = [_key(10, [n * 0.99, n * 1.01]) for n in range(1, 21)]
    estimate = _times(*keys).spared(200)
    assert estimate.seconds == pytest.approx(10 * sum(range(1, 21)), rel=0.001)
    assert estimate.error < 0.2 * estimate.seconds


def test_the_fewer_values_were_seen_the_larger_the_error() -> None:
    errors = [_times(_key(100, [0.9, 1.1] * n)).spared(100).error for n in (1, 3, 10, 100, 1000)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 100
    assert errors[-1] < 2


def test_of_one_value_hardly_anything_is_known() -> None:
    estimate = _times(_key(100, [1.0])).spared(100)
    assert estimate == (100.0, 3300.0)


def test_no_hits_are_spared_nothing() -> None:
    assert _times(_key(0, [1.0])).spared(0) == (0.0, 0.0)


@pytest.mark.parametrize("keys", [1, 4, 40])
@pytest.mark.parametrize("unlike", [0.0, 1.0])
@pytest.mark.parametrize("values", [3, 20])
def test_the_stated_error_covers_the_truth(keys: int, unlike: float, values: int) -> None:
    """Of a hundred sites, whose keys differ and whose times vary by half, at least 90."""
    chance = random.Random(keys * values)
    covered = 0
    for _ in range(100):
        truth, seen = 0.0, []
        for number in range(keys):
            mean, hits = chance.lognormvariate(0, unlike), 1000 // (number + 1)
            seen.append(_key(hits, [mean * chance.gammavariate(4, 0.25) for _ in range(values)]))
            truth += mean * hits
        estimate = _times(*seen).spared(sum(each.hits for each in seen))
        covered += abs(estimate.seconds - truth) <= estimate.error
    assert covered >= 90


@pytest.mark.parametrize("keys", [1, 4, 40])
@pytest.mark.parametrize("unlike", [0.0, 2.0])
@pytest.mark.parametrize(
    ("uneven", "values", "most"),
    [
        *((1.0, values, 5) for values in (1, 2, 3, 10, 30)),
        # One in a hundred takes thirty times as long as usual.
        *((1.46, values, 9) for values in (1, 2, 3, 10, 30)),
    ],
)
def test_it_covers_the_truth_where_few_values_are_very_uneven(
    keys: int, unlike: float, uneven: float, values: int, most: int
) -> None:
    """Of a hundred sites all but ``most``: five, and what chance adds in a hundred."""
    chance = random.Random(19)
    missed = 0
    for _ in range(100):
        truth, seen = 0.0, []
        for number in range(keys):
            mean, hits = chance.lognormvariate(0, unlike), 1000 // (number + 1)
            times = [chance.lognormvariate(-(uneven**2) / 2, uneven) for _ in range(values)]
            seen.append(_key(hits, [mean * each for each in times]))
            truth += mean * hits
        estimate = _times(*seen).spared(sum(each.hits for each in seen))
        missed += abs(estimate.seconds - truth) > estimate.error
    assert missed <= most


def test_independent_errors_add_up_by_their_squares() -> None:
    assert added([Estimate(1.0, 3.0), None, Estimate(2.0, 4.0)]) == (3.0, 5.0)
    assert added([None]) is None
