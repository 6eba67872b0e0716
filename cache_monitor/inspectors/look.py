"""Look into any cache, with the inspector that its backend has, and go on where a look stopped."""

import time
from collections.abc import Callable
from typing import NamedTuple

from django.core.cache.backends.base import BaseCache
from msgspec import Struct, field
from msgspec.structs import replace

from cache_monitor.inspectors.bounds import Bounds
from cache_monitor.inspectors.choice import scope_of, source_of
from cache_monitor.inspectors.identity import shared_by
from cache_monitor.inspectors.known import NOTHING, RecordedSource, estimated, sizes_of
from cache_monitor.inspectors.scanning import Scan
from cache_monitor.inspectors.snapshot import Snapshot, StaleReason
from cache_monitor.inspectors.source import BadCursor, Limits, Source
from cache_monitor.inspectors.tally import OF_RECORD, Found, Sums, Tally, share
from cache_monitor.inspectors.terms import Terms, described
from cache_monitor.inspectors.uses import Uses
from cache_monitor.stats.window import UnixTime


class Progress(Struct, kw_only=True):
    """How far a pass through a cache has come: plain data for whichever process goes on.

    ``whole`` is what the last complete pass found. ``looked_at`` is the Unix time of the last look.
    """

    looked_at: UnixTime
    cursor: str = ""
    sums: Sums = field(default_factory=Sums)
    untold: list[StaleReason] = []
    missed: bool = False
    sampled: bool = False
    whole: Snapshot | None = None


def inspect_cache(
    alias: str,
    cache: BaseCache,
    *,
    limit: int,
    seconds: float,
    stale_after: float,
    uses: Uses | None = None,
) -> Snapshot:
    """What ``cache``, known as ``alias``, holds now.

    ``uses`` is what the trace knows. Looks at no more than ``limit`` entries and begins nothing new
    after ``seconds``; entries not used for ``stale_after`` seconds are idle. Never raises: a
    backend that cannot be asked, or does not answer, gives a snapshot of None figures with a
    ``problem``, and one that fails midway what was seen until then.

    Uses no operation of the cache, thus nothing that is recorded and nothing that changes what is
    evicted next. May open a database connection in this thread, which the caller closes.
    """
    terms = Terms(alias, limit, time.monotonic() + seconds, stale_after)
    return advance(cache, terms, Progress(looked_at=time.time()), uses=uses)[0]


OnPart = Callable[[int, Source], bool]
"""Told, after each part of a pass, how many entries were passed since the pass began, of which
source; answers whether to go on."""


class _Way(NamedTuple):
    """What a look goes by."""

    terms: Terms
    on_part: OnPart | None
    uses: Uses | None


def advance(
    cache: BaseCache,
    terms: Terms,
    progress: Progress,
    on_part: OnPart | None = None,
    uses: Uses | None = None,
) -> tuple[Snapshot, Progress]:
    """Go on with a pass through ``cache``: what is known of it by now, and the progress. ``uses``
    is what the trace knows of its entries.

    The figures of a pass that is not at its end are brought from its part to the whole, and not
    ``exact``; at its end the next one begins anew. As :func:`inspect_cache`, never raises.
    """
    snapshot, after = _go_on(cache, _Way(terms, on_part, uses), progress)
    store, keys = shared_by(terms.alias, cache)
    if after.whole is not None:
        after = replace(after, whole=replace(after.whole, store=store, keys=keys))
    return replace(snapshot, store=store, keys=keys), after


