"""Whether a backend evicted anything between two moments, by what it said of itself."""

from collections.abc import Sequence
from itertools import pairwise

from cache_monitor.trace.events import Reading, Reason


def why_gone(since: int, until: int, readings: Sequence[Reading]) -> Reason | None:
    """Why an entry that was there at ``since`` was not at ``until``, without a cause on record;
    None where a later reading is to tell. ``readings`` are ascending.

    Evicted takes evidence: a counter that rose meanwhile, or a backend that was full. That it was
    not is evidence too. Without either it is unknown.
    """
    after = next((place for place, each in enumerate(readings) if each.at >= until), None)
    if after is None:
        return None
    first = next((place for place in range(after, -1, -1) if readings[place].at <= since), None)
    between = readings[0 if first is None else first : after + 1]
    if first is None:
        between = [each for each in between if each.at >= since] or [readings[after]]
    counted = [each.evictions for each in between if each.evictions is not None]
    if len({each.boot for each in between}) > 1:
        # It went down meanwhile, and what it held with it.
        return "lost" if not _rose(between) else "unknown"
    if len(counted) == len(between):
        if _rose(between):
            return "evicted"
        return "lost" if first is not None or counted[-1] == 0 else "unknown"
    if any(each.full for each in between):
        return "evicted"
    is_told = all(each.full is False for each in between)
    return "lost" if is_told and first is not None else "unknown"


def _rose(readings: Sequence[Reading]) -> bool:
    """Whether a counter rose from one reading to the next, or from its start."""
    return any(
        (one.evictions or 0 if one.boot == other.boot else 0) < (other.evictions or 0)
        for one, other in pairwise(readings)
    )
