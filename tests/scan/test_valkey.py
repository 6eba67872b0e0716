"""Looking into the caches of django-valkey, by each of its clients, and of django-cachex, on real
servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from cache_monitor.scan.backends import scanner_for
from cache_monitor.scan.base import Bounds
from tests.backends.sentinel import SERVICE
from tests.scan.inspection import capability_of, inspect_cache
from tests.services import Server
from tests.stores.conftest import cluster
from tests.stores.servers import ClusterNode

__all__ = ["cluster"]  # a fixture of the stores' tests, used here too

KEYS = [f"user:{number}" for number in range(250)]
CLIENTS = "django_valkey.client"

pytest.importorskip("django_valkey")


@pytest.fixture
def two(redis_server: Server, second_redis: Server) -> list[Server]:
    for each in (redis_server, second_redis):
        with Redis(host=each.host, port=each.port) as client:
            client.flushall()
    return [redis_server, second_redis]


def _valkey(location: Any, **options: Any) -> Any:
    from django_valkey.cache import ValkeyCache

    return ValkeyCache(location, {"KEY_PREFIX": "mine", "OPTIONS": options})


@pytest.fixture(params=["default", "herd", "shards", "replica", "sentinel"])
def cache(request: pytest.FixtureRequest, two: list[Server], settings: Any) -> Iterator[Any]:
    urls = [f"valkey://{each.address}/0" for each in two]
    if request.param == "default":
        made = _valkey(urls[0])
    elif request.param == "herd":
        made = _valkey(urls[0], CLIENT_CLASS=f"{CLIENTS}.HerdClient")
    elif request.param == "shards":
        made = _valkey(urls, CLIENT_CLASS=f"{CLIENTS}.ShardClient")
    elif request.param == "replica":
        made = _valkey([urls[0], urls[0]])
    else:
        watching: Server = request.getfixturevalue("watching_sentinel")
        factory = "django_valkey.pool.SentinelConnectionFactory"
        settings.DJANGO_VALKEY_CONNECTION_FACTORY = factory
        made = _valkey(
            f"valkey://{SERVICE}/0",
            CLIENT_CLASS=f"{CLIENTS}.SentinelClient",
            SENTINELS=[(watching.host, watching.port)],
        )
    yield made
    made.close()


def test_all_entries_are_found(cache: Any) -> None:
    for key in KEYS:
        cache.set(key, "x", None if key == KEYS[0] else 300)
    found = inspect_cache("default", cache, limit=10_000, seconds=30, stale_after=60)
    assert (found.entries, found.exact, found.no_expiry, found.problem) == (250, True, 1, None)
    assert [(each.group, each.entries) for each in found.groups] == [("user:{int}", 250)]
    assert found.evictions == 0
    assert capability_of(cache).backend == "django-valkey"


def test_one_entry_is_found_by_its_key(cache: Any) -> None:
    cache.set("a", "x", 300)
    source = scanner_for("default", cache, Bounds())
    assert source is not None
    found = source.entry("a", None)
    assert found is not None
    assert found.expires_in == pytest.approx(300, abs=60)
    assert source.entry("b", None) is None
    source.close()


@pytest.mark.parametrize("from_replicas", [False, True])
def test_the_keys_of_a_cluster_are_found_on_all_its_servers(
    cluster: list[ClusterNode], from_replicas: bool
) -> None:
    from django_valkey.cluster_cache.cache import ClusterValkeyCache

    for node in cluster:
        with node.client() as client:
            client.flushall()
    made: Any = ClusterValkeyCache(
        f"valkey://{cluster[1].address.address}",
        {
            "KEY_PREFIX": "mine",
            "OPTIONS": {"BASE_CLIENT_KWARGS": {"read_from_replicas": from_replicas}},
        },
    )
    for key in KEYS:
        made.set(key, "x", 300)
    found = inspect_cache("default", made, limit=10_000, seconds=30, stale_after=60)
    assert (found.entries, found.exact, found.problem) == (250, True, None)
    # A primary does not know of uses on its replicas.
    assert found.idle == (None if from_replicas else 0)
    source = scanner_for("default", made, Bounds())
    assert source is not None
    assert all(source.entry(key, None) is not None for key in KEYS[:20])
    source.close()
    made.client._clients[0].close()


def test_its_asynchronous_cache_is_said_to_be_closed_to_looks() -> None:
    from django_valkey.async_cache.cache import AsyncValkeyCache

    made: Any = AsyncValkeyCache("valkey://localhost", {"OPTIONS": {}})
    found = inspect_cache("default", made, limit=10, seconds=1, stale_after=60)
    assert found.problem is not None
    assert "cannot be scanned" in found.problem
    assert capability_of(made).backend == "others"


def test_the_entries_of_cachex_are_found_as_well(two: list[Server]) -> None:
    made: Any = pytest.importorskip("django_cachex.cache").RedisCache(
        [f"redis://{each.address}/0" for each in two[:1]], {"KEY_PREFIX": "mine"}
    )
    for key in KEYS:
        made.set(key, "x", None if key == KEYS[0] else 300)
    found = inspect_cache("default", made, limit=10_000, seconds=30, stale_after=60)
    assert (found.entries, found.exact, found.no_expiry, found.problem) == (250, True, 1, None)
    assert capability_of(made).backend == "django-cachex"
    made.close()
