"""Redis with replicas, and servers that fail in ways of their own."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache.backends.redis import RedisCache
from django_redis.cache import RedisCache as DjangoRedisCache
from redis import Redis

from cache_monitor.scan.backends import scanner_for
from cache_monitor.scan.base import Bounds, Scan, ScanLimits
from cache_monitor.scan.redis import _RECENT, _RecentKeys
from cache_monitor.scan.snapshot import Snapshot
from tests.conftest import find_or_leave
from tests.scan.inspection import inspect_cache
from tests.services import LOOPBACK, REDIS, Server, free_port
from tests.stores.servers import RedisDaemon
from tests.waiting import until

BACKENDS = pytest.mark.parametrize("backend", [RedisCache, DjangoRedisCache])
IDLE = 7200


@pytest.fixture(scope="module")
def replica(
    pytestconfig: pytest.Config, redis_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisDaemon]:
    """A server that copies the other one."""
    command, directory = find_or_leave(REDIS, pytestconfig), tmp_path_factory.mktemp("replica")
    server = RedisDaemon(
        command, directory, "--replicaof", f"{redis_server.host} {redis_server.port}"
    )
    with server.running():
        yield server


def look(backend: Any, *urls: str, **params: Any) -> Snapshot:
    cache = backend(list(urls), {"KEY_PREFIX": "mine", **params})
    found = inspect_cache("default", cache, limit=10_000, seconds=30, stale_after=3600)
    cache.close()
    return found


@pytest.fixture
def filled(redis_server: Server, replica: RedisDaemon) -> Redis:
    """One entry that nobody has used for long, on both servers; the primary's client."""
    primary = Redis(host=redis_server.host, port=redis_server.port)
    primary.flushall()
    primary.set("mine:1:source", "x", ex=9000)
    dumped = primary.dump("mine:1:source")
    primary.restore("mine:1:old", 9_000_000, dumped, idletime=IDLE)  # type: ignore[arg-type]
    with replica.client() as copy:
        ends = time.monotonic() + 20
        while copy.exists("mine:1:old") == 0:
            assert time.monotonic() < ends
            time.sleep(0.05)
        copy.config_set("replica-read-only", "no")
        copy.restore("mine:1:old", 9_000_000, dumped, replace=True, idletime=IDLE)
    return primary


@BACKENDS
@pytest.mark.slow
def test_reads_of_a_replica_are_uses_that_the_primary_does_not_know_of(
    backend: Any, filled: Redis, redis_server: Server, replica: RedisDaemon
) -> None:
    urls = (f"{redis_server.url}/0", f"{replica.address.url}/0")
    assert look(backend, *urls).idle == 1
    with replica.client() as copy:
        copy.get("mine:1:old")
    found = look(backend, *urls)
    assert (found.idle, found.entries, found.problem) == (0, 2, None)
    filled.close()


@pytest.mark.slow
def test_of_several_replicas_by_one_name_idle_times_are_unknown(
    filled: Redis,
    redis_server: Server,
    replica: RedisDaemon,
    pytestconfig: pytest.Config,
    tmp_path: Path,
) -> None:
    """Each connection may lead to another one of them."""
    urls = (f"{redis_server.url}/0", f"{replica.address.url}/0")
    follows = ["--replicaof", f"{redis_server.host} {redis_server.port}"]
    other = RedisDaemon(find_or_leave(REDIS, pytestconfig), tmp_path, *follows)
    with other.running(), other.client() as copy:
        until(lambda: copy.info("replication")["master_link_status"] == "up")
        until(lambda: filled.info("replication")["connected_slaves"] == 2)
        found = look(RedisCache, *urls)
        assert (found.entries, found.idle, found.problem) == (2, None, None)
    until(lambda: filled.info("replication")["connected_slaves"] == 1)
    assert look(RedisCache, *urls).idle == 1
    filled.close()


@BACKENDS
def test_a_replica_that_is_down_leaves_the_entries_to_the_primary(
    backend: Any, filled: Redis, redis_server: Server
) -> None:
    found = look(backend, f"{redis_server.url}/0", f"redis://{LOOPBACK}:{free_port()}/0")
    assert (found.entries, found.exact, found.idle) == (2, True, None)
    assert found.problem is not None
    assert "replica" in found.problem
    filled.close()


@BACKENDS
def test_a_primary_that_is_down_leaves_the_entries_to_the_replica(
    backend: Any, filled: Redis, replica: RedisDaemon
) -> None:
    found = look(backend, f"redis://{LOOPBACK}:{free_port()}/0", f"{replica.address.url}/0")
    assert (found.entries, found.exact, found.limit_bytes, found.evictions) == (2, True, None, None)
    filled.close()


def test_one_of_several_shards_that_is_down_leaves_the_others_part(redis_server: Server) -> None:
    down = f"redis://{LOOPBACK}:{free_port()}/0"
    options = {"CLIENT_CLASS": "django_redis.client.ShardClient"}
    with Redis(host=redis_server.host, port=redis_server.port) as client:
        client.flushall()
        client.set("mine:1:a", "x")
    found = look(DjangoRedisCache, f"{redis_server.url}/0", down, OPTIONS=options)
    assert (found.entries, found.exact) == (1, False)
    assert found.problem is not None
    assert "One of the servers does not answer" in found.problem


@BACKENDS
def test_a_server_that_hangs_is_given_up(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cache_monitor.scan.base.ANSWER_SECONDS", 0.2)
    with socket.create_server((LOOPBACK, 0)) as silent:
        found = look(backend, f"redis://{LOOPBACK}:{silent.getsockname()[1]}/0")
    assert found.entries is None
    assert found.problem is not None
    assert "Time" in found.problem


@BACKENDS
def test_the_sites_own_connections_are_not_used(backend: Any, redis_server: Server) -> None:
    cache = backend([f"{redis_server.url}/0"], {"OPTIONS": {}})
    with Redis(host=redis_server.host, port=redis_server.port) as client:
        before = len(client.client_list())
        for _ in range(3):
            inspect_cache("default", cache, limit=10, seconds=5, stale_after=60)
        assert len(client.client_list()) <= before
    cache.close()


def test_no_more_than_the_recent_keys_are_remembered() -> None:
    recent = _RecentKeys()
    keys = [b"key:%d" % number for number in range(5 * _RECENT)]
    for begin in range(0, len(keys), 500):
        assert recent.new(keys[begin : begin + 500]) == keys[begin : begin + 500]
    assert len(recent._now) + len(recent._before) <= 2 * _RECENT + 500
    assert recent.new(keys[-_RECENT:]) == []


def test_a_table_that_shrinks_meanwhile_repeats_no_entry(
    redis_server: Server, tmp_path: Path
) -> None:
    with Redis(host=redis_server.host, port=redis_server.port) as client:
        client.flushall()
        client.mset({f"mine:1:stays:{number}": "x" for number in range(3000)})
        for begin in range(0, 60_000, 10_000):
            client.mset({f"other:{begin + number}": "x" for number in range(10_000)})
        cache = RedisCache(f"{redis_server.url}/0", {"KEY_PREFIX": "mine"})
        source = scanner_for("default", cache, Bounds())
        assert source is not None
        names: list[str] = []
        scan = Scan(source, ScanLimits("default", 100_000, time.monotonic() + 60, 60))
        for page, part in enumerate(scan):
            names += [entry.stored for entry in part.entries]
            if page == 100:
                for begin in range(0, 60_000, 1000):
                    client.delete(*(f"other:{begin + number}" for number in range(1000)))
        source.close()
        cache.close()
    assert len(names) == len(set(names)) == 3000
