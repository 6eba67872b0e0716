"""Scan a cache from its beginning."""

import time

from django.core.cache.backends.base import BaseCache

from cache_monitor.scan.backends import MATRIX, Capability, kind_of
from cache_monitor.scan.base import ScanLimits
from cache_monitor.scan.recorded import RecordedUses
from cache_monitor.scan.schedule import ScanState, advance
from cache_monitor.scan.snapshot import Snapshot


def inspect_cache(
    alias: str,
    cache: BaseCache,
    *,
    limit: int,
    seconds: float,
    stale_after: float,
    uses: RecordedUses | None = None,
) -> Snapshot:
    """A snapshot of ``cache``, known as ``alias``, with the trace's ``uses``.

    Examines at most ``limit`` entries and begins nothing after ``seconds``; entries without a use
    for ``stale_after`` seconds are idle. Never raises: a backend that fails gives a snapshot with a
    ``problem``, and with what was scanned until then. Uses no operation of the cache. May open a
    database connection in this thread, which the caller closes.
    """
    limits = ScanLimits(alias, limit, time.monotonic() + seconds, stale_after)
    return advance(cache, limits, ScanState(scanned_at=time.time()), uses=uses)[0]


def capability_of(cache: BaseCache) -> Capability:
    """The row of ``cache``'s backend."""
    kind = kind_of(type(cache))
    return next(each for each in MATRIX if each.backend == kind)
