"""``get_or_set``: it looks a value up, and has the caller's own function make it on a miss."""

from collections.abc import Callable
from functools import partial
from inspect import getattr_static
from time import perf_counter as clock
from types import CodeType
from typing import Any

from django.core.cache.backends.base import BaseCache

from cache_monitor import context
from cache_monitor.context import CallContext
from cache_monitor.instrument.aliases import attribute_of
from cache_monitor.instrument.arguments import Args, CallSignature, Kwargs


class OwnProduction(CallSignature):
    """``get_or_set`` of a backend's own, which gets the caller's function as it came: what the
    backend calls inside tells whether the value was there, and nothing how long it took."""

    __slots__ = ()
    version_at = 3
    moves_values = True
    timeout_at = 2

    def outcome(self, result: Any, inner: CallContext) -> bool | None:
        # One that stores has looked before, and one that finds does not store.
        return False if inner.wrote else inner.found

    def produced(self, inner: CallContext) -> float | None:
        return inner.produced

    def kind(self, result: Any, outcome: object) -> str:
        return type(result).__name__

    def size(self, sizes: list[int]) -> int:
        # A miss writes the value and reads it again: one value all the same.
        return sizes[-1]

    def prints(self, noted: list[int], outcome: object) -> tuple[int, ...]:
        return tuple(noted[-1:]) if outcome is False else ()

    def callback(self) -> CodeType | None:
        """The code of the caller's function, whose calls are no part of the operation."""
        return code_of(self.argument(1, "default"))


class Production(OwnProduction):
    """``get_or_set`` as Django has it: it calls what can be called, and so is asked for the value
    only on a miss. What stands in for the caller's function nobody else sees."""

    __slots__ = ("producer",)

    def __init__(self, cache: BaseCache, args: Args, kwargs: Kwargs) -> None:
        super().__init__(cache, args, kwargs)
        self.producer: _Producer | None = None
        if (len(args) > 1 or "default" in kwargs) and self._is_asked(cache):
            default = self.argument(1, "default")
            self.producer = producer = _Producer()
            way = producer.produce if callable(default) else producer.give
            self.replace(1, "default", partial(way, default))

    def outcome(self, result: Any, inner: CallContext) -> bool | None:
        if self.producer is None:
            return super().outcome(result, inner)
        return not self.producer.was_asked

    def produced(self, inner: CallContext) -> float | None:
        return inner.produced if self.producer is None else self.producer.seconds

    def notify_outer(self, result: Any, outer: CallContext) -> None:
        if self.producer is not None:
            outer.found, outer.wrote = not self.producer.was_asked, self.producer.was_asked
            outer.produced = self.producer.seconds

    def callback(self) -> CodeType | None:
        return None

    def _is_asked(self, cache: BaseCache) -> bool:
        """Whether Django's function calls what it is given itself."""
        return True


class AsyncProduction(Production):
    """``aget_or_set`` as Django has it: from 6.1 on it hands all on to a backend's own
    ``get_or_set``, where there is one."""

    __slots__ = ()

    def _is_asked(self, cache: BaseCache) -> bool:
        found = attribute_of(cache, "get_or_set")
        return getattr(found, "__func__", None) is vars(BaseCache)["get_or_set"]


class _Producer:
    """Makes the value for a ``get_or_set``, and knows whether it had to.

    Apart from the signature: that holds the arguments, which would then hold it, and the value
    would stay in memory until the next garbage collection.
    """

    __slots__ = ("seconds", "was_asked")

    def __init__(self) -> None:
        self.was_asked = False
        self.seconds: float | None = None

    def give(self, value: Any) -> Any:
        self.was_asked = True
        return value

    def produce(self, producer: Callable[[], Any]) -> Any:
        self.was_asked = True
        token = context.enter_callback()
        started = clock()
        try:
            return producer()
        finally:
            self.seconds = clock() - started
            context.leave(token)


def code_of(function: Any) -> CodeType | None:
    """The code that runs when ``function`` is called, where that is Python's."""
    while isinstance(function, partial):
        function = function.func
    if not hasattr(type(function), "__code__") and not hasattr(function, "__func__"):
        function = getattr_static(type(function), "__call__", None)
    code = getattr(function, "__code__", None)
    return code if isinstance(code, CodeType) else None
