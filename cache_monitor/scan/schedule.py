"""Scan the live caches from the background thread, now and then, or whole for the command line.

A look is bounded, and the next one goes on where it stopped, in whichever process that is. Of the
caches that processes share only one at a time is looked into, by one process of all.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import inf

from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.db import connections
from msgspec.structs import replace

from cache_monitor.conf import Conf, get_conf
from cache_monitor.errors import let_pass
from cache_monitor.scan.base import BackendLimits, BackendScanner, Bounds, ScanLimits, described
from cache_monitor.scan.database import AFTER_KEY
from cache_monitor.scan.identity import Shared, own_cache, shared_by
from cache_monitor.scan.recorded import MOST_UNSEEN, NO_REPORTER, RecordedUses, Reporter, uses_of
from cache_monitor.scan.scanner import ScanState, advance, scanner_for, scope_of, total_of
from cache_monitor.scan.snapshot import Snapshot
from cache_monitor.stats.codec import CorruptPayload, decode, encode
from cache_monitor.stores.base import Row, Store, StoreError
from cache_monitor.trace.events import SECOND, EvictionReading

SHARED = ""
"""The process under which a look at a cache that processes share is kept."""

LOCK = "scan"
"""The store's lock on looking into shared caches."""

WHOLE_GOOD_FOR = 3600.0
"""Seconds in which the figures of a whole pass stand, rather than those brought up from a part of
the next one; and after which a pass that was left begins anew."""

_LOOKS, _PROGRESS = 0, 1
"""The ``start`` under which the rows are kept: reports read the first."""


_CULLS_TO = 1.5
"""A cache that is too full throws out a third, mostly: what it has times that is then its limit."""

LOCK_SECONDS = 5
"""How long one holds, the same in all processes: as long as a server may keep a look waiting."""

_PAUSE = 0.05

ASK_SECONDS = 1.0
"""How long a server may take to say what it evicted."""


class ScanLock:
    """This process's turn to look into shared caches: the store's lock, taken again as it ends."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._taken_at = 0.0

    def take(self) -> bool:
        """Whether it is this process's turn now."""
        now = time.time()
        if self._store.lock(LOCK, LOCK_SECONDS, int(now)):
            self._taken_at = now
            return True
        return False

    def keep(self) -> bool:
        """Whether it is still this process's turn; takes the lock again where it has ended."""
        # A store may count from the beginning of the second, or from when it was asked.
        ends = self._taken_at + LOCK_SECONDS
        if time.time() < int(self._taken_at) + LOCK_SECONDS:
            return True
        while not (is_taken := self.take()) and time.time() < ends + 2 * _PAUSE:
            time.sleep(_PAUSE)
        return is_taken


