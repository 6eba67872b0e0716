"""What reports remember of the past, so that it need not be read and merged again each time.

Rows of the past hardly change, so what was made of them is there for whoever asks about the same
ones again. At first it costs more to merge details apart than to take each by itself. So where they
will be joined by others within minutes, or are still of single processes, this is only done when
the same ones are asked about for the second time.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count

from cache_monitor.stats.codec import CorruptPayload, decode
from cache_monitor.stats.details import StoredDetails, pack
from cache_monitor.stats.merge import DetailsMerge
from cache_monitor.stats.window import MemoryByProcess, Window
from cache_monitor.stores.base import Row
from cache_monitor.stores.rows import KEYS_KEPT, MINUTE, window_of

ANY_NUMBER = 1_000_000
"""Groups that a report may hold: its windows are bounded one by one."""
STEPS_REMEMBERED = 1000
"""Steps of the past, some 20 kB each, that need not be read again: those of five caches."""
BUCKETS_REMEMBERED = 100
"""Those of the last minute, which are not rolled up yet, likewise."""
DETAILS_REMEMBERED = 40
"""Details of the past, up to a megabyte each, likewise: five minutes, hours, days and weeks, and
the minutes that are over."""
SHORT = 5 * MINUTE
"""Rolled-up details of up to so many seconds are joined by others, or rolled up further, within
that time."""
KEYS_REMEMBERED = 500
"""Hot keys in each of these, five times as many as are shown, or as many as each of their rows has.
What is not known of the others goes into a report's ``max_overcount``."""


class PastRows:
    """The name of what is made of some rows, which are let go once that is there: what is
    remembered would else keep the payloads of all processes. Rows that differ go by the same name
    once in 10**19 times."""

    __slots__ = ("_name", "_rows")

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows: Sequence[Row] = rows
        self._name = hash(tuple(rows)), sum(len(row.payload) for row in rows)

    def __hash__(self) -> int:
        return self._name[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PastRows) and self._name == other._name

    def take(self) -> Sequence[Row]:
        """The rows, once."""
        rows, self._rows = self._rows, ()
        return rows


def _in_one(named: PastRows) -> tuple[Window, int]:
    """Windows in one, which nobody may change, and how many could not be read."""
    rows = named.take()
    start = min(row.start for row in rows)
    whole = Window(start, max(row.start + row.seconds for row in rows) - start)
    held = MemoryByProcess()
    corrupt = 0
    for row in rows:
        try:
            window = window_of(row)
        except CorruptPayload:
            corrupt += 1
        else:
            whole.merge(window)
            held.add(window)
    held.note_in(whole)
    return whole, corrupt


step_of_the_past = lru_cache(maxsize=STEPS_REMEMBERED)(_in_one)
bucket_just_over = lru_cache(maxsize=BUCKETS_REMEMBERED)(_in_one)


def was_there(rows: PastRows) -> bool:
    """Whether the same rows were asked about before."""
    return next(_times_asked(hash(rows))) > 0


@lru_cache(maxsize=STEPS_REMEMBERED)
def _times_asked(_name: int) -> Iterator[int]:
    return count()


@lru_cache(maxsize=DETAILS_REMEMBERED)
def details_of_the_past(named: PastRows) -> tuple[StoredDetails, int]:
    """Details in one, which nobody may change, and how many could not be read."""
    rows = named.take()
    merging = DetailsMerge(rows[0].start, rows[0].seconds, ANY_NUMBER)
    corrupt = 0
    for row in rows:
        try:
            merging.add(decode(row.payload, StoredDetails))
        except CorruptPayload:
            corrupt += 1
    most = max(KEYS_REMEMBERED, KEYS_KEPT.get(rows[0].seconds, 0))
    return pack(merging.whole(most)), corrupt
