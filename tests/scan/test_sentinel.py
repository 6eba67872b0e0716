"""Looking into Redis behind a Sentinel, which says where the primary and the replicas are."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from django_redis.cache import RedisCache
from redis import Redis

from cache_monitor.scan import base
from cache_monitor.scan.snapshot import Snapshot
from tests.backends.sentinel import SERVICE, run_sentinel
from tests.conftest import find_or_leave
from tests.scan.inspection import inspect_cache
from tests.services import LOOPBACK, REDIS, Server, free_port
from tests.stores.servers import RedisDaemon

IDLE = 7200


class Watched(NamedTuple):
    """A primary, its replica, and the Sentinel that knows of both."""

    primary: RedisDaemon
    replica: RedisDaemon
    sentinel: Server


@pytest.fixture
def watched(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    command = find_or_leave(REDIS, pytestconfig)
    with ExitStack() as stack:
        primary = RedisDaemon(command, tmp_path_factory.mktemp("primary"))
        stack.enter_context(primary.running())
        follows = ["--replicaof", f"{LOOPBACK} {primary.port}"]
        replica = RedisDaemon(command, tmp_path_factory.mktemp("replica"), *follows)
        stack.enter_context(replica.running())
        with replica.client() as copy:
            wait(lambda: copy.info("replication")["master_link_status"] == "up")
        sentinel = stack.enter_context(run_sentinel(command, primary.address))
        with Redis(host=sentinel.host, port=sentinel.port) as asked:
            wait(lambda: any(each["is_slave"] for each in _replicas(asked)))
        yield Watched(primary, replica, sentinel)


def _replicas(sentinel: Any) -> list[dict[str, Any]]:
    return [each for each in sentinel.sentinel_slaves(SERVICE) if "master-link-status" in each]


def wait(until: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not until():
        assert time.monotonic() < ends
        time.sleep(0.05)


@pytest.fixture
def cache(watched: Watched, settings: Any) -> Iterator[Any]:
    """One entry that nobody has used for long on both servers, and a new one."""
    settings.DJANGO_REDIS_CONNECTION_FACTORY = "django_redis.pool.SentinelConnectionFactory"
    made = cache_behind(watched.sentinel)
    with watched.primary.client() as primary, watched.replica.client() as replica:
        primary.set("mine:1:new", "x", ex=9000)
        dumped = primary.dump("mine:1:new")
        primary.restore("mine:1:old", 9_000_000, dumped, idletime=IDLE)
        wait(lambda: replica.exists("mine:1:old") == 1)
        replica.config_set("replica-read-only", "no")
        replica.restore("mine:1:old", 9_000_000, dumped, replace=True, idletime=IDLE)
    yield made
    made.close()


def cache_behind(sentinel: Server) -> Any:
    options = {
        "CLIENT_CLASS": "django_redis.client.SentinelClient",
        "SENTINELS": [(sentinel.host, sentinel.port)],
    }
    # Its pools are kept by their address for as long as the process lives.
    address = f"redis://{SERVICE}/0?client_name={uuid4().hex}"
    return RedisCache(address, {"KEY_PREFIX": "mine", "OPTIONS": options})


def look(cache: Any) -> Snapshot:
    return inspect_cache("default", cache, limit=10_000, seconds=30, stale_after=3600)


def scans(server: RedisDaemon) -> int:
    with server.client() as client:
        return int(client.info("commandstats").get("cmdstat_scan", {}).get("calls", 0))


@pytest.mark.slow
def test_the_keys_are_listed_on_the_replica(cache: Any, watched: Watched) -> None:
    found = look(cache)
    assert (found.entries, found.exact, found.problem) == (2, True, None)
    assert scans(watched.replica) > 0
    assert scans(watched.primary) == 0


@pytest.mark.slow
def test_reads_of_the_replica_are_uses(cache: Any, watched: Watched) -> None:
    assert look(cache).idle == 1
    with watched.replica.client() as replica:
        replica.get("mine:1:old")
    assert look(cache).idle == 0


@pytest.mark.slow
def test_a_replica_that_is_down_leaves_the_entries_to_the_primary(
    cache: Any, watched: Watched
) -> None:
    watched.replica.stop()
    found = look(cache)
    assert (found.entries, found.exact, found.idle) == (2, True, None)
    assert found.problem is not None
    assert "replica" in found.problem


@pytest.mark.slow
def test_a_primary_that_is_down_leaves_the_entries_to_the_replica(
    cache: Any, watched: Watched
) -> None:
    watched.primary.stop()
    found = look(cache)
    assert (found.entries, found.exact, found.evictions) == (2, True, None)


def test_a_sentinel_that_is_down_is_told_and_raises_nothing(settings: Any) -> None:
    settings.DJANGO_REDIS_CONNECTION_FACTORY = "django_redis.pool.SentinelConnectionFactory"
    cache = cache_behind(Server("sentinel", LOOPBACK, free_port()))
    found = look(cache)
    assert (found.entries, found.exact) == (None, False)
    assert found.problem is not None
    assert found.problem.startswith("ConnectionError")


def test_a_sentinel_that_hangs_is_given_up(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DJANGO_REDIS_CONNECTION_FACTORY = "django_redis.pool.SentinelConnectionFactory"
    monkeypatch.setattr(base, "ANSWER_SECONDS", 0.2)
    with socket.create_server((LOOPBACK, 0)) as silent:
        cache = cache_behind(Server("sentinel", LOOPBACK, silent.getsockname()[1]))
        found = look(cache)
    assert found.entries is None
    assert found.problem is not None


@pytest.mark.slow
def test_looking_leaves_no_connection_behind(cache: Any, watched: Watched) -> None:
    look(cache)
    for pool in [each.connection_pool for each in cache.client._clients if each is not None]:
        assert not pool._available_connections
    for server in (watched.primary, watched.replica):
        with server.client() as client:
            commands = {each["cmd"].split("|")[0] for each in client.client_list()}
            assert not commands & {"scan", "memory", "pttl", "object"}
