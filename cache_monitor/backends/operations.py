"""The methods that stand in for a backend's own: make the call, time it, record it.

Each looks its backend's method up when it is called, not when it is made, so that patches of the
backend's class by others go on working.
"""

from collections.abc import Callable
from contextvars import Token
from time import perf_counter as clock
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from cache_monitor.backends.shapes import MISSING, Args, Kwargs, Shape
from cache_monitor.backends.sizes import stored_size
from cache_monitor.calls import KEY_LIMIT, RawCall, Source, bounded
from cache_monitor.recorder import recorder
from cache_monitor.scope import Scope, current, enter_operation, leave

Method = Callable[..., Any]


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
        inner = current()
        leave(self._token)
        try:
            shape = self.shape
            outcome = shape.outcome(result) if error is None else None
            call: RawCall = (
                self.source,
                self.started,
                seconds,
                shape.key(),
                outcome,
                self._size(inner, outcome),
                shape.timeout(),
                shape.version(),
                error,
            )
            _record(call, self._scope)
        except Exception as fault:
            recorder.failed(fault)

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
    if surroundings is not None:
        for listener in surroundings.listeners:
            listener.heard(call)


def observed(real: type[BaseCache], name: str, source: Source, shape: type[Shape]) -> Method:
    """A sync operation that may call others of the same cache inside."""
    alias = source.alias

    def operation(self: BaseCache, *args: Any, **kwargs: Any) -> Any:
        method = getattr(real, name)
        surroundings = current()
        if surroundings is not None and surroundings.hides(alias):
            return method(self, *args, **kwargs)
        call = _Observation(source, shape, self, surroundings, args, kwargs)
        try:
            result = method(self, *call.shape.args, **call.shape.kwargs)
        except BaseException as error:
            call.failed(error)
            raise
        return call.succeeded(result)

    return operation


def observed_async(real: type[BaseCache], name: str, source: Source, shape: type[Shape]) -> Method:
    """An async operation."""
    alias = source.alias

    async def operation(self: BaseCache, *args: Any, **kwargs: Any) -> Any:
        method = getattr(real, name)
        surroundings = current()
        if surroundings is not None and surroundings.hides(alias):
            return await method(self, *args, **kwargs)
        call = _Observation(source, shape, self, surroundings, args, kwargs)
        try:
            result = await method(self, *call.shape.args, **call.shape.kwargs)
        except BaseException as error:
            call.failed(error)
            raise
        return call.succeeded(result)

    return operation


def leaf_get(real: Any, source: Source, otherwise: Method) -> Method:
    """``get`` of a backend whose ``get`` calls no other operation: nothing but the clock and an
    append, unless somebody listens or the call is part of another (``otherwise`` then serves)."""
    append, buffer = recorder.append, recorder.buffer

    def get(self: BaseCache, key: Any, default: Any = None, version: int | None = None) -> Any:
        if current() is not None:
            return otherwise(self, key, default, version)
        started = clock()
        try:
            value = real.get(self, key, MISSING, version)
        except BaseException as error:
            seconds = clock() - started
            append((source, started, seconds, bounded(key), None, None, None, None, _name(error)))
            raise
        seconds = clock() - started
        hit = value is not MISSING
        kept = key if type(key) is str and len(key) <= KEY_LIMIT else bounded(key)
        kept_version = version if version is None else bounded(version)
        append((source, started, seconds, kept, hit, None, None, kept_version, None))
        if len(buffer) > recorder.limit:
            recorder.relieve()
        return value if hit else default

    return get


def leaf_set(real: Any, source: Source, otherwise: Method) -> Method:
    """``set`` of a backend whose ``set`` calls no other operation."""
    append, buffer = recorder.append, recorder.buffer

    def set(  # noqa: A001 - the name of the operation, for tracebacks
        self: BaseCache,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> Any:
        if current() is not None:
            return otherwise(self, key, value, timeout, version)
        started = clock()
        try:
            result = real.set(self, key, value, timeout, version)
        except BaseException as error:
            seconds = clock() - started
            append((source, started, seconds, bounded(key), None, None, None, None, _name(error)))
            raise
        seconds = clock() - started
        kept = key if type(key) is str and len(key) <= KEY_LIMIT else bounded(key)
        kept_version = version if version is None else bounded(version)
        append((source, started, seconds, kept, None, None, timeout, kept_version, None))
        if len(buffer) > recorder.limit:
            recorder.relieve()
        return result

    return set


def _name(error: BaseException) -> str:
    return type(error).__name__
