"""What a cache saves: hits x mean time to produce a value - time spent in lookups.

A negative figure says that asking the cache took longer than it saved, and stays negative. None
says that nobody saw a value being produced; it is never 0.
"""

from typing import Protocol

from cache_monitor.stats import histogram
from cache_monitor.stats.window import OperationStats, Window


class Production(Protocol):
    """How many values were seen being produced, and the seconds that this took together."""

    @property
    def produced(self) -> int: ...
    @property
    def produce_seconds(self) -> float: ...


def mean_to_produce(stats: Production) -> float | None:
    """The mean seconds that one value took to produce; None where none was seen."""
    return stats.produce_seconds / stats.produced if stats.produced else None


def mean_lookup(total: Window) -> float | None:
    """The mean seconds that a cache takes to look up one key; None where nothing was looked up.

    ``get_or_set`` runs its callable within the call where it misses, which is no time of the
    cache's: its hits are what tells, and these are the fastest of its calls.
    """
    keys = 0
    seconds = 0.0
    for name in ("get", "get_many"):
        if name in total.operations:
            keys += total.operations[name].hits + total.operations[name].misses
            seconds += total.operations[name].seconds
    combined = total.operations.get("get_or_set")
    if combined is not None:
        keys += combined.hits
        seconds += _seconds_of_fastest(combined, combined.hits)
    return seconds / keys if keys else None


def _seconds_of_fastest(stats: OperationStats, calls: int) -> float:
    """The time that the fastest ``calls`` took together, within the histogram's error."""
    seconds = 0.0
    left = calls
    for bucket, count in stats.times.items():
        taken = min(count, left)
        seconds += taken * histogram.middle_of(bucket)
        left -= taken
    return seconds


def saved(hits: int, lookups: int, to_produce: float | None, lookup: float | None) -> float | None:
    """The seconds that ``hits`` of ``lookups`` saved, given the mean times to produce a value and
    to look up a key; None where one of these is not known."""
    if to_produce is None or lookup is None:
        return None
    return hits * to_produce - lookups * lookup
