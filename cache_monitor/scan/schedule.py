"""Scan the live caches: now and then in the background thread, or whole for the command line.

A background scan is bounded, and the next one continues where it stopped, in whichever process that
is. Shared caches are scanned one at a time, by one process for all.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from math import inf

from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.db import connections
from msgspec.structs import replace

from cache_monitor.concurrency import Pace
from cache_monitor.conf import Conf, get_conf
from cache_monitor.errors import let_pass
from cache_monitor.scan.base import (
    BackendLimits,
    BackendScanner,
    Bounds,
    ScanLimits,
    describe_error,
)
from cache_monitor.scan.database import AFTER_KEY
from cache_monitor.scan.identity import EntriesIdentity, entries_identity, own_cache
from cache_monitor.scan.recorded import MAX_UNRECORDED, NO_REPORTER, Reporter, uses_of
from cache_monitor.scan.scanner import (
    OnPage,
    ScanState,
    advance,
    scanner_for,
    scope_of,
    total_of,
    unknown,
)
from cache_monitor.scan.snapshot import Snapshot
from cache_monitor.stats.codec import CorruptPayload, decode, encode
from cache_monitor.stores.base import Row, Store, StoreError
from cache_monitor.trace import SECOND, EvictionReading

SHARED = ""
"""The process in the rows of a cache that processes share."""

LOCK = "scan"
"""The store's lock on scanning shared caches."""
LOCK_SECONDS = 5
"""How long the lock lasts, the same in all processes: as long as a server may delay a scan."""
_PAUSE = 0.05

WHOLE_GOOD_FOR = 3600.0
"""Seconds for which the figures of a complete pass are reported instead of estimates from an
unfinished one; and after which an unfinished pass begins anew."""

_SNAPSHOT, _STATE = 0, 1
"""The ``start`` of the two rows of a cache: reports read the first."""

_ENTRIES_CULLED = 1.5
"""Most caches remove a third of their entries when they are full: so a cache with ``limit / 1.5``
entries may have been full."""

ASK_SECONDS = 1.0
"""How long a server may take to return its eviction counter."""


