"""How many bytes a value takes, learnt where the backend has the bytes at hand anyway.

Backends that turn values into bytes on the way are watched at that point. LocMemCache keeps the
pickles, so their length can be read later; the hot path does not do it. Where neither works the
size is unknown.
"""

import os
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import PyMemcacheCache
from django.core.cache.backends.redis import RedisCache

from cache_monitor.scope import note_size


def stored_size(cache: BaseCache, key: Hashable, version: Hashable) -> int | None:
    """The bytes of the value stored under ``key``, where a look costs next to nothing."""
    if not isinstance(cache, LocMemCache):
        return None
    keys = key if isinstance(key, tuple) else (key,)
    backend: Any = cache
    stored = backend._cache
    sizes = [
        len(pickled)
        for each in keys
        if (pickled := stored.get(backend.make_key(each, version))) is not None
    ]
    return sum(sizes) if sizes else None


def watch_sizes(cache: Any) -> None:
    """Let the fresh instance ``cache`` note the sizes of the values it moves.

    The clients are made lazily and later, so what is exchanged here is what makes them.
    """
    kind = type(cache)
    if issubclass(kind, RedisCache):
        cache._class = partial(_redis_client, cache._class)
    elif issubclass(kind, PyMemcacheCache):
        options = cache._options
        cache._options = {**options, "serde": _WatchedSerde(options["serde"])}
    elif hasattr(cache, "_client_cls"):
        cache._client_cls = partial(_django_redis_client, cache._client_cls)


def size_watching_methods(real: type[BaseCache]) -> dict[str, Callable[..., Any]]:
    """Methods for a subclass of ``real`` that note the sizes of the values it moves."""
    if not issubclass(real, FileBasedCache):
        return {}
    backend: Any = real

    def _write_content(self: Any, file: Any, timeout: Any, value: Any) -> None:
        backend._write_content(self, file, timeout, value)
        note_size(file.tell())

    def _is_expired(self: Any, file: Any) -> bool:
        expired: bool = backend._is_expired(self, file)
        if not expired:
            note_size(os.fstat(file.fileno()).st_size)
        return expired

    return {"_write_content": _write_content, "_is_expired": _is_expired}


def _redis_client(make: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    client = make(*args, **kwargs)
    client._serializer = _WatchedSerializer(client._serializer)
    return client


def _django_redis_client(make: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    client = make(*args, **kwargs)
    if hasattr(client, "encode") and hasattr(client, "decode"):
        client.encode = _noting_result(client.encode)
        client.decode = _noting_argument(client.decode)
    return client


class _WatchedSerializer:
    """The serializer of Django's RedisCache, noting what passes."""

    def __init__(self, serializer: Any) -> None:
        self._serializer = serializer
        self.dumps = _noting_result(serializer.dumps)
        self.loads = _noting_argument(serializer.loads)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._serializer, name)


class _WatchedSerde:
    """pymemcache's serializer, noting what passes."""

    def __init__(self, serde: Any) -> None:
        self._serde = serde

    def serialize(self, key: Any, value: Any) -> Any:
        """The bytes of ``value`` and pymemcache's flags."""
        data, flags = self._serde.serialize(key, value)
        note_size(_length(data))
        return data, flags

    def deserialize(self, key: Any, value: Any, flags: Any) -> Any:
        """The value that ``value``'s bytes stand for."""
        note_size(_length(value))
        return self._serde.deserialize(key, value, flags)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._serde, name)


def _noting_result(method: Callable[..., Any]) -> Callable[..., Any]:
    def noting(*args: Any, **kwargs: Any) -> Any:
        data = method(*args, **kwargs)
        note_size(_length(data))
        return data

    return noting


def _noting_argument(method: Callable[..., Any]) -> Callable[..., Any]:
    def noting(data: Any, *args: Any, **kwargs: Any) -> Any:
        note_size(_length(data))
        return method(data, *args, **kwargs)

    return noting


def _length(data: Any) -> int:
    """Bytes of what travels to a server; numbers travel as their digits."""
    return len(data) if isinstance(data, bytes | str) else len(str(data))
