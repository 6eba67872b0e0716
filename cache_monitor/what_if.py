"""What another size, policy or timeout of a cache would bring, from the trace in the store."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import BaseMemcachedCache

from cache_monitor.api import refuse_unknown, report
from cache_monitor.collecting.instances import instance
from cache_monitor.collecting.joining import store_of
from cache_monitor.reports.contents import Memory
from cache_monitor.reports.schema import Cache
from cache_monitor.reports.series import moment
from cache_monitor.reports.tracerows import stretches
from cache_monitor.reports.what_if import CacheWhatIf, Known, Question, WhatIf, cache_what_if
from cache_monitor.stores.base import Store
from cache_monitor.stores.opening import get_store
from cache_monitor.stores.traced import plans
from cache_monitor.trace.models.recency import BY_THIRDS, Cull
from cache_monitor.trace.plan import Plan
from cache_monitor.trace.reading import Traced, traced
from cache_monitor.trace.sizes import Held
from cache_monitor.trace.slices import Stored
from cache_monitor.trace.what_if import CULLING, POLICIES

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


def what_if(asked: Question, since: datetime, until: datetime, alias: str | None = None) -> WhatIf:
    """What the caches, or ``alias`` alone, would have hit between ``since`` and ``until``.

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
            name: _cache(store, name, asked, period)
            for name in settings.CACHES
            if alias in (None, name)
        },
    )


def _cache(store: Store, alias: str, asked: Question, period: tuple[float, float]) -> CacheWhatIf:
    parts = _parts(store, alias, period)
    if not parts:
        backend = backend_of(alias)
        return cache_what_if([], Known(backend.policy, backend.is_assumed, backend.room), asked)
    cache = report(_moment(period[0]), _moment(period[1]), alias).caches[alias]
    return cache_what_if(parts, known_of(alias, cache), asked)


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def known_of(alias: str, cache: Cache) -> Known:
    """What is known of ``alias``, of which the report has ``cache``."""
    backend = backend_of(alias, cache)
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
        computed=_computed_in(cache),
        given={
            each.group
            for each in cache.key_groups
            if each.is_state or each.kind in {"session", "page_headers"}
        },
        cull=backend.cull,
        memory=_held(memory, evicts=evicts),
    )


def _held(memory: Memory, *, evicts: bool) -> Held | None:
    """What the entries of a cache took when somebody looked."""
    if not memory.entries or not memory.bytes:
        return None
    used, limit = memory.used_bytes or memory.bytes, memory.limit_bytes
    if evicts and memory.used_bytes and limit:
        # It is full: of what it takes beside the entries some is in none of its figures.
        used = limit
    return Held(
        entries=memory.entries,
        bytes=memory.bytes,
        groups={
            each.group: each.bytes / each.entries
            for each in memory.groups
            if each.entries and each.bytes
        },
        used=used,
        empty=memory.empty_bytes if used > memory.empty_bytes else 0,
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
    cache: Any = instance(alias)
    policy = next((name for class_, name in _POLICIES if isinstance(cache, class_)), _OTHERWISE)
    if policy not in CULLING:
        return Backend(policy, policy == _OTHERWISE, None)
    # From Django 6.2 on DatabaseCache culls at some of its writes.
    cull = Cull(cache._cull_frequency, getattr(cache, "_cull_probability", 1.0))
    return Backend(policy, False, cache._max_entries, cull)


def _parts(store: Store, alias: str, period: tuple[float, float]) -> list[Traced]:
    """What is traced of a cache, or of each process's where each has its own."""
    since, until = period
    family = store_of(alias)
    if family is None:
        return []
    hot = plans(store).get(family, Plan()).hot
    slices: dict[str, list[Stored]] = {}
    for found in stretches(store, family, since, until):
        for name, parts in found.items():
            slices.setdefault(name, []).extend(parts)
    own = [traced(each, hot, since, until).of(alias) for each in slices.values()]
    return [each for each in own if each.events]
