"""What took away entries that were lost, on real servers: told where there is evidence."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.management import call_command
from django.db import transaction
from django.test import override_settings

import cache_monitor
from cache_monitor.reports import REASONS, KeyGroup
from cache_monitor.scan.backends import read_evictions
from cache_monitor.worker.wiring import background_worker
from tests.anew import begin_anew
from tests.conftest import find_or_leave
from tests.services import LOOPBACK, REDIS, Server, free_port
from tests.stores.servers import RedisDaemon

DJANGOS = "django.core.cache.backends"
PATIENCE = 60.0
MEMORY = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}


@contextmanager
def cached(backend: str, location: object, **options: Any) -> Iterator[Any]:
    """The default cache of a process that has recorded nothing."""
    made = {"BACKEND": f"{DJANGOS}.{backend}", "LOCATION": location, "OPTIONS": options}
    with override_settings(CACHES={"default": made}, CACHE_MONITOR=MEMORY):
        begin_anew()
        yield caches["default"]
        begin_anew()


def ask() -> None:
    """Ask the server for its evictions, as is done where lookups missed."""
    background_worker.drain()
    reading = read_evictions("default")
    assert reading is not None
    background_worker._drainer.flusher.tracer.note_reading("default", reading)


def told() -> dict[str, KeyGroup]:
    """The groups of keys."""
    return {each.group: each for each in cache_monitor.report().caches["default"].key_groups}


def reasons(group: KeyGroup) -> dict[str, int]:
    found = group.miss_reasons
    counts = {name: getattr(found, name) for name in (*REASONS, "unknown")}
    return {name: count for name, count in counts.items() if count}


def until(is_done: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE
    while not is_done():
        assert time.monotonic() < ends
        time.sleep(0.02)


@pytest.mark.memcached
@pytest.mark.parametrize("client", ["PyMemcacheCache", "PyLibMCCache"])
def test_what_memcached_refused_to_store_was_lost_by_that(
    memcached_server: Server, client: str
) -> None:
    if client == "PyLibMCCache":
        pytest.importorskip("pylibmc")
    with cached(f"memcached.{client}", memcached_server.address) as cache:
        cache.set("large", "small")
        with suppress(Exception):
            cache.set("large", "x" * 2_000_000, 300)
        assert cache.get("large") is None
        with suppress(Exception):
            cache.get_or_set("made", "x" * 2_000_000, 300)
        assert cache.get("made") is None
        for group in told().values():
            assert reasons(group) == {"lost": 1}
            assert (group.lives.lost_by_refusal, group.lives.lost_by_restart) == (1, 0)


@pytest.mark.memcached
def test_what_would_have_expired_by_now_was_not_lost_by_a_refusal(memcached_server: Server) -> None:
    with cached("memcached.PyMemcacheCache", memcached_server.address, ignore_exc=True) as cache:
        cache.set("short", "x" * 2_000_000, 1)
        cache.set("cleared", "x" * 2_000_000, 300)
        cache.clear()
        time.sleep(1.1)
        assert cache.get_many(["short", "cleared"]) == {}
        for group in told().values():
            assert reasons(group) == {"unknown": 1}
            assert group.lives.lost_by_refusal == 0


@pytest.mark.redis
def test_what_redis_had_no_room_for_and_may_not_evict_was_lost_by_a_refusal(
    small_redis: Server,
) -> None:
    import redis

    with redis.Redis.from_url(small_redis.url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
    with cached("redis.RedisCache", small_redis.url) as cache:
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            cache.set("page", 1)
        cache.get("page")
        assert reasons(told()["page"]) == {"lost": 1}
        assert told()["page"].lives.lost_by_refusal == 1


@pytest.fixture
def primary_and_replica(
    pytestconfig: pytest.Config, tmp_path: Path
) -> Iterator[tuple[RedisDaemon, RedisDaemon]]:
    command = find_or_leave(REDIS, pytestconfig)
    primary = RedisDaemon(command, tmp_path)
    with primary.running():
        follows = ["--replicaof", f"{LOOPBACK} {primary.port}"]
        replica = RedisDaemon(command, tmp_path, *follows)
        with replica.running(), replica.client() as copy:
            until(lambda: copy.info("replication")["master_link_status"] == "up")
            yield primary, replica


@pytest.mark.redis
@pytest.mark.slow
def test_what_a_lagging_replica_had_not_got_yet_was_lost_by_that_and_no_reason_is_wrong(
    primary_and_replica: tuple[RedisDaemon, RedisDaemon],
) -> None:
    primary, replica = primary_and_replica
    urls = [primary.address.url, replica.address.url]
    with (
        cached("redis.RedisCache", urls) as cache,
        primary.client() as source,
        replica.client() as copy,
    ):
        lag(cache, source, copy)
        groups = told()
    found = {name: reasons(group) for name, group in groups.items()}
    assert found.pop("short").keys() == {"lost"}
    assert found == {
        "never": {"never_set": 2},
        "late": {"lost": 1},
        "anew": {"deleted": 1, "lost": 1},
        # It was found after it was deleted: who wrote it anew is not known.
        "deleted": {"unknown": 1},
        "there": {},
    }
    lost = {name for name, group in groups.items() if group.lives.lost_by_replica}
    assert lost == {"late", "anew", "short"}
    assert not any(group.lives.lost_by_restart for group in groups.values())


def lag(cache: Any, source: Any, copy: Any) -> None:
    """Read from a replica that for a while gets nothing of what is written."""

    def caught_up() -> bool:
        told = copy.info("replication")
        goal = source.info("replication")["master_repl_offset"]
        return bool(told["master_link_status"] == "up" and told["slave_repl_offset"] >= goal)

    cache.get("never")
    ask()
    cache.set_many({"there": 1, "deleted": 1, "anew": 1})
    cache.set("short", 1, 1)
    until(caught_up)
    cache.delete("anew")
    until(caught_up)
    assert cache.get("anew") is None
    assert cache.get("there") == 1
    ask()
    # What is written from now on does not come to it.
    copy.replicaof(LOOPBACK, free_port())
    cache.set("late", 1)
    cache.set("anew", 2)
    cache.set("short", 2, 300)
    cache.delete("deleted")
    assert cache.get("deleted") == 1
    until(lambda: cache.get("short") is None)
    assert cache.get_many(["late", "anew", "never", "there"]) == {"there": 1}
    ask()
    copy.replicaof(LOOPBACK, source.info("server")["tcp_port"])
    until(caught_up)
    ask()
    assert cache.get_many(["late", "anew", "short", "there"])
    assert cache.get("deleted") is None
    ask()


def test_what_went_with_its_directory_was_lost_by_that(tmp_path: Path) -> None:
    place = tmp_path / "cache"
    with cached("filebased.FileBasedCache", place) as cache:
        cache.get("never")
        ask()
        cache.set("there", 1)
        cache.set("away", 1)
        cache.set("gone", 1)
        ask()
        Path(cache._key_to_file("away")).unlink()
        assert cache.get("away") is None
        ask()
        shutil.rmtree(place)
        cache.set("there", 2)
        assert cache.get("gone") is None
        assert cache.get("there") == 2
        ask()
        found = told()
    assert reasons(found["away"]) == reasons(found["gone"]) == {"lost": 1}
    assert (found["away"].lives.lost_by_restart, found["gone"].lives.lost_by_restart) == (0, 1)
    assert found["gone"].lives.restarted_at is not None


@pytest.mark.django_db
def test_what_was_rolled_back_was_lost_and_what_it_deleted_was_not() -> None:
    """A DatabaseCache writes in the site's transaction, which takes back what it wrote."""
    with cached("db.DatabaseCache", "rolled_back") as cache:
        call_command("createcachetable", verbosity=0)
        cache.get("never")
        ask()
        cache.set("kept", 1)
        with suppress(KeyError), transaction.atomic():
            cache.set_many({"page": 1, "again": 1, "short": 1})
            cache.delete("kept")
            raise KeyError
        assert cache.get_many(["page", "kept", "short"]) == {"kept": 1}
        cache.set("again", 2)
        assert cache.get("again") == 2
        ask()
        cache.delete("again")
        assert cache.get("again") is None
        found = {name: reasons(group) for name, group in told().items()}
    assert found == {
        "never": {"never_set": 1},
        "page": {"lost": 1},
        "short": {"lost": 1},
        "kept": {},
        "again": {"deleted": 1},
    }
