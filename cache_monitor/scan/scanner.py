"""Scan a cache: which backend's scanner, where it goes on, what came of it."""

import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any, NamedTuple

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import BaseDatabaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import BaseMemcachedCache
from django.core.cache.backends.redis import RedisCache
from msgspec import Struct, field
from msgspec.structs import replace

from cache_monitor.scan import redis_servers
from cache_monitor.scan.base import (
    BackendLimits,
    BackendScanner,
    BadCursor,
    CacheScanner,
    Entry,
    EntryPage,
    credible,
)
from cache_monitor.scan.database import DatabaseScanner
from cache_monitor.scan.files import FileScanner
from cache_monitor.scan.identity import shared_by
from cache_monitor.scan.known import NOTHING, RecordedScanner, estimated, keys_of_files, sizes_of
from cache_monitor.scan.limits import Bounds, ScanLimits, described
from cache_monitor.scan.locmem import LocMemScanner
from cache_monitor.scan.memcached import MemcachedScanner
from cache_monitor.scan.recorded import RecordedUses
from cache_monitor.scan.redis import RedisScanner
from cache_monitor.scan.redis_servers import Servers
from cache_monitor.scan.snapshot import STALE_REASONS, Scope, Snapshot, StaleReason
from cache_monitor.scan.totals import OF_RECORD, Found, ScanTotals, Sums, share
from cache_monitor.stats.window import UnixTime

CURSOR_LENGTH = 512


class Part(NamedTuple):
    """Entries gone through, and how many of whoever's were passed to find them."""

    entries: list[Entry]
    scanned: int


class Scan:
    """One stretch of the way through ``source``, from ``cursor`` on.

    ``cursor`` is at any moment where to go on: None at the end. Pages are given whole, for what a
    server lists from the same place may be another page the next time. None is begun that may go
    beyond ``terms.limit`` entries, or after its deadline; the first one always is.
    """

    def __init__(self, source: BackendScanner, terms: ScanLimits, cursor: str = "") -> None:
        self.cursor: str | None = cursor
        self._is_stopped = False
        self._source = source
        self._terms = terms

    def stop(self) -> None:
        """Begin no other page."""
        self._is_stopped = True

    def __iter__(self) -> Iterator[Part]:
        """The entries, page by page. Raises :class:`BadCursor`."""
        if len(self.cursor or "") > CURSOR_LENGTH:
            raise BadCursor("This is no place to go on from.")
        looked_at = largest = 0
        with closing(self._source.pages(self.cursor or "", self._terms.limit)) as pages:
            for page in pages:
                entries = [credible(each) for each in page.entries]
                looked_at += len(entries)
                largest = max(largest, len(entries), self._source.page)
                yield Part(entries, page.scanned)
                self.cursor = page.cursor
                if page.is_sign_of_life and not self._is_stopped:
                    continue
                is_full = looked_at + largest > self._terms.limit
                if self.cursor is None or is_full or self._is_over():
                    return
        self.cursor = None

    def _is_over(self) -> bool:
        return self._is_stopped or time.monotonic() >= self._terms.deadline


class EmptyScanner(CacheScanner):
    """No entries, for certain."""

    def __init__(self, cache: DummyCache) -> None:
        super().__init__(cache, STALE_REASONS)

    def total(self) -> int:
        """None at all."""
        return 0

    def pages(self, cursor: str, most: int) -> Generator[EntryPage, None, None]:
        """One empty page."""
        yield EntryPage((), 0, None)

    def entry(self, key: str, version: int | None) -> Entry | None:
        """It is never there."""
        return None


Kind = str
"""The name of a kind of backend, as people call it."""
OTHERS: Kind = "others"


def kind_of(cache: BaseCache) -> Kind:
    """By the class that the monitored cache's own class derives from; "others" for the rest."""
    return kind_of_class(type(cache))


def kind_of_class(class_: type) -> Kind:
    """The same, without an instance."""
    for kind, (is_of, _) in _KINDS.items():
        if is_of(class_):
            return kind
    return OTHERS