class ScanScheduler:
    """Looks at each cache every ``INSPECT_INTERVAL``; at shared ones one process is enough."""

    def __init__(self) -> None:
        self._process = ""
        self._looked_at: dict[str, float] = {}
        self._own: dict[str, ScanState] = {}
        self._unseen: dict[str, Mapping[int, int]] = {}
        self._teller = NO_REPORTER
        self._asked_at = 0.0
        self._others_work = False

    def look(
        self, process: str, store: Store, active_at: float = inf, teller: Reporter = NO_REPORTER
    ) -> dict[str, Snapshot]:
        """Look at the caches that are due; what is known of each of them. Where ``process`` has
        made no calls since it looked, until ``active_at``, none is, unless a pass is under way or
        other processes make calls: then what this one holds must not be taken to be gone. The
        store has what ``teller``, this process, has told it.

        Raises :class:`cache_monitor.stores.base.StoreError`.
        """
        if process != self._process:
            # Forked: what the parent has seen of its own memory is not ours.
            self._process, self._looked_at, self._own, self._unseen = process, {}, {}, {}
        self._teller = teller
        conf, now = get_conf(), time.time()
        if active_at < now - conf.inspect_interval and self._do_others_work(store, now, conf):
            active_at = now
        due = [
            alias
            for alias in settings.CACHES
            if not 0 <= now - self._looked_at.get(alias, 0) < conf.inspect_interval
            and self._may_have_changed(alias, active_at)
        ]
        seen: dict[str, Snapshot] = {}
        shared: dict[str, BaseCache] = {}
        try:
            for alias, cache in _made(due, seen).items():
                if scope_of(cache) == "shared":
                    shared[alias] = cache
                else:
                    seen[alias] = self._look_at_own(alias, cache, store, conf)
            store.put([_row(alias, process, each) for alias, each in seen.items()], int(now))
            self._looked_at.update(dict.fromkeys(seen, now))
            seen.update(self._look_at_shared(shared, store, conf, now))
        finally:
            # A DatabaseCache opens one; no request ends here that would give it back.
            for connection in connections.all(initialized_only=True):
                connection.close_if_unusable_or_obsolete()
        return seen

    def _do_others_work(self, store: Store, now: float, conf: Conf) -> bool:
        """Whether another process has recorded calls lately, asked no more often than looks are
        due. What nobody records on an idle site asks for no look, so that nothing is written."""
        if self._looked_at and now - self._asked_at >= conf.inspect_interval:
            self._asked_at = now
            lately = int(now - 2 * conf.inspect_interval)
            rows = store.read("window", lately, int(now) + 1, None, of_processes=True)
            self._others_work = any(row.process != self._process for row in rows)
        return self._others_work

    def _may_have_changed(self, alias: str, active_at: float) -> bool:
        if active_at > self._looked_at.get(alias, 0):
            return True
        return alias in self._own and self._own[alias].cursor != ""

    def _look_at_own(self, alias: str, cache: BaseCache, store: Store, conf: Conf) -> Snapshot:
        begun = self._begun(self._own.get(alias))
        with self._uses(alias, cache, store) as uses:
            snapshot, progress = advance(cache, _terms(alias, conf), begun, uses=uses)
        self._own[alias] = progress
        return _to_show(snapshot, progress)

    def _look_at_shared(
        self, due: Mapping[str, BaseCache], store: Store, conf: Conf, now: float
    ) -> dict[str, Snapshot]:
        if not due:
            return {}
        progress = stored_progress(store)
        stale = [alias for alias in due if not _is_fresh(progress.get(alias), conf, now)]
        self._looked_at.update(dict.fromkeys(due.keys() - set(stale), now))
        turn = ScanLock(store)
        # Who comes too late tries again at its next flush.
        if not stale or not turn.take():
            return {}
        seen: dict[str, Snapshot] = {}
        for alias in stale:
            if not turn.keep():
                break
            begun = self._begun(self._whole(alias, progress.get(alias)))
            with self._uses(alias, due[alias], store) as uses:
                snapshot, after = advance(
                    due[alias], _terms(alias, conf), begun, lambda *_: turn.keep(), uses
                )
            seen[alias] = _to_show(snapshot, after)
            keep(store, alias, seen[alias], after)
            self._own[alias] = after
            self._looked_at[alias] = now
        return seen

    @contextmanager
    def _uses(self, alias: str, cache: BaseCache, store: Store) -> Iterator[RecordedUses | None]:
        """What the trace knows of the uses of a cache's entries. Of those that it knows nothing of
        is remembered when they were there."""
        uses = uses_of(alias, cache, store, self._teller)
        if uses is None:
            yield None
            return
        uses.seen_before = self._unseen.get(alias, {})
        yield uses
        # A pass may take several looks.
        before = {} if len(uses.unseen) >= MOST_UNSEEN else self._unseen.get(alias, {})
        self._unseen[alias] = {**before, **uses.unseen}

    def _whole(self, alias: str, stored: ScanState | None) -> ScanState | None:
        """``stored``, with what must not be stored where this process was the last to look."""
        own = self._own.get(alias)
        return own if own and stored and own.looked_at == stored.looked_at else stored

    def _begun(self, progress: ScanState | None) -> ScanState:
        """The pass to go on with: ``progress``, unless it was left too long ago."""
        now = time.time()
        if progress is None or not 0 <= now - progress.looked_at < WHOLE_GOOD_FOR:
            return ScanState(looked_at=now)
        return progress


def stored_progress(store: Store) -> dict[str, ScanState]:
    """How far the passes through the shared caches have come, as far as that can be read."""
    found = {}
    for row in store.read("look", _PROGRESS, _PROGRESS + 1, None):
        try:
            found[row.alias] = decode(row.payload, ScanState)
        except CorruptPayload:
            continue
    return found


def keep(store: Store, alias: str, snapshot: Snapshot, progress: ScanState) -> None:
    """Bring what is known of a shared cache, and how far its pass has come, to the store.

    A cursor that holds a key stays in its process: a session's key is a credential. Another
    process then begins the pass anew.
    """
    if progress.cursor.startswith(AFTER_KEY):
        progress = ScanState(looked_at=progress.looked_at, whole=progress.whole)
    rows = [
        _row(alias, SHARED, snapshot),
        Row("look", SHARED, alias, _PROGRESS, 0, encode(progress)),
    ]
    store.put(rows, int(time.time()))


def _row(alias: str, owner: str, snapshot: Snapshot) -> Row:
    return Row("look", owner, alias, _LOOKS, 0, encode(snapshot))


def _made(aliases: Sequence[str], failed: dict[str, Snapshot]) -> dict[str, BaseCache]:
    """The caches of ``aliases``; those that cannot be made go to ``failed``."""
    made = {}
    for alias in aliases:
        try:
            made[alias] = own_cache(alias)
        except Exception as error:
            failed[alias] = Snapshot(
                alias=alias, measured_at=time.time(), scope="shared", problem=described(error)
            )
    return made


def _terms(alias: str, conf: Conf) -> ScanLimits:
    return ScanLimits(
        alias, conf.scan_limit, time.monotonic() + conf.scan_seconds, conf.stale_after
    )


def _is_fresh(progress: ScanState | None, conf: Conf, now: float) -> bool:
    return progress is not None and 0 <= now - progress.looked_at < conf.inspect_interval


