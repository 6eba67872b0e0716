"""Which shape an operation of a backend has."""

from collections.abc import Mapping, Sequence
from inspect import Parameter

from django.core.cache.backends.base import BaseCache

from cache_monitor.instrument.additions import addition
from cache_monitor.instrument.arguments import (
    Change,
    HandedOnLookup,
    Lookup,
    Shape,
    Touch,
    VersionStep,
    Write,
)
from cache_monitor.instrument.compute_time import AsyncProduction, OwnProduction, Production
from cache_monitor.instrument.many import LookupMany, Many, Mapped
from cache_monitor.instrument.ownership import belongs_to
from cache_monitor.instrument.signatures import parameters_of

SHAPES: Mapping[str, type[Shape]] = {
    "get": Lookup,
    "get_many": LookupMany,
    "get_or_set": OwnProduction,
    "set": Write,
    "add": Write,
    "touch": Touch,
    "delete": Shape,
    "has_key": Shape,
    "incr": Change,
    "decr": Change,
    "incr_version": VersionStep,
    "decr_version": VersionStep,
    "set_many": Mapped,
    "delete_many": Many,
}
"""The shapes of Django's own operations on keys; every other is an addition of the backend's."""

_LIBRARIES = ("django", "django_redis")


def shape_of(name: str, operation: str, method: object, class_: type) -> type[Shape]:
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


def _own_names(shape: type[Shape], parameters: Sequence[Parameter]) -> dict[str, str]:
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
