"""What other sizes, policies and timeouts would hit, predicted beforehand for everybody to read.

One process of the site's does it now and then; never a request.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from django.conf import settings
from django.core.cache.backends.dummy import DummyCache

from cache_monitor.api import report
from cache_monitor.collecting.instances import instance
from cache_monitor.collecting.joining import store_of
from cache_monitor.collecting.pacing import OutOfTime, Pace
from cache_monitor.collecting.rollup import settled
from cache_monitor.conf import get_conf
from cache_monitor.reports.predictions import Period, StoredPrediction, predicted
from cache_monitor.reports.tracerows import decoded
from cache_monitor.reports.what_if import CacheWhatIf, Known
from cache_monitor.stats.encoding import CorruptPayload, decode, encode
from cache_monitor.stores.base import Row, Store, StoreError
from cache_monitor.stores.traced import FIRST, plans
from cache_monitor.trace.bounded import BoundedTrace
from cache_monitor.trace.plan import Plan
from cache_monitor.what_if import known_of

MOST_EVENTS = 40_000
"""Events of a cache that are simulated: as many keys as have so many."""
MOST_BYTES = 4_000_000
"""Of the trace of all caches, compressed, that are read for that: some two million events."""
LONGEST = 86_400
"""Seconds of the trace that are read."""
CPU_SECONDS = 10.0
"""What predicting may take at one time, in small steps that take ``CPU_SHARE`` of a core."""
CPU_SHARE = 0.2
_REST = 100
"""Times what it took to compute has to pass before it is computed again: so that this takes a
hundredth of a core."""
_OFTEN, _SELDOM, _OF_THE_TRACE = 60, 600, 4
"""Seconds after which a prediction is computed again: a part of what the trace covers."""
_STEP = 600
"""Seconds of the trace that are read at once, to begin with."""


def update(store: Store, is_over: Callable[[], bool]) -> None:
    """Predict anew what the caches would hit otherwise, where it is time for that, those that were
    predicted longest ago first. Given up once ``is_over``. Raises :class:`StoreError`."""
    known = predictions(store)
    now = time.time()
    spent = sum(each.cpu_seconds for each in known.values())
    due = [alias for alias in _traced() if _is_due(known.get(alias), now, spent)]
    if not due:
        return
    pace = Pace(CPU_SECONDS, CPU_SHARE, is_over)
    due.sort(key=lambda each: _age(known.get(each)))
    faults: list[Exception] = []
    with suppress(OutOfTime):
        for alias, rows, known_of_it in _with_traces(store, due, pace):
            used = pace.used
            try:
                found = _predicted(store, alias, rows, known_of_it, pace)
            except (OutOfTime, StoreError):
                raise
            except Exception as error:
                # A fault of ours with one cache: the others are none the worse for it.
                faults.append(error)
            else:
                if not is_over():
                    _put(store, alias, found, pace.used - used)
    if faults:
        raise faults[0]


def _with_traces(
    store: Store, aliases: Sequence[str], pace: Callable[[], None]
) -> Iterator[tuple[str, Sequence[Row], Known]]:
    """Those of the caches that have a trace, with its rows, and what else is known of them."""
    rows = _rows(store, int(time.time()) - settled(get_conf().flush_interval), pace)
    caches = report().caches if rows else {}
    for alias in aliases:
        own = rows.get(store_of(alias) or "")
        if own is not None:
            pace()
            yield alias, own, known_of(alias, caches[alias])


def _put(store: Store, alias: str, found: CacheWhatIf, seconds: float) -> None:
    now = time.time()
    prediction = StoredPrediction(computed_at=now, cpu_seconds=seconds, predicted=found)
    store.put([_row(alias, prediction)], int(now))


def predictions(store: Store) -> dict[str, StoredPrediction]:
    """What was predicted, by alias, as far as it can be read. Raises :class:`StoreError`."""
    found = {}
    for row in store.read("what_if", 0, 1, None):
        try:
            found[row.alias] = decode(row.payload, StoredPrediction)
        except CorruptPayload:
            continue
    return found


def _row(alias: str, prediction: StoredPrediction) -> Row:
    return Row("what_if", "", alias, 0, 0, encode(prediction))


def _traced() -> list[str]:
    """The aliases whose entries are traced."""
    return [
        alias
        for alias in settings.CACHES
        if store_of(alias) is not None and not isinstance(instance(alias), DummyCache)
    ]


def _age(known: StoredPrediction | None) -> float:
    return 0.0 if known is None else known.computed_at


def _is_due(known: StoredPrediction | None, now: float, spent: float) -> bool:
    if known is None or known.computed_at > now:
        return True
    seen = (known.predicted.trace_seconds or 0.0) / _OF_THE_TRACE
    rest = max(_REST * spent, min(max(seen, _OFTEN), _SELDOM))
    return now - known.computed_at >= rest


def _predicted(
    store: Store, alias: str, rows: Sequence[Row], known: Known, pace: Callable[[], None]
) -> CacheWhatIf:
    """What is predicted of a cache by its ``rows``, the newest first."""
    hot = plans(store).get(rows[0].alias.partition(".")[0], Plan()).hot
    trace = BoundedTrace(MOST_EVENTS, hot)
    since = until = max(row.start + row.seconds for row in rows)
    for row in rows:
        if not trace.has_room:
            break
        trace.add(row.alias, decoded(row))
        since = min(since, row.start)
        pace()
    period = Period(float(since), float(until))
    parts = [each.of(alias) for each in trace.taken(*period)]
    return predicted(parts, period, known, pace)


def _rows(store: Store, until: int, pace: Callable[[], None]) -> dict[str, list[Row]]:
    """The newest of the trace, by the caches that it is of, the newest first."""
    found: dict[str, list[Row]] = {}
    last = max(until - LONGEST, FIRST)
    begin, step, size = until, _STEP, 0
    while begin > last and size < MOST_BYTES:
        end, begin = begin, max(begin - step, last)
        rows = [row for row in store.read("trace", begin, end, None) if row.seconds]
        for row in sorted(rows, key=lambda each: -each.start):
            found.setdefault(row.alias.partition(".")[0], []).append(row)
            size += len(row.payload)
        # The more at once the less there is.
        left = (MOST_BYTES - size) * (until - begin) // max(size, 1)
        step = max(_STEP // 10, min(2 * step, left))
        pace()
    return found