def _go_on(cache: BaseCache, way: _Way, progress: Progress) -> tuple[Snapshot, Progress]:
    terms = way.terms
    try:
        source = source_of(terms.alias, cache, Bounds(terms.deadline))
        if source is None and way.uses is not None and way.uses.since:
            source = RecordedSource(cache, way.uses, sizes_of(terms.alias))
    except Exception as error:
        return unknown(terms.alias, cache, described(error)), _noted(progress)
    if source is None:
        return unknown(terms.alias, cache, NOTHING), _noted(progress)
    try:
        snapshot, after = _advance(cache, source, way, progress)
        return (estimated(snapshot) if isinstance(source, RecordedSource) else snapshot), after
    except BadCursor:
        # Once: at the beginning there is no cursor that could be bad.
        anew = Progress(looked_at=time.time(), whole=progress.whole)
        return _go_on(cache, way, anew)
    finally:
        source.close()


def _advance(
    cache: BaseCache, source: Source, way: _Way, progress: Progress
) -> tuple[Snapshot, Progress]:
    terms = way.terms
    source.untold.update(progress.untold)
    source.missed = source.missed or progress.missed
    source.sampled = source.sampled or progress.sampled
    if way.uses is not None:
        source.untold -= OF_RECORD
    tally = Tally(terms, source.untold, progress.sums)
    scan = Scan(source, terms, progress.cursor)
    failure = None
    try:
        _go_through(scan, tally, source, way)
    except BadCursor:
        raise
    except Exception as error:
        failure = described(error)
    if failure is not None and not tally.looked_at:
        nothing = unknown(terms.alias, cache, failure)
        return _with_limits(nothing, source), _noted(progress)
    snapshot = _snapshot(source, tally, scan.cursor)
    if way.uses is not None:
        snapshot = replace(snapshot, recorded_since=way.uses.since)
    if failure is not None:
        snapshot = replace(snapshot, problem=_joined(failure, source.problem))
    if scan.cursor is None:
        return snapshot, Progress(looked_at=time.time(), whole=snapshot if snapshot.exact else None)
    return snapshot, Progress(
        looked_at=time.time(),
        cursor=scan.cursor,
        sums=tally.kept(),
        untold=sorted(source.untold),
        missed=source.missed,
        sampled=source.sampled,
        whole=progress.whole,
    )


def _go_through(scan: Scan, tally: Tally, source: Source, way: _Way) -> None:
    for part in scan:
        tally.sums.walked += part.walked
        for entry in part.entries:
            tally.add(entry if way.uses is None else way.uses.told(entry))
        if way.on_part is not None and not way.on_part(tally.sums.walked, source):
            scan.stop()


def _noted(progress: Progress) -> Progress:
    """No further than before, and looked at now."""
    return replace(progress, looked_at=time.time())


def _snapshot(source: Source, tally: Tally, cursor: str | None) -> Snapshot:
    if cursor is None and not source.sampled:
        # Where nothing was found and not everything asked, nothing is known.
        is_known = not source.missed or tally.looked_at > 0
        found = Found(tally.looked_at if is_known else None, not source.missed)
    else:
        found = share(tally.looked_at, tally.sums.walked, total_of(source))
    snapshot = replace(tally.snapshot(source.scope, found), problem=source.problem)
    return _with_limits(snapshot, source)


def _with_limits(snapshot: Snapshot, source: Source) -> Snapshot:
    try:
        limits = source.limits()
    except Exception:
        limits = Limits()
    return replace(
        snapshot,
        limit_bytes=limits.bytes,
        limit_entries=limits.entries,
        evictions=limits.evictions,
        boot=limits.boot,
        policy=limits.policy,
        used_bytes=limits.used,
        empty_bytes=limits.empty,
    )


def total_of(source: Source) -> int | None:
    """About how many entries the whole place holds; None where it does not tell."""
    try:
        return source.total()
    except Exception:
        # What is refused here must not spoil what was told.
        return None


def _joined(*texts: str | None) -> str:
    return " ".join(each if each.endswith(".") else f"{each}." for each in texts if each)


def unknown(alias: str, cache: BaseCache, problem: str | None) -> Snapshot:
    """Nothing is known of the cache, because of ``problem``."""
    return Snapshot(alias=alias, measured_at=time.time(), scope=scope_of(cache), problem=problem)
