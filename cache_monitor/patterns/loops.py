"""How much work a regular expression may make of a text that nearly fits it.

Python's engine tries every way to divide a text among the repetitions of a pattern, and while it
works, no other thread of the process runs. A repetition that may end in several places multiplies
the work by the text's length; one inside a loop doubles it with each character.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from math import inf
from typing import Any

_FEW_ROUNDS = 3
"""A loop of no more rounds multiplies the work, and does not double it with each character."""
_SHORT = 16
"""A repetition of no more characters adds little."""
_SAMPLES = [*map(chr, range(128)), "é", "Ж", "中", "٣"]

_UNKNOWN, _NOTHING = "unknown", "nothing"
"""What may stand after an item of a pattern, beside another item."""

_ONE_CHARACTER = frozenset({"LITERAL", "NOT_LITERAL", "IN", "ANY", "CATEGORY"})
_LOOPS = frozenset({"MAX_REPEAT", "MIN_REPEAT"})
_OPEN = frozenset({"SUBPATTERN", "GROUPREF_EXISTS"})
_NEVER_TRIED_AGAIN = frozenset({"POSSESSIVE_REPEAT", "ATOMIC_GROUP"})


def degree(pattern: re.Pattern[str]) -> float:
    """The power of a text's length that the work of finding ``pattern`` in it may grow with.

    Infinite where it may grow exponentially. What a glance cannot decide counts as the worse.
    """
    # The engine's own parser is private: without it, nothing is known of any pattern.
    with suppress(ImportError, AttributeError, TypeError, ValueError):
        parsed = import_module("re._parser").parse(pattern.pattern, pattern.flags)
        places = 0 if _is_anchored(parsed, pattern.flags) else 1
        return places + _Work(parsed.state, pattern.flags).of(parsed, _NOTHING, in_loop=False)
    return 0


def _is_anchored(parsed: Any, flags: int) -> bool:
    first = str(parsed[0][1]) if len(parsed) and str(parsed[0][0]) == "AT" else ""
    return first == "AT_BEGINNING_STRING" or (first == "AT_BEGINNING" and not flags & re.MULTILINE)


class _Work:
    """Adds up the work of a parsed pattern's items."""

    def __init__(self, state: Any, flags: int) -> None:
        self._state = state
        self._flags = flags

    def of(self, items: Sequence[Any], after: Any, *, in_loop: bool) -> float:
        """The degree of ``items``, which ``after`` stands behind."""
        each = list(items)
        following = [*each[1:], after]
        return sum(self._item(*pair, in_loop) for pair in zip(each, following, strict=True))

    def _item(self, item: Any, after: Any, in_loop: bool) -> float:
        kind, argument = str(item[0]), item[1]
        if kind in _LOOPS:
            return self._loop(argument, after, in_loop)
        if kind == "BRANCH":
            if in_loop and not _differ_at_once(argument[1]):
                return inf
            return max(self.of(each, after, in_loop=in_loop) for each in argument[1])
        parts = argument if isinstance(argument, tuple) else (argument,)
        # Groups, assertions and the like hold their bodies at different places.
        bodies = [part for part in parts if type(part).__name__ == "SubPattern"]
        # Once an assertion, or what is never tried again, has been found, it is done with.
        behind = after if kind in _OPEN else _NOTHING
        inside = in_loop and kind not in _NEVER_TRIED_AGAIN
        return sum(self.of(body, behind, in_loop=inside) for body in bodies)

    def _loop(self, argument: Any, after: Any, in_loop: bool) -> float:
        least, most, body = argument
        may_end_anywhere = least != most and not self._ends_at(body, after)
        if in_loop and may_end_anywhere:
            return inf
        inside = self.of(body, _UNKNOWN, in_loop=in_loop or most > _FEW_ROUNDS)
        own = 1 if may_end_anywhere and most > _SHORT else 0
        return own + inside * max(1, min(int(most), _FEW_ROUNDS))

    def _ends_at(self, body: Any, after: Any) -> bool:
        """Whether a repetition of ``body`` can end in one place only, seen what comes after."""
        if after is _NOTHING:
            return True
        first = _first(after)
        if first is None or body.getwidth() != (1, 1):
            return False
        make = import_module("re._compiler").compile
        inside = make(body, self._flags)
        behind = make(import_module("re._parser").SubPattern(self._state, [first]), self._flags)
        literal = [chr(first[1])] if str(first[0]) == "LITERAL" else []
        return not any(inside.match(each) and behind.match(each) for each in _SAMPLES + literal)


def _first(item: Any) -> Any:
    """The item of one character that ``item`` must begin with; None where that is not plain."""
    if isinstance(item, str):
        return None
    kind, argument = str(item[0]), item[1]
    if kind in _ONE_CHARACTER:
        return item
    begins = (kind in _LOOPS and argument[0] > 0) or kind == "SUBPATTERN"
    return _first(argument[-1][0]) if begins and len(argument[-1]) else None


def _differ_at_once(alternatives: Sequence[Any]) -> bool:
    """Whether the first character tells which of the alternatives it is."""
    firsts = {
        chr(each[0][1]).lower() for each in alternatives if each and str(each[0][0]) == "LITERAL"
    }
    return len(firsts) == len(alternatives)
