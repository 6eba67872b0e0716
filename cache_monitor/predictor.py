"""Predictions for another size, policy or timeout of a cache, from the trace in the store: all that
``cache_whatif`` is asked for, and beforehand what the dashboard shows.

One process of the site makes the latter now and then, in the background.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import count
from math import inf
from typing import Any

from django.conf import settings
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import BaseMemcachedCache
from msgspec import structs

from cache_monitor.api import refuse_unknown, report
from cache_monitor.concurrency import BoundedPace, OutOfTime
from cache_monitor.conf import get_conf
from cache_monitor.reports import Cache, Memory
from cache_monitor.scan.identity import own_cache, store_of
from cache_monitor.stats.codec import CorruptPayload, decode, encode
from cache_monitor.stats.window import rfc3339
from cache_monitor.stores.base import Row, Store, StoreError, get_store
from cache_monitor.stores.rows import FIRST, plans, settled, slices_by_minute, slices_of
from cache_monitor.trace import Plan
from cache_monitor.what_if import (
    LEAST_LOOKUPS,
    Bytes,
    CacheWhatIf,
    Policy,
    Question,
    StoredPrediction,
    WhatIf,
)
from cache_monitor.what_if.freshness import Values
from cache_monitor.what_if.hit_ratios import CULLING, POLICIES, MeasuredContents, Prediction
from cache_monitor.what_if.reading import BoundedTrace, CacheTrace, hit_ratio
from cache_monitor.what_if.simulated_caches import Cull
from cache_monitor.what_if.simulations import (
    CacheFacts,
    PredictionPeriod,
    Predictions,
    Simulations,
    TimeoutChange,
    are_alike,
    rounded,
)
from cache_monitor.what_if.workload import SimulatedCall, simulated_calls


def _not_yet_predicted(parts: Sequence[CacheTrace], known: CacheFacts) -> CacheWhatIf:
    """What is told of a cache of which nothing is predicted."""
    return CacheWhatIf(
        hit_ratio=None,
        error=None,
        keys=len({key for each in parts for key in each.groups}),
        rate=min((each.share for each in parts), default=1.0),
        policy=known.policy,
        policy_is_assumed=known.policy_is_assumed,
        room=known.room,
    )


def _workloads(parts: Sequence[CacheTrace], known: CacheFacts) -> list[list[SimulatedCall]]:
    return known.sized([simulated_calls(each.events, each.groups, each.alias) for each in parts])


def cache_what_if(
    parts: Sequence[CacheTrace],
    known: CacheFacts,
    asked: Question,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> CacheWhatIf:
    """What another size, policy or timeout would have hit, by the trace of one cache's parts.
    ``on_progress`` is told after each simulation how many are done, and of how many at most."""
    found = _not_yet_predicted(parts, known)
    lookups = sum(each.times for part in parts for each in part.lookups())
    if lookups < LEAST_LOOKUPS:
        return structs.replace(
            found,
            problem=(
                f"The trace of this period has {lookups} lookups; a prediction takes "
                f"{LEAST_LOOKUPS:,}. Ask for a longer period, or later."
            ),
        )
    simulations = _simulations(parts, known)
    groups = simulations.usual_timeouts() if asked.factors or asked.timeouts else {}
    changes = {group: list(_changes(timeout, asked)) for group, timeout in groups.items()}
    total = 1 + len(asked.entries) + len(asked.bytes) + len(asked.policies)
    total += sum(1 + len(each) for each in changes.values())
    steps = count(1)
    simulations.on_step = lambda: on_progress(next(steps), total)
    on_progress(0, total)
    problem = _difference_from_today(simulations)
    if problem is not None:
        return structs.replace(found, problem=problem)
    now, period = simulations.today, simulations.period
    timeouts = (
        simulations.timeouts(group, groups[group], each, is_quick=False)
        for group, each in changes.items()
    )
    return structs.replace(
        found,
        hit_ratio=rounded(now.hit_ratio),
        error=rounded(now.error),
        trace_seconds=round(period.until - period.since, 3),
        entries=[simulations.entries(size, simulations.predict(size)) for size in asked.entries],
        bytes=[_bytes(simulations, size) for size in asked.bytes],
        policies=[_policy(simulations, name) for name in asked.policies],
        timeouts=[each for each in timeouts if each is not None],
    )


def _simulations(parts: Sequence[CacheTrace], known: CacheFacts) -> Simulations:
    """The cache simulated over the whole period of the trace."""
    workloads = _workloads(parts, known)
    moments = [each.access.at for part in workloads for each in part]
    period = PredictionPeriod(min(moments), max(moments), warm_up=0.0)
    values = Values(event for each in parts for event in each.events)
    return Simulations(workloads, values, known, period, lambda: None)


def _difference_from_today(simulations: Simulations) -> str | None:
    """How far the cache as it is and its simulation are apart, where that is too far to predict."""
    now, observed = simulations.today, simulations.observed()
    if observed is None or are_alike(now.hit_ratio, observed, now.error):
        return None
    return (
        f"The simulation of this cache as it is gives a hit ratio of"
        f" {100 * (now.hit_ratio or 0.0):.1f} %; in truth it was {100 * observed:.1f} %. So nothing"
        f" is predicted."
    )


def _changes(usual: float, asked: Question) -> Iterator[TimeoutChange]:
    for factor in asked.factors:
        yield TimeoutChange(usual * factor, factor)
    for timeout in asked.timeouts:
        yield TimeoutChange(timeout, round(timeout / usual, 6), is_fixed=True)


def _bytes(simulations: Simulations, size: int) -> Bytes:
    memory = simulations.known.memory
    room = None if memory is None else round(memory.room(size))
    found = Prediction(None, None) if room is None else simulations.predict(room)
    return Bytes(bytes=size, entries=room, **simulations.figures(found))


def _policy(simulations: Simulations, name: str) -> Policy:
    found = simulations.predict(simulations.known.today, POLICIES[name])
    return Policy(policy=name, **simulations.figures(found))


def predicted(
    parts: list[CacheTrace], period: PredictionPeriod, known: CacheFacts, pace: Callable[[], None]
) -> CacheWhatIf:
    """What another size, policy or timeout of a cache would have hit; ``parts`` are empty then.
    ``pace`` is called now and then, and may raise :class:`OutOfTime`; what there is by then is
    told."""
    workloads = _workloads(parts, known)
    lookups = sum(each.times for part in parts for each in part.lookups(period.counted_from))
    found = structs.replace(
        _not_yet_predicted(parts, known),
        since=rfc3339(period.counted_from),
        until=rfc3339(period.until),
        trace_seconds=round(period.until - period.since, 3),
        lookups=lookups,
        observed_hit_ratio=rounded(hit_ratio(parts, period.counted_from)),
    )
    values = Values(event for each in parts for event in each.events)
    # They take as much memory as what was made of them.
    parts.clear()
    if lookups < LEAST_LOOKUPS:
        return found
    simulations = Simulations(workloads, values, known, period, pace)
    for fields in Predictions(simulations).results():
        found = structs.replace(found, **fields)
        if not are_alike(found.hit_ratio, found.observed_hit_ratio, found.error):
            break
    return found


_POLICIES: tuple[tuple[type[BaseCache], str], ...] = (
    (LocMemCache, "locmem"),
    (DatabaseCache, "database"),
    (FileBasedCache, "files"),
    (BaseMemcachedCache, "memcached"),
)
_DEFAULT_POLICY = "allkeys-lru"
"""The usual policy of Redis; also assumed for unknown backends."""


def what_if(
    question: Question,
    since: datetime,
    until: datetime,
    alias: str | None = None,
    on_progress: Callable[[str, int, int], None] = lambda alias, done, total: None,
) -> WhatIf:
    """Predict all caches, or ``alias`` alone, between ``since`` and ``until``.

    It simulates the whole trace of that time, which takes seconds: never call it in a request.
    ``on_progress`` is called with the alias, the number of simulations done and that of all. Raises
    :class:`cache_monitor.api.UnknownAlias`, and :class:`StoreError` if the store cannot be read.
    """
    refuse_unknown(alias)
    store = get_store()
    period = since.timestamp(), until.timestamp()
    return WhatIf(
        since=rfc3339(period[0]),
        until=rfc3339(period[1]),
        caches={
            name: _cache(store, name, question, period, partial(on_progress, name))
            for name in settings.CACHES
            if alias in (None, name)
        },
    )


def _cache(
    store: Store,
    alias: str,
    question: Question,
    period: tuple[float, float],
    on_progress: Callable[[int, int], None],
) -> CacheWhatIf:
    traces = _cache_traces(store, alias, period)
    if not traces:
        return cache_what_if([], backend_of(alias), question)
    cache = report(_moment(period[0]), _moment(period[1]), alias).caches[alias]
    return cache_what_if(traces, facts_of(alias, cache), question, on_progress)


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def facts_of(alias: str, cache: Cache) -> CacheFacts:
    """The facts of ``alias`` that simulations need; ``cache`` is its report."""
    facts = backend_of(alias, cache)
    memory = cache.memory
    held = memory.entries if memory.scope == "shared" else None
    # A server that evicts has room for just what it holds.
    evicts = any(each.evictions for each in cache.series)
    room = held if facts.room is None and evicts else facts.room
    return facts._replace(
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
        memory=_measured_contents(memory, evicts=evicts),
    )


def _measured_contents(memory: Memory, *, evicts: bool) -> MeasuredContents | None:
    """What a scan found in a cache; None without a scan."""
    if not memory.entries or not memory.bytes:
        return None
    used, limit = memory.used_bytes or memory.bytes, memory.limit_bytes
    if evicts and memory.used_bytes and limit:
        # It is full; some of its overhead is in none of its figures.
        used = limit
    all_bytes = max(memory.used_bytes or 0, memory.bytes)
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
        share=memory.bytes / all_bytes,
    )


def backend_of(alias: str, cache: Cache | None = None) -> CacheFacts:
    """The facts of the backend of ``alias``, with its server's policy from the report ``cache``:
    without a limit a server evicts nothing, whatever its policy."""
    facts = _by_its_class(alias)
    memory = None if cache is None else cache.memory
    policy = memory.policy if memory is not None and memory.limit_bytes else None
    if facts.policy_is_assumed and policy is not None and policy in POLICIES:
        return facts._replace(policy=policy, policy_is_assumed=False)
    return facts


def _by_its_class(alias: str) -> CacheFacts:
    cache: Any = own_cache(alias)
    policy = next(
        (name for class_, name in _POLICIES if isinstance(cache, class_)), _DEFAULT_POLICY
    )
    if policy not in CULLING:
        return CacheFacts(policy, policy_is_assumed=policy == _DEFAULT_POLICY)
    # From Django 6.2 on DatabaseCache culls at some of its writes.
    cull = Cull(cache._cull_frequency, getattr(cache, "_cull_probability", 1.0))
    return CacheFacts(policy, room=cache._max_entries, cull=cull)


def _cache_traces(store: Store, alias: str, period: tuple[float, float]) -> list[CacheTrace]:
    """The traces of a cache: one, or one for each process if each has its own."""
    since, until = period
    store_name = store_of(alias)
    if store_name is None:
        return []
    trace = BoundedTrace(inf, plans(store).get(store_name, Plan()).hot)
    for found in slices_by_minute(store, store_name, since, until):
        for name, slices in found.items():
            trace.add(name, slices)
    own = [each.of(alias) for each in trace.pop_traces(since, until)]
    return [each for each in own if each.events]


MOST_EVENTS = 40_000
"""The most events of a cache that are simulated; otherwise a sample of its keys."""
MOST_BYTES = 4_000_000
"""The most bytes of the trace of all caches that are read, compressed: some two million events."""
LONGEST = 86_400
"""The most seconds of the trace that are read."""
CPU_SECONDS = 10.0
"""The most that one round of predictions may take, at ``CPU_SHARE`` of a core."""
CPU_SHARE = 0.2
_LEAST_REST = 100
"""The least time between two predictions, in multiples of their CPU time: a hundredth of a core."""
_SHORTEST_INTERVAL, _LONGEST_INTERVAL, _INTERVALS_PER_TRACE = 60, 600, 4
"""The bounds, in seconds, of the time between two predictions, and how many fit into the trace."""
_STEP = 600
"""Seconds of the trace that are read at once at first."""


def update(store: Store, is_over: Callable[[], bool]) -> None:
    """Renew the predictions that are outdated, the oldest first, until ``is_over``. Raises
    :class:`StoreError`."""
    known = predictions(store)
    now = time.time()
    spent = sum(each.cpu_seconds for each in known.values())
    aliases = [alias for alias in _traced() if _is_outdated(known.get(alias), now, spent)]
    if not aliases:
        return
    pace = BoundedPace(CPU_SECONDS, CPU_SHARE, is_over)
    aliases.sort(key=lambda each: known[each].computed_at if each in known else 0.0)
    faults: list[Exception] = []
    with suppress(OutOfTime):
        for alias, rows, facts in _with_traces(store, aliases, pace):
            used = pace.used
            try:
                found = _predicted(store, alias, rows, facts, pace)
            except (OutOfTime, StoreError):
                raise
            except Exception as error:
                # A fault of ours with one cache must not keep others from being predicted.
                faults.append(error)
            else:
                if not is_over():
                    prediction = StoredPrediction(
                        computed_at=time.time(), cpu_seconds=pace.used - used, predicted=found
                    )
                    row = Row("what_if", "", alias, 0, 0, encode(prediction))
                    store.put([row], int(prediction.computed_at))
    if faults:
        raise faults[0]


def _with_traces(
    store: Store, aliases: Sequence[str], pace: Callable[[], None]
) -> Iterator[tuple[str, Sequence[Row], CacheFacts]]:
    """The caches that have a trace, with its rows and their facts."""
    rows = _rows(store, int(time.time()) - settled(get_conf().flush_interval), pace)
    caches = report().caches if rows else {}
    for alias in aliases:
        own = rows.get(store_of(alias) or "")
        if own is not None:
            pace()
            yield alias, own, facts_of(alias, caches[alias])


def predictions(store: Store) -> dict[str, StoredPrediction]:
    """The stored predictions by alias; unreadable ones are skipped. Raises :class:`StoreError`."""
    found = {}
    for row in store.read("what_if", 0, 1, None):
        try:
            found[row.alias] = decode(row.payload, StoredPrediction)
        except CorruptPayload:
            continue
    return found


def _traced() -> list[str]:
    """The aliases whose entries are traced."""
    return [
        alias
        for alias in settings.CACHES
        if store_of(alias) is not None and not isinstance(own_cache(alias), DummyCache)
    ]


def _is_outdated(known: StoredPrediction | None, now: float, spent: float) -> bool:
    if known is None or known.computed_at > now:
        return True
    seen = (known.predicted.trace_seconds or 0.0) / _INTERVALS_PER_TRACE
    rest = max(_LEAST_REST * spent, min(max(seen, _SHORTEST_INTERVAL), _LONGEST_INTERVAL))
    return now - known.computed_at >= rest


def _predicted(
    store: Store, alias: str, rows: Sequence[Row], known: CacheFacts, pace: Callable[[], None]
) -> CacheWhatIf:
    """The prediction of a cache by its ``rows``, the newest first."""
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
    traces = [each.of(alias) for each in trace.pop_traces(period.since, period.until)]
    return predicted(traces, period, known, pace)


def _rows(store: Store, until: int, pace: Callable[[], None]) -> dict[str, list[Row]]:
    """The rows of the trace by cache, the newest first, as far as limits allow."""
    found: dict[str, list[Row]] = {}
    last = max(until - LONGEST, FIRST)
    begin, step, size = until, _STEP, 0
    while begin > last and size < MOST_BYTES:
        end, begin = begin, max(begin - step, last)
        rows = [row for row in store.read("trace", begin, end, None) if row.seconds]
        for row in sorted(rows, key=lambda each: -each.start):
            found.setdefault(row.alias.partition(".")[0], []).append(row)
            size += len(row.payload)
        # Longer steps if there is little to read.
        left = (MOST_BYTES - size) * (until - begin) // max(size, 1)
        step = max(_STEP // 10, min(2 * step, left))
        pace()
    return found
