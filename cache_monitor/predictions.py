"""What other sizes, policies and timeouts would hit, predicted beforehand for everybody to read.

One process of the site's does it now and then; never a request.
"""

import time
from collections.abc import Callable, Iterator

from django.conf import settings
from django.core.cache.backends.dummy import DummyCache

from cache_monitor.api import report
from cache_monitor.collecting.instances import instance
from cache_monitor.collecting.joining import store_of
from cache_monitor.collecting.pacing import OutOfTime, Pace
from cache_monitor.collecting.rollup import settled
from cache_monitor.conf import get_conf
from cache_monitor.reports.predictions import Known, Period, StoredPrediction, predicted
from cache_monitor.reports.schema import Cache
from cache_monitor.reports.tracerows import decoded
from cache_monitor.reports.what_if import CacheWhatIf
from cache_monitor.stats.encoding import CorruptPayload, decode, encode
from cache_monitor.stores.base import Row, Store
from cache_monitor.stores.traced import FIRST, plans
from cache_monitor.trace.bounded import BoundedTrace
from cache_monitor.trace.plan import Plan
from cache_monitor.what_if import Backend, backend_of

MOST_EVENTS = 40_000
"""Events that are simulated beforehand: as many keys as have so many."""
MOST_READ = 1_000_000
"""Events of the trace that are looked at for that."""
LONGEST = 86_400
"""Seconds of the trace that are looked at."""
CPU_SECONDS = 10.0
"""What one prediction may take, in pieces that take ``CPU_SHARE`` of a core."""
CPU_SHARE = 0.2
_REST = 100
"""Times what all predictions took to compute has to pass before one is computed again: so that this
takes a hundredth of a core."""
_OFTEN, _SELDOM, _OF_THE_TRACE = 60, 600, 4
"""Seconds after which a prediction is computed again: a part of what the trace covers."""
_STEP = 600
"""Seconds of the trace that are read at once, to begin with."""


def update(store: Store, is_over: Callable[[], bool]) -> None:
    """Predict anew what one of the caches would hit otherwise, whichever was predicted longest ago,
    if it is time for that. Given up once ``is_over``. Raises :class:`StoreError`."""
    alike = _alike()
    known = predictions(store)
    now = time.time()
    spent = sum(each.cpu_seconds for each in known.values())
    due = [aliases for aliases in alike if _is_due(known.get(aliases[0]), now, spent)]
    if not due:
        return
    aliases = min(due, key=lambda each: _age(known.get(each[0])))
    pace = Pace(CPU_SECONDS, CPU_SHARE, is_over)
    try:
        found = _predicted(store, aliases[0], pace, now)
    except OutOfTime:
        return
    # What stands for several aliases took the time once.
    rows = [
        _row(alias, StoredPrediction(computed_at=now, cpu_seconds=seconds, predicted=found))
        for alias, seconds in zip(aliases, [pace.used, *[0.0] * len(aliases)], strict=False)
    ]
    store.put(rows, int(now))


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


def _alike() -> list[list[str]]:
    """The aliases whose entries are traced, those together that have the same ones and treat them
    alike."""
    alike: dict[tuple[str, Backend], list[str]] = {}
    for alias in settings.CACHES:
        family = store_of(alias)
        if family is not None and not isinstance(instance(alias), DummyCache):
            alike.setdefault((family, backend_of(alias)), []).append(alias)
    return list(alike.values())


def _age(known: StoredPrediction | None) -> float:
    return 0.0 if known is None else known.computed_at


def _is_due(known: StoredPrediction | None, now: float, spent: float) -> bool:
    if known is None or known.computed_at > now:
        return True
    seen = (known.predicted.trace_seconds or 0.0) / _OF_THE_TRACE
    rest = max(_REST * spent, min(max(seen, _OFTEN), _SELDOM))
    return now - known.computed_at >= rest


def _predicted(store: Store, alias: str, pace: Callable[[], None], now: float) -> CacheWhatIf:
    family = store_of(alias) or ""
    until = int(now) - settled(get_conf().flush_interval)
    trace = BoundedTrace(MOST_EVENTS, plans(store).get(family, Plan()).hot)
    since = _read(store, family, until, trace, pace)
    cache = report(alias=alias).caches[alias]
    period = Period(float(since), float(until))
    return predicted(trace.traced(*period), period, _known(alias, cache), pace)


def _read(
    store: Store, family: str, until: int, trace: BoundedTrace, pace: Callable[[], None]
) -> int:
    """Read the trace from the newest on, until it ends or nothing more has room; from when on it
    was read."""
    last = max(until - LONGEST, FIRST)
    begin = since = until
    step = _STEP
    while begin > last and trace.has_room and trace.read < MOST_READ:
        end, begin = begin, max(begin - step, last)
        for row in _rows(store, family, begin, end):
            trace.add(row.alias, decoded(row))
            since = min(since, row.start)
            pace()
        step = _next_step(step, trace.read, until - begin)
    return since


def _next_step(step: int, read: int, seconds: int) -> int:
    """How many seconds to read next: the more the fewer events there are."""
    if not read:
        return 2 * step
    left = (MOST_READ - read) * seconds // read
    return max(_STEP // 10, min(2 * step, left))


def _known(alias: str, cache: Cache) -> Known:
    backend = backend_of(alias)
    memory = cache.memory
    held = memory.entries if memory.scope == "shared" else None
    # A server that evicts has room for what it holds.
    evicts = any(each.evictions for each in cache.series)
    room = held if backend.room is None and evicts else backend.room
    return Known(
        policy=backend.policy,
        policy_is_assumed=backend.is_assumed,
        room=room or None,
        held=held,
        computed={
            each.group: each.produce_seconds
            for each in cache.key_groups
            if each.produce_seconds is not None and not each.is_state
        },
        given={
            each.group
            for each in cache.key_groups
            if each.is_state or each.kind in {"session", "page_headers"}
        },
    )


def _rows(store: Store, family: str, since: int, until: int) -> Iterator[Row]:
    """The trace of a cache, whichever process's."""
    for row in store.read("trace", since, until, None):
        if row.seconds and row.alias.partition(".")[0] == family:
            yield row
