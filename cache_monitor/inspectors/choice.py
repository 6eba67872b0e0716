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
OTHERS: Kind = "others"


def kind_of(cache: BaseCache) -> Kind:
    """By the class that the monitored cache's own class derives from; "others" for the rest."""
    return kind_of_class(type(cache))


def kind_of_class(class_: type) -> Kind:
    """The same, without an instance."""
    for kind, (is_of, _) in _KINDS.items():
        if is_of(class_):
            return kind
    return OTHERS


def source_of(alias: str, cache: BaseCache, bounds: Bounds) -> Source | None:
    """What tells of the entries of ``cache``, known as ``alias``; None where nothing does.

    Raises what the backend's driver raises where it cannot even be set up.
    """
    if isinstance(cache, FileBasedCache):
        return FileSource(cache, keys_of_files(alias, cache))
    kind = kind_of(cache)
    return None if kind == OTHERS else _KINDS[kind][1](cache, bounds)


def scope_of(cache: BaseCache) -> Scope:
    """Whether each process has entries of its own."""
    return "per process" if isinstance(cache, LocMemCache) else "shared"


_IsOf = Callable[[type], bool]


def _is(*classes: type[BaseCache]) -> _IsOf:
    return lambda class_: issubclass(class_, classes)


def _is_from(module: str, name: str) -> _IsOf:
    """Whether it is a class of an optional package, which can exist only where the package's module
    has been imported."""

    def is_of(class_: type) -> bool:
        found = getattr(sys.modules.get(module), name, None)
        return isinstance(found, type) and issubclass(class_, found)

    return is_of


def _is_of_django_valkey(class_: type) -> bool:
    # The clients of its asynchronous cache can be asked in the event loop alone.
    is_async = getattr(class_, "is_async", False)
    return _is_from("django_valkey.base", "BaseValkeyCache")(class_) and not is_async


def _is_of_cachex(class_: type) -> bool:
    if _is_from("django_cachex.client.cache", "KeyValueCache")(class_):  # until 0.3
        return True
    # Its clients that are not like redis-py's cannot be asked.
    has_pools = hasattr(getattr(class_, "_adapter_class", None), "_pool_class")
    return _is_from("django_cachex.cache.resp", "RespCache")(class_) and has_pools


def _on(servers: Callable[[Any, Bounds], Servers]) -> Callable[[Any, Bounds], Source]:
    return lambda cache, bounds: RedisSource(cache, servers(cache, bounds), bounds)


_KINDS: dict[Kind, tuple[_IsOf, Callable[[Any, Bounds], Source]]] = {
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
    "django-cachex": (_is_of_cachex, _on(redisservers.of_cachex)),
    "memcached": (_is(BaseMemcachedCache), MemcachedSource),
    "DummyCache": (_is(DummyCache), lambda cache, _: EmptySource(cache)),
}
