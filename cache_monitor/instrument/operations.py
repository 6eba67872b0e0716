"""The operations of a backend: Django's, and those that it adds, with how each is recorded."""

from collections.abc import Hashable, Mapping, Sequence
from inspect import Parameter
from types import FunctionType
from typing import Any, ClassVar

from django.core.cache.backends.base import BaseCache

from cache_monitor.calls import bounded
from cache_monitor.instrument.aliases import belongs_to
from cache_monitor.instrument.arguments import (
    USUAL_PLACES,
    Args,
    CallSignature,
    HandedOnLookup,
    Increment,
    Kwargs,
    Lookup,
    LookupMany,
    Many,
    Mapped,
    Places,
    Touch,
    VersionStep,
    Write,
    handed_to,
    parameters_of,
    places_of,
    takes_anything,
)
from cache_monitor.instrument.compute_time import AsyncProduction, OwnProduction, Production


class Addition(CallSignature):
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


SHAPES: Mapping[str, type[CallSignature]] = {
    "get": Lookup,
    "get_many": LookupMany,
    "get_or_set": OwnProduction,
    "set": Write,
    "add": Write,
    "touch": Touch,
    "delete": CallSignature,
    "has_key": CallSignature,
    "incr": Increment,
    "decr": Increment,
    "incr_version": VersionStep,
    "decr_version": VersionStep,
    "set_many": Mapped,
    "delete_many": Many,
}
"""The shapes of Django's own operations on keys; every other is an addition of the backend's."""

_LIBRARIES = ("django", "django_redis")


def shape_of(name: str, operation: str, method: object, class_: type) -> type[CallSignature]:
    """The shape of ``method``, which ``class_`` has as ``name`` for ``operation``."""
    usual = SHAPES.get(operation)
    if usual is None:
        return addition(operation, method)
    if usual is Lookup and belongs_to(method, class_, *_LIBRARIES):
        return HandedOnLookup
    if usual is OwnProduction and class_ is BaseCache and belongs_to(method, class_, "django"):
        return Production if name == operation else AsyncProduction
    names = _own_names(usual, parameters_of(method))
    if names:
        return type(usual.__name__, (usual,), {"__slots__": (), "names": names})
    return usual


def _own_names(shape: type[CallSignature], parameters: Sequence[Parameter]) -> dict[str, str]:
    """The backend's names for Django's arguments, where they are others."""
    djangos = {
        "keys" if issubclass(shape, Many) else "data" if shape is Mapped else "key": 0,
        "default": 1 if shape in {Lookup, OwnProduction} else None,
        "timeout": shape.timeout_at,
        "version": shape.version_at,
    }
    taken = {each.name for each in parameters}
    return {
        name: parameters[at].name
        for name, at in djangos.items()
        if at is not None
        and name not in taken
        and at < len(parameters)
        and parameters[at].kind is Parameter.POSITIONAL_OR_KEYWORD
    }


def can_be_recorded(class_: type) -> bool:
    """Whether ``class_`` is a backend: Django asks of one no more than that it can be called like
    one, and some, such as django-valkey's, derive from nothing of Django's."""
    return issubclass(class_, BaseCache) or all(
        callable(getattr(class_, each, None)) for each in _ASKED_OF_A_BACKEND
    )


_ASKED_OF_A_BACKEND = ("get", "set", "delete", "get_many", "clear")
