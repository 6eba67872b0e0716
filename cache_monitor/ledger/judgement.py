"""From a key's history to the reason of a miss, and to the age of what a hit found.

The rules, the first that applies:

1. What ended before the miss started came before it, and the last such event of the version that
   was asked for decides: *deleted*; *version changed* where the entry was moved away; *cleared*
   where the space was cleared later than it was written; *deleted* where a sweep of its like was
   later; *expired*; else *evicted*.
2. *Evicted* means that nothing explains the miss. So before it is said, a delete, sweep or clear
   that overlaps in time, with the miss or with the write that came before it, is taken for the
   reason: of calls that overlap, the order of their ends is not the order of their effects.
3. A version without history: *version changed* where another version of the key is there.
"""

from collections.abc import Callable, Sequence

from cache_monitor.ledger.clears import Clears
from cache_monitor.ledger.events import Hit, Miss, Reason
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
    TOUCHED,
    VERSION_SHIFT,
    WRITTEN,
    Entry,
    inside,
)

_INSIDE: tuple[Reason, ...] = ("evicted", "expired", "deleted", "version_changed")
_GONE: dict[int, Reason] = {DELETED: "deleted", MOVED: "version_changed"}


def reason_of(
    miss: Miss, version: int, history: Sequence[Entry], clears: Clears, sweeps: Clears
) -> Reason | None:
    """Why ``miss`` missed; None where the history has nothing about its version. ``clears`` are
    those of the space, ``sweeps`` those that took this key away."""
    at = miss.at
    for last, run, ttl, seconds, state in history:
        if state >> VERSION_SHIFT == version:
            if last <= at:
                if state & KIND != WRITTEN:
                    return _GONE.get(state & KIND, "unknown")
                return _of_written(miss, (last, run, ttl, seconds, state), history, clears, sweeps)
            if last - run <= at:
                is_old = history[0][0] - at > HORIZON
                return _of_run(miss, last - run, state, is_old, clears, sweeps)
    return None


def _of_written(
    miss: Miss, write: Entry, history: Sequence[Entry], clears: Clears, sweeps: Clears
) -> Reason:
    last, _, ttl, seconds, state = write
    cleared = clears.between(last, miss.at)
    if cleared is not False:
        return "cleared" if cleared else "unknown"
    swept = sweeps.between(last, miss.at)
    if swept is not False:
        return "deleted" if swept else "unknown"
    ended = miss.at + miss.seconds
    if last + ttl - TOLERANCE <= ended:
        return "expired"
    if clears.overlaps(last - seconds, ended):
        return "cleared"
    if sweeps.overlaps(last - seconds, ended):
        return "deleted"
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


def _of_run(
    miss: Miss, first: float, state: int, is_old: bool, clears: Clears, sweeps: Clears
) -> Reason:
    since = max(first, miss.at - HORIZON)
    cleared, swept = clears.between(since, miss.at), sweeps.between(since, miss.at)
    if cleared is None or swept is None or (cleared and swept):
        return "unknown"
    if is_old and (cleared or swept or state & BLURRED):
        return "unknown"
    if cleared or swept:
        # Writes, deletes and clears in turn, and no telling which came last.
        if inside(state) >= INSIDE_DELETED:
            return "deleted" if swept and inside(state) == INSIDE_DELETED else "unknown"
        return "cleared" if cleared else "deleted"
    reason = _INSIDE[inside(state)]
    # Deletes and moves in turn, closer together than the history can tell apart.
    return "unknown" if state & BLURRED and reason == "version_changed" else reason


def is_elsewhere(
    miss: Miss,
    version: int,
    history: Sequence[Entry],
    clears: Clears,
    sweeps_of: Callable[[int], Clears],
) -> bool | None:
    """Whether another version of the key was there when ``miss`` missed; None: perhaps.
    ``sweeps_of`` gives the sweeps that took the key of a version away."""
    known = {version, NO_VERSION}
    answer: bool | None = False
    for entry in history:
        last, run, _, _, state = entry
        if last - run > miss.at or state >> VERSION_SHIFT in known:
            continue
        known.add(state >> VERSION_SHIFT)
        is_run = last > miss.at
        there = _was_there(miss.at, entry)
        since = last - run if is_run else last
        cleared = clears.between(since, miss.at)
        if cleared is False:
            cleared = sweeps_of(state >> VERSION_SHIFT).between(since, miss.at)
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


def written_at(
    hit: Hit, version: int, history: Sequence[Entry], clears: Clears, sweeps: Clears
) -> float | None:
    """When the value was written that ``hit`` found; None where that is not known."""
    for last, run, _, _, state in history:
        if state >> VERSION_SHIFT != version or last - run > hit.at:
            continue
        is_gone = state & KIND != WRITTEN
        if is_gone or last > hit.at or clears.between(last, hit.at) is not False:
            return None
        if sweeps.between(last, hit.at) is not False:
            return None
        if not state & TOUCHED:
            return last
        if run:
            return None
    return None
