"""Look into any cache, with the inspector that its backend has."""

import sys
import time
from collections.abc import Callable
from typing import Any

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import BaseDatabaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from msgspec.structs import replace

from cache_monitor.inspectors.database import inspect_database
from cache_monitor.inspectors.locmem import inspect_locmem
from cache_monitor.inspectors.ownkeys import key_form
from cache_monitor.inspectors.redis import Servers, inspect_redis
from cache_monitor.inspectors.snapshot import Scope, Snapshot
from cache_monitor.inspectors.terms import CannotLook, Terms, described

Inspector = Callable[[Any, Terms], Snapshot]


def inspect_cache(
    alias: str, cache: BaseCache, *, limit: int, seconds: float, stale_after: float
) -> Snapshot:
    """What ``cache``, known as ``alias``, holds now.

    Looks at no more than ``limit`` entries and begins nothing new after ``seconds``; entries not
    used for ``stale_after`` seconds are idle. Never raises: a backend that cannot be asked, or
    does not answer, gives a snapshot of None figures, with an ``error`` in the latter case.

    Uses no operation of the cache, thus nothing that is recorded and nothing that changes what is
    evicted next. May open a database connection in this thread, which the caller closes.
    """
    terms = Terms(alias, limit, time.monotonic() + seconds, stale_after)
    try:
        inspector = _inspector_of(cache)
        if inspector is None:
            return _unknown(alias, cache)
        return inspector(cache, terms)
    except Exception as error:
        return replace(_unknown(alias, cache), error=described(error))


def _inspector_of(cache: BaseCache) -> Inspector | None:
    """By the class that the monitored cache's own class derives from."""
    if isinstance(cache, LocMemCache):
        return _with_entry_limit(inspect_locmem)
    if isinstance(cache, BaseDatabaseCache):
        return _with_entry_limit(inspect_database)
    if isinstance(cache, RedisCache):
        return _inspect_django_core
    # An instance of it can exist only where its module has been imported.
    django_redis = sys.modules.get("django_redis.cache")
    if django_redis is not None and isinstance(cache, django_redis.RedisCache):
        return _inspect_django_redis
    return None


def _with_entry_limit(inspector: Inspector) -> Inspector:
    """For the backends that keep to MAX_ENTRIES."""

    def inspect(cache: Any, terms: Terms) -> Snapshot:
        return replace(inspector(cache, terms), limit_entries=cache._max_entries)

    return inspect


def _inspect_django_core(cache: Any, terms: Terms) -> Snapshot:
    client = cache._cache
    servers = Servers(client.get_client(), client.get_client(write=True), len(client._servers) > 1)
    return inspect_redis(servers, key_form(cache), terms)


def _inspect_django_redis(cache: Any, terms: Terms) -> Snapshot:
    client = cache.client
    if "ShardClient" in {each.__name__ for each in type(client).__mro__}:
        raise CannotLook("A cache that is sharded over several servers cannot be looked into yet.")
    servers = Servers(
        client.get_client(write=False), client.get_client(write=True), len(client._server) > 1
    )
    return inspect_redis(servers, key_form(cache), terms)


def _unknown(alias: str, cache: BaseCache) -> Snapshot:
    scope: Scope = "per process" if isinstance(cache, LocMemCache) else "shared"
    return Snapshot(alias=alias, measured_at=time.time(), scope=scope)