def _to_show(snapshot: Snapshot, progress: ScanState) -> Snapshot:
    """What the reports should say: the last whole pass, while it is young and all is well."""
    whole = progress.whole
    if snapshot.exact or snapshot.problem is not None or whole is None:
        return snapshot
    if not 0 <= time.time() - whole.measured_at < WHOLE_GOOD_FOR:
        return snapshot
    return replace(
        whole,
        limit_bytes=snapshot.limit_bytes,
        limit_entries=snapshot.limit_entries,
        evictions=snapshot.evictions,
        boot=snapshot.boot,
        policy=snapshot.policy,
    )


def read_evictions(alias: str) -> EvictionReading | None:
    """What a cache says of its evictions now: one question. Where it has no counter, whether it is
    as full as one that evicts. None where it tells neither."""
    try:
        source = scanner_for(alias, own_cache(alias), Bounds(time.monotonic() + ASK_SECONDS))
        if source is None:
            return None
        try:
            limits = source.limits()
            full = _is_full(source, limits)
        finally:
            source.close()
    except Exception as error:
        let_pass(error)
        return None
    if limits.evictions is None and full is None:
        return None
    return EvictionReading(
        int(time.time() * SECOND), limits.evictions, limits.boot, full, limits.behind
    )


def _is_full(source: BackendScanner, limits: BackendLimits) -> bool | None:
    """Whether there are as many entries as a cull leaves, of those that the cache takes."""
    if limits.evictions is not None or limits.entries is None:
        return None
    entries = total_of(source)
    return None if entries is None else _CULLS_TO * entries >= limits.entries


def reading_of(look: Snapshot) -> EvictionReading | None:
    """What a look at a cache that processes share says of its evictions, if it does."""
    full = None
    if look.evictions is None:
        if look.entries is None or look.limit_entries is None:
            return None
        full = _CULLS_TO * look.entries >= look.limit_entries
    return EvictionReading(int(look.measured_at * SECOND), look.evictions, look.boot, full)


def _shared(alias: str) -> Shared | None:
    """What ``alias`` has in common with those of the same entries; None where it cannot be made."""
    try:
        return shared_by(alias, caches[alias])
    except Exception:
        return None


NO_LIMIT = 1 << 62
_TURN_PAUSE = 0.2

Heard = Callable[[str, int, int | None], None]
"""Told the alias, how many entries were passed, and about how many there are."""


class WholeScan:
    """Goes through caches from their beginning to their end.

    ``heard`` is told of the progress; ``wanted`` is asked, after each page, whether to go on.
    ``problem`` says why the result did not reach the store, in words for people.
    """

    def __init__(self, store: Store, heard: Heard, wanted: Callable[[], bool]) -> None:
        self.problem: str | None = None
        self._store = store
        self._heard = heard
        self._wanted = wanted
        self._turn = ScanLock(store)
        self._is_alone = False

    def run(self, aliases: Sequence[str], limit: int = NO_LIMIT) -> Iterator[tuple[str, Snapshot]]:
        """What is in each cache, of at most ``limit`` entries; ends where it is not wanted. Of
        aliases that have the same entries one is gone through."""
        seen: dict[Shared, Snapshot] = {}
        for alias in aliases:
            if not self._has_turn():
                continue
            same = _shared(alias)
            if same is not None and same in seen:
                yield alias, self._as_seen(alias, seen[same])
                continue
            found = self._look(alias, limit)
            if same is not None:
                seen[same] = found
            yield alias, found

    def _as_seen(self, alias: str, seen: Snapshot) -> Snapshot:
        """What is in ``alias``, which has the same entries as one that was gone through."""
        snapshot = replace(seen, alias=alias)
        if snapshot.exact and snapshot.scope == "shared":
            progress = ScanState(looked_at=snapshot.measured_at, whole=snapshot)
            self._keep(alias, snapshot, progress)
        return snapshot

    def _look(self, alias: str, limit: int) -> Snapshot:
        terms = ScanLimits(alias, limit, inf, get_conf().stale_after)
        try:
            cache = caches[alias]
        except Exception as error:
            return Snapshot(
                alias=alias, measured_at=time.time(), scope="shared", problem=described(error)
            )

        totals: list[int | None] = []

        def on_part(scanned: int, source: BackendScanner) -> bool:
            if not totals:
                totals.append(total_of(source))
            self._heard(alias, scanned, totals[0])
            return self._wanted() and self._has_turn()

        # This process makes no calls of the site's.
        uses = uses_of(alias, cache, self._store, NO_REPORTER)
        snapshot, progress = advance(cache, terms, ScanState(looked_at=time.time()), on_part, uses)
        # What a process other than the site's own holds in its memory is no news.
        if snapshot.exact and scope_of(cache) == "shared":
            self._keep(alias, snapshot, progress)
        return snapshot

    def _keep(self, alias: str, snapshot: Snapshot, progress: ScanState) -> None:
        try:
            keep(self._store, alias, snapshot, progress)
        except StoreError as error:
            self.problem = str(error)

    def _has_turn(self) -> bool:
        """Whether to go on: waits while another process looks."""
        try:
            while not self._is_alone and not self._turn.keep():
                if not self._wanted():
                    return False
                time.sleep(_TURN_PAUSE)
        except StoreError as error:
            # Without a store nobody else looks either.
            self.problem, self._is_alone = str(error), True
        return True
