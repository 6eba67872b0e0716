"""Every kind of place that a cache's entries are kept in."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django_redis.cache import RedisCache as DjangoRedisCache
from redis import Redis

from cache_monitor.scan import local
from tests.backends.sentinel import SERVICE, run_sentinel
from tests.conftest import find_or_leave
from tests.scan.places import (
    BACKENDS,
    FilePlace,
    LocMemPlace,
    MemcachedPlace,
    Place,
    RedisPlace,
    table,
)
from tests.services import MEMCACHED, REDIS, Server, run_memcached, run_redis
from tests.stores.conftest import all_databases, database
from tests.workers import on_server

__all__ = ["all_databases"]  # fixtures of the stores' tests, used here too

PLACES = [
    "locmem",
    "files",
    "sqlite",
    "postgresql",
    "redis-django",
    "redis-django-redis",
    "redis-herd",
    "redis-shard",
    "redis-sentinel",
    "memcached-pymemcache",
    "memcached-pylibmc",
    "memcached-two",
]


@pytest.fixture(autouse=True)
def _fresh_names() -> None:
    local._file_names.clear()


@pytest.fixture(scope="session")
def second_redis(pytestconfig: pytest.Config) -> Iterator[Server]:
    with run_redis(find_or_leave(REDIS, pytestconfig)) as server:
        yield server


@pytest.fixture(scope="session")
def second_memcached(pytestconfig: pytest.Config) -> Iterator[Server]:
    with run_memcached(find_or_leave(MEMCACHED, pytestconfig)) as server:
        yield server


@pytest.fixture(scope="session")
def sentinel_of_all(pytestconfig: pytest.Config, redis_server: Server) -> Iterator[Server]:
    with run_sentinel(find_or_leave(REDIS, pytestconfig), redis_server) as server:
        yield server


@pytest.fixture
def watching_sentinel(sentinel_of_all: Server) -> Server:
    """A Sentinel that watches ``redis_server``, and has forgotten replicas that other tests had."""
    with Redis(host=sentinel_of_all.host, port=sentinel_of_all.port) as asked:
        asked.execute_command("SENTINEL RESET", SERVICE)
    return sentinel_of_all


_MARKS = {
    # Python 3.13 complains of how it looks for its options, which is not ours to mend.
    "memcached-pylibmc": [
        pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    ],
    # django-redis hands this client what it warns of.
    "redis-shard": [pytest.mark.filterwarnings("ignore:.* on sharded client:UserWarning")],
}


@pytest.fixture(
    params=[pytest.param(name, marks=[*_MARKS.get(name, ()), *on_server(name)]) for name in PLACES]
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Each kind of place, empty."""
    with ExitStack() as stack:
        made = _make(request, request.param, tmp_path, stack)
        stack.callback(made.close)
        yield made


def _make(request: pytest.FixtureRequest, name: str, tmp_path: Path, stack: ExitStack) -> Place:
    kind, _, variant = name.partition("-")
    if kind == "locmem":
        return LocMemPlace()
    if kind == "files":
        return FilePlace(tmp_path)
    if kind in {"sqlite", "postgresql"}:
        request.getfixturevalue("all_databases")
        using = "default"
        if kind == "postgresql":
            server = request.getfixturevalue("postgresql_server")
            stack.enter_context(database("postgresql", server.settings))
            using = "postgresql"
        return stack.enter_context(table(using))
    return _redis(request, variant) if kind == "redis" else _memcached(request, variant)


def _redis(request: pytest.FixtureRequest, variant: str) -> Place:
    server: Server = request.getfixturevalue("redis_server")
    if variant in BACKENDS:
        return RedisPlace([server], BACKENDS[variant][1])
    if variant == "herd":
        options: dict[str, Any] = {"CLIENT_CLASS": "django_redis.client.HerdClient"}
        return RedisPlace([server], DjangoRedisCache, OPTIONS=options)
    if variant == "shard":
        options = {"CLIENT_CLASS": "django_redis.client.ShardClient"}
        second = request.getfixturevalue("second_redis")
        return RedisPlace([server, second], DjangoRedisCache, OPTIONS=options)
    watching = request.getfixturevalue("watching_sentinel")
    settings = request.getfixturevalue("settings")
    settings.DJANGO_REDIS_CONNECTION_FACTORY = "django_redis.pool.SentinelConnectionFactory"
    options = {
        "CLIENT_CLASS": "django_redis.client.SentinelClient",
        "SENTINELS": [(watching.host, watching.port)],
    }
    return RedisPlace([server], DjangoRedisCache, OPTIONS=options, LOCATION=f"redis://{SERVICE}/0")


def _memcached(request: pytest.FixtureRequest, variant: str) -> Place:
    server: Server = request.getfixturevalue("memcached_server")
    if variant == "pylibmc":
        pytest.importorskip("pylibmc")
    if variant == "two":
        second = request.getfixturevalue("second_memcached")
        return MemcachedPlace([server.address, second.address], BACKENDS["pymemcache"][1])
    return MemcachedPlace([server.address], BACKENDS[variant][1])
