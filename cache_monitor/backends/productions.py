"""``get_or_set``: it looks a value up, and has the caller's own function make it on a miss."""

from collections.abc import Callable
from functools import partial
from inspect import iscoroutinefunction
from time import perf_counter as clock
from typing import Any, ClassVar

from django.core.cache.backends.base import BaseCache

from cache_monitor import scope
from cache_monitor.backends.shapes import Args, Kwargs, Shape


class _Producer:
    """Makes the value for a ``get_or_set``, and knows whether it had to.

    Apart from the shape: that holds the arguments, which would then hold it, and the value would
    stay in memory until the next garbage collection.
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
        token = scope.enter_callback()
        started = clock()
        try:
            return producer()
        finally:
            self.seconds = clock() - started
            scope.leave(token)

    async def produce_async(self, producer: Callable[[], Any]) -> Any:
        self.was_asked = True
        token = scope.enter_callback()
        started = clock()
        try:
            return await producer()
        finally:
            self.seconds = clock() - started
            scope.leave(token)


class Production(Shape):
    """``get_or_set``: a hit unless the value had to be produced."""

    __slots__ = ("producer",)
    version_at = 3
    moves_values = True
    timeout_at = 2
    may_call: ClassVar[bool] = True
    """Whether the method is known to take a callable as well where the caller gave a value."""

    def __init__(self, cache: BaseCache, args: Args, kwargs: Kwargs) -> None:
        super().__init__(cache, args, kwargs)
        self.producer: _Producer | None = _Producer()
        if len(args) > 1 or self.names.get("default", "default") in kwargs:
            default = self.argument(1, "default")
            if callable(default) or self.may_call:
                self.replace(1, "default", partial(self._way(self.producer, default), default))
            else:
                self.producer = None

    def _way(self, producer: _Producer, default: Any) -> Callable[[Any], Any]:
        if not callable(default):
            return producer.give
        # Django's own would not await it: the value is then a coroutine, and the caller's mistake.
        if iscoroutinefunction(default) and not self.may_call:
            return producer.produce_async
        return producer.produce

    def outcome(self, result: Any) -> bool | None:
        return None if self.producer is None else not self.producer.was_asked

    def produced(self) -> float | None:
        return None if self.producer is None else self.producer.seconds

    def kind(self, result: Any) -> str:
        return type(result).__name__

    def size(self, sizes: list[int]) -> int:
        # A miss writes the value and reads it again: one value all the same.
        return sizes[-1]


class ProductionAsWritten(Production):
    """``get_or_set`` of a backend's own, or patched: a value reaches it as a value, and whether
    it was there already is not known then."""

    __slots__ = ()
    may_call = False
