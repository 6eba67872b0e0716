"""Batches of calls, condensed to what is different in them.

Most calls are alike: the same few keys, found again and again. So a batch is first condensed by
what the standard library does in C, and only what is left is counted in Python.
"""

from collections import Counter
from collections.abc import Hashable, Sequence, Set
from operator import itemgetter
from typing import Any, NamedTuple

from cache_monitor.calls import RawCall
from cache_monitor.keys.toolbar import is_one_toolbars_own, is_toolbars_own

Alike = tuple[Hashable, bool | tuple[bool, ...] | None, int | None, Hashable, str | None]
"""Key, outcome, size, version and error: calls of one operation that have these in common."""

Hit = str | tuple[str, int]
"""A plain hit: its key, with the size where the call could tell. Bare keys are quicker to count: a
string remembers its hash, a tuple does not."""

_alike = itemgetter(3, 4, 5, 7, 8)


class Condensed(NamedTuple):
    """Calls of one source, told apart only as far as they differ.

    ``hits`` counts the plain ones, ``others`` all else; ``fresh`` are those of the plain hits that
    were not known before.
    """

    calls: Sequence[RawCall]
    hits: Counter[Hit]
    others: Counter[Alike]
    fresh: Set[Hit]


def condense(calls: Sequence[RawCall], known: Set[Hit]) -> Condensed | None:
    """``calls`` without those that the debug toolbar makes for itself; None if that is all.
    ``known`` are hits on keys that are not the toolbar's."""
    plain: list[Any] = [
        call[3] if call[5] is None else (call[3], call[5])
        for call in calls
        if call[4] is True and call[7] is None and type(call[3]) is str
    ]
    rest: Sequence[RawCall] = ()
    if not plain:
        rest = calls
    elif len(plain) < len(calls):
        rest = [
            call
            for call in calls
            if not (call[4] is True and call[7] is None and type(call[3]) is str)
        ]
    hits: Counter[Hit] = Counter(plain)
    others = Counter(map(_alike, rest))
    fresh = hits.keys() - known
    # Looked for among what is left, which is little; rarely is one there.
    if is_one_toolbars_own(fresh) or is_one_toolbars_own(each[0] for each in others):
        own = [call for call in calls if not is_toolbars_own(call[3])]
        return condense(own, known) if own else None
    return Condensed(calls, hits, others, fresh)
