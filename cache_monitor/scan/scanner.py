"""Scan a cache: choose the backend's scanner, continue a pass, make the snapshot."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any, NamedTuple

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from msgspec import Struct, field
from msgspec.structs import replace

from cache_monitor.concurrency import Paced, no_pause
from cache_monitor.scan import redis_servers
from cache_monitor.scan.base import (
    STALE_REASONS,
    BackendLimits,
    BackendScanner,
    BadCursor,
    Bounds,
    Entry,
    EntryPage,
    ScanLimits,
    Scope,
    StaleReason,
    describe_error,
    with_plausible_times,
)
from cache_monitor.scan.database import DatabaseScanner
from cache_monitor.scan.identity import entries_identity
from cache_monitor.scan.local import FileScanner, LocMemScanner
from cache_monitor.scan.memcached import MemcachedScanner
from cache_monitor.scan.recorded import (
    NOT_RECORDED,
    RecordedScanner,
    RecordedUses,
    estimated,
    sizes_of,
)
from cache_monitor.scan.redis import RedisScanner
from cache_monitor.scan.redis_servers import Servers
from cache_monitor.scan.snapshot import RECORDED_REASONS, ScanTotals, Snapshot, Sums
from cache_monitor.stats.window import UnixTime

CURSOR_LENGTH = 512


class Scan:
    """A bounded part of a pass through ``scanner``, from ``cursor`` on.

    ``cursor`` is always where to continue; None at the end. Pages are given whole, because a server
    may divide them otherwise the next time. The first page always begins. Others begin only before
    the deadline, and if they stay within ``limits.limit`` entries.
    """

    def __init__(self, scanner: BackendScanner, limits: ScanLimits, cursor: str = "") -> None:
        self.cursor: str | None = cursor
        self._is_stopped = False
        self._scanner = scanner
        self._limits = limits

    def stop(self) -> None:
        """Begin no further page."""
        self._is_stopped = True

    def __iter__(self) -> Iterator[EntryPage]:
        """The pages, with plausible times. Raises :class:`BadCursor`."""
        if len(self.cursor or "") > CURSOR_LENGTH:
            raise BadCursor
        examined = largest = 0
        with closing(self._scanner.pages(self.cursor or "", self._limits.limit)) as pages:
            for page in pages:
                entries = [with_plausible_times(each) for each in page.entries]
                examined += len(entries)
                largest = max(largest, len(entries), self._scanner.page)
                yield page._replace(entries=entries)
                self.cursor = page.cursor
                if page.is_heartbeat and not self._is_stopped:
                    continue
                is_full = examined + largest > self._limits.limit
                is_over = self._is_stopped or time.monotonic() >= self._limits.deadline
                if self.cursor is None or is_full or is_over:
                    return
        self.cursor = None


class EmptyScanner(BackendScanner):
    """A cache without entries."""

    def __init__(self, cache: DummyCache) -> None:
        super().__init__(cache, STALE_REASONS)

    def total(self) -> int:
        return 0

    def pages(self, cursor: str, most: int) -> Generator[EntryPage, None, None]:
        yield EntryPage((), 0, None)

    def entry(self, key: str, version: int | None) -> Entry | None:
        return None


OTHERS = "others"


def kind_of(class_: type) -> str:
    """The name of the kind of backend that ``class_`` derives from; "others" for the rest."""
    for base in class_.__mro__:
        kind = _KINDS.get(f"{base.__module__}.{base.__qualname__}")
        # The clients of its asynchronous cache work in an event loop only.
        if kind == "django-valkey" and getattr(class_, "is_async", False):
            return OTHERS
        # Its other clients have no connections of redis-py's kind.
        adapter = getattr(class_, "_adapter_class", None)
        if base.__name__ == "RespCache" and not hasattr(adapter, "_pool_class"):
            return OTHERS
        if kind is not None:
            return kind
    return OTHERS


def scanner_for(alias: str, cache: BaseCache, bounds: Bounds) -> BackendScanner | None:
    """The scanner of ``cache``, known as ``alias``; None where its kind of backend has none.

    Raises what the backend's driver raises.
    """
    make = _SCANNERS.get(kind_of(type(cache)))
    return None if make is None else make(alias, cache, bounds)


def scope_of(cache: BaseCache | None) -> Scope:
    """Whether each process has entries of its own."""
    return "per process" if isinstance(cache, LocMemCache) else "shared"


_KINDS = {
    "django.core.cache.backends.locmem.LocMemCache": "LocMemCache",
    "django.core.cache.backends.filebased.FileBasedCache": "FileBasedCache",
    "django.core.cache.backends.db.BaseDatabaseCache": "DatabaseCache",
    "django.core.cache.backends.redis.RedisCache": "RedisCache (Django's)",
    "django_redis.cache.RedisCache": "RedisCache (django-redis)",
    "django_valkey.base.BaseValkeyCache": "django-valkey",
    "django_cachex.client.cache.KeyValueCache": "django-cachex",  # until 0.3
    "django_cachex.cache.resp.RespCache": "django-cachex",
    "django.core.cache.backends.memcached.BaseMemcachedCache": "memcached",
    "django.core.cache.backends.dummy.DummyCache": "DummyCache",
}
"""By the path of a base class: an optional package must not be imported for it."""

_MakeScanner = Callable[[str, Any, Bounds], BackendScanner]
"""By the alias, the cache, and the bounds."""


def _on(servers: Callable[[Any, Bounds], Servers]) -> _MakeScanner:
    return lambda _, cache, bounds: RedisScanner(cache, servers(cache, bounds), bounds)


_SCANNERS: dict[str, _MakeScanner] = {
    "LocMemCache": lambda _, cache, bounds: LocMemScanner(cache),
    "FileBasedCache": lambda alias, cache, _: FileScanner(alias, cache),
    "DatabaseCache": lambda _, cache, bounds: DatabaseScanner(cache, bounds),
    "RedisCache (Django's)": _on(redis_servers.of_django),
    "RedisCache (django-redis)": _on(redis_servers.of_django_redis),
    "django-valkey": _on(redis_servers.of_django_redis),
    "django-cachex": _on(redis_servers.of_cachex),
    "memcached": lambda _, cache, bounds: MemcachedScanner(cache, bounds),
    "DummyCache": lambda _, cache, bounds: EmptyScanner(cache),
}


class ScanState(Struct, kw_only=True):
    """How far a pass through a cache has come, for the process that continues it.

    ``whole`` is the snapshot of the last complete pass, ``scanned_at`` the Unix time of the last
    scan.
    """

    scanned_at: UnixTime
    cursor: str = ""
    sums: Sums = field(default_factory=Sums)
    unsupported: list[StaleReason] = []
    incomplete: bool = False
    sampled: bool = False
    whole: Snapshot | None = None


OnPage = Callable[[int, BackendScanner], bool]
"""Called after each page with the number of entries passed since the pass began, and the scanner;
returns whether to continue."""


class _ScanContext(NamedTuple):
    limits: ScanLimits
    on_page: OnPage | None
    uses: RecordedUses | None
    pace: Callable[[], None]


def advance(
    cache: BaseCache,
    limits: ScanLimits,
    state: ScanState,
    on_page: OnPage | None = None,
    uses: RecordedUses | None = None,
    pace: Callable[[], None] = no_pause,
) -> tuple[Snapshot, ScanState]:
    """Continue a pass through ``cache``: the snapshot by now, and the new state. ``pace`` is called
    all the time, to pause for the threads of the site.

    The figures of an unfinished pass are estimated for the whole, and not ``exact``. At the end of
    a pass the next one begins. Never raises: a backend that fails gives a snapshot with a
    ``problem``, and with what was scanned until then. Uses no operation of the cache. May open a
    database connection in this thread, which the caller closes.
    """
    snapshot, after = _open_and_advance(cache, _ScanContext(limits, on_page, uses, pace), state)
    store, keys = entries_identity(limits.alias, cache)
    whole = after.whole and replace(after.whole, store=store, keys=keys)
    after = replace(after, whole=whole, scanned_at=time.time())
    return replace(snapshot, store=store, keys=keys), after


def _open_and_advance(
    cache: BaseCache, context: _ScanContext, state: ScanState
) -> tuple[Snapshot, ScanState]:
    limits = context.limits
    try:
        scanner = scanner_for(limits.alias, cache, Bounds(limits.deadline))
        if scanner is None and context.uses is not None and context.uses.since:
            scanner = RecordedScanner(cache, context.uses, sizes_of(limits.alias, context.pace))
    except Exception as error:
        return unknown(limits.alias, cache, describe_error(error)), state
    if scanner is None:
        return unknown(limits.alias, cache, NOT_RECORDED), state
    try:
        snapshot, after = _advance(cache, scanner, context, state)
        return (estimated(snapshot) if isinstance(scanner, RecordedScanner) else snapshot), after
    except BadCursor:
        # Once only, because the beginning needs no cursor.
        anew = ScanState(scanned_at=state.scanned_at, whole=state.whole)
        return _open_and_advance(cache, context, anew)
    finally:
        scanner.close()


def _advance(
    cache: BaseCache, scanner: BackendScanner, context: _ScanContext, state: ScanState
) -> tuple[Snapshot, ScanState]:
    limits = context.limits
    scanner.pace = context.pace
    scanner.unsupported.update(state.unsupported)
    scanner.incomplete = scanner.incomplete or state.incomplete
    scanner.sampled = scanner.sampled or state.sampled
    if context.uses is not None:
        scanner.unsupported -= RECORDED_REASONS
    totals = ScanTotals(limits, scanner.unsupported, state.sums)
    scan = Scan(scanner, limits, state.cursor)
    failure = None
    try:
        _add_pages(scan, totals, scanner, context)
    except BadCursor:
        raise
    except Exception as error:
        failure = describe_error(error)
    if failure is not None and not totals.sums.examined:
        snapshot = _with_limits(unknown(limits.alias, cache, failure), scanner)
        return snapshot, state
    snapshot = _snapshot(scanner, totals, scan.cursor)
    if context.uses is not None:
        snapshot = replace(snapshot, recorded_since=context.uses.since)
    if failure is not None:
        texts = [each for each in (failure, scanner.problem) if each]
        problem = " ".join(each if each.endswith(".") else f"{each}." for each in texts)
        snapshot = replace(snapshot, problem=problem)
    if scan.cursor is None:
        whole = snapshot if snapshot.exact else None
        return snapshot, ScanState(scanned_at=state.scanned_at, whole=whole)
    return snapshot, ScanState(
        scanned_at=state.scanned_at,
        cursor=scan.cursor,
        sums=totals.sums,
        unsupported=sorted(scanner.unsupported),
        incomplete=scanner.incomplete,
        sampled=scanner.sampled,
        whole=state.whole,
    )


def _add_pages(
    scan: Scan, totals: ScanTotals, scanner: BackendScanner, context: _ScanContext
) -> None:
    for page in scan:
        totals.sums.scanned += page.scanned
        for entry in Paced(page.entries, context.pace):
            totals.add(entry if context.uses is None else context.uses.with_uses(entry))
        if context.on_page is not None and not context.on_page(totals.sums.scanned, scanner):
            scan.stop()


def _snapshot(scanner: BackendScanner, totals: ScanTotals, cursor: str | None) -> Snapshot:
    examined, scanned = totals.sums.examined, totals.sums.scanned
    is_exact = cursor is None and not scanner.sampled and not scanner.incomplete
    # A part that could not be scanned may have had the entries.
    entries = examined if examined or is_exact else None
    if cursor is not None or scanner.sampled:
        stored = total_of(scanner)
        is_known = stored is not None and examined
        entries = round(examined * max(1.0, (stored or 0) / max(scanned, 1))) if is_known else None
    snapshot = totals.snapshot(scanner.scope, entries, exact=is_exact)
    return _with_limits(replace(snapshot, problem=scanner.problem), scanner)


def _with_limits(snapshot: Snapshot, scanner: BackendScanner) -> Snapshot:
    try:
        limits = scanner.limits()
    except Exception:
        limits = BackendLimits()
    figures = limits._asdict()
    del figures["is_behind"]
    return replace(snapshot, **figures)


def total_of(scanner: BackendScanner) -> int | None:
    """About how many entries the whole store holds; None where that fails."""
    try:
        return scanner.total()
    except Exception:
        return None


def unknown(alias: str, cache: BaseCache | None, problem: str | None) -> Snapshot:
    """A snapshot without figures, because of ``problem``."""
    return Snapshot(alias=alias, measured_at=time.time(), scope=scope_of(cache), problem=problem)
