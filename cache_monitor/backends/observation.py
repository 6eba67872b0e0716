"""The methods that stand in for a backend's own: make the call, time it, record it.

Each looks its backend's method up when it is called, not when it is made, so that patches of the
backend's class by others go on working.

Anywhere here a signal's handler may raise, the time limit of a task queue for one. Whatever it
raises is the caller's, and the scope of a call must not outlive the call. Therefore a scope is
entered inside of the ``try`` whose end leaves it, by single calls of functions in C: between two
of them, and before the first instruction of a Python function, a signal may come.
"""

from asyncio import current_task
from collections.abc import Callable
from contextvars import Token
from inspect import getattr_static
from threading import get_ident
from time import perf_counter as clock
from types import FunctionType, MethodType
from typing import Any, NamedTuple

from django.core.cache.backends.base import BaseCache

from cache_monitor.backends.shapes import Args, Kwargs, Shape
from cache_monitor.backends.sizes import stored_size
from cache_monitor.calls import RawCall, Source, raised
from cache_monitor.interruptions import let_pass
from cache_monitor.recorder import recorder
from cache_monitor.scope import Scope, current, enter, leave

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

    __slots__ = ("around", "cache", "inner", "shape", "source", "started")

    def __init__(
        self,
        source: Source,
        shape: type[Shape],
        cache: BaseCache,
        around: Scope | None,
        args: Args,
        kwargs: Kwargs,
    ) -> None:
        self.source = source
        self.cache = cache
        try:
            self.shape = shape(cache, args, kwargs)
        except Exception as error:
            let_pass(error)
            recorder.failed(error)
            self.shape = Shape(cache, args, kwargs)
        self.around = around
        self.inner = Scope(around.listeners if around else (), source.alias)
        self.started = clock()

    def caller(self) -> int:
        """Names who calls."""
        return get_ident()

    def succeeded(self, result: Any) -> Any:
        """Record the call; what the caller gets."""
        self._finish(clock() - self.started, result, None)
        return self.shape.result(result)

    def failed(self, error: BaseException) -> None:
        """Record the call that raised."""
        self._finish(clock() - self.started, None, raised(error))

    def _finish(self, seconds: float, result: Any, error: str | None) -> None:
        try:
            call = self._described(seconds, result, error)
        except BaseException as fault:
            call = (self.source, self.started, seconds, *_NOTHING, error, None, None, None)
            record(call, self.around)
            let_pass(fault)
            recorder.failed(fault)
        else:
            record(call, self.around, self._kind(result, call))

    def _kind(self, result: Any, call: RawCall) -> str | None:
        """The type of the value that ``call`` moved, where somebody wants to know."""
        if self.around is None or self.around.only is not None or call[8] is not None:
            return None
        try:
            return self.shape.kind(result)
        except Exception as error:
            let_pass(error)
            return None

    def _described(self, seconds: float, result: Any, error: str | None) -> RawCall:
        shape = self.shape
        outcome = shape.outcome(result) if error is None else None
        return (
            self.source,
            self.started,
            seconds,
            shape.key(),
            outcome,
            self._size(outcome),
            shape.timeout(),
            shape.version(),
            error,
            # By its type: to ask a lazy value for its class would make it.
            result if type(result) is shape.effects else None,
            shape.produced(),
            None if outcome is True else self.caller(),
        )

    def _size(self, outcome: object) -> int | None:
        if not self.shape.moves_values:
            return None
        if self.inner.sizes:
            return self.shape.size(self.inner.sizes)
        if self.around is None or self.around.only is not None or outcome is False:
            return None
        # Somebody listens who wants to see the size at once.
        return stored_size(self.cache, self.shape.key(), self.shape.version())


class _AsyncObservation(_Observation):
    """One call under way of an async operation."""

    __slots__ = ()

    def caller(self) -> int:
        try:
            return id(current_task())
        except RuntimeError as error:
            let_pass(error)
            # A coroutine may run without a loop.
            return super().caller()


def record(call: RawCall, surroundings: Scope | None, kind: str | None = None) -> None:
    """Hand ``call`` to the recorder, and to those who listen; these get to know as well of which
    ``kind`` the value was that it moved: the name of its type."""
    recorder.append(call)
    if len(recorder.buffer) > recorder.limit:
        recorder.relieve()
    if isinstance(call[3], tuple):
        recorder.weigh(len(call[3]))
    if surroundings is not None:
        tell(surroundings, call, kind)


def tell(surroundings: Scope, call: RawCall, kind: str | None = None) -> None:
    """Tell those who listen of ``call``."""
    for listener in surroundings.listeners:
        try:
            listener.heard(call, kind)
        except Exception as fault:
            let_pass(fault)
            recorder.failed(fault)


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
        around = current()
        if around is not None and around.hides(alias):
            return method(*args, **kwargs)
        call = _Observation(source, shape, self, around, args, kwargs)
        shaped = call.shape
        try:
            enter(call.inner)
            result = method(*shaped.args, **shaped.kwargs)
        except BaseException as error:
            enter(around)
            call.failed(error)
            raise
        enter(around)
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
        around = current()
        if around is not None and around.hides(alias):
            return await method(*args, **kwargs)
        call = _AsyncObservation(source, shape, self, around, args, kwargs)
        shaped = call.shape
        token: Token[Scope | None] | None = None
        try:
            token = enter(call.inner)
            result = await method(*shaped.args, **shaped.kwargs)
        except BaseException as error:
            try:
                enter(around) if token is None else leave(token)
            except ValueError as elsewhere:
                # A coroutine that nobody awaits to its end is closed in the context of whoever
                # collects it, whose scope is none of ours.
                let_pass(elsewhere)
            call.failed(error)
            raise
        leave(token)
        return call.succeeded(result)

    return observing
