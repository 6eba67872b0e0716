"""What a call does beside its result: entries that it throws out, errors that its client swallows,
and the timeouts that a project's own ``get_backend_timeout`` makes of those it is given.

Django's own backends keep to ``MAX_ENTRIES`` in their ``_cull``, and none of them counts what goes.
What is put in front of it asks nothing of the cache: it sees the dict before and after, the files
that went, and the rows that the statements took.

A client swallows errors where its settings tell it to. They are seen where it notices them. A call
that succeeds comes by none of these places but two, where pymemcache chooses a server and asks it.
"""

import sys
from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache, partial, update_wrapper
from math import nan
from time import time
from types import FunctionType
from typing import Any, cast

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import BaseMemcachedCache, PyMemcacheCache
from django.core.cache.backends.redis import RedisCache
from django.db import connections

from cache_monitor.calls import recorder
from cache_monitor.context import CallContext, under_way
from cache_monitor.errors import let_pass
from cache_monitor.instrument.aliases import alias_of, attribute_of, client_of, is_django_redis

_files: ContextVar[list[str] | None] = ContextVar("cache_monitor_culled_files", default=None)
"""The files that went, while a directory is culled."""


def watch_culls(cache: object, alias: str) -> None:
    """Count what ``cache``, known as ``alias``, evicts, if it does so in Django's own way."""
    recorder.culling.discard(alias)
    found: Any = type(cache)
    for class_, make in _COUNTING.items():
        if issubclass(found, class_):
            for name, counting in make.items():
                _replace_own(class_, name, counting)
            # A project's own way need not come by here.
            if found._cull is class_._cull:
                recorder.culling.add(alias)


def _replace_own(class_: Any, name: str, make: Any) -> None:
    original = vars(class_).get(name)
    if isinstance(original, FunctionType) and original.__globals__ is not globals():
        method = update_wrapper(make(original), original)
        del method.__wrapped__
        setattr(class_, name, method)


def _note_culled(cache: Any, evicted: int) -> None:
    try:
        alias = alias_of(cache)
        if alias is not None and evicted > 0:
            recorder.note_culled(alias, evicted)
    except Exception as error:
        let_pass(error)
        recorder.failed(error)


def _of_dict(original: Any) -> Any:
    def _cull(self: Any) -> Any:
        before = len(self._cache)
        result = original(self)
        _note_culled(self, before - len(self._cache))
        return result

    return _cull


def _of_directory(original: Any) -> Any:
    def _cull(self: Any) -> Any:
        gone: list[str] = []
        token = _files.set(gone)
        try:
            return original(self)
        finally:
            _files.reset(token)
            _note_culled(self, len(gone))

    return _cull


def _of_file(original: Any) -> Any:
    def _delete(self: Any, fname: str) -> Any:
        result = original(self, fname)
        if result and (gone := _files.get()) is not None:
            gone.append("")
        return result

    return _delete


