"""Which shape an operation of a backend has."""

from collections.abc import Mapping, Sequence
from inspect import Parameter

from django.core.cache.backends.base import BaseCache

from cache_monitor.backends.additions import addition
from cache_monitor.backends.many import LookupMany, Many, Mapped
from cache_monitor.backends.productions import Production, ProductionAsWritten
from cache_monitor.backends.shapes import (
    Change,
    Lookup,
    LookupAsWritten,
    Shape,
    Touch,
    VersionStep,
    Write,
)
from cache_monitor.backends.signatures import parameters_of, takes_anything

SHAPES: Mapping[str, type[Shape]] = {
    "get": Lookup,
    "get_many": LookupMany,
    "get_or_set": Production,
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

_AS_WRITTEN: Mapping[type[Shape], type[Shape]] = {
    Lookup: LookupAsWritten,
    Production: ProductionAsWritten,
}


def shapes_of(operation: str, original: object) -> tuple[type[Shape], type[Shape]]:
    """The shape of ``original``, a backend's method for ``operation``, and the shape for whatever
    may be patched over it."""
    usual = SHAPES.get(operation)
    if usual is None:
        added = addition(operation, original)
        return added, added
    as_written = _AS_WRITTEN.get(usual, usual)
    parameters = parameters_of(original)
    names = _own_names(usual, parameters)
    if (usual is Lookup and not _takes_default(parameters)) or (
        usual is Production and original not in _DJANGOS_PRODUCTIONS
    ):
        usual = as_written
    if names:
        usual = type(usual.__name__, (usual,), {"__slots__": (), "names": names})
    return usual, as_written


_DJANGOS_PRODUCTIONS = (BaseCache.get_or_set, BaseCache.aget_or_set)


def _takes_default(parameters: Sequence[Parameter]) -> bool:
    """Whether ``get`` takes a default as Django's does, by position and by name."""
    return takes_anything(parameters) or (
        len(parameters) > 1
        and parameters[1].name == "default"
        and parameters[1].kind is Parameter.POSITIONAL_OR_KEYWORD
    )


def _own_names(shape: type[Shape], parameters: Sequence[Parameter]) -> dict[str, str]:
    """The backend's names for Django's arguments, where they are others."""
    djangos = {
        "keys" if issubclass(shape, Many) else "data" if shape is Mapped else "key": 0,
        "default": 1 if shape in {Lookup, Production} else None,
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
