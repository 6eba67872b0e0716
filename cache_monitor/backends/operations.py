"""The methods that stand in for a backend's own: make the call, time it, record it.

Each looks its backend's method up when it is called, not when it is made, so that patches of the
backend's class by others go on working.
"""

from collections.abc import Callable
from contextvars import Token
from inspect import getattr_static
from time import perf_counter as clock
from types import FunctionType, MethodType
from typing import Any, NamedTuple

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from cache_monitor.backends.shapes import MISSING, Args, Kwargs, Shape
from cache_monitor.backends.sizes import stored_size
from cache_monitor.calls import KEY_LIMIT, RawCall, Source, bounded
from cache_monitor.recorder import recorder
from cache_monitor.scope import Scope, current, enter, enter_operation, leave

Method = Callable[..., Any]

_NOTHING = (None, None, None, None, None)


class Operation(NamedTuple):
    """One operation of a backend class, as it was when the monitored class was made."""

    real: type[BaseCache]
    name: str
    original: object
    source: Source
    shape: type[Shape]
    patched_shape: type[Shape]
    """The shape where somebody has patched the backend's class since: he is to see the arguments
    as they were written."""

    @property
    def function(self) -> FunctionType | None:
        """``original`` where it is a plain function, as methods nearly always are."""
        return self.original if isinstance(self.original, FunctionType) else None

    def patched(self, cache: BaseCache) -> Method:
        """What stands in the backend's class by now, bound to ``cache``."""
        found = getattr_static(self.real, self.name)
        # Not everything is bound like a function: a Mock is not.
        bind = getattr(type(found), "__get__", None)
        method: Method = found if bind is None else bind(found, cache, type(cache))
        return method


class _Observation:
    """One call under way, of an operation that may call others of the same cache inside."""

    __slots__ = ("_scope", "_token", "args", "cache", "kwargs", "shape", "source", "started")

    def __init__(
        self,
        source: Source,
        shape: type[Shape],
        cache: BaseCache,
        surroundings: Scope | None,
        args: Args,
        kwargs: Kwargs,
    ) -> None:
        self.source = source
        self.cache = cache
        try:
            self.shape = shape(args, dict(kwargs))
        except Exception as error:
            recorder.failed(error)
            self.shape = Shape(args, kwargs)
        self._scope = surroundings
        self._token: Token[Scope | None] = enter_operation(surroundings, source.alias)
        self.started = clock()

    def succeeded(self, result: Any) -> Any:
        """Record the call; what the caller gets."""
        self._finish(clock() - self.started, result, None)
        return self.shape.result(result)

    def failed(self, error: BaseException) -> None:
        """Record the call that raised."""
        self._finish(clock() - self.started, None, type(error).__name__)

    def _finish(self, seconds: float, result: Any, error: str | None) -> None:
        inner = self._leave()
        try:
            call = self._described(seconds, result, error, inner)
        except Exception as fault:
            recorder.failed(fault)
            call = (self.source, self.started, seconds, *_NOTHING, error, None)
        try:
            _record(call, self._scope)
        except Exception as fault:
            recorder.failed(fault)

    def _leave(self) -> Scope | None:
        inner = current()
        try:
            leave(self._token)
        except ValueError:
            # A coroutine that nobody awaits to its end is closed in the context of whoever
            # collects it, whose scope is none of ours.
            return None
        return inner

    def _described(
        self, seconds: float, result: Any, error: str | None, inner: Scope | None
    ) -> RawCall:
        shape = self.shape
        outcome = shape.outcome(result) if error is None else None
        return (
            self.source,
            self.started,
            seconds,
            shape.key(),
            outcome,
            self._size(inner, outcome),
            shape.timeout(),
            shape.version(),
            error,
            result if isinstance(result, bool) else None,
        )

    def _size(self, inner: Scope | None, outcome: object) -> int | None:
        if not self.shape.moves_values:
            return None
        if inner is not None and inner.sizes:
            return self.shape.size(inner.sizes)
        if self._scope is None or outcome is False:
            return None
        # Somebody listens, so somebody wants to see the size at once.
        return stored_size(self.cache, self.shape.key(), self.shape.version())


def _record(call: RawCall, surroundings: Scope | None) -> None:
    recorder.append(call)
    if len(recorder.buffer) > recorder.limit:
        recorder.relieve()
    if isinstance(call[3], tuple):
        recorder.weigh(len(call[3]))
    if surroundings is not None:
        for listener in surroundings.listeners:
            listener.heard(call)


def observed(operation: Operation) -> Method:
    """A sync operation that may call others of the same cache inside."""
    real, name, function = operation.real, operation.name, operation.function
    source, alias = operation.source, operation.source.alias

    def observing(self: BaseCache, *args: Any, **kwargs: Any) -> Any:
        method: Method
        if getattr(real, name) is function:
            method, shape = MethodType(function, self), operation.shape
        else:
            method, shape = operation.patched(self), operation.patched_shape
        surroundings = current()
        if surroundings is not None and surroundings.hides(alias):
            return method(*args, **kwargs)
        call = _Observation(source, shape, self, surroundings, args, kwargs)
        try:
            result = method(*call.shape.args, **call.shape.kwargs)
        except BaseException as error:
            call.failed(error)
            raise
        return call.succeeded(result)

    return observing


