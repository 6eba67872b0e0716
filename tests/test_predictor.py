"""What is predicted beforehand, in the background."""

from __future__ import annotations

import time
from collections.abc import Iterator
from math import inf
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.test import override_settings
from msgspec import structs

from cache_monitor import api, predictor
from cache_monitor.concurrency import OutOfTime, Pace
from cache_monitor.predictor import backend_of
from cache_monitor.predictor import predicted as predict
from cache_monitor.stats.codec import encode
from cache_monitor.stores.base import Row, Store, get_store
from cache_monitor.what_if import CacheWhatIf
from cache_monitor.what_if.hit_ratios import POLICIES
from cache_monitor.what_if.simulated_caches import Access, Cull, LocMem
from cache_monitor.what_if.simulations import CacheFacts, PredictionPeriod
from cache_monitor.worker import wiring
from tests.anew import begin_anew
from tests.clocks import Clock, traffic_clock
from tests.management.test_cache_whatif import MEMORY, ROOM, asked_for, hit_ratio

LATER = 2_000_000_000
"""A time at which nothing that is written now is pruned."""


def bare(room: int, *, from_request: int) -> float:
    """What a cache of that size really gives from one of the requests on."""
    cache = LocMemCache(f"predicted {room}", {"OPTIONS": {"MAX_ENTRIES": room}})
    hit_ratio(cache, asked_for()[:from_request])
    return hit_ratio(cache, asked_for()[from_request:])


def not_over() -> bool:
    return False


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = traffic_clock(monkeypatch, time.time() - 1000)
    # The process's own thread would predict beside the tests.
    monkeypatch.setattr(wiring.background_worker.hooks, "predict", None)
    backend = {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "predicted",
        "OPTIONS": {"MAX_ENTRIES": ROOM},
    }
    with override_settings(CACHES={"default": backend}, CACHE_MONITOR=MEMORY):
        begin_anew()
        caches["default"].clear()
        yield clock
        begin_anew()


@pytest.fixture
def store(clock: Clock) -> Store:
    """That of a site that has had its traffic."""
    return visited(clock, 5000)


def visited(clock: Clock, lookups: int) -> Store:
    """After so many lookups, once they can be taken to be all there."""
    hit_ratio(caches["default"], asked_for()[:lookups], clock)
    wiring.background_worker.flush()
    clock.go_on(60)
    return get_store()


def predicted(store: Store) -> CacheWhatIf:
    predictor.update(store, not_over)
    return predictor.predictions(store)["default"].predicted


