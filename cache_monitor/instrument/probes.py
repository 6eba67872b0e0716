"""Probes: methods put into backends and their clients that note what passes during a call.

- **Sizes and fingerprints.** Backends that turn values into bytes are watched where they do it. A
  fingerprint is taken of bytes that are at hand anyway, whole or not at all: of a part nobody could
  say that the rest is the same. Of a cached page the content counts, for its headers have times.
- **Evictions.** Django's own backends keep to ``MAX_ENTRIES`` in their ``_cull``, and none counts
  what goes. The probe asks nothing of the cache: it sees the dict before and after, the files that
  went, and the rows that the statements took.
- **Timeouts** that a project's own ``get_backend_timeout`` makes of those that it is given.
- **Errors that a client swallows** where its settings tell it to, seen where it notices them. A
  call that succeeds comes by none of these places but two, where pymemcache chooses a server and
  asks it.
"""

import os
import sys
from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache, partial
from inspect import CO_VARARGS, CO_VARKEYWORDS
from math import nan
from time import time
from types import FunctionType
from typing import Any, cast
from zlib import crc32

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import BaseMemcachedCache, PyMemcacheCache
from django.core.cache.backends.redis import RedisCache
from django.db import connections
from django.http import HttpResponse

from cache_monitor.calls import recorder
from cache_monitor.context import CallContext, current, under_way
from cache_monitor.instrument.aliases import (
    alias_of,
    attribute_of,
    client_of,
    is_django_redis,
    looking_like,
)

MOST_BYTES = 32_768
"""Of a value whose fingerprint is taken while the site waits: some eight microseconds."""

_IN_DIGITS = frozenset({str, int, float})
"""Types that travel as text."""


def print_of(data: Any, value: Any) -> int:
    """The fingerprint of ``value``, which the backend has made ``data`` of; 0 where it is not
    taken."""
    # By its type: to ask a lazy value for its class would make it.
    if issubclass(type(value), HttpResponse):
        return _of_page(value)
    if type(data) is bytes:
        return of_bytes(data)
    return of_bytes(str(data).encode()) if type(data) in _IN_DIGITS else 0


def of_bytes(data: bytes, most: int = MOST_BYTES) -> int:
    """The fingerprint of ``data``, above 0; 0 where there are more than ``most``."""
    return (crc32(data) or 1) if len(data) <= most else 0


def _of_page(page: Any) -> int:
    parts = vars(page).get("_container")
    if type(parts) is not list or any(type(each) is not bytes for each in parts):
        return 0
    if sum(map(len, parts)) > MOST_BYTES:
        return 0
    return of_bytes(b"%d\n" % page.status_code + b"".join(parts), 2 * MOST_BYTES)


def watch_sizes(cache: Any) -> None:
    """Have the sizes noted of the values that ``cache`` moves."""
    class_ = type(cache)
    if issubclass(class_, FileBasedCache):
        _replace(class_, "_write_content", _noting_file)
        _replace(class_, "_is_expired", _noting_file)
    elif issubclass(class_, RedisCache):
        # The serializer is chosen where the client is made, which may be later.
        _replace(attribute_of(cache, "_class"), "__init__", _watching_serializer)
        _watch_serializer(client_of(cache))
    elif issubclass(class_, PyMemcacheCache):
        serde = type(attribute_of(cache, "_options").get("serde"))
        _replace(serde, "serialize", _noting_serialized)
        # Which gets the key, the bytes and the flags.
        _replace(serde, "deserialize", partial(_noting_argument, at=1))
    elif is_django_redis(class_):
        client = attribute_of(cache, "_client_cls")
        _replace(client, "encode", _noting_result)
        _replace(client, "decode", _noting_argument)


