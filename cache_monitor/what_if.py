"""What another size, policy or timeout of a cache would bring, from the trace in the store.

One process of the site's does it now and then; never a request.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from django.conf import settings
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import BaseMemcachedCache

from cache_monitor.api import refuse_unknown, report
from cache_monitor.concurrency import OutOfTime, Pace
from cache_monitor.conf import get_conf
from cache_monitor.reports.predictions import PredictionPeriod, StoredPrediction, predicted
from cache_monitor.reports.schema import Cache, Memory
from cache_monitor.reports.series import moment
from cache_monitor.reports.what_if import CacheFacts, CacheWhatIf, Question, WhatIf, cache_what_if
from cache_monitor.scan.identity import own_cache, store_of
from cache_monitor.stats.codec import CorruptPayload, decode, encode
from cache_monitor.stores.base import Row, Store, StoreError
from cache_monitor.stores.opening import get_store
from cache_monitor.stores.resolutions import settled
from cache_monitor.stores.shared import FIRST, plans, slices_by_minute, slices_of
from cache_monitor.trace.codec import StoredSlice
from cache_monitor.trace.models.django import BY_THIRDS, Cull
from cache_monitor.trace.plan import Plan
from cache_monitor.trace.reading import BoundedTrace, CacheTrace, read_trace
from cache_monitor.trace.what_if import CULLING, POLICIES, MeasuredContents

_POLICIES: tuple[tuple[type[BaseCache], str], ...] = (
    (LocMemCache, "locmem"),
    (DatabaseCache, "database"),
    (FileBasedCache, "files"),
    (BaseMemcachedCache, "memcached"),
)
_OTHERWISE = "allkeys-lru"
"""What Redis does where it is told to evict anything; also for backends of which nobody knows."""


class Backend(NamedTuple):
    """The policy of a backend, which may be assumed, and the entries that it takes, if it counts
    them, and how it makes room then."""

    policy: str
    is_assumed: bool
    room: int | None
    cull: Cull = BY_THIRDS


def what_if(
    asked: Question,
    since: datetime,
    until: datetime,
    alias: str | None = None,
    on_progress: Callable[[str, int, int], None] = lambda alias, done, total: None,
) -> WhatIf:
    """What the caches, or ``alias`` alone, would have hit between ``since`` and ``until``.
    ``on_progress`` is told of each cache how many simulations are done, and of how many.

    Simulates all that the trace has of that time, which takes seconds; never in a request. Raises
    :class:`cache_monitor.api.UnknownAlias`, and :class:`StoreError` where the store cannot be read.
    """
    refuse_unknown(alias)
    store = get_store()
    period = since.timestamp(), until.timestamp()
    return WhatIf(
        since=moment(period[0]),
        until=moment(period[1]),
        caches={
            name: _cache(store, name, asked, period, partial(on_progress, name))
            for name in settings.CACHES
            if alias in (None, name)
        },
    )


def _cache(
    store: Store,
    alias: str,
    asked: Question,
    period: tuple[float, float],
    on_progress: Callable[[int, int], None],
) -> CacheWhatIf:
    parts = _parts(store, alias, period)
    if not parts:
        backend = backend_of(alias)
        return cache_what_if(
            [], CacheFacts(backend.policy, backend.is_assumed, backend.room), asked
        )
    cache = report(_moment(period[0]), _moment(period[1]), alias).caches[alias]
    return cache_what_if(parts, known_of(alias, cache), asked, on_progress)


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def known_of(alias: str, cache: Cache) -> CacheFacts:
    """What is known of ``alias``, of which the report has ``cache``."""
    backend = backend_of(alias, cache)
    memory = cache.memory
    held = memory.entries if memory.scope == "shared" else None
    # A server that evicts has room for what it holds.
    evicts = any(each.evictions for each in cache.series)
    room = held if backend.room is None and evicts else backend.room
    return CacheFacts(
        policy=backend.policy,
        policy_is_assumed=backend.is_assumed,
        room=room or None,
        held=held,
        computed=_computed_in(cache),
        given={
            each.group
            for each in cache.key_groups
            if each.is_state or each.kind in {"session", "page_headers"}
        },
        cull=backend.cull,
        memory=_held(memory, evicts=evicts),
    )


def _held(memory: Memory, *, evicts: bool) -> MeasuredContents | None:
    """What the entries of a cache took when somebody looked."""
    if not memory.entries or not memory.bytes:
        return None
    used, limit = memory.used_bytes or memory.bytes, memory.limit_bytes
    if evicts and memory.used_bytes and limit:
        # It is full: of what it takes beside the entries some is in none of its figures.
        used = limit
    everybody = max(memory.used_bytes or 0, memory.bytes)
    return MeasuredContents(
        entries=memory.entries,
        bytes=memory.bytes,
        groups={
            each.group: each.bytes / each.entries
            for each in memory.groups
            if each.entries and each.bytes
        },
        used=used,
        empty=memory.empty_bytes if used > memory.empty_bytes else 0,
        share=memory.bytes / everybody,
    )


def _computed_in(cache: Cache) -> dict[str, float]:
    """The seconds that a value takes to compute, by group, where that was seen and the values are
    copies of something."""
    return {
        each.group: each.produce_seconds
        for each in cache.key_groups
        if each.produce_seconds is not None and not each.is_state
    }


def backend_of(alias: str, cache: Cache | None = None) -> Backend:
    """What is known of the backend of ``alias``, with what its server told for the report's
    ``cache``: without a limit there it evicts nothing, whatever its policy."""
    backend = _by_its_class(alias)
    memory = None if cache is None else cache.memory
    policy = memory.policy if memory is not None and memory.limit_bytes else None
    if backend.is_assumed and policy is not None and policy in POLICIES:
        return Backend(policy, False, backend.room)
    return backend


def _by_its_class(alias: str) -> Backend:
    cache: Any = own_cache(alias)
    policy = next((name for class_, name in _POLICIES if isinstance(cache, class_)), _OTHERWISE)
    if policy not in CULLING:
        return Backend(policy, policy == _OTHERWISE, None)
    # From Django 6.2 on DatabaseCache culls at some of its writes.
    cull = Cull(cache._cull_frequency, getattr(cache, "_cull_probability", 1.0))
    return Backend(policy, False, cache._max_entries, cull)


def _parts(store: Store, alias: str, period: tuple[float, float]) -> list[CacheTrace]:
    """What is traced of a cache, or of each process's where each has its own."""
    since, until = period
    family = store_of(alias)
    if family is None:
        return []
    hot = plans(store).get(family, Plan()).hot
    slices: dict[str, list[StoredSlice]] = {}
    for found in slices_by_minute(store, family, since, until):
        for name, parts in found.items():
            slices.setdefault(name, []).extend(parts)
    own = [read_trace(each, hot, since, until).of(alias) for each in slices.values()]
    return [each for each in own if each.events]


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
) -> Iterator[tuple[str, Sequence[Row], CacheFacts]]:
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
        if store_of(alias) is not None and not isinstance(own_cache(alias), DummyCache)
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
    store: Store, alias: str, rows: Sequence[Row], known: CacheFacts, pace: Callable[[], None]
) -> CacheWhatIf:
    """What is predicted of a cache by its ``rows``, the newest first."""
    hot = plans(store).get(rows[0].alias.partition(".")[0], Plan()).hot
    trace = BoundedTrace(MOST_EVENTS, hot)
    since = until = max(row.start + row.seconds for row in rows)
    for row in rows:
        if not trace.has_room:
            break
        trace.add(row.alias, slices_of(row.payload))
        since = min(since, row.start)
        pace()
    period = PredictionPeriod(float(since), float(until))
    parts = [each.of(alias) for each in trace.pop_traces(*period)]
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
