"""Sums that only grow, whatever happens to the rows that they are of."""

from __future__ import annotations

import random

import pytest
from django.test import override_settings

from cache_monitor.exporters.prometheus import beginning, counter_metrics, cumulative
from cache_monitor.reports.build import sums_since
from cache_monitor.stats.codec import encode
from cache_monitor.stats.sketches import Histogram
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Row, Store
from cache_monitor.stores.rows import DAY, HOUR
from cache_monitor.worker.rollup import roll_up

MIDNIGHT = 20_000 * DAY


def _window(start: int, process: str, chance: random.Random, alias: str = "default") -> Row:
    window = Window(start, 10, final=True, dropped=chance.randrange(3))
    stats = window.operation("get")
    seconds = [chance.uniform(1e-6, 0.5) for _ in range(chance.randrange(1, 8))]
    stats.calls = len(seconds)
    stats.hits = chance.randrange(len(seconds) + 1)
    stats.misses = len(seconds) - stats.hits
    stats.seconds = sum(seconds)
    stats.times.count(seconds)
    window.reasons = {"expired": stats.misses // 2}
    window.bytes_read = chance.randrange(1000)
    return Row("window", process, alias, start, 10, encode(window))


def _samples(now: int, retention: float) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    windows = sums_since(beginning(now, retention), now)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in counter_metrics(windows)
        for sample in family.samples
    }


@pytest.mark.parametrize("retention", [30 * DAY, DAY, HOUR])
def test_no_counter_goes_down_while_rows_are_rolled_up_and_pruned(
    retention: int, store: Store
) -> None:
    chance = random.Random(5)
    before = _samples(MIDNIGHT, retention)
    restarts = 0
    for now in range(MIDNIGHT, MIDNIGHT + DAY + 2 * HOUR, 600):
        rows = [
            _window(now + 10 * n, process, chance) for n in range(6) for process in ("one", "two")
        ]
        store.put(rows, now + 60)
        roll_up(store, now + 60)
        store.prune(now + 60 - retention)
        after = _samples(now + 60, retention)
        if beginning(now + 60, retention) > beginning(now - 540, retention):
            restarts += 1
        else:
            shrunk = {name for name in before if after[name] < before[name]}
            assert not shrunk
        before = after
    assert restarts == (2 if retention >= DAY else 26)


def test_the_order_of_the_parts_does_not_move_the_sum_of_seconds(store: Store) -> None:
    chance = random.Random(7)
    rows = [_window(MIDNIGHT + 10 * n, "one", chance) for n in range(2000)]
    store.put(rows, MIDNIGHT)
    before = _samples(MIDNIGHT + 6 * HOUR, DAY)
    roll_up(store, MIDNIGHT + 6 * HOUR)
    assert _samples(MIDNIGHT + 6 * HOUR, DAY) == before


def test_counting_begins_at_midnight(store: Store) -> None:
    chance = random.Random(1)
    store.put([_window(MIDNIGHT - 10, "one", chance), _window(MIDNIGHT, "one", chance)], MIDNIGHT)
    assert sums_since(MIDNIGHT - DAY, MIDNIGHT - 1)["default"].calls > 0
    assert beginning(MIDNIGHT - 1, DAY) == MIDNIGHT - DAY
    assert beginning(MIDNIGHT + 5, DAY) == MIDNIGHT
    store.prune(MIDNIGHT + 1)
    store.put([_window(MIDNIGHT, "one", random.Random(2))], MIDNIGHT)
    expected = sums_since(MIDNIGHT, MIDNIGHT + 5)["default"].calls
    assert 0 < expected <= 10


def test_caches_that_are_no_longer_configured_are_left_out(store: Store) -> None:
    store.put([_window(MIDNIGHT, "one", random.Random(1), alias="gone")], MIDNIGHT)
    assert set(sums_since(MIDNIGHT, MIDNIGHT + 5)) == {"default", "other"}
    assert set(sums_since(MIDNIGHT, MIDNIGHT + 5, "other")) == {"other"}


def test_a_row_that_cannot_be_read_is_left_out(store: Store) -> None:
    store.put([Row("window", "one", "default", MIDNIGHT, 10, b"damaged")], MIDNIGHT)
    assert sums_since(MIDNIGHT, MIDNIGHT + 5)["default"].calls == 0


@override_settings(CACHES={})
def test_a_project_without_caches_has_no_sums(store: Store) -> None:
    assert sums_since(MIDNIGHT, MIDNIGHT) == {}


def test_every_call_is_below_the_bound_of_its_bucket() -> None:
    chance = random.Random(3)
    seconds = [10 ** chance.uniform(-7, 1) for _ in range(5000)]
    times = Histogram()
    times.count(seconds)
    for bound, calls in cumulative(times):
        assert calls == sum(each < float(bound) for each in seconds)
