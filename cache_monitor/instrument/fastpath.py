"""Fast paths for the operations that sites call most: ``get``, ``set`` and ``get_many``.

Only for methods that are Django's or django-redis's own: nothing below these sees how the arguments
were written. ``fallback``, of :mod:`cache_monitor.instrument.observe`, serves where a call is part
of another, where a listener wants to know more, and for what is out of the ordinary.

Each function makes its own tuple of a call and appends it: a helper that they shared would be one
more call of Python in each ``get`` of the site.
"""

from collections.abc import Callable, Collection, Hashable, Mapping
from threading import get_ident
from time import perf_counter as clock
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache

from cache_monitor.calls import (
    KEY_LIMIT,
    RawCall,
    Recorded,
    Source,
    bounded,
    raised,
    recorder,
    whole,
)
from cache_monitor.context import CallContext, current, enter
from cache_monitor.errors import let_pass
from cache_monitor.instrument.aliases import MISSING, SIZED, belongs_to, find
from cache_monitor.instrument.arguments import all_bounded, all_found
from cache_monitor.instrument.observe import (
    About,
    Method,
    ObservedOperation,
    notify,
    record,
    record_failed,
)
from cache_monitor.instrument.probes import is_swallowing

LEAVES = frozenset({LocMemCache, DummyCache})
"""Backends whose ``get`` and ``set`` are known to call no other operation. Of their subclasses it
is not known: what those methods call may be overridden."""

append, buffer = recorder.append, recorder.buffer


def leaf_get(operation: ObservedOperation, fallback: Method) -> Method:
    """``get`` of a leaf: nothing but the clock and an append. A default of ours tells a miss, and
    no other code sees it."""
    original = operation.original

    def get(self: BaseCache, key: Any, default: Any = None, version: int | None = None) -> Any:
        noted = find(id(self))
        if noted is None:
            return original(self, key, default, version)
        outer, source = current(), noted.leaf_get
        if (
            outer is not None
            and outer.inside == noted.alias
            and outer.callback is None
            and noted.key_maker is None
        ):
            # Of another operation, as of a get_many of many keys.
            value = original(self, key, MISSING, version)
            outer.found = value is not MISSING
            return value if outer.found else default
        if source is None or (outer is not None and outer.only is None):
            return fallback(self, key, default, version)
        started = clock()
        try:
            value = original(self, key, MISSING, version)
        except BaseException as error:
            _failed(source, started, error, outer, _about(key, version))
            raise
        seconds = clock() - started
        hit = value is not MISSING
        is_kept = type(key) is str and len(key) <= KEY_LIMIT
        call: Recorded = (
            (source, started, seconds, key)
            if hit and is_kept and version is None and outer is None
            else (
                source,
                started,
                seconds,
                key if is_kept else bounded(key),
                hit,
                None,
                None,
                version if version is None else bounded(version),
                None,
                None,
                None,
                None if hit else get_ident(),
            )
        )
        append(call)
        if len(buffer) > recorder.limit:
            recorder.relieve(call)
        if outer is not None:
            notify(outer, whole(call))
        return value if hit else default

    return get


