"""Short ways for operations that are known to call no other one of the same cache inside.

Nothing but the clock and an append: no scope is entered, which costs more than all else, and no
shape is made. Where somebody listens, where the call is part of another, where the backend's class
was patched or what is given is out of the ordinary, ``otherwise`` serves, the way by
:mod:`cache_monitor.backends.observation`.
"""

from collections.abc import Callable, Collection, Hashable, Mapping
from threading import get_ident
from time import perf_counter as clock
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import PyLibMCCache, PyMemcacheCache
from django.core.cache.backends.redis import RedisCache

from cache_monitor.backends.many import all_bounded, all_found
from cache_monitor.backends.observation import Method, Operation, record, tell
from cache_monitor.backends.shapes import MISSING, Args
from cache_monitor.backends.sizes import moved
from cache_monitor.calls import KEY_LIMIT, RawCall, Source, bounded, raised
from cache_monitor.interruptions import let_pass
from cache_monitor.recorder import recorder
from cache_monitor.scope import Scope, current


def leaf_get(operation: Operation, otherwise: Method) -> Method:
    """``get`` of a backend that tells no sizes on the way."""
    real: Any = operation.real
    original: Any = operation.original
    source, alias = operation.source, operation.source.alias
    append, buffer = recorder.append, recorder.buffer

    def get(self: BaseCache, key: Any, default: Any = None, version: int | None = None) -> Any:
        around = current()
        if (around is not None and around.only is None) or real.get is not original:
            if around is not None and around.hides(alias) and real.get is original:
                return original(self, key, default, version)
            return otherwise(self, *given((key,), default, version, None))
        started = clock()
        try:
            value = original(self, key, MISSING, version)
        except BaseException as error:
            record_failed(source, started, bounded(key), version, error, around)
            raise
        seconds = clock() - started
        hit = value is not MISSING
        kept = key if type(key) is str and len(key) <= KEY_LIMIT else bounded(key)
        ver = version if version is None else bounded(version)
        who = None if hit else get_ident()
        call = (source, started, seconds, kept, hit, None, None, ver, None, None, None, who)
        append(call)
        if len(buffer) > recorder.limit:
            recorder.relieve()
        if around is not None:
            tell(around, call)
        return value if hit else default

    return get