class ScanLock:
    """The lock on scanning shared caches, renewed as it ends."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._taken_at = 0.0

    def try_lock(self) -> bool:
        """Whether this process has the lock now."""
        now = time.time()
        if self._store.lock(LOCK, LOCK_SECONDS, int(now)):
            self._taken_at = now
            return True
        return False

    def renew(self) -> bool:
        """Whether this process still has the lock, or has it again."""
        # A store may count from the beginning of the second, or from when it was asked.
        ends = self._taken_at + LOCK_SECONDS
        if time.time() < int(self._taken_at) + LOCK_SECONDS:
            return True
        while not (is_taken := self.try_lock()) and time.time() < ends + 2 * _PAUSE:
            time.sleep(_PAUSE)
        return is_taken


class ScanScheduler:
    """Scans each cache every ``INSPECT_INTERVAL``, shared ones in one process for all."""

    def __init__(self) -> None:
        self._process = ""
        self._scanned_at: dict[str, float] = {}
        self._own: dict[str, ScanState] = {}
        self._unrecorded: dict[str, Mapping[int, int]] = {}
        self._reporter = NO_REPORTER
        self._asked_at = 0.0
        self._others_work = False

    def scan_due(
        self, process: str, store: Store, active_at: float = inf, reporter: Reporter = NO_REPORTER
    ) -> dict[str, Snapshot]:
        """Scan the caches that are due; returns a snapshot of each.

        ``active_at`` is when ``process`` last made a call. No cache is due where that was before
        its last scan, unless a pass is unfinished or other processes make calls: the entries in
        this process must not be taken for gone then. ``reporter`` is this process, and until when
        the store has its calls.

        Raises :class:`cache_monitor.stores.base.StoreError`.
        """
        if process != self._process:
            # Forked: the parent's state is about the parent's memory.
            self._process, self._scanned_at, self._own, self._unrecorded = process, {}, {}, {}
        self._reporter = reporter
        conf, now = get_conf(), time.time()
        if active_at < now - conf.inspect_interval and self._do_others_work(store, now, conf):
            active_at = now
        due = [
            alias
            for alias in settings.CACHES
            if not 0 <= now - self._scanned_at.get(alias, 0) < conf.inspect_interval
            and self._may_have_changed(alias, active_at)
        ]
        found: dict[str, Snapshot] = {}
        shared: dict[str, BaseCache] = {}
        try:
            for alias in due:
                try:
                    cache = own_cache(alias)
                except Exception as error:
                    found[alias] = unknown(alias, None, describe_error(error))
                    continue
                if scope_of(cache) == "shared":
                    shared[alias] = cache
                else:
                    state = self._own.get(alias)
                    found[alias], self._own[alias] = self._scan(alias, cache, store, conf, state)
            store.put([_row(alias, process, each) for alias, each in found.items()], int(now))
            self._scanned_at.update(dict.fromkeys(found, now))
            found.update(self._scan_shared(shared, store, conf, now))
        finally:
            # A DatabaseCache opens one, and no request ends here that would close it.
            for connection in connections.all(initialized_only=True):
                connection.close_if_unusable_or_obsolete()
        return found

    def _do_others_work(self, store: Store, now: float, conf: Conf) -> bool:
        """Whether another process has recorded calls lately, by a query no more frequent than
        scans. On an idle site nothing is scanned, so that nothing is written."""
        if self._scanned_at and now - self._asked_at >= conf.inspect_interval:
            self._asked_at = now
            since = int(now - 2 * conf.inspect_interval)
            rows = store.read("window", since, int(now) + 1, None, of_processes=True)
            self._others_work = any(row.process != self._process for row in rows)
        return self._others_work

    def _may_have_changed(self, alias: str, active_at: float) -> bool:
        if active_at > self._scanned_at.get(alias, 0):
            return True
        return alias in self._own and self._own[alias].cursor != ""

    def _scan(
        self,
        alias: str,
        cache: BaseCache,
        store: Store,
        conf: Conf,
        state: ScanState | None,
        on_page: OnPage | None = None,
    ) -> tuple[Snapshot, ScanState]:
        """What to report of a cache, and the state of the pass. Keeps since when entries without a
        record have been there."""
        pace = Pace()
        ends = time.monotonic() + conf.scan_seconds
        limits = ScanLimits(alias, conf.scan_limit, ends, conf.stale_after)
        uses = uses_of(alias, cache, store, self._reporter, pace)
        before = self._unrecorded.get(alias, {})
        if uses is not None:
            uses.first_scanned = before
        snapshot, after = advance(cache, limits, _current(state), on_page, uses, pace)
        if uses is not None:
            # A pass may take several scans.
            kept = {} if len(uses.unrecorded) >= MAX_UNRECORDED else before
            self._unrecorded[alias] = {**kept, **uses.unrecorded}
        return _reported(snapshot, after), after

    def _scan_shared(
        self, due: Mapping[str, BaseCache], store: Store, conf: Conf, now: float
    ) -> dict[str, Snapshot]:
        if not due:
            return {}
        states = stored_states(store)
        stale = [
            alias
            for alias in due
            if alias not in states
            or not 0 <= now - states[alias].scanned_at < conf.inspect_interval
        ]
        self._scanned_at.update(dict.fromkeys(due.keys() - set(stale), now))
        lock = ScanLock(store)
        # A process without the lock tries again at its next flush.
        if not stale or not lock.try_lock():
            return {}
        found: dict[str, Snapshot] = {}
        for alias in stale:
            if not lock.renew():
                break
            state = self._with_own_cursor(alias, states.get(alias))
            found[alias], after = self._scan(
                alias, due[alias], store, conf, state, lambda *_: lock.renew()
            )
            store_scan(store, alias, found[alias], after)
            self._own[alias] = after
            self._scanned_at[alias] = now
        return found

    def _with_own_cursor(self, alias: str, stored: ScanState | None) -> ScanState | None:
        """``stored``; with the cursor that must not be stored where this process scanned last."""
        own = self._own.get(alias)
        return own if own and stored and own.scanned_at == stored.scanned_at else stored


def _current(state: ScanState | None) -> ScanState:
    """``state``, or a new pass where it is too old."""
    now = time.time()
    if state is None or not 0 <= now - state.scanned_at < WHOLE_GOOD_FOR:
        return ScanState(scanned_at=now)
    return state


def stored_states(store: Store) -> dict[str, ScanState]:
    """The states of the passes through shared caches, as far as they can be read."""
    found = {}
    for row in store.read("scan", _STATE, _STATE + 1, None):
        try:
            found[row.alias] = decode(row.payload, ScanState)
        except CorruptPayload:
            continue
    return found


def store_scan(store: Store, alias: str, snapshot: Snapshot, state: ScanState) -> None:
    """Write the snapshot of a shared cache and the state of its pass.

    A cursor that holds a key stays in its process, because a session's key is a credential. Another
    process then begins the pass anew.
    """
    if state.cursor.startswith(AFTER_KEY):
        state = ScanState(scanned_at=state.scanned_at, whole=state.whole)
    rows = [_row(alias, SHARED, snapshot), Row("scan", SHARED, alias, _STATE, 0, encode(state))]
    store.put(rows, int(time.time()))


def _row(alias: str, owner: str, snapshot: Snapshot) -> Row:
    return Row("scan", owner, alias, _SNAPSHOT, 0, encode(snapshot))


def _reported(snapshot: Snapshot, state: ScanState) -> Snapshot:
    """What reports show: the last complete pass, while it is recent and nothing failed."""
    whole = state.whole
    if snapshot.exact or snapshot.problem is not None or whole is None:
        return snapshot
    if not 0 <= time.time() - whole.measured_at < WHOLE_GOOD_FOR:
        return snapshot
    now = ("limit_bytes", "limit_entries", "evictions", "boot", "policy")
    return replace(whole, **{name: getattr(snapshot, name) for name in now})


def read_evictions(alias: str) -> EvictionReading | None:
    """The eviction counter of a cache now, by one query. Without a counter, whether the cache is as
    full as one that evicts. None where neither is known."""
    try:
        scanner = scanner_for(alias, own_cache(alias), Bounds(time.monotonic() + ASK_SECONDS))
        if scanner is None:
            return None
        with closing(scanner):
            limits = scanner.limits()
            needs_entries = limits.evictions is None and limits.limit_entries is not None
            entries = total_of(scanner) if needs_entries else None
    except Exception as error:
        let_pass(error)
        return None
    return _reading(limits, entries, time.time(), limits.is_behind)


def eviction_reading(snapshot: Snapshot) -> EvictionReading | None:
    """The same from the snapshot of a shared cache."""
    return _reading(snapshot, snapshot.entries, snapshot.measured_at)


def _reading(
    found: BackendLimits | Snapshot, entries: int | None, at: float, is_behind: bool = False
) -> EvictionReading | None:
    is_full = None
    if found.evictions is None:
        limit = found.limit_entries
        if entries is None or limit is None:
            return None
        # With so many that it may have been full before, that is unknown.
        is_full = entries >= limit or (None if _ENTRIES_CULLED * entries >= limit else False)
    return EvictionReading(int(at * SECOND), found.evictions, found.boot, is_full, is_behind)


NO_LIMIT = 1 << 62
_LOCK_PAUSE = 0.2

OnProgress = Callable[[str, int, int | None], None]
"""Called with the alias, the number of entries passed, and about how many there are."""


class FullScan:
    """Scans caches from their beginning to their end.

    ``on_progress`` and then ``should_continue`` are called after each page. ``problem`` says why
    the result did not reach the store, in words for people.
    """

    def __init__(
        self, store: Store, on_progress: OnProgress, should_continue: Callable[[], bool]
    ) -> None:
        self.problem: str | None = None
        self._store = store
        self._on_progress = on_progress
        self._should_continue = should_continue
        self._lock = ScanLock(store)
        self._needs_lock = True

    def run(self, aliases: Sequence[str], limit: int = NO_LIMIT) -> Iterator[tuple[str, Snapshot]]:
        """A snapshot of each cache, of at most ``limit`` entries; ends where it should not
        continue. Of aliases with the same entries one is scanned."""
        scanned: dict[EntriesIdentity, Snapshot] = {}
        for alias in aliases:
            if not self._has_lock():
                continue
            try:
                cache = caches[alias]
            except Exception as error:
                yield alias, unknown(alias, None, describe_error(error))
                continue
            same = entries_identity(alias, cache)
            if same in scanned:
                snapshot = replace(scanned[same], alias=alias)
                state = ScanState(scanned_at=snapshot.measured_at, whole=snapshot)
            else:
                snapshot, state = self._scan(alias, cache, limit)
                scanned[same] = snapshot
            # The memory of this process, which is not the site's, is of no interest.
            if snapshot.exact and snapshot.scope == "shared":
                try:
                    store_scan(self._store, alias, snapshot, state)
                except StoreError as error:
                    self.problem = str(error)
            yield alias, snapshot

    def _scan(self, alias: str, cache: BaseCache, limit: int) -> tuple[Snapshot, ScanState]:
        limits = ScanLimits(alias, limit, inf, get_conf().stale_after)
        totals: list[int | None] = []

        def on_page(scanned: int, scanner: BackendScanner) -> bool:
            if not totals:
                totals.append(total_of(scanner))
            self._on_progress(alias, scanned, totals[0])
            return self._should_continue() and self._has_lock()

        # This process makes none of the site's calls.
        uses = uses_of(alias, cache, self._store, NO_REPORTER)
        return advance(cache, limits, ScanState(scanned_at=time.time()), on_page, uses)

    def _has_lock(self) -> bool:
        """Whether to continue; waits while another process scans."""
        try:
            while self._needs_lock and not self._lock.renew():
                if not self._should_continue():
                    return False
                time.sleep(_LOCK_PAUSE)
        except StoreError as error:
            # Without a store no other process scans either.
            self.problem, self._needs_lock = str(error), False
        return True
