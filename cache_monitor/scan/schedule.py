"""Scan the live caches now and then, in the background thread.

A background scan is bounded, and the next one continues where it stopped, in whichever process that
is. Shared caches are scanned one at a time, by one process for all.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import NamedTuple

from django.conf import settings
from django.core.cache.backends.base import BaseCache
from django.db import connections
from msgspec import Struct, field
from msgspec.structs import replace

from cache_monitor.concurrency import Pace, Paced, no_pause
from cache_monitor.conf import Conf, backend_path, get_conf
from cache_monitor.scan.backends import scanner_for, scope_of, total_of
from cache_monitor.scan.base import (
    BackendLimits,
    BackendScanner,
    BadCursor,
    Bounds,
    Scan,
    ScanLimits,
    StaleReason,
    describe_error,
)
from cache_monitor.scan.database import AFTER_KEY
from cache_monitor.scan.identity import EntriesIdentity, entries_identity, own_cache, scan_identity
from cache_monitor.scan.recorded import (
    MAX_UNRECORDED,
    NO_REPORTER,
    NOT_RECORDED,
    RecordedScanner,
    RecordedUses,
    Reporter,
    estimated,
    sizes_of,
    uses_of,
)
from cache_monitor.scan.snapshot import RECORDED_REASONS, ScanTotals, Snapshot, Sums
from cache_monitor.stats.codec import CorruptPayload, decode, encode
from cache_monitor.stats.window import UnixTime
from cache_monitor.stores.base import Row, Store


class ScanState(Struct, kw_only=True):
    """How far a pass through a cache has come, for the process that continues it.

    ``whole`` is the snapshot of the last complete pass, ``scanned_at`` the Unix time of the last
    scan, ``identity`` that of the entries: the alias may lead elsewhere by now.
    """

    scanned_at: UnixTime
    cursor: str = ""
    sums: Sums = field(default_factory=Sums)
    unsupported: list[StaleReason] = []
    incomplete: bool = False
    sampled: bool = False
    whole: Snapshot | None = None
    identity: EntriesIdentity | None = None


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
    identity = store, keys = entries_identity(limits.alias, cache)
    if state.identity not in {None, identity}:
        state = ScanState(scanned_at=state.scanned_at)
    snapshot, after = _open_and_advance(cache, _ScanContext(limits, on_page, uses, pace), state)
    whole = after.whole and replace(after.whole, store=store, keys=keys)
    after = replace(after, whole=whole, identity=identity, scanned_at=time.time())
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
    scanner.pace = context.pace
    scanner.unsupported.update(state.unsupported)
    scanner.incomplete |= state.incomplete
    scanner.sampled |= state.sampled
    if context.uses is not None:
        scanner.unsupported -= RECORDED_REASONS
    totals = ScanTotals(context.limits, scanner.unsupported, state.sums)
    scan = Scan(scanner, context.limits, state.cursor)
    try:
        _add_pages(scan, totals, scanner, context)
    except BadCursor:
        raise
    except Exception as error:
        failure = describe_error(error)
        if not totals.sums.examined:
            return _with_limits(unknown(context.limits.alias, cache, failure), scanner), state
        scanner.problems = {f"{failure.removesuffix('.')}.": None, **scanner.problems}
    snapshot = _snapshot(scanner, totals, scan.cursor)
    if context.uses is not None:
        snapshot = replace(snapshot, recorded_since=context.uses.since)
    if scan.cursor is None:
        whole = snapshot if snapshot.exact else None
        return snapshot, ScanState(scanned_at=state.scanned_at, whole=whole)
    return snapshot, replace(
        state,
        cursor=scan.cursor,
        sums=totals.sums,
        unsupported=sorted(scanner.unsupported),
        incomplete=scanner.incomplete,
        sampled=scanner.sampled,
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


def unknown(alias: str, cache: BaseCache | None, problem: str | None) -> Snapshot:
    """A snapshot without figures, because of ``problem``."""
    return Snapshot(alias=alias, measured_at=time.time(), scope=scope_of(cache), problem=problem)


# When which cache is scanned

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
            if self._is_due(alias, active_at, now, conf.inspect_interval)
        ]
        try:
            return self._scan_all(due, store, conf, now)
        finally:
            # A DatabaseCache opens one, and no request ends here that would close it.
            for connection in connections.all(initialized_only=True):
                connection.close_if_unusable_or_obsolete()

    def _scan_all(
        self, due: Iterable[str], store: Store, conf: Conf, now: float
    ) -> dict[str, Snapshot]:
        found: dict[str, Snapshot] = {}
        shared: dict[str, BaseCache] = {}
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
        store.put([_row(alias, self._process, each) for alias, each in found.items()], int(now))
        self._scanned_at.update(dict.fromkeys(found, now))
        return found | self._scan_shared(shared, store, conf, now)

    def _do_others_work(self, store: Store, now: float, conf: Conf) -> bool:
        """Whether another process has recorded calls lately, by a query no more frequent than
        scans. On an idle site nothing is scanned, so that nothing is written."""
        is_fresh = 0 <= now - self._asked_at < conf.inspect_interval
        if self._scanned_at and not is_fresh:
            self._asked_at = now
            since = int(now - 2 * conf.inspect_interval)
            rows = store.read("window", since, int(now) + 1, None, of_processes=True)
            self._others_work = any(row.process != self._process for row in rows)
        return self._others_work

    def _is_due(self, alias: str, active_at: float, now: float, interval: float) -> bool:
        scanned_at = self._scanned_at.get(alias, 0)
        if 0 <= now - scanned_at < interval:
            return False
        # A later time is from before the clock was set back.
        if active_at > scanned_at or scanned_at > now:
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
        scanned: dict[object, str] = {}
        for alias in stale:
            if not lock.renew():
                break
            other = scanned.setdefault(scan_identity(alias, due[alias]), alias)
            if other != alias:
                found[alias], after = _renamed(found[other], self._own[other], alias)
                self._unrecorded[alias] = self._unrecorded.get(other, {})
            else:
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


def _renamed(snapshot: Snapshot, state: ScanState, alias: str) -> tuple[Snapshot, ScanState]:
    """Both for another ``alias`` with the same entries, which need not be scanned twice."""
    whole = state.whole and replace(state.whole, alias=alias)
    return replace(snapshot, alias=alias), replace(state, whole=whole)


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
        state = ScanState(scanned_at=state.scanned_at, whole=state.whole, identity=state.identity)
    rows = [_row(alias, SHARED, snapshot), Row("scan", SHARED, alias, _STATE, 0, encode(state))]
    store.put(rows, int(time.time()))


def _row(alias: str, owner: str, snapshot: Snapshot) -> Row:
    return Row(
        "scan", owner, alias, _SNAPSHOT, 0, encode(replace(snapshot, backend=backend_path(alias)))
    )


def _reported(snapshot: Snapshot, state: ScanState) -> Snapshot:
    """What reports show: the last complete pass, while it is recent and nothing failed."""
    whole = state.whole
    if snapshot.exact or snapshot.problem is not None or whole is None:
        return snapshot
    if not 0 <= time.time() - whole.measured_at < WHOLE_GOOD_FOR:
        return snapshot
    now = ("limit_bytes", "limit_entries", "evictions", "boot", "policy")
    return replace(whole, **{name: getattr(snapshot, name) for name in now})