def _watching_serializer(original: Any) -> Any:
    def noting(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        _watch_serializer(self)

    return noting


def _watch_serializer(client: Any) -> None:
    serializer = getattr(client, "_serializer", None)
    _replace(type(serializer), "dumps", _noting_result)
    _replace(type(serializer), "loads", _noting_argument)


def _replace(class_: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put a probe in place of the method ``name``, in that class from which ``class_`` has it."""
    for each in class_.__mro__ if isinstance(class_, type) else ():
        if vars(each).get(name) is not None:
            _replace_own(each, name, make)
            return


def _replace_own(class_: type, name: str, make: Callable[[Any], Any]) -> None:
    """Put a probe in place of the method ``name`` that ``class_`` itself has, if it has one."""
    original = vars(class_).get(name)
    if isinstance(original, FunctionType) and original.__globals__ is not globals():
        type.__setattr__(class_, name, looking_like(make(original), original))


def _noting_file(original: Any) -> Any:
    """For ``_write_content``, and for ``_is_expired``, which says True of what is not read."""

    def noting(self: Any, file: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, file, *args, **kwargs)
        if result is not True:
            _note_size_of(file)
        return result

    return noting


def _note_size_of(file: Any) -> None:
    inner = under_way()
    if inner is None:
        return
    # A subclass may hand over anything.
    with recorder.guard:
        # What was just written may not have left the file's buffer.
        inner.sizes.append(file.tell() if file.writable() else os.fstat(file.fileno()).st_size)


_NOT_GIVEN = object()


def _noting_result(original: Any) -> Any:
    """For a method that makes bytes of a value: it runs once for each value of a ``set_many``."""

    def noting(self: Any, value: Any = _NOT_GIVEN, /, *others: Any, **named: Any) -> Any:
        inner = current()
        is_usual = value is not _NOT_GIVEN and not others and not named
        args = () if is_usual else others if value is _NOT_GIVEN else (value, *others)
        if inner is None or inner.inside is None:
            return original(self, value) if is_usual else original(self, *args, **named)
        sizes, prints = inner.sizes, inner.prints
        before, printed = len(sizes), len(prints)
        data = original(self, value) if is_usual else original(self, *args, **named)
        # It may have called itself, or another one that notes, for the same value.
        if len(sizes) > before:
            del sizes[before:]
        if len(prints) > printed:
            del prints[printed:]
        if type(data) is bytes and not issubclass(type(value), HttpResponse):
            # Nearly always, and hence without a call of ours.
            sizes.append(len(data))
            prints.append((crc32(data) or 1) if len(data) <= MOST_BYTES else 0)
        else:
            _note(data, inner)
            _note_print(data, (value,), inner)
        return data

    return noting


def _noting_argument(original: Any, at: int = 0) -> Any:
    """For a method that makes a value of bytes, which it gets as the argument ``at``: it runs once
    for each value of a ``get_many``."""

    def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        inner = under_way()
        if inner is None or len(args) <= at:
            return original(self, *args, **kwargs)
        before = len(inner.sizes)
        value = original(self, *args, **kwargs)
        del inner.sizes[before:]
        _note(args[at], inner)
        return value

    def noting_one(self: Any, data: Any) -> Any:
        inner = current()
        if inner is None or inner.inside is None:
            return original(self, data)
        sizes = inner.sizes
        before = len(sizes)
        value = original(self, data)
        if len(sizes) > before:
            del sizes[before:]
        if type(data) is bytes:
            sizes.append(len(data))
        else:
            _note(data, inner)
        return value

    return noting if at else _with_its_argument(noting_one, original) or noting


def _with_its_argument(method: Any, original: FunctionType) -> Any:
    """``method``, of one argument, with the name that ``original`` has for its only one; None
    where that takes others. To hand on whatever comes would take half as long again."""
    code = original.__code__
    takes_more = code.co_kwonlyargcount or code.co_flags & (CO_VARARGS | CO_VARKEYWORDS)
    if code.co_argcount != 2 or takes_more or original.__defaults__:
        return None
    names = (*code.co_varnames[:2], *method.__code__.co_varnames[2:])
    method.__code__ = method.__code__.replace(co_varnames=names)
    return method


def _noting_serialized(original: Any) -> Any:
    """For pymemcache's, which makes bytes and flags."""

    def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        inner = under_way()
        if inner is None:
            return original(self, *args, **kwargs)
        before, printed = len(inner.sizes), len(inner.prints)
        result = original(self, *args, **kwargs)
        del inner.sizes[before:]
        del inner.prints[printed:]
        data = result[0] if type(result) is tuple and result else None
        _note(data, inner)
        _note_print(data, args[1:], inner)
        return result

    return noting


def _note(data: Any, inner: CallContext) -> None:
    """Note the bytes of what travels to a server or from it; numbers travel as their digits."""
    # A value's own class may say how long it is, and what it looks like.
    with recorder.guard:
        if type(data) is bytes or isinstance(data, (bytearray, bytes, str)):
            inner.sizes.append(len(data))
        elif isinstance(data, int | float):
            inner.sizes.append(len(str(data)))


def _note_print(data: Any, args: tuple[Any, ...], inner: CallContext) -> None:
    """Note the fingerprint of a value, the first of ``args``, that became ``data``."""
    with recorder.guard:
        inner.prints.append(print_of(data, args[0] if args else None))


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


def _note_culled(cache: Any, evicted: int) -> None:
    with recorder.guard:
        alias = alias_of(cache)
        if alias is not None and evicted > 0:
            recorder.note_culled(alias, evicted)


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
    with recorder.guard:
        operation.note_timeout(None, timeout(), before)


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
