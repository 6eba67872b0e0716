"""Search a text for a pattern with a limit that holds while the search runs.

Python's ``re`` cannot be stopped: it tries every way to divide a text among the repetitions of a
pattern, and no other thread of the process runs meanwhile. The package ``regex``, which reads the
same patterns, can. Patterns with one repetition at most have little to divide and need no package.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol

LONGEST = 1000
"""Characters of a pattern."""
MOST_REPEATS = 1000
"""What the counts of a pattern, ``{20}`` and the like, may come to when multiplied: ``regex``
writes them out."""
EXTRA = "django-cache-monitor[key-groups]"

_GROUP_SIGN = re.compile(r"\(\?")
_REPETITION = re.compile(r"[*+?{]")
_COUNT = re.compile(r"\{(\d*)(?:,(\d*))?\}")
_MOST_ALTERNATIVES = 6
_FLAGS = ("ASCII", "DOTALL", "IGNORECASE", "MULTILINE", "VERBOSE")


class NoEngine(Exception):
    """The pattern needs the package ``regex``, which is not installed."""


class Match(Protocol):
    """What was found."""

    def expand(self, template: str, /) -> str:
        """``template`` with what its references stand for."""


class Search(Protocol):
    """Looks for a pattern in a text, for so many seconds; TimeoutError then."""

    def __call__(self, text: str, /, *, seconds: float) -> Match | None:
        """The first place where it is."""


def search_for(pattern: str | re.Pattern[str]) -> Search:
    """What looks for ``pattern``; NoEngine where that takes a package which is not there."""
    compiled = re.compile(pattern)
    if is_simple(compiled.pattern):

        def unlimited(text: str, /, *, seconds: float) -> Match | None:
            return compiled.search(text)

        return unlimited
    engine = _engine()
    if engine is None:
        raise NoEngine
    # Each module numbers its flags its own way.
    named: Mapping[str, int] = {name: getattr(engine, name) for name in _FLAGS}
    flags = sum(named[name] for name in _FLAGS if compiled.flags & getattr(re, name))
    limited: Any = engine.compile(compiled.pattern, flags)

    def search(text: str, /, *, seconds: float) -> Match | None:
        match: Match | None = limited.search(text, timeout=seconds)
        return match

    return search


def is_simple(text: str) -> bool:
    """Whether the pattern ``text`` can be found in few ways only, told from its signs alone."""
    signs = _GROUP_SIGN.sub("(", text)
    repetitions, alternatives = len(_REPETITION.findall(signs)), signs.count("|")
    if repetitions:
        return repetitions == 1 and not alternatives
    return alternatives <= _MOST_ALTERNATIVES


def repeats(text: str) -> int:
    """What the counts of the pattern ``text`` come to when multiplied."""
    product = 1
    for least, most in _COUNT.findall(text):
        product *= max(int(least or 0), int(most or 0), 1)
    return product


def has_engine() -> bool:
    """Whether patterns that are not simple can be searched for."""
    return _engine() is not None


@cache
def _engine() -> ModuleType | None:
    try:
        return import_module("regex")
    except ImportError:
        return None
