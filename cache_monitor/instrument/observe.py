"""The methods that stand in for a backend's own: make the call, time it, record it.

Anywhere here a signal's handler may raise, the time limit of a task queue for one. Whatever it
raises is the caller's, and the scope of a call must not outlive the call. Therefore a scope is
entered inside of the ``try`` whose end leaves it, by single calls of functions in C: between two
of them, and before the first instruction of a Python function, a signal may come.
"""

import sys
from asyncio import current_task
from collections.abc import Callable, Hashable
from contextvars import Token
from math import nan
from threading import get_ident
from time import perf_counter as clock
from types import CodeType
from typing import Any, NamedTuple

from django.core.cache.backends.base import BaseCache

from cache_monitor.calls import (
    KEY,
    OUTCOME,
    ChangedTimeout,
    Entries,
    RawCall,
    Source,
    raised,
    recorder,
)
from cache_monitor.context import CallContext, current, enter, leave
from cache_monitor.errors import let_pass
from cache_monitor.instrument.aliases import Noted, find, stored_size
from cache_monitor.instrument.arguments import Args, CallSignature, Kwargs, OwnGetOrSet
from cache_monitor.instrument.probes import is_swallowing

Method = Callable[..., Any]


class ObservedOperation(NamedTuple):
    """One operation of one class, as it was when its recording method was made."""

    name: str
    original: Method
    """To be called with the instance."""
    call: Method
    """``original``, or what makes the same call and tells whether the key was there."""
    signature: type[CallSignature]


class About(NamedTuple):
    """What is known of a call that failed."""

    key: Hashable = None
    version: Hashable = None
    timeout: object = None
    produced: float | None = None
    caller: int | None = None
    entries: Entries | None = None


class _Observation:
    """One call under way, of an operation that may call others of the same cache inside."""

    __slots__ = ("cache", "inner", "key_maker", "outer", "signature", "source", "started")

    def __init__(
        self,
        noted: Noted,
        operation: ObservedOperation,
        cache: BaseCache,
        outer: CallContext | None,
        args: Args,
        kwargs: Kwargs,
    ) -> None:
        self.source = noted.sources[operation.name]
        self.cache = cache
        self.signature = signature = _signature(operation.signature, cache, args, kwargs)
        self.outer = outer
        self.inner = CallContext(outer.listeners if outer else (), noted.alias)
        self.key_maker = noted.key_maker
        if self.key_maker is not None:
            self.inner.finals = {}
        if isinstance(signature, OwnGetOrSet):
            self.inner.callback = signature.callback()
        self.started = clock()

    def caller(self) -> int:
        """Names who calls."""
        return get_ident()

    def succeeded(self, result: Any) -> None:
        """Record the call."""
        seconds = clock() - self.started
        if self.inner.swallowed is not None and is_swallowing(self.cache):
            self._fail(seconds, self.inner.swallowed)
            return
        try:
            call = self._described(seconds, result)
        except BaseException as fault:
            call = (self.source, self.started, seconds, *(None,) * 9)
            record(call, self.outer)
            let_pass(fault)
            recorder.failed(fault)
        else:
            record(call, self.outer, self._kind(result, call))

    def failed(self, error: BaseException) -> None:
        """Record the call that raised."""
        self._fail(clock() - self.started, raised(error))

    def _fail(self, seconds: float, name: str) -> None:
        span = self.started, seconds
        try:
            about = self._about()
        except BaseException as fault:
            record_failed(self.source, span, name, self.outer, About())
            let_pass(fault)
            recorder.failed(fault)
        else:
            record_failed(self.source, span, name, self.outer, about)

    def _about(self) -> About:
        signature = self.signature
        produced, entries = signature.produced(self.inner), self._entries()
        return About(
            signature.key(),
            signature.version(),
            self._timeout(),
            produced,
            self.caller(),
            entries,
        )

    def _timeout(self) -> object:
        given = self.signature.timeout()
        if self.inner.timeouts is None:
            return ChangedTimeout(given, nan) if self.signature.has_own_timeout else given
        return self.inner.timeout_of(self.signature.key(), given)

    def _entries(self) -> Entries | None:
        if self.key_maker is None:
            return None
        signature = self.signature
        return self.key_maker.entries_noted(
            self.cache, signature.key(), signature.version(), self.inner
        )

    def _kind(self, result: Any, call: RawCall) -> str | None:
        """The type of the value that ``call`` moved, where somebody wants to know."""
        if self.outer is None or self.outer.only is not None:
            return None
        try:
            return self.signature.kind(result, call[OUTCOME])
        except Exception as error:
            let_pass(error)
            return None

    def _described(self, seconds: float, result: Any) -> RawCall:
        signature = self.signature
        outcome = signature.outcome(result, self.inner)
        call = (
            self.source,
            self.started,
            seconds,
            signature.key(),
            outcome,
            self._size(outcome),
            self._timeout(),
            signature.version(),
            None,
            # By its type: to ask a lazy value for its class would make it.
            result if type(result) is signature.effects else None,
            signature.produced(self.inner),
            None if outcome is True else self.caller(),
        )
        noted = self.inner.prints
        prints = signature.prints(noted, outcome) if noted else ()
        entries = None if self.key_maker is None else self._entries()
        if prints:
            return (*call, entries, prints)
        return call if self.key_maker is None else (*call, entries)

    def _size(self, outcome: object) -> int | None:
        if not self.signature.moves_values:
            return None
        if self.inner.sizes:
            return self.signature.size(self.inner.sizes)
        if self.outer is None or self.outer.only is not None or outcome is False:
            return None
        # Somebody listens who wants to see the size at once.
        return stored_size(self.cache, self.signature.key(), self.signature.version())


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