def leaf_set(operation: Operation, otherwise: Method) -> Method:
    """``set`` of a backend that tells no sizes on the way."""
    real: Any = operation.real
    original: Any = operation.original
    source, alias = operation.source, operation.source.alias
    append, buffer = recorder.append, recorder.buffer

    def set(  # noqa: A001 - the name of the operation, for tracebacks
        self: BaseCache,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> Any:
        around = current()
        if (around is not None and around.only is None) or real.set is not original:
            if around is not None and around.hides(alias) and real.set is original:
                return original(self, key, value, timeout, version)
            return otherwise(self, *given((key, value), timeout, version, DEFAULT_TIMEOUT))
        started = clock()
        try:
            result = original(self, key, value, timeout, version)
        except BaseException as error:
            record_failed(source, started, bounded(key), version, error, around)
            raise
        seconds = clock() - started
        kept = key if type(key) is str and len(key) <= KEY_LIMIT else bounded(key)
        ver = version if version is None else bounded(version)
        who = get_ident()
        call = (source, started, seconds, kept, None, None, timeout, ver, None, None, None, who)
        append(call)
        if len(buffer) > recorder.limit:
            recorder.relieve()
        if around is not None:
            tell(around, call)
        return result

    return set


def sized_get(operation: Operation, otherwise: Method) -> Method:
    """``get`` of a backend whose values' sizes are noted in ``moved``."""
    real: Any = operation.real
    original: Any = operation.original
    source, append, buffer = operation.source, recorder.append, recorder.buffer

    def get(self: BaseCache, key: Any, default: Any = None, version: int | None = None) -> Any:
        around = current()
        if (around is not None and around.only is None) or real.get is not original:
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


def sized_set(operation: Operation, otherwise: Method) -> Method:
    """``set`` of a backend whose values' sizes are noted in ``moved``."""
    real: Any = operation.real
    original: Any = operation.original
    source, append, buffer = operation.source, recorder.append, recorder.buffer

    def set(  # noqa: A001 - the name of the operation, for tracebacks
        self: BaseCache,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> Any:
        around = current()
        if (around is not None and around.only is None) or real.set is not original:
            return otherwise(self, *given((key, value), timeout, version, DEFAULT_TIMEOUT))
        before = moved.bytes
        started = clock()
        try:
            result = original(self, key, value, timeout, version)
        except BaseException as error:
            record_failed(source, started, bounded(key), version, error, around)
            raise
        seconds = clock() - started
        size = moved.bytes - before or None
        kept = key if type(key) is str and len(key) <= KEY_LIMIT else bounded(key)
        ver = version if version is None else bounded(version)
        who = get_ident()
        call = (source, started, seconds, kept, None, size, timeout, ver, None, None, None, who)
        append(call)
        if len(buffer) > recorder.limit:
            recorder.relieve()
        if around is not None:
            tell(around, call)
        return result

    return set


def sized_get_many(operation: Operation, otherwise: Method) -> Method:
    """``get_many`` of a backend whose values' sizes are noted in ``moved``."""
    real: Any = operation.real
    original: Any = operation.original
    source = operation.source

    def get_many(self: BaseCache, keys: Any, version: int | None = None) -> Any:
        around = current()
        if (
            (around is not None and around.only is None)
            or real.get_many is not original
            or type(keys) not in COLLECTIONS
        ):
            return otherwise(self, keys) if version is None else otherwise(self, keys, version)
        before = moved.bytes
        started = clock()
        try:
            found = original(self, keys, version)
        except BaseException as error:
            record_failed(source, started, all_bounded(keys), version, error, around)
            raise
        seconds = clock() - started
        size = moved.bytes - before
        record(found_call(source, (started, seconds), keys, found, size, version), around)
        return found

    return get_many


COLLECTIONS = frozenset({list, tuple, set, frozenset, dict})
"""What can be asked for its keys twice, and is asked without running anybody's code."""

_Makers = Mapping[str, Callable[[Operation, Method], Method]]
_PLAIN: _Makers = {"get": leaf_get, "set": leaf_set}
_SIZED: _Makers = {"get": sized_get, "set": sized_set, "get_many": sized_get_many}
_LEAVES: Mapping[Any, _Makers] = {
    LocMemCache: _PLAIN,
    DummyCache: _PLAIN,
    RedisCache: _SIZED,
    PyMemcacheCache: _SIZED,
    PyLibMCCache: _SIZED,
}
"""Backends whose methods are known to call no other operation. Of their subclasses it is not
known: what those methods call may be overridden."""


def short_way(operation: Operation, otherwise: Method) -> Method | None:
    """The short way for ``operation``, where there is one."""
    real: Any = operation.real
    make = _LEAVES.get(real, {}).get(operation.name)
    return None if make is None else make(operation, otherwise)


def given(first: Args, option: Any, version: Any, left_out: object) -> Args:
    """The arguments as they were most likely written: without those left to their defaults."""
    if version is not None:
        return (*first, option, version)
    return first if option is left_out else (*first, option)


def found_call(
    source: Source,
    span: tuple[float, float],
    keys: Collection[Any],
    found: Any,
    size: int,
    version: Any,
) -> RawCall:
    """A ``get_many`` that returned ``found``, which holds nothing but what was asked for."""
    kept: tuple[Hashable, ...]
    outcome: tuple[bool, ...] | None
    try:
        kept = all_bounded(keys)
        is_whole = type(found) is dict and len(found) == len(kept)
        outcome = (True,) * len(kept) if is_whole else all_found(keys, found)
    except Exception as fault:
        let_pass(fault)
        recorder.failed(fault)
        kept, outcome = (), None
    ver = version if version is None else bounded(version)
    return (source, *span, kept, outcome, size or None, None, ver, None, None, None, get_ident())


def record_failed(
    source: Source,
    started: float,
    key: Hashable,
    version: Any,
    error: BaseException,
    around: Scope | None,
) -> None:
    """Record a call that raised ``error``."""
    seconds = clock() - started
    ver = version if version is None else bounded(version)
    name = raised(error)
    record((source, started, seconds, key, None, None, None, ver, name, None, None, None), around)