def source_of(alias: str, cache: BaseCache, bounds: Bounds) -> BackendScanner | None:
    """What tells of the entries of ``cache``, known as ``alias``; None where nothing does.

    Raises what the backend's driver raises where it cannot even be set up.
    """
    if isinstance(cache, FileBasedCache):
        return FileScanner(cache, keys_of_files(alias, cache))
    kind = kind_of(cache)
    return None if kind == OTHERS else _KINDS[kind][1](cache, bounds)


def scope_of(cache: BaseCache) -> Scope:
    """Whether each process has entries of its own."""
    return "per process" if isinstance(cache, LocMemCache) else "shared"


_IsOf = Callable[[type], bool]


def _is(*classes: type[BaseCache]) -> _IsOf:
    return lambda class_: issubclass(class_, classes)


def _is_from(module: str, name: str) -> _IsOf:
    """Whether it is a class of an optional package, which can exist only where the package's module
    has been imported."""

    def is_of(class_: type) -> bool:
        found = getattr(sys.modules.get(module), name, None)
        return isinstance(found, type) and issubclass(class_, found)

    return is_of


def _is_of_django_valkey(class_: type) -> bool:
    # The clients of its asynchronous cache can be asked in the event loop alone.
    is_async = getattr(class_, "is_async", False)
    return _is_from("django_valkey.base", "BaseValkeyCache")(class_) and not is_async


def _is_of_cachex(class_: type) -> bool:
    if _is_from("django_cachex.client.cache", "KeyValueCache")(class_):  # until 0.3
        return True
    # Its clients that are not like redis-py's cannot be asked.
    has_pools = hasattr(getattr(class_, "_adapter_class", None), "_pool_class")
    return _is_from("django_cachex.cache.resp", "RespCache")(class_) and has_pools


def _on(servers: Callable[[Any, Bounds], Servers]) -> Callable[[Any, Bounds], BackendScanner]:
    return lambda cache, bounds: RedisScanner(cache, servers(cache, bounds), bounds)


_KINDS: dict[Kind, tuple[_IsOf, Callable[[Any, Bounds], BackendScanner]]] = {
    "LocMemCache": (_is(LocMemCache), lambda cache, _: LocMemScanner(cache)),
    # Made in source_of, because its keys are known by the alias.
    "FileBasedCache": (_is(FileBasedCache), lambda cache, _: FileScanner(cache, {})),
    "DatabaseCache": (_is(BaseDatabaseCache), DatabaseScanner),
    "RedisCache (Django's)": (_is(RedisCache), _on(redis_servers.of_django)),
    "RedisCache (django-redis)": (
        _is_from("django_redis.cache", "RedisCache"),
        _on(redis_servers.of_django_redis),
    ),
    "django-valkey": (_is_of_django_valkey, _on(redis_servers.of_django_redis)),
    "django-cachex": (_is_of_cachex, _on(redis_servers.of_cachex)),
    "memcached": (_is(BaseMemcachedCache), MemcachedScanner),
    "DummyCache": (_is(DummyCache), lambda cache, _: EmptyScanner(cache)),
}


class ScanState(Struct, kw_only=True):
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
    uses: RecordedUses | None = None,
) -> Snapshot:
    """What ``cache``, known as ``alias``, holds now.

    ``uses`` is what the trace knows. Looks at no more than ``limit`` entries and begins nothing new
    after ``seconds``; entries not used for ``stale_after`` seconds are idle. Never raises: a
    backend that cannot be asked, or does not answer, gives a snapshot of None figures with a
    ``problem``, and one that fails midway what was seen until then.

    Uses no operation of the cache, thus nothing that is recorded and nothing that changes what is
    evicted next. May open a database connection in this thread, which the caller closes.
    """
    terms = ScanLimits(alias, limit, time.monotonic() + seconds, stale_after)
    return advance(cache, terms, ScanState(looked_at=time.time()), uses=uses)[0]


OnPart = Callable[[int, BackendScanner], bool]
"""Told, after each part of a pass, how many entries were passed since the pass began, of which
source; answers whether to go on."""


