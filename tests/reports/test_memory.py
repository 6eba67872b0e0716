"""Aliases that lead to one store are told together, with what they share once."""

from __future__ import annotations

from typing import Any

from django.core.cache import caches
from django.test import override_settings
from msgspec.structs import replace
from redis import Redis

from cache_monitor.dashboard.memory import memory_rows, named
from cache_monitor.reports import Cache
from cache_monitor.reports.caches import memory_of, once, stale_of
from cache_monitor.reports.memory import with_sharing
from cache_monitor.scan.snapshot import Snapshot
from tests.dashboard.reports import quiet_cache
from tests.scan.inspection import inspect_cache
from tests.services import Server

DJANGO = "django.core.cache.backends.redis.RedisCache"
DJANGO_REDIS = "django_redis.cache.RedisCache"
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"


def _told(looks: dict[str, Snapshot]) -> dict[str, Cache]:
    memories = with_sharing({alias: memory_of(look) for alias, look in looks.items()}, looks)
    return {
        alias: replace(quiet_cache(), memory=memories[alias], stale=stale_of(look))
        for alias, look in looks.items()
    }


def _looked_at(entries: dict[str, dict[str, Any]]) -> dict[str, Cache]:
    with override_settings(CACHES=entries):
        caches["default"].set_many({f"user:{number}": "x" for number in range(5)}, None)
        caches["versions"].set("only", "x", None)
        return _told(
            {
                alias: inspect_cache(alias, caches[alias], limit=100, seconds=30, stale_after=60)
                for alias in entries
            }
        )


def test_aliases_of_one_redis_are_one(redis_server: Server) -> None:
    with Redis(host=redis_server.host, port=redis_server.port) as client:
        client.flushall()
    url = f"redis://{redis_server.address}"
    found = _looked_at(
        {
            "default": {"BACKEND": DJANGO, "LOCATION": f"{url}/0"},
            "redis": {"BACKEND": DJANGO_REDIS, "LOCATION": [url]},
            "versions": {"BACKEND": DJANGO, "LOCATION": url, "VERSION": 2},
            "own": {"BACKEND": DJANGO, "LOCATION": f"{url}/1"},
            "memory": {"BACKEND": LOCMEM, "LOCATION": "sharing"},
        }
    )
    told = {alias: (each.memory.aliases, each.memory.counted_in) for alias, each in found.items()}
    three = ["default", "redis", "versions"]
    assert told == {
        "default": (three, None),
        "redis": (three, "default"),
        "versions": (three, None),
        "own": ([], None),
        "memory": ([], None),
    }
    assert [each.memory.entries for each in found.values()] == [5, 5, 1, 0, 0]
    assert list(once(found)) == ["default", "versions", "own", "memory"]
    assert sum(each.memory.entries or 0 for each in once(found).values()) == 6
    rows = memory_rows(found, lambda _: "")
    assert [(each.names, each.neighbours) for each in rows] == [
        ("default, redis", "versions"),
        ("versions", "default, redis"),
    ]
    assert named("redis", found) == "redis"


def test_what_any_of_them_evicted_is_the_stores() -> None:
    looks = {
        alias: Snapshot(alias=alias, measured_at=1.0, scope="shared", store=store, keys=alias)
        for alias, store in (("a", "one"), ("b", "one"), ("c", "other"))
    }
    found = {
        alias: memory_of(look, culled, 5.0)
        for (alias, look), culled in zip(looks.items(), (3, 4, 5), strict=True)
    }
    told = with_sharing(found, looks)
    assert [each.evictions for each in told.values()] == [7, 7, 5]


def test_an_alias_that_is_asked_for_alone_is_shown() -> None:
    memory = replace(memory_of(None), aliases=["a", "b"], counted_in="a")
    alone = {"b": replace(quiet_cache(), memory=memory)}
    assert list(once(alone)) == ["b"]


def test_a_look_that_knows_of_no_store_shares_none() -> None:
    looks = {alias: Snapshot(alias=alias, measured_at=1.0, scope="shared") for alias in "ab"}
    assert all(each.memory.aliases == [] for each in _told(looks).values())
