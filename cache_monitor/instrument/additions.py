"""What a backend adds to Django's API: which argument is which, the parameters' names tell."""

from collections.abc import Hashable
from types import FunctionType
from typing import Any, ClassVar

from django.core.cache.backends.base import BaseCache

from cache_monitor.calls import bounded
from cache_monitor.instrument.arguments import Args, Kwargs, Shape
from cache_monitor.instrument.signatures import (
    USUAL_PLACES,
    Places,
    handed_to,
    parameters_of,
    places_of,
    takes_anything,
)


class Addition(Shape):
    """An operation of the backend's own. Its first argument is a key, or a pattern of keys, where
    it is a string; ``timeout`` or ``when`` is what it gives an entry to live."""

    __slots__ = ("_cache",)
    operation: ClassVar[str]
    places: ClassVar[Places | None] = USUAL_PLACES
    """None where the method takes anything and only the client that it hands it to can tell."""

    def __init__(self, cache: BaseCache, args: Args, kwargs: Kwargs) -> None:
        super().__init__(cache, args, kwargs)
        self._cache = cache

    def key(self) -> Hashable:
        first = self._given("key")
        return bounded(first) if isinstance(first, str) else None

    def timeout(self) -> object:
        return self._given("timeout")

    def version(self) -> Hashable:
        version = self._given("version")
        return version if version is None else bounded(version)

    def _given(self, meaning: str) -> Any:
        position, name, default = self._places()[meaning]
        if position is not None and len(self.args) > position:
            return self.args[position]
        return self.kwargs.get(name, default)

    def _places(self) -> Places:
        if self.places is not None:
            return self.places
        method = handed_to(self._cache, self.operation)
        return places_of(method) if isinstance(method, FunctionType) else USUAL_PLACES


def addition(operation: str, method: object) -> type[Addition]:
    """The shape of ``method``, which a backend has for an ``operation`` that Django has not."""
    places = None
    if isinstance(method, FunctionType) and not takes_anything(parameters_of(method)):
        places = places_of(method)
    namespace = {"__slots__": (), "operation": operation, "places": places}
    return type(Addition.__name__, (Addition,), namespace)