class _ScanContext(NamedTuple):
    """What a look goes by."""

    terms: ScanLimits
    on_part: OnPart | None
    uses: RecordedUses | None


def advance(
    cache: BaseCache,
    terms: ScanLimits,
    progress: ScanState,
    on_part: OnPart | None = None,
    uses: RecordedUses | None = None,
) -> tuple[Snapshot, ScanState]:
    """Go on with a pass through ``cache``: what is known of it by now, and the progress. ``uses``
    is what the trace knows of its entries.

    The figures of a pass that is not at its end are brought from its part to the whole, and not
    ``exact``; at its end the next one begins anew. As :func:`inspect_cache`, never raises.
    """
    snapshot, after = _go_on(cache, _ScanContext(terms, on_part, uses), progress)
    store, keys = shared_by(terms.alias, cache)
    if after.whole is not None:
        after = replace(after, whole=replace(after.whole, store=store, keys=keys))
    return replace(snapshot, store=store, keys=keys), after


def _go_on(cache: BaseCache, way: _ScanContext, progress: ScanState) -> tuple[Snapshot, ScanState]:
    terms = way.terms
    try:
        source = source_of(terms.alias, cache, Bounds(terms.deadline))
        if source is None and way.uses is not None and way.uses.since:
            source = RecordedScanner(cache, way.uses, sizes_of(terms.alias))
    except Exception as error:
        return unknown(terms.alias, cache, described(error)), _noted(progress)
    if source is None:
        return unknown(terms.alias, cache, NOTHING), _noted(progress)
    try:
        snapshot, after = _advance(cache, source, way, progress)
        return (estimated(snapshot) if isinstance(source, RecordedScanner) else snapshot), after
    except BadCursor:
        # Once: at the beginning there is no cursor that could be bad.
        anew = ScanState(looked_at=time.time(), whole=progress.whole)
        return _go_on(cache, way, anew)
    finally:
        source.close()


def _advance(
    cache: BaseCache, source: BackendScanner, way: _ScanContext, progress: ScanState
) -> tuple[Snapshot, ScanState]:
    terms = way.terms
    source.untold.update(progress.untold)
    source.missed = source.missed or progress.missed
    source.sampled = source.sampled or progress.sampled
    if way.uses is not None:
        source.untold -= OF_RECORD
    tally = ScanTotals(terms, source.untold, progress.sums)
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
        return snapshot, ScanState(
            looked_at=time.time(), whole=snapshot if snapshot.exact else None
        )
    return snapshot, ScanState(
        looked_at=time.time(),
        cursor=scan.cursor,
        sums=tally.kept(),
        untold=sorted(source.untold),
        missed=source.missed,
        sampled=source.sampled,
        whole=progress.whole,
    )


def _go_through(scan: Scan, tally: ScanTotals, source: BackendScanner, way: _ScanContext) -> None:
    for part in scan:
        tally.sums.scanned += part.scanned
        for entry in part.entries:
            tally.add(entry if way.uses is None else way.uses.told(entry))
        if way.on_part is not None and not way.on_part(tally.sums.scanned, source):
            scan.stop()


def _noted(progress: ScanState) -> ScanState:
    """No further than before, and looked at now."""
    return replace(progress, looked_at=time.time())


def _snapshot(source: BackendScanner, tally: ScanTotals, cursor: str | None) -> Snapshot:
    if cursor is None and not source.sampled:
        # Where nothing was found and not everything asked, nothing is known.
        is_known = not source.missed or tally.looked_at > 0
        found = Found(tally.looked_at if is_known else None, not source.missed)
    else:
        found = share(tally.looked_at, tally.sums.scanned, total_of(source))
    snapshot = replace(tally.snapshot(source.scope, found), problem=source.problem)
    return _with_limits(snapshot, source)


def _with_limits(snapshot: Snapshot, source: BackendScanner) -> Snapshot:
    try:
        limits = source.limits()
    except Exception:
        limits = BackendLimits()
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


def total_of(source: BackendScanner) -> int | None:
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
