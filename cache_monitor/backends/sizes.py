"""How many bytes a value takes, learnt where the backend has the bytes at hand anyway.

Backends that turn values into bytes on the way are watched at that point. LocMemCache keeps the
pickles, so their length can be read later; the hot path does not do it. Where neither works the
size is unknown.
"""

import os
from collections.abc import Callable, Hashable
from inspect import getattr_static
from threading import local
from typing import Any

from django.core.cache.backends.base import BaseCache, default_key_func
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import PyMemcacheCache
from django.core.cache.backends.redis import RedisCache, RedisSerializer
from django.utils.functional import cached_property

from cache_monitor.backends.redisclients import KEPT_AS, keeps_client
from cache_monitor.interruptions import let_pass
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


class _Moved(local):
    """How many bytes of values this thread, or greenlet, has moved in calls that enter no scope.
    The call under way moved what is there more than before it."""

    bytes: int = 0


moved = _Moved()


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
    if keeps_client(real):
        return {KEPT_AS: _WatchedPlace()}
    if isinstance(client, property) and client.fget is not None:
        return {"client": property(_client_getter(client.fget))}
    return {}


def watch_open(cache: BaseCache) -> None:
    """Note the sizes of a cache that had made its client before it was monitored."""
    own = vars(cache)
    if keeps_client(type(cache)):
        _watch(own.get(KEPT_AS))
    elif isinstance(cache, RedisCache) and "_cache" in own:
        _watch_serializer(own["_cache"])


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
        let_pass(error)
        recorder.failed(error)


def _redis_client_maker(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def _cache(self: Any) -> Any:
        client = make(self)
        _watch_serializer(client)
        return client

    return _cache


def _watch_serializer(client: Any) -> None:
    if hasattr(client, "_serializer"):
        client._serializer = _WatchedSerializer(client._serializer)


def _pymemcache_client(self: Any) -> Any:
    options = {**self._options}
    # Without one the client makes its own, of the options serializer and deserializer.
    if serde := options.get("serde"):
        options["serde"] = _WatchedSerde(serde)
    return self._class(self.client_servers, **options)


class _WatchedPlace:
    """The attribute in which django-redis keeps its client, watched for when it is set.

    Without ``__get__``: to read it, once or more a call, takes no longer than of any attribute.
    """

    def __set__(self, cache: Any, client: Any) -> None:
        vars(cache)[KEPT_AS] = client
        _watch(client)

    def __delete__(self, cache: Any) -> None:
        del vars(cache)[KEPT_AS]


def _client_getter(get_client: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def client(self: Any) -> Any:
        client = get_client(self)
        _watch(client)
        return client

    return client


def _watch(client: Any) -> None:
    """Note what a client that encodes and decodes values by itself makes of them."""
    own = getattr(client, "__dict__", {})
    if "encode" not in own and hasattr(client, "encode") and hasattr(client, "decode"):
        # setdefault: another thread may be here too, and once is enough.
        own.setdefault("decode", _noting_argument(client.decode))
        own.setdefault("encode", _noting_result(client.encode))


class _WatchedSerializer:
    """The serializer of Django's RedisCache, noting what passes. The serializer itself stays as
    it is: it may be one that several caches share."""

    def __init__(self, serializer: Any) -> None:
        self._serializer = serializer
        self.dumps = _noting_result(serializer.dumps)
        is_djangos = type(serializer) is RedisSerializer
        self.loads = (_noting_data if is_djangos else _noting_argument)(serializer.loads)

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
        before = moved.bytes
        data, flags = self._serde.serialize(key, value)
        _note(data, before)
        return data, flags

    def deserialize(self, key: Any, value: Any, flags: Any) -> Any:
        """The value that ``value``'s bytes stand for."""
        before = moved.bytes
        made = self._serde.deserialize(key, value, flags)
        _note(value, before)
        return made

    def __getattr__(self, name: str) -> Any:
        return getattr(self._serde, name)


_LEFT_OUT: object = object()


def _noting_result(method: Callable[..., Any]) -> Callable[..., Any]:
    def noting(value: Any = _LEFT_OUT, /, *rest: Any, **named: Any) -> Any:
        before = moved.bytes
        if rest or named or value is _LEFT_OUT:
            data = method(*(() if value is _LEFT_OUT else (value, *rest)), **named)
        else:
            data = method(value)
        around = current()
        if type(data) is bytes and (around is None or around.only is not None):
            # From before: to make it may have taken calls of the user's own, on this cache too.
            moved.bytes = before + len(data)
        else:
            _note(data, before)
        return data

    return noting


def _noting_argument(method: Callable[..., Any]) -> Callable[..., Any]:
    def noting(data: Any = _LEFT_OUT, /, *rest: Any, **named: Any) -> Any:
        if rest or named or data is _LEFT_OUT:
            return method(*(() if data is _LEFT_OUT else (data, *rest)), **named)
        before = moved.bytes
        value = method(data)
        around = current()
        if type(data) is bytes and (around is None or around.only is not None):
            moved.bytes = before + len(data)
        else:
            _note(data, before)
        return value

    return noting


def _noting_data(method: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same for a ``method`` that is known to take nothing else: it runs once for each value
    of a ``get_many``."""

    def loads(data: Any) -> Any:
        before = moved.bytes
        value = method(data)
        around = current()
        if type(data) is bytes and (around is None or around.only is not None):
            moved.bytes = before + len(data)
        else:
            _note(data, before)
        return value

    return loads


def _note(data: Any, before: int) -> None:
    """Note the bytes of what travels to a server or from it; numbers travel as their digits."""
    try:
        size = _size_of(data)
    except Exception as error:
        # A value's own class may say how long it is, and what it looks like.
        let_pass(error)
        recorder.failed(error)
        return
    if size is None:
        return
    around = current()
    if around is None or around.only is not None:
        moved.bytes = before + size
    else:
        note_size(size)


def _size_of(data: Any) -> int | None:
    if type(data) is bytes or isinstance(data, (bytearray, bytes, str)):
        return len(data)
    return len(str(data)) if isinstance(data, int | float) else None
