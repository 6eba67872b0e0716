"""How many bytes a value takes, learnt where the backend has the bytes at hand anyway.

Backends that turn values into bytes on the way are watched at that point. LocMemCache keeps the
pickles, so their length can be read later; the hot path does not do it. Where neither works the
size is unknown.
"""

import os
from collections.abc import Callable, Hashable
from inspect import getattr_static
from typing import Any

from django.core.cache.backends.base import BaseCache, default_key_func
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import PyMemcacheCache
from django.core.cache.backends.redis import RedisCache
from django.utils.functional import cached_property

from cache_monitor.recorder import recorder
from cache_monitor.scope import current, note_size


def stored_size(cache: BaseCache, key: Hashable, version: Hashable) -> int | None:
    """The bytes of the value stored under ``key``, where a look costs next to nothing."""
    # A project's own key function may depend on the thread, or count its calls.
    if not isinstance(cache, LocMemCache) or cache.key_func is not default_key_func:
        return None
    keys = key if isinstance(key, tuple) else (key,)
    backend: Any = cache
    stored = backend._cache
    found = [stored.get(backend.make_key(each, version)) for each in keys]
    # A subclass may store something else than pickles.
    sizes = [len(pickled) for pickled in found if isinstance(pickled, bytes)]
    return sum(sizes) if sizes else None


def size_watching(real: type[BaseCache]) -> dict[str, Any]:
    """Attributes for a subclass of ``real`` that note the sizes of the values it moves.

    Clients are made lazily, so what is watched is the place where a cache makes its own.
    """
    if issubclass(real, FileBasedCache):
        return _file_watching(real)
    made_by = getattr_static(real, "_cache", None)
    if issubclass(real, RedisCache) and isinstance(made_by, cached_property):
        return {"_cache": cached_property(_redis_client_maker(made_by.func))}
    if issubclass(real, PyMemcacheCache) and made_by is getattr_static(PyMemcacheCache, "_cache"):
        return {"_cache": cached_property(_pymemcache_client)}
    client = getattr_static(real, "client", None)
    if isinstance(client, property) and client.fget is not None:
        return {"client": property(_django_redis_client_getter(client.fget))}
    return {}


def _file_watching(real: type[BaseCache]) -> dict[str, Any]:
    backend: Any = real

    def _write_content(self: Any, file: Any, *args: Any, **kwargs: Any) -> None:
        backend._write_content(self, file, *args, **kwargs)
        _note_size_of(file)

    def _is_expired(self: Any, file: Any) -> bool:
        expired: bool = backend._is_expired(self, file)
        if not expired:
            _note_size_of(file)
        return expired

    return {"_write_content": _write_content, "_is_expired": _is_expired}


def _note_size_of(file: Any) -> None:
    try:
        # What was just written may not have left the file's buffer.
        file_size = file.tell() if file.writable() else os.fstat(file.fileno()).st_size
        note_size(file_size)
    except Exception as error:
        # A subclass may hand over anything.
        recorder.failed(error)


def _redis_client_maker(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def _cache(self: Any) -> Any:
        client = make(self)
        if hasattr(client, "_serializer"):
            client._serializer = _WatchedSerializer(client._serializer)
        return client

    return _cache


def _pymemcache_client(self: Any) -> Any:
    options = {**self._options, "serde": _WatchedSerde(self._options["serde"])}
    return self._class(self.client_servers, **options)


def _django_redis_client_getter(get_client: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def client(self: Any) -> Any:
        client = get_client(self)
        own = getattr(client, "__dict__", {})
        if "encode" not in own and hasattr(client, "encode") and hasattr(client, "decode"):
            # setdefault: another thread may be here too, and once is enough.
            own.setdefault("decode", _noting_argument(client.decode))
            own.setdefault("encode", _noting_result(client.encode))
        return client

    return client


class _WatchedSerializer:
    """The serializer of Django's RedisCache, noting what passes. The serializer itself stays as
    it is: it may be one that several caches share."""

    def __init__(self, serializer: Any) -> None:
        self._serializer = serializer
        self.dumps = _noting_result(serializer.dumps)
        self.loads = _noting_argument(serializer.loads)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._serializer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._serializer, name)


class _WatchedSerde:
    """pymemcache's serializer, noting what passes."""

    def __init__(self, serde: Any) -> None:
        self._serde = serde

    def serialize(self, key: Any, value: Any) -> Any:
        """The bytes of ``value`` and pymemcache's flags."""
        data, flags = self._serde.serialize(key, value)
        _note(data)
        return data, flags

    def deserialize(self, key: Any, value: Any, flags: Any) -> Any:
        """The value that ``value``'s bytes stand for."""
        _note(value)
        return self._serde.deserialize(key, value, flags)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._serde, name)


def _noting_result(method: Callable[..., Any]) -> Callable[..., Any]:
    def noting(*args: Any, **kwargs: Any) -> Any:
        data = method(*args, **kwargs)
        scope = current()
        if scope is not None and scope.inside is not None:
            if type(data) is bytes:
                scope.sizes.append(len(data))
            else:
                _note(data)
        return data

    return noting


def _noting_argument(method: Callable[..., Any]) -> Callable[..., Any]:
    def noting(data: Any, *args: Any, **kwargs: Any) -> Any:
        scope = current()
        if scope is not None and scope.inside is not None:
            if type(data) is bytes:
                scope.sizes.append(len(data))
            else:
                _note(data)
        return method(data, *args, **kwargs)

    return noting


def _note(data: Any) -> None:
    """Note the bytes of what travels to a server or from it; numbers travel as their digits."""
    if type(data) is bytes or isinstance(data, (bytearray, bytes, str)):
        note_size(len(data))
    elif isinstance(data, int | float):
        note_size(len(str(data)))