def leaf_set(operation: ObservedOperation, fallback: Method) -> Method:
    """``set`` of a leaf."""
    original = operation.original

    def set(  # noqa: A001 - the name of the operation, for tracebacks
        self: BaseCache,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> Any:
        noted = find(id(self))
        if noted is None:
            return original(self, key, value, timeout, version)
        outer, source = current(), noted.leaf_set
        if (
            outer is not None
            and source is not None
            and outer.inside == noted.alias
            and outer.callback is None
            and noted.key_maker is None
        ):
            result = original(self, key, value, timeout, version)
            outer.wrote = True
            return result
        if source is None or (outer is not None and outer.only is None):
            return fallback(self, key, value, timeout, version)
        started = clock()
        try:
            result = original(self, key, value, timeout, version)
        except BaseException as error:
            _failed(source, started, error, outer, _about(key, version, timeout))
            raise
        seconds = clock() - started
        kept = key if type(key) is str and len(key) <= KEY_LIMIT else bounded(key)
        ver = version if version is None else bounded(version)
        who = get_ident()
        call = (source, started, seconds, kept, None, None, timeout, ver, None, None, None, who)
        append(call)
        if len(buffer) > recorder.limit:
            recorder.relieve(call)
        if outer is not None:
            notify(outer, call)
        return result

    return set


def sized_get(operation: ObservedOperation, fallback: Method) -> Method:
    """``get`` of a backend that turns values into bytes: that it made one of bytes tells a hit."""
    original, call_it = operation.original, operation.call

    def get(
        self: BaseCache,
        key: Any,
        default: Any = None,
        version: int | None = None,
        *others: Any,
        **more: Any,
    ) -> Any:
        noted = find(id(self))
        if noted is None:
            return original(self, key, default, version, *others, **more)
        outer, source = current(), noted.sized_get
        if source is None or others or more or (outer is not None and outer.only is None):
            return fallback(self, key, default, version, *others, **more)
        inner = CallContext(() if outer is None else outer.listeners, noted.alias)
        started = clock()
        try:
            enter(inner)
            value = call_it(self, key, default, version)
        except BaseException as error:
            enter(outer)
            _failed(source, started, error, outer, _about(key, version))
            raise
        enter(outer)
        seconds = clock() - started
        if inner.swallowed is not None and is_swallowing(self):
            swallowed = inner.swallowed
            record_failed(source, (started, seconds), swallowed, outer, _about(key, version))
            return value
        sizes = inner.sizes
        hit = value is not default or len(sizes) > 0 or inner.found is True
        size = None if not hit or not sizes else sizes[0] if len(sizes) == 1 else sum(sizes)
        call: RawCall = (
            source,
            started,
            seconds,
            key if type(key) is str and len(key) <= KEY_LIMIT else bounded(key),
            hit,
            size,
            None,
            version if version is None else bounded(version),
            None,
            None,
            None,
            None if hit else get_ident(),
        )
        append(call)
        if len(buffer) > recorder.limit:
            recorder.relieve(call)
        if outer is not None:
            notify(outer, call)
        return value

    return get


def sized_set(operation: ObservedOperation, fallback: Method) -> Method:
    """``set`` of a backend that turns values into bytes."""
    original = operation.original

    def set(self: BaseCache, *args: Any, **kwargs: Any) -> Any:  # noqa: A001 - for tracebacks
        noted = find(id(self))
        if noted is None:
            return original(self, *args, **kwargs)
        outer = current()
        source = noted.sized_set
        if source is None or not args or (outer is not None and outer.only is None):
            return fallback(self, *args, **kwargs)
        key, number = args[0], len(args)
        timeout = args[2] if number > 2 else kwargs.get("timeout", DEFAULT_TIMEOUT)
        version = args[3] if number > 3 else kwargs.get("version")
        inner = CallContext(() if outer is None else outer.listeners, noted.alias)
        started = clock()
        try:
            enter(inner)
            result = original(self, *args, **kwargs)
        except BaseException as error:
            enter(outer)
            _failed(source, started, error, outer, _about(key, version, timeout))
            raise
        enter(outer)
        seconds = clock() - started
        if inner.swallowed is not None and is_swallowing(self):
            about = _about(key, version, timeout)
            record_failed(source, (started, seconds), inner.swallowed, outer, about)
            return result
        sizes = inner.sizes
        call: RawCall = (
            source,
            started,
            seconds,
            key if type(key) is str and len(key) <= KEY_LIMIT else bounded(key),
            None,
            None if not sizes else sizes[0] if len(sizes) == 1 else sum(sizes),
            timeout if inner.timeouts is None else inner.timeout_of(key, timeout),
            version if version is None else bounded(version),
            None,
            result if type(result) is bool else None,
            None,
            get_ident(),
            None,
            (inner.prints[-1],) if inner.prints else (),
        )
        append(call)
        if len(buffer) > recorder.limit:
            recorder.relieve(call)
        if outer is not None:
            notify(outer, call)
        return result

    return set


def sized_get_many(operation: ObservedOperation, fallback: Method) -> Method:
    """``get_many`` of a backend that turns values into bytes, and the one of ``BaseCache``, which
    asks for one key after the other."""
    original = operation.original

    def get_many(self: BaseCache, *args: Any, **kwargs: Any) -> Any:
        noted = find(id(self))
        if noted is None:
            return original(self, *args, **kwargs)
        outer = current()
        source = noted.sized_get_many
        if (
            source is None
            or not args
            or type(args[0]) not in COLLECTIONS
            or (outer is not None and outer.only is None)
        ):
            return fallback(self, *args, **kwargs)
        keys = args[0]
        version = args[1] if len(args) > 1 else kwargs.get("version")
        inner = CallContext(() if outer is None else outer.listeners, noted.alias)
        started = clock()
        try:
            enter(inner)
            found = original(self, *args, **kwargs)
        except BaseException as error:
            enter(outer)
            _failed(source, started, error, outer, _about_many(keys, version))
            raise
        enter(outer)
        span = started, clock() - started
        if inner.swallowed is not None and is_swallowing(self):
            record_failed(source, span, inner.swallowed, outer, _about_many(keys, version))
            return found
        record(_found_call(source, span, keys, found, inner.sizes, version), outer)
        return found

    return get_many


COLLECTIONS = frozenset({list, tuple, set, frozenset, dict})
"""What can be asked for its keys twice, and is asked without running anybody's code."""

_Makers = Mapping[str, Callable[[ObservedOperation, Method], Method]]
_LEAF: _Makers = {"get": leaf_get, "set": leaf_set}
_BASE: _Makers = {"get_many": sized_get_many}
_SIZED: _Makers = {"get": sized_get, "set": sized_set, "get_many": sized_get_many}


def fast_path(class_: type, operation: ObservedOperation, fallback: Method) -> Method | None:
    """The fast path for ``operation``, as ``class_`` has it, where there is one."""
    makers: _Makers = {}
    if belongs_to(operation.original, class_, *SIZED):
        makers = _SIZED
    elif class_ in LEAVES and belongs_to(operation.original, class_, "django"):
        makers = _LEAF
    elif class_ is BaseCache and belongs_to(operation.original, class_, "django"):
        makers = _BASE
    make = makers.get(operation.name)
    return None if make is None else make(operation, fallback)


def _found_call(
    source: Source,
    span: tuple[float, float],
    keys: Collection[Any],
    found: Any,
    sizes: list[int],
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
    size = sum(sizes) if sizes else None
    ver = version if version is None else bounded(version)
    return (source, *span, kept, outcome, size, None, ver, None, None, None, get_ident())


def _failed(
    source: Source, started: float, error: BaseException, outer: CallContext | None, about: About
) -> None:
    span = started, clock() - started
    record_failed(source, span, raised(error), outer, about)


def _about(key: Any, version: Any, timeout: Any = None) -> About:
    return About(bounded(key), version if version is None else bounded(version), timeout)


def _about_many(keys: Collection[Any], version: Any) -> About:
    return About(all_bounded(keys), version if version is None else bounded(version))
