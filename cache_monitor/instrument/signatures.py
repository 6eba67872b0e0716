"""What the methods of a backend take, read from their signatures."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from inspect import Parameter, signature
from types import FunctionType
from typing import Any, NamedTuple

from cache_monitor.instrument.ownership import attribute_of

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_ANYTHING = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def parameters_of(method: object) -> tuple[Parameter, ...]:
    """What ``method``, as it stands on a class, takes after ``self``."""
    try:
        found = signature(method)  # type: ignore[arg-type]  # what is no callable: TypeError
        return tuple(found.parameters.values())[1:]
    except (TypeError, ValueError):
        return ()


def takes_anything(parameters: Sequence[Parameter]) -> bool:
    """Whether the method takes ``*args`` and ``**kwargs`` and nothing else."""
    return tuple(each.kind for each in parameters) == _ANYTHING


class Place(NamedTuple):
    """Where an argument stands: its position, None for one that has only its name."""

    position: int | None
    name: str
    default: Any = None


Places = Mapping[str, Place]
"""The places of the arguments that say something: ``key``, ``timeout`` and ``version``."""

USUAL_PLACES: Places = {
    "key": Place(0, "key"),
    "timeout": Place(None, "timeout"),
    "version": Place(None, "version"),
}
"""Where nothing is known of a method but that arguments have their names."""

_MEANINGS = {"timeout": "timeout", "when": "timeout", "version": "version"}


@lru_cache(maxsize=2048)
def places_of(method: FunctionType) -> Places:
    """The places of ``method``'s arguments; its first one may be a key."""
    places: dict[str, Place] = {}
    for position, each in enumerate(parameters_of(method)):
        at = position if each.kind in _POSITIONAL else None
        place = Place(at, each.name, None if each.default is Parameter.empty else each.default)
        if position == 0 and at is not None:
            places["key"] = place
        elif each.name in _MEANINGS:
            places.setdefault(_MEANINGS[each.name], place)
    return {**USUAL_PLACES, **places}


def handed_to(owner: object, name: str) -> Callable[..., Any] | None:
    """The method of ``owner``'s client that a method called ``name`` hands everything on to."""
    return getattr(type(attribute_of(owner, "_client")), name, None)
