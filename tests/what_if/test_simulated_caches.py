"""The models of Django's own backends do what these do, and the others what their papers say."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import inf
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from django.core.cache import caches
from django.core.cache.backends import base, locmem
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.management import call_command
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.what_if.hit_ratios import POLICIES, Optimum
from cache_monitor.what_if.simulated_caches import (
    Access,
    Arc,
    Cull,
    Database,
    FileBased,
    LocMem,
    Model,
    S3Fifo,
)
from cache_monitor.what_if.simulated_servers import (
    Memcached,
    NoEviction,
    RedisLfu,
    RedisLru,
    RedisRandom,
    RedisTtl,
    Slabs,
)
from tests.conftest import find_or_leave
from tests.services import MEMCACHED, REDIS, run_memcached, run_redis
from tests.what_if import asking

EVERY: list[Callable[[float], Model]] = [
    Model,
    LocMem,
    FileBased,
    Database,
    Memcached,
    RedisLru,
    RedisLfu,
    RedisRandom,
    partial(RedisTtl, volatile=False),
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
    return [asking.found(model, Access(f":1:key:{key:05}", 0.0)) for key in asked]


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


@pytest.mark.parametrize(("size", "frequency"), [(20, 3), (20, 2), (7, 0), (50, 3)])
def test_local_memory_does_what_its_model_does_whatever_is_asked(
    size: int, frequency: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    clock = SimpleNamespace(time=lambda: now)
    monkeypatch.setattr(locmem, "time", clock)
    monkeypatch.setattr(base, "time", clock)
    options = {"MAX_ENTRIES": size, "CULL_FREQUENCY": frequency}
    cache = locmem.LocMemCache(f"whatever {size} {frequency}", {"OPTIONS": options})
    model, random = LocMem(size, cull=Cull(frequency)), Random(size)
    for key in zipf(4000, 80, size):
        now += 1
        timeout = random.choice([5.0, 60.0, None])
        access = Access(key, now, inf if timeout is None else timeout)
        operation = random.random()
        if operation < 0.7:
            is_hit = cache.get(key) is not None
            assert model.look_up(access) == is_hit
            if not is_hit and operation < 0.6:
                cache.set(key, 1, timeout)
                model.write(access)
        elif operation < 0.85:
            cache.set(key, 1, timeout)
            model.write(access)
        elif operation < 0.95:
            cache.touch(key, timeout)
            model.renew(access)
        else:
            cache.delete(key)
            model.delete(key)
        assert asking.number_of_entries(model) == len(cache._cache)  # type: ignore[attr-defined]  # the stubs leave it out


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


def test_files_that_go_by_lot_leave_what_the_model_says(tmp_path: Path) -> None:
    asked = zipf(2500, 400, 1)
    cache = FileBasedCache(str(tmp_path), {"OPTIONS": {"MAX_ENTRIES": 100}})
    hits = sum(hits_of(cache, asked))
    assert sum(predicted(FileBased(100), asked)) == pytest.approx(hits, abs=0.03 * len(asked))
    assert sum(predicted(FileBased(200), asked)) - hits > 0.05 * len(asked)


def lasting_for(key: int) -> int | None:
    """Seconds: every tenth is for ever."""
    return None if key % 10 == 0 else 1000 + 7919 * key % 1000


@pytest.mark.redis
def test_of_those_with_a_timeout_redis_lets_go_those_that_the_model_does(
    pytestconfig: pytest.Config,
) -> None:
    keys = zipf(8000, 3000, 6)
    asked = [list(dict.fromkeys(keys[begin : begin + 50])) for begin in range(0, len(keys), 50)]
    with (
        run_redis(find_or_leave(REDIS, pytestconfig)) as server,
        redis.Redis.from_url(server.url) as client,
    ):
        limit = client.info("memory")["used_memory"] + 1_000_000
        client.config_set("maxmemory", limit)
        # Recency takes minutes to try: Redis' clock for it ticks once a second.
        for policy in ("volatile-ttl", "volatile-random"):
            client.flushall()
            client.config_set("maxmemory-policy", policy)
            hits = 0
            for some in asked:
                found = client.mget(some)
                hits += sum(value is not None for value in found)
                pipeline = client.pipeline(transaction=False)
                for key, value in zip(some, found, strict=True):
                    if value is None:
                        pipeline.set(str(key), "x" * 800, ex=lasting_for(key))
                pipeline.execute()
            model, predicted_hits = POLICIES[policy](client.dbsize()), 0
            for some in asked:
                wanted = [Access(key, 0.0, float(lasting_for(key) or inf)) for key in some]
                missed = [access for access in wanted if not model.look_up(access)]
                predicted_hits += len(wanted) - len(missed)
                for access in missed:
                    model.write(access)
            lookups = sum(map(len, asked))
            assert predicted_hits / lookups == pytest.approx(hits / lookups, abs=0.02), policy
            assert client.info("stats")["evicted_keys"] > 500


MEGABYTE = 1 << 20
BESIDE = 48 + 8 + 4 + len(":1:key:00000") + 1 + 2
"""Bytes of an entry in memcached beside its value: its header, flags, key and ends of lines."""


def large_or_small(key: int) -> int:
    """The bytes of a value: every eighth takes twenty kilobytes, the others a hundred bytes."""
    return 20_000 if key % 8 == 0 else 100


@pytest.mark.memcached
def test_memcached_gives_its_pages_away_by_size_as_its_model_does(
    pytestconfig: pytest.Config,
) -> None:
    keys, megabytes = zipf(20_000, 12_000, 4), 4
    # Many at once: each answer of the server waits for its turn of a busy machine.
    asked = [list(dict.fromkeys(keys[begin : begin + 50])) for begin in range(0, len(keys), 50)]
    model = Memcached(megabytes * MEGABYTE, Slabs(1.0, 1.0))
    in_one = Memcached(megabytes * MEGABYTE)
    predicted_hits = Counter[Memcached]()
    for each in (model, in_one):
        for some in asked:
            sized = [Access(key, 0.0, size=large_or_small(key) + BESIDE) for key in some]
            missed = [access for access in sized if not each.look_up(access)]
            predicted_hits[each] += len(sized) - len(missed)
            for access in missed:
                each.write(access)
    hits = 0
    backend = "django.core.cache.backends.memcached.PyMemcacheCache"
    program = find_or_leave(MEMCACHED, pytestconfig)
    with run_memcached(program, "-m", str(megabytes)) as server:
        where = {"BACKEND": backend, "LOCATION": server.address}
        with override_settings(CACHES={"default": where}):
            for some in asked:
                values = {f"key:{key:05}": "x" * large_or_small(key) for key in some}
                found = caches["default"].get_many(values)
                hits += len(found)
                missing = {key: value for key, value in values.items() if key not in found}
                assert caches["default"].set_many(missing, None) == []
            caches["default"].close()
    lookups = sum(map(len, asked))
    assert predicted_hits[model] / lookups == pytest.approx(hits / lookups, abs=0.02)
    # All entries in one list would be something else.
    assert abs(predicted_hits[in_one] - hits) / lookups > 0.05


def writes(model: Model, name: str, size: float, seconds: range, number: int) -> None:
    """Each second so many new entries."""
    for second in seconds:
        for each in range(number):
            model.write(Access((name, second, each), float(second), size=size))


def kept(model: Model, name: str) -> int:
    """How many of them are there."""
    return sum(isinstance(key, tuple) and key[0] == name for key in model._ends)


def test_a_page_of_memcached_goes_once_a_second_to_where_the_youngest_go() -> None:
    model = Memcached(10 * MEGABYTE, Slabs(1.0, 1.0))
    writes(model, "old", 50_000, range(10), 20)
    # A class that comes late gets one page, of twenty, until it has evicted for half a window.
    writes(model, "new", 40_000, range(100, 115), 22)
    assert (kept(model, "old"), kept(model, "new")) == (190, 24)
    writes(model, "new", 40_000, range(115, 150), 22)
    assert kept(model, "old") < 60 < kept(model, "new")


def test_what_expires_in_memcached_leaves_its_pages_to_others() -> None:
    model = Memcached(10 * MEGABYTE, Slabs(1.0, 1.0))
    for number in range(190):
        model.write(Access(number, 0.0, 50.0, 50_000))
    writes(model, "new", 40_000, range(100, 120), 24)
    assert kept(model, "new") > 100


@pytest.mark.parametrize("size", [600_000, 1_200_000])
def test_what_is_larger_than_a_chunk_of_memcached_takes_several(size: int) -> None:
    model = Memcached(12 * MEGABYTE, Slabs(1.0, 1.0))
    writes(model, "large", size, range(1), 30)
    assert asking.number_of_entries(model) == 24 // -(-size // (MEGABYTE // 2))


@given(keys, st.integers(1, 8))
def test_least_recently_used_is_what_a_list_would_keep(asked: list[int], size: int) -> None:
    model, kept = RedisLru(size), list[int]()
    for access in accesses(asked):
        key = asked[int(access.at)]
        assert asking.found(model, access) == (key in kept)
        kept = [*(each for each in kept if each != key), key][-size:]


@given(lasting)
def test_an_entry_is_there_until_its_timeout(asked: list[tuple[int, float]]) -> None:
    ends: dict[int, float] = {}
    model = RedisLru(100)
    for at, (key, timeout) in enumerate(asked):
        was_there = ends.get(key, -1) > at
        assert asking.found(model, Access(key, float(at), timeout)) == was_there
        if not was_there:
            ends[key] = at + timeout


@pytest.mark.parametrize("kind", EVERY)
@given(asked=keys, size=st.integers(1, 8))
def test_nothing_is_there_that_was_not_written_nor_more_than_there_is_room_for(
    kind: Callable[[float], Model], asked: list[int], size: int
) -> None:
    model, written = kind(size), set[int]()
    for access in accesses(asked):
        key = asked[int(access.at)]
        is_hit = asking.found(model, access)
        assert not is_hit or key in written
        written.add(key)
        # Django's own cull before a write: a third, which of one or two entries is none.
        assert asking.number_of_entries(model) <= max(size, 3) + (kind is Database)


@pytest.mark.parametrize("kind", EVERY)
def test_with_room_for_all_each_key_misses_once(kind: Callable[[float], Model]) -> None:
    asked = zipf(3000, 100, 3)
    assert asking.hits(kind(1000), accesses(asked)) == 3000 - len(set(asked))


@given(keys, st.integers(3, 8))
def test_no_policy_hits_more_than_the_optimum(asked: list[int], size: int) -> None:
    best = asking.hits(Optimum(size, accesses(asked)), accesses(asked))
    for kind in EVERY:
        if kind is not Database:
            assert asking.hits(kind(size), accesses(asked)) <= best, kind


@pytest.mark.parametrize("kind", EVERY)
def test_a_key_that_stands_for_two_takes_room_for_two(
    kind: Callable[[float], Model],
) -> None:
    model = kind(2)
    heavy = Access("heavy", 0.0, weight=2.0)
    assert [asking.found(model, heavy) for _ in range(2)] == [False, True]
    assert (asking.number_of_entries(model), model.held_at(0.0)) == (1, 2.0)


@pytest.mark.parametrize("kind", EVERY)
def test_what_is_deleted_cleared_or_written_anew_is_so(kind: Callable[[float], Model]) -> None:
    model = kind(10)
    for key in "abc":
        model.write(Access(key, 0.0, timeout=5.0))
    model.delete("a")
    model.write(Access("b", 4.0, timeout=5.0))
    found = [model.look_up(Access(key, 6.0)) for key in "abc"]
    assert found == [False, True, False]
    model.clear()
    assert asking.number_of_entries(model) == 0
    assert not model.look_up(Access("b", 6.0))


def test_what_is_asked_for_often_outlives_a_scan_where_the_policy_knows_frequency() -> None:
    asked = [*range(10)] * 100 + [*range(100, 400), *range(10)]
    survived = {}
    kinds: list[type[Model]] = [RedisLru, RedisLfu, S3Fifo, Arc]
    for kind in kinds:
        model = kind(50)
        outcomes = [asking.found(model, Access(key, 0.0)) for key in asked]
        survived[kind] = sum(outcomes[-10:])
    assert survived == {RedisLru: 0, RedisLfu: 10, S3Fifo: 10, Arc: 10}


VOLATILE = ["volatile-lru", "volatile-lfu", "volatile-ttl", "volatile-random"]


@pytest.mark.parametrize("policy", VOLATILE)
def test_of_a_volatile_policy_only_entries_with_a_timeout_go(policy: str) -> None:
    model = POLICIES[policy](10)
    for number in range(6):
        model.write(Access(f"kept {number}", 0.0))
    for number in range(50):
        model.write(Access(number, 1.0 + number, timeout=1000.0))
    assert asking.number_of_entries(model) == 10
    assert all(model.has(Access(f"kept {number}", 60.0)) for number in range(6))


@pytest.mark.parametrize("policy", ["noeviction", *VOLATILE])
def test_where_none_may_go_a_write_is_refused_and_what_was_there_stays(policy: str) -> None:
    model = POLICIES[policy](2)
    model.write(Access("a", 0.0))
    model.write(Access("b", 0.0))
    model.write(Access("c", 1.0, timeout=10.0))
    model.write(Access("b", 1.0, size=5.0))
    assert [model.look_up(Access(key, 2.0)) for key in "abc"] == [True, True, False]


@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru", "volatile-lru"])
def test_what_has_expired_on_redis_takes_no_room(policy: str) -> None:
    model = POLICIES[policy](2)
    model.write(Access("a", 0.0))
    model.write(Access("b", 0.0, timeout=5.0))
    model.write(Access("c", 6.0))
    assert [model.look_up(Access(key, 7.0)) for key in "abc"] == [True, False, True]


def test_what_expires_next_goes_first_of_a_few() -> None:
    model = RedisTtl(5)
    for key, timeout in (("a", 50.0), ("b", 10.0), ("c", 30.0), ("d", 20.0), ("e", 40.0)):
        model.write(Access(key, 0.0, timeout))
    # Of five that are drawn some may be the same: the pool fills.
    for number in range(3):
        model.write(Access(f"later {number}", 1.0, 1000.0))
    assert model.has(Access("a", 2.0))


def test_an_entry_that_gets_a_timeout_may_go_and_one_that_loses_it_may_not() -> None:
    model = POLICIES["volatile-lru"](2)
    model.write(Access("a", 0.0))
    model.write(Access("b", 0.0, timeout=100.0))
    model.renew(Access("a", 1.0, timeout=100.0))
    model.renew(Access("b", 2.0))
    model.write(Access("c", 3.0))
    assert [model.look_up(Access(key, 4.0)) for key in "abc"] == [False, True, True]


@pytest.mark.parametrize(
    ("cull", "left"), [(Cull(0), 1), (Cull(2), 6), (Cull(3, 0.0), 11), (Cull(3), 8)]
)
def test_the_settings_of_the_backend_say_how_much_goes(cull: Cull, left: int) -> None:
    for kind in (LocMem, FileBased):
        model = kind(10, cull=cull)
        for number in range(11):
            model.write(Access(number, 0.0))
        assert asking.number_of_entries(model) == left