def observed_async(operation: Operation) -> Method:
    """An async operation."""
    real, name, function = operation.real, operation.name, operation.function
    source, alias = operation.source, operation.source.alias

    async def observing(self: BaseCache, *args: Any, **kwargs: Any) -> Any:
        method: Method
        if getattr(real, name) is function:
            method, shape = MethodType(function, self), operation.shape
        else:
            method, shape = operation.patched(self), operation.patched_shape
        surroundings = current()
        if surroundings is not None and surroundings.hides(alias):
            return await method(*args, **kwargs)
        call = _Observation(source, shape, self, surroundings, args, kwargs)
        try:
            result = await method(*call.shape.args, **call.shape.kwargs)
        except BaseException as error:
            call.failed(error)
            raise
        return call.succeeded(result)

    return observing


def leaf_get(operation: Operation, otherwise: Method) -> Method:
    """``get`` of a backend whose ``get`` calls no other operation: nothing but the clock and an
    append, unless somebody listens, the call is part of another, or the backend's class was
    patched (``otherwise`` then serves)."""
    real: Any = operation.real
    original: Any = operation.original
    source, alias = operation.source, operation.source.alias
    append, buffer = recorder.append, recorder.buffer

    def get(self: BaseCache, key: Any, default: Any = None, version: int | None = None) -> Any:
        surroundings = current()
        if surroundings is not None or real.get is not original:
            if surroundings is not None and surroundings.hides(alias) and real.get is original:
                return original(self, key, default, version)
            return otherwise(self, *_given((key,), default, version, None))
        started = clock()
        try:
            value = original(self, key, MISSING, version)
        except BaseException as error:
            _record_failed(source, started, key, version, error)
            raise
        seconds = clock() - started
        hit = value is not MISSING
        kept = key if type(key) is str and len(key) <= KEY_LIMIT else bounded(key)
        kept_version = version if version is None else bounded(version)
        append((source, started, seconds, kept, hit, None, None, kept_version, None, None))
        if len(buffer) > recorder.limit:
            recorder.relieve()
        return value if hit else default

    return get


def leaf_set(operation: Operation, otherwise: Method) -> Method:
    """``set`` of a backend whose ``set`` calls no other operation."""
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
        surroundings = current()
        if surroundings is not None or real.set is not original:
            if surroundings is not None and surroundings.hides(alias) and real.set is original:
                return original(self, key, value, timeout, version)
            return otherwise(self, *_given((key, value), timeout, version, DEFAULT_TIMEOUT))
        started = clock()
        try:
            result = original(self, key, value, timeout, version)
        except BaseException as error:
            _record_failed(source, started, key, version, error)
            raise
        seconds = clock() - started
        kept = key if type(key) is str and len(key) <= KEY_LIMIT else bounded(key)
        kept_version = version if version is None else bounded(version)
        append((source, started, seconds, kept, None, None, timeout, kept_version, None, None))
        if len(buffer) > recorder.limit:
            recorder.relieve()
        return result

    return set


def sized_get(operation: Operation, otherwise: Method) -> Method:
    """:func:`leaf_get` of a backend that tells the sizes of the values it moves."""
    real: Any = operation.real
    original: Any = operation.original
    source, alias = operation.source, operation.source.alias
    append, buffer = recorder.append, recorder.buffer

    def get(self: BaseCache, key: Any, default: Any = None, version: int | None = None) -> Any:
        if current() is not None or real.get is not original:
            return otherwise(self, *_given((key,), default, version, None))
        inner = Scope((), alias)
        token = enter(inner)
        started = clock()
        try:
            value = original(self, key, MISSING, version)
        except BaseException as error:
            leave(token)
            _record_failed(source, started, key, version, error)
            raise
        seconds = clock() - started
        leave(token)
        hit = value is not MISSING
        size = sum(inner.sizes) if inner.sizes else None
        kept = key if type(key) is str and len(key) <= KEY_LIMIT else bounded(key)
        kept_version = version if version is None else bounded(version)
        append((source, started, seconds, kept, hit, size, None, kept_version, None, None))
        if len(buffer) > recorder.limit:
            recorder.relieve()
        return value if hit else default

    return get


def sized_set(operation: Operation, otherwise: Method) -> Method:
    """:func:`leaf_set` of a backend that tells the sizes of the values it moves."""
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
        if current() is not None or real.set is not original:
            return otherwise(self, *_given((key, value), timeout, version, DEFAULT_TIMEOUT))
        inner = Scope((), alias)
        token = enter(inner)
        started = clock()
        try:
            result = original(self, key, value, timeout, version)
        except BaseException as error:
            leave(token)
            _record_failed(source, started, key, version, error)
            raise
        seconds = clock() - started
        leave(token)
        size = sum(inner.sizes) if inner.sizes else None
        kept = key if type(key) is str and len(key) <= KEY_LIMIT else bounded(key)
        kept_version = version if version is None else bounded(version)
        append((source, started, seconds, kept, None, size, timeout, kept_version, None, None))
        if len(buffer) > recorder.limit:
            recorder.relieve()
        return result

    return set


def _given(first: Args, option: Any, version: Any, left_out: object) -> Args:
    """The arguments as they were most likely written: without those left to their defaults."""
    if version is not None:
        return (*first, option, version)
    return first if option is left_out else (*first, option)


def _record_failed(
    source: Source, started: float, key: Any, version: Any, error: BaseException
) -> None:
    seconds = clock() - started
    kept_version = version if version is None else bounded(version)
    name = type(error).__name__
    call = (source, started, seconds, bounded(key), None, None, None, kept_version, name, None)
    _record(call, None)
