"""The short ways of django-redis's cache, which hands whatever it is given on to its client.

Like those of :mod:`cache_monitor.backends.leaves`, with the clients that are known to call no
operation of the cache. What is given in error the client finds, and tells in its words.
"""

from collections.abc import Callable, Mapping
from threading import get_ident
from time import perf_counter as clock
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from cache_monitor.backends.leaves import COLLECTIONS, found_call, given, record_failed
from cache_monitor.backends.many import all_bounded
from cache_monitor.backends.observation import Method, Operation, record, tell
from cache_monitor.backends.redisclients import leaf_clients
from cache_monitor.backends.shapes import MISSING
from cache_monitor.backends.sizes import moved
from cache_monitor.calls import KEY_LIMIT, bounded
from cache_monitor.recorder import recorder
from cache_monitor.scope import current


def handed_get(operation: Operation, otherwise: Method) -> Method:
    """``get``."""
    real: Any = operation.real
    original: Any = operation.original
    source, append, buffer = operation.source, recorder.append, recorder.buffer
    clients = leaf_clients(real)

    def get(
        self: Any, key: Any, default: Any = None, version: int | None = None, client: Any = None
    ) -> Any:
        if client is not None:
            return otherwise(self, key, default, version, client)
        around = current()
        if (
            (around is not None and around.only is None)
            or real.get is not original
            or type(self._client) not in clients
        ):
            return otherwise(self, *given((key,), default, version, None))
        before = moved.bytes
        started = clock()
        try:
            value = original(self, key, MISSING, version)
        except BaseException as error:
            record_failed(source, started, bounded(key), version, error, around)
            raise
        seconds = clock() - started
        kept = key if type(key) is str and len(key) <= KEY_LIMIT else bounded(key)
        ver = version if version is None else bounded(version)
        hit = value is not MISSING
        size = (moved.bytes - before or None) if hit else None
        who = None if hit else get_ident()
        call = (source, started, seconds, kept, hit, size, None, ver, None, None, None, who)
        append(call)
        if len(buffer) > recorder.limit:
            recorder.relieve()
        if around is not None:
            tell(around, call)
        return value if hit else default

    return get


def handed_set(operation: Operation, otherwise: Method) -> Method:
    """``set``."""
    real: Any = operation.real
    original: Any = operation.original
    source, append, buffer = operation.source, recorder.append, recorder.buffer
    clients = leaf_clients(real)

    def set(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: A001 - for tracebacks
        around = current()
        if (
            (around is not None and around.only is None)
            or real.set is not original
            or not args
            or type(self._client) not in clients
        ):
            return otherwise(self, *args, **kwargs)
        key, number = args[0], len(args)
        timeout = args[2] if number > 2 else kwargs.get("timeout", DEFAULT_TIMEOUT)
        version = args[3] if number > 3 else kwargs.get("version")
        before = moved.bytes
        started = clock()
        try:
            result = original(self, *args, **kwargs)
        except BaseException as error:
            record_failed(source, started, bounded(key), version, error, around)
            raise
        seconds = clock() - started
        size = moved.bytes - before or None
        kept = key if type(key) is str and len(key) <= KEY_LIMIT else bounded(key)
        ver = version if version is None else bounded(version)
        done, who = result if type(result) is bool else None, get_ident()
        call = (source, started, seconds, kept, None, size, timeout, ver, None, done, None, who)
        append(call)
        if len(buffer) > recorder.limit:
            recorder.relieve()
        if around is not None:
            tell(around, call)
        return result

    return set


def handed_get_many(operation: Operation, otherwise: Method) -> Method:
    """``get_many``."""
    real: Any = operation.real
    original: Any = operation.original
    source = operation.source
    clients = leaf_clients(real)

    def get_many(self: Any, *args: Any, **kwargs: Any) -> Any:
        around = current()
        if (
            (around is not None and around.only is None)
            or real.get_many is not original
            or not args
            or type(args[0]) not in COLLECTIONS
            or type(self._client) not in clients
        ):
            return otherwise(self, *args, **kwargs)
        keys = args[0]
        version = args[1] if len(args) > 1 else kwargs.get("version")
        before = moved.bytes
        started = clock()
        try:
            found = original(self, *args, **kwargs)
        except BaseException as error:
            record_failed(source, started, all_bounded(keys), version, error, around)
            raise
        seconds = clock() - started
        size = moved.bytes - before
        record(found_call(source, (started, seconds), keys, found, size, version), around)
        return found

    return get_many


_MAKERS: Mapping[str, Callable[[Operation, Method], Method]] = {
    "get": handed_get,
    "set": handed_set,
    "get_many": handed_get_many,
}


def handed_way(operation: Operation, otherwise: Method) -> Method | None:
    """The short way for ``operation``, where there is one."""
    make = _MAKERS.get(operation.name) if leaf_clients(operation.real) else None
    return None if make is None else make(operation, otherwise)
