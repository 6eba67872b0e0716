"""What is told of values that were written anew is what is true of them."""

from random import Random

import pytest

from cache_monitor.stats import sketches
from cache_monitor.stats.groups import ChangeStats


def counted(mean: float, number: int = 3000, gap: float = 100.0) -> ChangeStats:
    """Values that last for ``mean`` seconds by chance, written anew after ``gap`` and more."""
    random, stats = Random(1), ChangeStats()
    for _ in range(number):
        seconds = gap + random.expovariate(1 / gap)
        stats.add(seconds, 1, random.expovariate(1 / mean) > seconds)
    return stats


@pytest.mark.parametrize("mean", [100.0, 1000.0, 5000.0])
def test_how_long_values_last_is_estimated(mean: float) -> None:
    assert counted(mean).seconds_to_change == pytest.approx(mean, rel=0.1)


@pytest.mark.parametrize("mean", [100.0, 1000.0, 5000.0])
def test_the_share_of_stale_hits_is_estimated_by_their_ages(mean: float) -> None:
    random = Random(2)
    ages = [random.uniform(0, 300) for _ in range(5000)]
    stale = sum(random.expovariate(1 / mean) < age for age in ages) / len(ages)
    buckets = sketches.buckets_of(ages)
    counts = {bucket: buckets.count(bucket) for bucket in set(buckets)}
    assert counted(mean).stale_share(counts) == pytest.approx(stale, abs=0.03)


def test_what_never_changes_is_never_stale() -> None:
    stats = ChangeStats()
    for _ in range(20):
        stats.add(100.0, 4, True)
    assert (stats.rewrites, stats.unchanged, stats.seconds_to_change) == (80, 1.0, None)
    assert stats.stale_share({sketches.buckets_of([50.0])[0]: 9}) == 0.0
    assert stats.stale_share({}) is None


def test_too_few_tell_nothing_whatever_they_stand_for() -> None:
    stats = ChangeStats()
    for _ in range(19):
        stats.add(100.0, 1000, True)
    assert stats.unchanged is None
    assert stats.stale_share({sketches.buckets_of([50.0])[0]: 9}) is None


def test_where_most_are_untold_nothing_is_told() -> None:
    stats = ChangeStats()
    for _ in range(30):
        stats.add(100.0, 1, True)
    for _ in range(31):
        stats.add(100.0, 1, None)
    assert (stats.rewrites, stats.unchanged) == (61, None)


def test_those_of_several_processes_add_up() -> None:
    one, other = counted(1000.0, 100), counted(1000.0, 200)
    rewrites, seen = one.rewrites + other.rewrites, one.seen + other.seen
    one.merge(other)
    assert (one.rewrites, one.seen) == (rewrites, seen)
