"""Choose the inspector that a cache's backend has."""

import sys
from collections.abc import Callable
from typing import Any

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import BaseDatabaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import BaseMemcachedCache
from django.core.cache.backends.redis import RedisCache

from cache_monitor.inspectors import redisservers
from cache_monitor.inspectors.bounds import Bounds
from cache_monitor.inspectors.database import DatabaseSource
from cache_monitor.inspectors.files import FileSource
from cache_monitor.inspectors.known import keys_of_files
from cache_monitor.inspectors.locmem import LocMemSource
from cache_monitor.inspectors.memcached import MemcachedSource
from cache_monitor.inspectors.nothing import EmptySource
from cache_monitor.inspectors.redis import RedisSource
from cache_monitor.inspectors.redisservers import Servers
from cache_monitor.inspectors.snapshot import Scope
from cache_monitor.inspectors.source import Source

Kind = str
"""The name of a kind of backend, as people call it."""


def kind_of(cache: BaseCache) -> Kind:
    """By the class that the monitored cache's own class derives from; "others" for the rest."""
    for kind, (is_of, _) in _KINDS.items():
        if is_of(cache):
            return kind
    return "others"


def source_of(alias: str, cache: BaseCache, bounds: Bounds) -> Source | None:
    """What tells of the entries of ``cache``, known as ``alias``; None where nothing does.

    Raises what the backend's driver raises where it cannot even be set up.
    """
    if isinstance(cache, FileBasedCache):
        return FileSource(cache, keys_of_files(alias, cache))
    kind = kind_of(cache)
    return None if kind == "others" else _KINDS[kind][1](cache, bounds)


def scope_of(cache: BaseCache) -> Scope:
    """Whether each process has entries of its own."""
    return "per process" if isinstance(cache, LocMemCache) else "shared"


def _is(*classes: type[BaseCache]) -> Callable[[BaseCache], bool]:
    return lambda cache: isinstance(cache, classes)


def _is_from(module: str, name: str) -> Callable[[BaseCache], bool]:
    """Whether it is of a class of an optional package, of which an instance can exist only where
    the package's module has been imported."""

    def is_of(cache: BaseCache) -> bool:
        found = getattr(sys.modules.get(module), name, None)
        return isinstance(found, type) and isinstance(cache, found)

    return is_of


def _is_of_django_valkey(cache: BaseCache) -> bool:
    # The clients of its asynchronous cache can be asked in the event loop alone.
    return _is_from("django_valkey.base", "BaseValkeyCache")(cache) and not getattr(
        cache, "is_async", False
    )


def _on(servers: Callable[[Any, Bounds], Servers]) -> Callable[[Any, Bounds], Source]:
    return lambda cache, bounds: RedisSource(cache, servers(cache, bounds), bounds)


_KINDS: dict[Kind, tuple[Callable[[BaseCache], bool], Callable[[Any, Bounds], Source]]] = {
    "LocMemCache": (_is(LocMemCache), lambda cache, _: LocMemSource(cache)),
    # Made in source_of, because its keys are known by the alias.
    "FileBasedCache": (_is(FileBasedCache), lambda cache, _: FileSource(cache, {})),
    "DatabaseCache": (_is(BaseDatabaseCache), DatabaseSource),
    "RedisCache (Django's)": (_is(RedisCache), _on(redisservers.of_django)),
    "RedisCache (django-redis)": (
        _is_from("django_redis.cache", "RedisCache"),
        _on(redisservers.of_django_redis),
    ),
    "django-valkey": (_is_of_django_valkey, _on(redisservers.of_django_redis)),
    "django-cachex": (
        _is_from("django_cachex.client.cache", "KeyValueCache"),
        _on(redisservers.of_cachex),
    ),
    "memcached": (_is(BaseMemcachedCache), MemcachedSource),
    "DummyCache": (_is(DummyCache), lambda cache, _: EmptySource(cache)),
}
