"""One reading of the store serves everybody who looks within a few seconds.

A page, its charts' JSON and the refreshes of several viewers ask the same question. Whoever asks
first reads the store; the others wait for the answer instead of reading it again beside.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from cache_monitor.concurrency import call_in_forked_children, new_lock
from cache_monitor.reports.key_history import KeyPoint
from cache_monitor.reports.schema import Report

Answer = TypeVar("Answer")
KeyLines = Mapping[str, Sequence[KeyPoint]]
"""The use of keys over time, by key."""

MOST = 16
"""Readings that a process keeps: each may weigh a megabyte."""
FRESH_FOR = 2.0
"""Seconds that a reading is used; no more than half of the time between two refreshes."""
FRESH_FOR_LONG = 30.0
"""Seconds that the reading of a long period is used."""
FRESH_SHARE = 1 / 2880
"""The part of a period for which its reading is used: half a minute of a day."""


class CachedReport(NamedTuple):
    """A report, and what is wrong with the store that it comes from, if anything."""

    report: Report
    store_problem: str | None


class _Slot(Generic[Answer]):
    """Where the reading of one question is kept, and where others wait for it."""

    def __init__(self) -> None:
        self.lock = new_lock()
        self.made_at = 0.0
        self.reading: Answer | None = None


class ReportCache(Generic[Answer]):
    """The newest readings of this process."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self.reset()

    def reset(self) -> None:
        """Begin anew, in a forked child too, whose parent may have been reading just then."""
        self._places: OrderedDict[Hashable, _Slot[Answer]] = OrderedDict()

    def get(self, asked: Hashable, read: Callable[[], Answer], fresh_for: float) -> Answer:
        """The reading for ``asked``, at most ``fresh_for`` seconds old; what ``read`` raises."""
        place = self._place(asked)
        with place.lock:
            age = time.monotonic() - place.made_at
            if place.reading is None or age > fresh_for:
                place.reading = read()
                # After reading, which may take longer than the reading is fresh.
                place.made_at = time.monotonic()
            return place.reading

    def clear(self) -> None:
        """Forget all readings."""
        with self._lock:
            self._places.clear()

    def _place(self, asked: Hashable) -> _Slot[Answer]:
        with self._lock:
            place = self._places.setdefault(asked, _Slot())
            self._places.move_to_end(asked)
            while len(self._places) > MOST:
                self._places.popitem(last=False)
            return place


readings: Final = ReportCache[CachedReport]()
key_lines: Final = ReportCache[KeyLines]()
call_in_forked_children(readings.reset)
call_in_forked_children(key_lines.reset)
