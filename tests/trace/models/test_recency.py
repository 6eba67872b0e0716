"""The models of Django's own backends do what these do, and the others what their papers say."""

from collections.abc import Iterator, Sequence
from math import inf
from random import Random
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.management import call_command
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.trace.models.base import Access, Model
from cache_monitor.trace.models.ceilings import Arc, Optimum, S3Fifo
from cache_monitor.trace.models.recency import Database, FileBased, LocMem, Lru, Memcached
from cache_monitor.trace.models.redis import NoEviction, RedisLfu

EVERY: list[type[Model]] = [
    Model,
    Lru,
    LocMem,
    FileBased,
    Database,
    Memcached,
    RedisLfu,
    NoEviction,
    S3Fifo,
    Arc,
]
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"

keys = st.lists(st.integers(0, 12), max_size=120)
lasting = st.lists(st.tuples(st.integers(0, 8), st.sampled_from([1.5, 4.5, inf])), max_size=120)


def accesses(asked: Sequence[int]) -> list[Access]:
    return [Access(key, float(at)) for at, key in enumerate(asked)]


def zipf(number: int, different: int, seed: int) -> list[int]:
    ranks = [1 / rank for rank in range(1, different + 1)]
    return Random(seed).choices(range(different), ranks, k=number)


def hits_of(cache: BaseCache, asked: Sequence[int]) -> Iterator[bool]:
    for key in asked:
        is_hit = cache.get(f"key:{key:05}") is not None
        if not is_hit:
            cache.set(f"key:{key:05}", 1, None)
        yield is_hit


def predicted(model: Model, asked: Sequence[int]) -> list[bool]:
    return [model.access(Access(f":1:key:{key:05}", 0.0)) for key in asked]


@pytest.mark.parametrize("size", [3, 10, 64, 300])
def test_local_memory_is_predicted_lookup_by_lookup(size: int) -> None:
    asked = zipf(4000, 500, size)
    backend: dict[str, Any] = {
        "BACKEND": LOCMEM,
        "LOCATION": f"predicted {size}",
        "OPTIONS": {"MAX_ENTRIES": size},
    }
    with override_settings(CACHES={"default": backend}):
        assert predicted(LocMem(size), asked) == list(hits_of(caches["default"], asked))
        caches["default"].clear()


@pytest.mark.django_db
def test_the_database_is_predicted_lookup_by_lookup() -> None:
    asked = zipf(700, 120, 1)
    backend: dict[str, Any] = {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "predicted_table",
        "OPTIONS": {"MAX_ENTRIES": 40},
    }
    with override_settings(CACHES={"default": backend}):
        call_command("createcachetable")
        assert predicted(Database(40), asked) == list(hits_of(caches["default"], asked))


@given(keys, st.integers(1, 8))
def test_least_recently_used_is_what_a_list_would_keep(asked: list[int], size: int) -> None:
    model, kept = Lru(size), list[int]()
    for access in accesses(asked):
        key = asked[int(access.at)]
        assert model.access(access) == (key in kept)
        kept = [*(each for each in kept if each != key), key][-size:]


@given(lasting)
def test_an_entry_is_there_until_its_timeout(asked: list[tuple[int, float]]) -> None:
    ends: dict[int, float] = {}
    model = Lru(100)
    for at, (key, lasts) in enumerate(asked):
        was_there = ends.get(key, -1) > at
        assert model.access(Access(key, float(at), lasts)) == was_there
        if not was_there:
            ends[key] = at + lasts


@pytest.mark.parametrize("kind", EVERY)
@given(asked=keys, size=st.integers(1, 8))
def test_nothing_is_there_that_was_not_written_nor_more_than_there_is_room_for(
    kind: type[Model], asked: list[int], size: int
) -> None:
    model, written = kind(size), set[int]()
    for access in accesses(asked):
        key = asked[int(access.at)]
        is_hit = model.access(access)
        assert not is_hit or key in written
        written.add(key)
        # Django's own cull before a write: a third, which of one or two entries is none.
        assert len(model) <= max(size, 3) + (kind is Database)


@pytest.mark.parametrize("kind", EVERY)
def test_with_room_for_all_each_key_misses_once(kind: type[Model]) -> None:
    model = kind(1000)
    model.run(accesses(zipf(3000, 100, 3)))
    assert model.hits == 3000 - len(set(zipf(3000, 100, 3)))


@given(keys, st.integers(3, 8))
def test_no_policy_hits_more_than_the_optimum(asked: list[int], size: int) -> None:
    best = Optimum(size, accesses(asked))
    best.run(accesses(asked))
    for kind in EVERY:
        if kind is not Database:
            model = kind(size)
            model.run(accesses(asked))
            assert model.hits <= best.hits, kind


@pytest.mark.parametrize("kind", EVERY)
def test_a_key_that_stands_for_two_counts_and_takes_room_for_two(kind: type[Model]) -> None:
    model = kind(2)
    heavy = Access("heavy", 0.0, weight=2.0)
    assert [model.access(heavy) for _ in range(2)] == [False, True]
    assert (model.hits, model.lookups, len(model)) == (2.0, 4.0, 1)


@pytest.mark.parametrize("kind", EVERY)
def test_what_is_deleted_cleared_or_written_anew_is_so(kind: type[Model]) -> None:
    model = kind(10)
    for key in "abc":
        model.write(Access(key, 0.0, lasts=5.0))
    model.delete("a")
    model.write(Access("b", 4.0, lasts=5.0))
    found = [model.look_up(Access(key, 6.0)) for key in "abc"]
    assert found == [False, True, False]
    model.clear()
    assert len(model) == 0
    assert not model.look_up(Access("b", 6.0))


def test_what_is_asked_for_often_outlives_a_scan_where_the_policy_knows_frequency() -> None:
    asked = [*range(10)] * 100 + [*range(100, 400), *range(10)]
    survived = {}
    for kind in (Lru, RedisLfu, S3Fifo, Arc):
        model = kind(50)
        outcomes = [model.access(Access(key, 0.0)) for key in asked]
        survived[kind] = sum(outcomes[-10:])
    assert survived == {Lru: 0, RedisLfu: 10, S3Fifo: 10, Arc: 10}
