"""From a key's history to the reason of a miss.

The rules, the first that applies:

1. What ended before the miss started came before it, and the last such event of the version that
   was asked for decides: *deleted*; *version changed* where the entry was moved away; *cleared*
   where the space was cleared later than it was written; *expired*; else *evicted*.
2. *Evicted* means that nothing explains the miss. So before it is said, a delete or clear that
   overlaps in time, with the miss or with the write that came before it, is taken for the reason:
   of calls that overlap, the order of their ends is not the order of their effects.
3. A version without history: *version changed* where another version of the key is there.
"""

from collections.abc import Sequence

from cache_monitor.ledger.clears import Clears
from cache_monitor.ledger.events import Miss, Reason
from cache_monitor.ledger.history import (
    BLURRED,
    DELETED,
    HORIZON,
    INSIDE_DELETED,
    INSIDE_EVICTED,
    INSIDE_EXPIRED,
    KIND,
    MOVED,
    NO_VERSION,
    TOLERANCE,
    VERSION_SHIFT,
    WRITTEN,
    Entry,
    inside,
)

_INSIDE: tuple[Reason, ...] = ("evicted", "expired", "deleted", "version_changed")
_GONE: dict[int, Reason] = {DELETED: "deleted", MOVED: "version_changed"}


def reason_of(miss: Miss, version: int, history: Sequence[Entry], clears: Clears) -> Reason | None:
    """Why ``miss`` missed; None where the history has nothing about its version."""
    at = miss.at
    for last, run, ttl, seconds, state in history:
        if state >> VERSION_SHIFT == version:
            if last <= at:
                if state & KIND != WRITTEN:
                    return _GONE.get(state & KIND, "unknown")
                return _of_written(miss, (last, run, ttl, seconds, state), history, clears)
            if last - run <= at:
                return _of_run(miss, last - run, state, history[0][0], clears)
    return None


def _of_written(miss: Miss, write: Entry, history: Sequence[Entry], clears: Clears) -> Reason:
    last, _, ttl, seconds, state = write
    cleared = clears.between(last, miss.at)
    if cleared is not False:
        return "cleared" if cleared else "unknown"
    ended = miss.at + miss.seconds
    if last + ttl - TOLERANCE <= ended:
        return "expired"
    if clears.overlaps(last - seconds, ended):
        return "cleared"
    return _overlapping(state >> VERSION_SHIFT, last - seconds, ended, history) or "evicted"


def _overlapping(
    version: int, after: float, before: float, history: Sequence[Entry]
) -> Reason | None:
    """What an event did that took the version away between ``after`` and ``before``, perhaps."""
    for last, run, _, seconds, state in history:
        if (
            state >> VERSION_SHIFT == version
            and state & KIND != WRITTEN
            and last > after
            and last - run - seconds < before
        ):
            return _GONE.get(state & KIND)
    return None


def _of_run(miss: Miss, first: float, state: int, newest: float, clears: Clears) -> Reason:
    is_old = newest - miss.at > HORIZON
    cleared = clears.between(max(first, miss.at - HORIZON), miss.at)
    if cleared is None or (is_old and (cleared or state & BLURRED)):
        return "unknown"
    if cleared:
        # Writes, deletes and clears in turn, and no telling which came last.
        return "unknown" if inside(state) >= INSIDE_DELETED else "cleared"
    reason = _INSIDE[inside(state)]
    # Deletes and moves in turn, closer together than the history can tell apart.
    return "unknown" if state & BLURRED and reason == "version_changed" else reason


def is_elsewhere(miss: Miss, version: int, history: Sequence[Entry], clears: Clears) -> bool | None:
    """Whether another version of the key was there when ``miss`` missed; None: perhaps."""
    known = {version, NO_VERSION}
    answer: bool | None = False
    for entry in history:
        last, run, _, _, state = entry
        if last - run > miss.at or state >> VERSION_SHIFT in known:
            continue
        known.add(state >> VERSION_SHIFT)
        is_run = last > miss.at
        there = _was_there(miss.at, entry)
        cleared = clears.between(last - run if is_run else last, miss.at)
        if there and cleared is False:
            return True
        if there is None or (there and (is_run or cleared is None)):
            answer = None
    return answer


def _was_there(at: float, entry: Entry) -> bool | None:
    last, _, ttl, _, state = entry
    if last > at:
        if state & BLURRED or inside(state) == INSIDE_EXPIRED:
            return None
        return inside(state) == INSIDE_EVICTED
    # No tolerance: what may just have expired may just as well be there.
    return state & KIND == WRITTEN and last + ttl > at
