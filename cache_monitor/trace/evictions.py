"""Whether a backend evicted anything between two moments, by what it said of itself."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from cache_monitor.stats.lives import Cause
from cache_monitor.trace.events import Reading, Reason


def why_gone(since: int, until: int, readings: Sequence[Reading]) -> Reason | None:
    """Why an entry that was there at ``since`` was not at ``until``, without a cause on record;
    None where a later reading is to tell. ``readings`` are ascending.

    Evicted takes evidence: a counter that rose meanwhile, or a backend that was full. That it was
    not is evidence too. Without either it is unknown.
    """
    if any(each.full and since <= each.at <= until for each in readings):
        return "evicted"
    found = _between(since, until, readings)
    if found is None:
        return None
    between, is_whole = found
    is_either = any(each.behind for each in between) and _rose(between)
    if is_either or not _is_one(readings):
        return "unknown"
    is_full = any(each.full for each in between)
    if len({each.boot for each in between} - {""}) > 1:
        # It went down meanwhile, and what it held with it.
        return "unknown" if is_full or _rose(between) else "lost"
    is_counted = all(each.evictions is not None for each in between)
    if (is_counted and _rose(between)) or is_full:
        return "evicted"
    is_told = is_counted or all(each.full is False for each in between)
    return "lost" if is_told and (is_whole or between[-1].evictions == 0) else "unknown"


class Known(NamedTuple):
    """What took an entry away that was lost, and when that was first seen."""

    what: Cause
    at: int


def cause_of(since: int, until: int, readings: Sequence[Reading]) -> Known | None:
    """What took an entry away that was lost between two moments: the backend began anew, or reads
    went to a replica that lagged. None where neither is known, or either may have been it."""
    between, _ = _between(since, until, readings) or ((), False)
    anew = (
        each.at for one, each in pairwise(between) if one.boot and each.boot not in {"", one.boot}
    )
    lagged = (each.at for each in between if each.behind)
    restarted_at, lagged_at = next(anew, None), next(lagged, None)
    if lagged_at is None:
        return None if restarted_at is None else Known("restart", restarted_at)
    return Known("replica", lagged_at) if restarted_at is None else None


def _between(
    since: int, until: int, readings: Sequence[Reading]
) -> tuple[Sequence[Reading], bool] | None:
    """The readings from one moment to the other, and whether there is one from before; None where
    there is none yet from after."""
    after = next((place for place, each in enumerate(readings) if each.at >= until), None)
    if after is None:
        return None
    first = next((place for place in range(after, -1, -1) if readings[place].at <= since), None)
    if first is not None:
        return readings[first : after + 1], True
    return [each for each in readings[: after + 1] if each.at >= since] or [readings[after]], False


def _is_one(readings: Sequence[Reading]) -> bool:
    """Whether all of ``readings`` are of one backend, as far as they tell: one that begins anew
    does not go back. Each host may have a server, or a directory, of its own by the same name."""
    boots = [each.boot for each in readings if each.boot]
    return len(set(boots)) == sum(one != other for one, other in pairwise(["", *boots]))


def _rose(readings: Sequence[Reading]) -> bool:
    """Whether a counter rose from one reading to the next, or from its start."""
    return any(
        (one.evictions or 0 if one.boot == other.boot else 0) < (other.evictions or 0)
        for one, other in pairwise(readings)
    )
