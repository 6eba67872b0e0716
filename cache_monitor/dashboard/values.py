"""The value of an entry as text: cut, printable, and never a session's."""

import reprlib
from dataclasses import dataclass
from typing import Final

from django.core.cache import caches
from django.utils.translation import gettext as _

from cache_monitor import scope
from cache_monitor.dashboard import formats
from cache_monitor.keys.naming import name_key

MOST: Final = 10_000
"""Characters of a value that are shown."""


@dataclass(frozen=True, slots=True)
class ShownValue:
    """A value's type and text; ``problem`` where there is none to show."""

    type_name: str = ""
    text: str = ""
    cut: bool = False
    problem: str = ""


_MISSING: Final = object()


def shown_value(alias: str, key: str) -> ShownValue:
    """What the cache ``alias`` holds under ``key``, read with its own ``get``, unrecorded.

    Never raises: a value that cannot be unpickled, or has a broken repr, is a problem to show.
    """
    if name_key(key).kind == "session":
        return ShownValue(problem=_("A session's value is not shown."))
    try:
        with scope.muted():
            value = caches[alias].get(key, _MISSING)
            if value is _MISSING:
                return ShownValue(problem=_("There is no such entry."))
            return _shown(value)
    except Exception as error:
        problem = _("The value cannot be read: %(error)s")
        return ShownValue(problem=problem % {"error": type(error).__name__})


def _shown(value: object) -> ShownValue:
    text = value[: MOST + 1] if isinstance(value, str) else _repr(value)
    return ShownValue(
        type_name=type(value).__qualname__,
        text=_readable(text[:MOST]),
        cut=len(text) > MOST,
    )


def _repr(value: object) -> str:
    """A representation that a large value cannot make large."""
    short = reprlib.Repr()
    short.maxlevel = 5
    short.maxlist = short.maxtuple = short.maxset = short.maxfrozenset = short.maxdict = 50
    short.maxdeque = short.maxarray = 50
    short.maxstring = short.maxother = short.maxlong = MOST + 1
    return short.repr(value[: MOST + 1] if isinstance(value, bytes | bytearray) else value)


def _readable(text: str) -> str:
    """As :func:`formats.visible`, but with the lines that the text has."""
    return "\n".join(formats.visible(line) for line in text.split("\n"))
