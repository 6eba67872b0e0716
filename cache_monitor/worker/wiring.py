"""The one background worker of this process, joined to the recorder, the store and the scanners."""

import os
from collections.abc import Callable, Hashable
from functools import cache, partial
from math import inf, nan
from pathlib import Path
from typing import Any
from uuid import getnode
from zlib import crc32

from django.core.cache import InvalidCacheBackendError
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import BaseMemcachedCache

from cache_monitor.calls import recorder
from cache_monitor.conf import forget_on_change, get_conf
from cache_monitor.instrument.aliases import (
    forget_instances,
    instance_of,
    makes_own_keys,
    stored_size,
)
from cache_monitor.scan.backends import read_evictions
from cache_monitor.scan.identity import (
    is_of_one_process,
    own_cache,
    prefix_of,
    trace_store,
    version_of,
)
from cache_monitor.scan.schedule import ScanScheduler
from cache_monitor.stores.base import close_connections_of_this_thread, get_store, is_testing
from cache_monitor.stores.rows import trace_settings
from cache_monitor.trace import Value
from cache_monitor.trace.slices import MANY_PROCESSES, UNPLANNED_BYTES
from cache_monitor.worker.jobs import Wiring
from cache_monitor.worker.trace_events import CacheIdentity, EntryAccess, stored_value
from cache_monitor.worker.trace_writer import Tracer
from cache_monitor.worker.worker import BackgroundWorker


def _cache_of(alias: str) -> Any:
    """The cache of ``alias``: one that the site made, if there is one, and not another."""
    found = instance_of(alias)
    if found is not None:
        return found
    try:
        return own_cache(alias)
    except InvalidCacheBackendError:
        # Other settings than when the call was made, as in tests.
        return None


def _measure(alias: str, key: Hashable, version: Hashable) -> int | None:
    cache = _cache_of(alias)
    return None if cache is None else stored_size(cache, key, version)


@cache
def cache_identity(process: str, alias: str) -> CacheIdentity | None:
    """What must be known of a cache to trace it; None where there is none."""
    found = _cache_of(alias)
    if found is None:
        return None
    real = type(found)
    own: Any = found
    renewing: Any = BaseCache.incr
    moving: Any = BaseCache.incr_version
    is_full: Callable[[], bool | None] | None = None
    stored: Callable[[EntryAccess, Value], Value] | None = None
    if issubclass(real, LocMemCache):
        is_full, stored = partial(_is_full, own), partial(stored_value, own)
    return CacheIdentity(
        store=trace_store(alias, found, process),
        # One that derives from nothing of Django's may have none, and one of its own.
        default_timeout=getattr(found, "default_timeout", nan),
        version=version_of(found),
        prefix=prefix_of(found),
        is_own=is_of_one_process(found),
        incr_renews=getattr(real, "incr", None) is renewing,
        moves_renew=getattr(real, "incr_version", None) is moving,
        whole_seconds=issubclass(real, BaseMemcachedCache),
        is_full=is_full,
        evicts=not issubclass(real, DummyCache),
        own_keys=makes_own_keys(found),
        # To ask for an entry takes its key, which the project's function is not asked for here.
        stored=None if makes_own_keys(found) else stored,
    )


def _is_full(cache: Any) -> bool | None:
    """Whether a ``LocMemCache`` may have evicted more than was noted; None if unknown."""
    if type(cache)._cull is LocMemCache._cull:  # type: ignore[attr-defined]  # not in the stubs
        return False  # each of its culls is noted
    return len(cache._cache) >= cache._max_entries or None


forget_on_change(("CACHES",), cache_identity.cache_clear, forget_instances)


def _make_tracer(process: str) -> Tracer:
    processes = _processes_beside()
    allowed = UNPLANNED_BYTES / processes if processes >= MANY_PROCESSES else inf
    return Tracer(process, _host(), partial(cache_identity, process), allowed)


def _processes_beside() -> int:
    """How many processes like this one whoever started it has, itself included; 1 where the system
    does not tell."""
    try:
        own = Path("/proc/self/cmdline").read_bytes()
        lists = Path(f"/proc/{os.getppid()}/task").glob("*/children")
        children = [child for each in lists for child in each.read_text("ascii").split()]
        return max(sum(map(partial(_is_like, own), children)), 1)
    except OSError:
        return 1


def _is_like(command: bytes, process: str) -> bool:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes() == command
    except OSError:
        return False  # it has ended


@cache
def _host() -> int:
    """What tells this host's clock from another's: containers of one host share it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = f"{getnode()}"
    return crc32(boot.encode()) or 1


background_worker = BackgroundWorker(
    recorder,
    Wiring(
        get_conf=get_conf,
        open_store=get_store,
        measure=_measure,
        scan=ScanScheduler().scan_due,
        is_testing=is_testing,
        make_tracer=_make_tracer,
        trace_settings=trace_settings,
        read_evictions=read_evictions,
        at_end=close_connections_of_this_thread,
    ),
)