def record(call: RawCall, call_context: CallContext | None, kind: str | None = None) -> None:
    """Hand ``call`` to the recorder, and to those who listen; these get to know as well of which
    ``kind`` the value was that it moved: the name of its type."""
    recorder.append(call)
    if len(recorder.buffer) > recorder.limit:
        recorder.relieve(call)
    if isinstance(call[KEY], tuple):
        recorder.weigh(len(call[KEY]))
    if call_context is not None:
        notify(call_context, call, kind)


def record_failed(
    source: Source,
    span: tuple[float, float],
    name: str,
    call_context: CallContext | None,
    about: About,
) -> None:
    """Record a call that failed with an exception called ``name``: all that fail come here."""
    key, version, timeout, produced, caller, entries = about
    call = (source, *span, key, None, None, timeout, version, name, None, produced, caller)
    record(call if entries is None else (*call, entries), call_context)


def notify(call_context: CallContext, call: RawCall, kind: str | None = None) -> None:
    """Tell those who listen of ``call``."""
    for listener in call_context.listeners:
        try:
            listener.on_call(call, kind)
        except Exception as fault:
            let_pass(fault)
            recorder.failed(fault)


def observed(operation: ObservedOperation) -> Method:
    """A sync operation that may call others of the same cache inside."""
    original, call_it = operation.original, operation.call

    def observing(self: BaseCache, *args: Any, **kwargs: Any) -> Any:
        noted = find(id(self))
        if noted is None:
            return original(self, *args, **kwargs)
        outer = current()
        if outer is not None and outer.hides(noted.alias) and not _is_callback(outer):
            return _hidden(operation, self, noted, outer, args, kwargs)
        call = _Observation(noted, operation, self, outer, args, kwargs)
        signature = call.signature
        try:
            enter(call.inner)
            result = call_it(self, *signature.args, **signature.kwargs)
        except BaseException as error:
            enter(outer)
            call.failed(error)
            raise
        enter(outer)
        call.succeeded(result)
        return result

    return observing


def observed_async(operation: ObservedOperation) -> Method:
    """An async operation."""
    original, call_it = operation.original, operation.call

    async def observing(self: BaseCache, *args: Any, **kwargs: Any) -> Any:
        noted = find(id(self))
        if noted is None:
            return await original(self, *args, **kwargs)
        outer = current()
        if outer is not None and outer.hides(noted.alias) and not _is_callback(outer):
            signature = _signature(operation.signature, self, args, kwargs)
            before = _before(signature, outer)
            result = await call_it(self, *signature.args, **signature.kwargs)
            _notify_outer(signature, result, outer, before)
            return result
        call = _AsyncObservation(noted, operation, self, outer, args, kwargs)
        signature = call.signature
        token: Token[CallContext | None] | None = None
        try:
            token = enter(call.inner)
            result = await call_it(self, *signature.args, **signature.kwargs)
        except BaseException as error:
            try:
                enter(outer) if token is None else leave(token)
            except ValueError as elsewhere:
                # A coroutine that nobody awaits to its end is closed in the context of whoever
                # collects it, whose scope is none of ours.
                let_pass(elsewhere)
            call.failed(error)
            raise
        leave(token)
        call.succeeded(result)
        return result

    return observing


def _hidden(
    operation: ObservedOperation,
    cache: Any,
    noted: Noted,
    outer: CallContext,
    args: Args,
    kwargs: Kwargs,
) -> Any:
    """Make a call that is part of another."""
    if outer.muted:
        outer.used = True
        return operation.call(cache, *args, **kwargs)
    signature = _signature(operation.signature, cache, args, kwargs)
    before = _before(signature, outer)
    result = operation.call(cache, *signature.args, **signature.kwargs)
    _notify_outer(signature, result, outer, before)
    if noted.key_maker is not None and outer.finals is not None:
        noted.key_maker.note(cache, signature.key(), signature.version(), outer)
    return result


def _before(signature: CallSignature, outer: CallContext) -> int:
    """How many sizes, or timeouts, the operation ``outer`` has noted before a part of it."""
    if signature.timeout_at is not None:
        return len(outer.timeouts or ())
    if signature.looks_up:
        outer.found = None
    return len(outer.sizes)


def _notify_outer(signature: CallSignature, result: Any, outer: CallContext, before: int) -> None:
    """Tell the operation ``outer`` what came of a call that is part of it."""
    with recorder.guard:
        if signature.timeout_at is not None:
            timeout = nan if signature.has_own_timeout else signature.timeout()
            outer.note_timeout(signature.key(), timeout, before)
        elif signature.looks_up and outer.found is None:
            outer.found = len(outer.sizes) > before
        signature.notify_outer(result, outer)


def _signature(
    signature: type[CallSignature], cache: BaseCache, args: Args, kwargs: Kwargs
) -> CallSignature:
    try:
        return signature(cache, args, kwargs)
    except Exception as error:
        let_pass(error)
        recorder.failed(error)
        return CallSignature(cache, args, kwargs)


def _is_callback(outer: CallContext) -> bool:
    """Whether a call inside of a backend's own ``get_or_set`` is made by the caller's function."""
    return outer.callback is not None and _is_called_from(outer.callback)


def _is_called_from(code: CodeType) -> bool:
    observing = sys._getframe(2)
    frame = observing.f_back
    while frame is not None and frame.f_globals is not observing.f_globals:
        if frame.f_code is code:
            return True
        frame = frame.f_back
    return False