@pytest.mark.django_db
def test_each_size_is_predicted_as_it_really_is_once_the_cache_is_warm(store: Store) -> None:
    found = predicted(store)
    assert (found.policy, found.room, found.size, found.rate) == ("locmem", ROOM, ROOM, 1.0)
    assert [each.entries for each in found.entries] == [25, 50, 75, 100, 150, 200, 400, 800]
    assert found.observed_hit_ratio == pytest.approx(found.hit_ratio, abs=0.02)
    for each in found.entries:
        truth = bare(each.entries, from_request=5000 // 4)
        assert each.hit_ratio == pytest.approx(truth, abs=0.02)
        assert each.error == 0.0


@pytest.mark.django_db
def test_no_policy_exceeds_the_optimum(store: Store) -> None:
    found = predicted(store)
    best = {each.entries: each.hit_ratio for each in found.optimum}
    assert {each.policy for each in found.policies} == {"allkeys-lru", "allkeys-lfu", "s3-fifo"}
    for curve in (found.entries, *(each.entries for each in found.policies)):
        for each in curve:
            assert each.hit_ratio is not None
            assert each.hit_ratio <= (best[each.entries] or 0)


@pytest.mark.django_db
def test_without_a_limit_the_size_of_today_is_what_it_takes_to_hit_as_much(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what there happens to be when somebody looks."""

    def unlimited(
        parts: Any, period: PredictionPeriod, known: CacheFacts, pace: Any
    ) -> CacheWhatIf:
        free = known._replace(policy="allkeys-lru", room=None, held=3)
        return predict(parts, period, free, pace)

    monkeypatch.setattr(predictor, "predicted", unlimited)
    large = {"BACKEND": f"{LocMemCache.__module__}.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 10**6}}
    with override_settings(CACHES={"default": {**large, "LOCATION": "unlimited"}}):
        found = predicted(visited(clock, 5000))
    assert found.size is not None
    assert found.size > 3
    [today] = [each for each in found.entries if each.entries == found.size]
    assert today.hit_ratio == pytest.approx(found.hit_ratio, abs=0.01)


@pytest.mark.django_db
def test_a_timeout_longer_than_half_of_the_trace_is_not_told(store: Store) -> None:
    found = predicted(store)
    (group,) = found.timeouts
    assert (group.group, group.timeout) == ("product:{int}", 300.0)
    told = {each.timeout: each.hit_ratio is not None for each in group.options}
    assert told == {75.0: True, 150.0: False, 600.0: False, 1200.0: False, 2400.0: False}


@pytest.mark.django_db
def test_too_short_a_trace_predicts_nothing_and_says_how_much_there_is(clock: Clock) -> None:
    found = predicted(visited(clock, 900))
    assert found.hit_ratio is None
    assert found.entries == []
    assert 0 < (found.lookups or 0) < 1000


@pytest.mark.django_db
def test_it_is_computed_again_only_when_it_has_rested(store: Store) -> None:
    predicted(store)
    first = predictor.predictions(store)["default"]
    predicted(store)
    assert predictor.predictions(store)["default"] == first
    ago = first.computed_at - max(100 * first.cpu_seconds, 70.0) - 1.0
    aged = encode(structs.replace(first, computed_at=ago))
    store.put([Row("what_if", "", "default", 0, 0, aged)], int(ago))
    predicted(store)
    assert predictor.predictions(store)["default"].computed_at >= first.computed_at


@pytest.mark.django_db
def test_a_fault_with_one_cache_keeps_none_of_the_others_from_being_predicted(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "other"}
    with override_settings(CACHES={**settings.CACHES, "other": other}):
        hit_ratio(caches["other"], asked_for()[:1500], clock)
        store = visited(clock, 1500)

        def broken(
            parts: Any, period: PredictionPeriod, known: CacheFacts, pace: Any
        ) -> CacheWhatIf:
            if known.room == ROOM:
                raise ZeroDivisionError
            return predict(parts, period, known, pace)

        monkeypatch.setattr(predictor, "predicted", broken)
        with pytest.raises(ZeroDivisionError):
            predictor.update(store, not_over)
        assert set(predictor.predictions(store)) == {"other"}


@pytest.mark.django_db
def test_a_process_that_ends_gives_up(store: Store) -> None:
    predictor.update(store, lambda: True)
    assert predictor.predictions(store) == {}


@pytest.mark.django_db
def test_what_the_time_is_not_enough_for_is_left_out(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    enough: float = inf

    def counted(_: Pace) -> None:
        steps.append(1)
        if len(steps) > enough:
            raise OutOfTime

    monkeypatch.setattr(Pace, "__call__", counted)
    whole = predicted(store)
    store.replace(list(store.read("what_if", 0, 1, None)), [], 0)
    enough = len(steps) // 2
    steps.clear()
    part = predicted(store)
    assert part.hit_ratio == pytest.approx(whole.hit_ratio, abs=0.01)
    assert len(part.entries) == len(whole.entries)
    assert len(part.policies) < len(whole.policies)


@pytest.mark.django_db
def test_a_row_that_cannot_be_read_is_skipped_and_replaced(store: Store) -> None:
    store.put([Row("what_if", "", "default", 0, 0, b"\x01nonsense")], LATER)
    assert predictor.predictions(store) == {}
    assert predicted(store).hit_ratio is not None


@pytest.mark.django_db
def test_the_report_has_what_was_predicted_last(store: Store) -> None:
    assert api.report().caches["default"].what_if is None
    found = predicted(store)
    assert api.report().caches["default"].what_if == found


@pytest.mark.django_db
def test_a_report_counts_the_row_that_it_cannot_read(store: Store) -> None:
    store.put([Row("what_if", "", "default", 0, 0, b"\x01nonsense")], LATER)
    found = api.report()
    assert found.caches["default"].what_if is None
    assert found.quality.corrupt_windows == 1


class _Forgetful(LocMem):
    """A model of no real cache: it never has anything."""

    def has(self, access: Access) -> bool:
        return False


@pytest.mark.django_db
def test_a_simulation_that_is_not_like_the_truth_predicts_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(POLICIES, "locmem", _Forgetful)
    found = predicted(store)
    assert found.hit_ratio == 0.0
    assert found.observed_hit_ratio == pytest.approx(0.66, abs=0.02)
    assert found.entries == []


def test_the_policy_is_the_servers_and_is_assumed_where_nobody_has_asked_it() -> None:
    redis = "django.core.cache.backends.redis.RedisCache"
    with override_settings(CACHES={"default": {"BACKEND": redis, "LOCATION": "redis://localhost"}}):
        report = api.report().caches["default"]
        assert backend_of("default", report) == CacheFacts("allkeys-lru", policy_is_assumed=True)
        told = structs.replace(report.memory, policy="volatile-ttl", limit_bytes=1000)
        known = backend_of("default", structs.replace(report, memory=told))
        assert known == CacheFacts("volatile-ttl")


@pytest.mark.parametrize("frequency", [0, 2])
def test_a_backend_of_djangos_is_simulated_with_its_own_options(frequency: int) -> None:
    options = {"MAX_ENTRIES": 20, "CULL_FREQUENCY": frequency}
    locmem = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": options}
    with override_settings(CACHES={"default": locmem}):
        known = CacheFacts("locmem", room=20, cull=Cull(frequency))
        assert backend_of("default") == known