def _of_table(original: Any) -> Any:
    def _cull(self: Any, db: str, *args: Any, **kwargs: Any) -> Any:
        taken: list[int] = []

        def noting(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            result = execute(sql, params, many, context)
            if sql[:6].upper() == "DELETE":
                taken.append(context["cursor"].rowcount)
            return result

        with connections[db].execute_wrapper(noting):
            result = original(self, db, *args, **kwargs)
        # What has expired goes first, and was not evicted, unless everything goes.
        _note_culled(self, sum(taken if self._cull_frequency == 0 else taken[1:]))
        return result

    return _cull


_COUNTING: dict[Any, dict[str, Any]] = {
    LocMemCache: {"_cull": _of_dict},
    FileBasedCache: {"_cull": _of_directory, "_delete": _of_file},
    DatabaseCache: {"_cull": _of_table},
}


def watch_timeouts(cache: Any) -> None:
    """Have noted what a ``get_backend_timeout`` of the project's own makes of timeouts, and what a
    client of its own hands to django-redis's."""
    for each in type(cache).__mro__:
        if not each.__module__.startswith("django."):
            _replace_own(each, "get_backend_timeout", _noting_timeout)
    if is_django_redis(type(cache)):
        theirs = _set_by_project(attribute_of(cache, "_client_cls"))
        if theirs is not None:
            _replace_own(theirs, "set", partial(_noting_given, theirs))


@lru_cache(100)
def _set_by_project(client: Any) -> Any:
    """django-redis's class whose ``set`` that of a project's own client calls; None where the
    client has none of its own."""
    setting = [each for each in getattr(client, "__mro__", ()) if "set" in vars(each)]
    theirs = next((each for each in setting if each.__module__.startswith("django_redis.")), None)
    return theirs if setting[:1] != [theirs] else None


def _noting_timeout(original: Any) -> Any:
    def get_backend_timeout(self: Any, *args: Any, **kwargs: Any) -> Any:
        operation = under_way()
        if operation is None:
            return original(self, *args, **kwargs)
        before = len(operation.timeouts or ())
        result = original(self, *args, **kwargs)
        _note_timeout(operation, partial(_seconds, self, result), before)
        return result

    return get_backend_timeout


def _noting_given(theirs: Any, original: Any) -> Any:
    def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        operation, client = under_way(), cast("Any", type(self))
        # A client of django-redis's own may give another of its classes a longer timeout than that
        # by which it reads.
        if operation is not None and _set_by_project(client) is theirs:
            given = args[2] if len(args) > 2 else kwargs.get("timeout", DEFAULT_TIMEOUT)
            _note_timeout(operation, lambda: given, len(operation.timeouts or ()))
        return original(self, *args, **kwargs)

    return noting


def _note_timeout(operation: CallContext, timeout: Callable[[], object], before: int) -> None:
    try:
        operation.note_timeout(None, timeout(), before)
    except Exception as error:
        let_pass(error)
        recorder.failed(error)


def _seconds(cache: Any, given: object) -> float | None:
    """A result of ``get_backend_timeout`` in seconds from now; NaN where it is none."""
    if given is None:
        return None
    if not isinstance(given, int | float):
        return nan
    is_time = given > _LONGEST_SECONDS or not isinstance(cache, (RedisCache, BaseMemcachedCache))
    return max(given - time(), 0) if is_time else max(given, 0)


_LONGEST_SECONDS = 1_000_000_000
"""Above this, a timeout in seconds is a point in time."""


def is_swallowing(cache: Any) -> bool:
    """Whether the client of ``cache`` is one that keeps errors to itself."""
    if attribute_of(cache, "_ignore_exceptions"):
        # A client of the project's own may have mended what failed.
        return type(attribute_of(cache, "_client")).__module__.startswith("django_redis.")
    client = client_of(cache)
    return type(client).__module__.startswith("pymemcache.") and bool(client.ignore_exc)


def watch_swallowed(class_: type) -> None:
    """Have what the clients of the backend ``class_`` swallow noted."""
    if issubclass(class_, PyMemcacheCache):
        hashing, base = sys.modules["pymemcache.client.hash"], sys.modules["pymemcache.client.base"]
        _replace_own(hashing.HashClient, "_get_client", _noting_no_server)
        _replace_own(hashing.HashClient, "_safely_run_func", _noting_not_asked)
        _replace_own(hashing.HashClient, "_safely_run_set_many", _noting_not_asked)
        _replace_own(base.Client, "_connect", _noting_raised)
        _replace_own(base.Client, "close", _noting_cause)
    elif is_django_redis(class_):
        _replace_own(
            sys.modules["django_redis.exceptions"].ConnectionInterrupted, "__init__", _noting_cause
        )


def _note_swallowed(name: str) -> None:
    inner = under_way()
    if inner is not None and inner.swallowed is None:
        inner.swallowed = name


def _noting_cause(original: Any) -> Any:
    """For what is called while an error is handled: to raise another one, or to clean up."""

    def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        if (error := sys.exception()) is not None:
            _note_swallowed(type(error).__name__)
        return original(self, *args, **kwargs)

    return noting


def _noting_raised(original: Any) -> Any:
    """For what may fail before there is anything to clean up."""

    def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(self, *args, **kwargs)
        except Exception as error:
            _note_swallowed(type(error).__name__)
            raise

    return noting


def _noting_no_server(original: Any) -> Any:
    """For what gives no client where all servers are taken for dead."""

    def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        client = original(self, *args, **kwargs)
        if client is None:
            _note_swallowed("MemcacheError")
        return client

    return noting


def _noting_not_asked(original: Any) -> Any:
    """For what does not ask a server that failed a moment ago."""

    def noting(self: Any, client: Any, *args: Any, **kwargs: Any) -> Any:
        was_failing = client.server in self._failed_clients
        result = original(self, client, *args, **kwargs)
        if was_failing and client.server in self._failed_clients:
            _note_swallowed("MemcacheError")
        return result

    return noting
