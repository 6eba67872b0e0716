"""The slices of the trace that a store has of a period."""

import time
from collections.abc import Iterator

from cache_monitor.stores.base import Row, Store
from cache_monitor.stores.shared import FIRST
from cache_monitor.trace.packing import Unreadable
from cache_monitor.trace.slices import Stored, decode
from cache_monitor.worker.trace_rollup import MINUTE

_STEP = 10 * MINUTE
"""Of which the rows are read at once: a day of them may be more than memory has."""


def slices_by_minute(
    store: Store, family: str, since: float, until: float
) -> Iterator[dict[str, list[Stored]]]:
    """Minute by minute what is traced of one cache, by the names of its stores: one, or one for
    each process where each has its own. Raises :class:`StoreError`."""
    # What was told late is in a slice that begins after it.
    first = max(int(since) // MINUTE * MINUTE - MINUTE, FIRST)
    last = min(int(until), int(time.time())) + MINUTE
    for start in range(first, last, _STEP):
        minutes: dict[int, dict[str, list[Stored]]] = {}
        for row in store.read("trace", start, min(start + _STEP, last), None):
            if row.seconds and row.alias.partition(".")[0] == family:
                names = minutes.setdefault(row.start // MINUTE, {})
                names.setdefault(row.alias, []).extend(decoded(row))
        for _, found in sorted(minutes.items()):
            yield found


def decoded(row: Row) -> Iterator[Stored]:
    """The slices in ``row``; none where it cannot be read."""
    try:
        yield from decode(row.payload)
    except Unreadable:
        return
