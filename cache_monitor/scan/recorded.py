"""What the recorded calls show of a cache where its backend does not.

The trace has the calls of all processes since it began, perhaps of a part of the keys, perhaps with
gaps. It tells when an entry was written and read, and which entries should be in a cache that
cannot be scanned.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from math import ceil, inf, sqrt
from typing import Any, NamedTuple

from django.core.cache.backends.base import BaseCache, default_key_func
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.memcached import BaseMemcachedCache
from msgspec.structs import replace

from cache_monitor.concurrency import Paced, no_pause
from cache_monitor.conf import get_conf
from cache_monitor.keys.naming import group_key
from cache_monitor.scan.base import BackendScanner, BadCursor, Entry, EntryPage, ScanError, Traced
from cache_monitor.scan.identity import prefix_of, trace_store, version_of
from cache_monitor.scan.snapshot import Snapshot
from cache_monitor.stats.codec import CorruptPayload, decode
from cache_monitor.stats.details import StoredDetails
from cache_monitor.stores import rows as stored
from cache_monitor.stores.base import Store, StoreError, get_store
from cache_monitor.trace import (
    HIT,
    NEVER,
    SECOND,
    SHOWN,
    TOUCH,
    UNKNOWN_TIME,
    Plan,
    base_name,
    hash_of,
    level_of,
)
from cache_monitor.trace.codec import StoredSlice, level_for, sampled
from cache_monitor.trace.miss_reasons import THERE, EntryChange
from cache_monitor.trace.replay import Replay
from cache_monitor.trace.state import KeyState, State, VersionState

_SAME = 2 * SECOND
"""The greatest difference between a file's time and that of the call that wrote it."""
MAX_UNRECORDED = 50_000
"""The most keys without a record that are kept."""


class RecordedUse(NamedTuple):
    """The known uses of one entry; microseconds of Unix time, None where unknown.

    ``idle_since``: the last use, at the latest. ``changed``: the last write or touch. ``written``:
    when its value was made. ``unread``: it was not read since.
    """

    idle_since: int | None = None
    changed: int | None = None
    written: int | None = None
    unread: bool | None = None


_UNKNOWN = RecordedUse()


class TraceNames(NamedTuple):
    """How the trace names the entries of a cache: by the user's key, or by the made one where the
    cache ``has_key_function``. The backend may put ``backend_prefix`` before the made key; None
    where it stores a digest."""

    prefix: str
    version: str
    has_key_function: bool = False
    backend_prefix: str | None = ""

    def hash_of(self, entry: Entry) -> int | None:
        """The trace's hash of ``entry``; None where that is unknown."""
        if not self.has_key_function:
            return hash_of(f"{self.prefix}\0{entry.key}") if entry.known else None
        if self.backend_prefix is None or not entry.stored.startswith(self.backend_prefix):
            return None
        made = entry.stored.removeprefix(self.backend_prefix)
        if entry.known and made == default_key_func(entry.key, self.prefix, self.version):
            return hash_of(f"{self.prefix}\0{entry.key}")
        return hash_of(f"\0{made}")


class RecordedUses:
    """The trace of one cache until ``now`` (Unix time)."""

    def __init__(self, names: TraceNames, plan: Plan, state: State, now: float) -> None:
        self._names = names
        self.plan = plan
        self._state = state
        self._now = int(now * SECOND)
        self.stale_after = self.kept = 0.0
        self.tolerance = 0
        self.reported_until = self._now
        """The time until which all processes have reported their calls."""
        self.first_scanned: Mapping[int, int] = {}
        """When keys without a record were first scanned, by their hashes."""
        self.unrecorded: dict[int, int] = {}
        """The same of this scan."""
        self.not_replayed: set[int] = set()
        """The keys whose newest events were not replayed."""

    @property
    def since(self) -> float:
        """When the record begins, in Unix time."""
        return float(self._state.since)

    @property
    def share(self) -> int:
        """The number of keys that each key of :meth:`expected` represents."""
        return 1 << self.plan.level

    def expected(self) -> Iterator[tuple[int, Entry]]:
        """The entries of the cache's version that should exist, each with its key's hash: those
        written or found, and neither deleted nor expired since. A sample is without the hot keys,
        which represent no others."""
        for key in self._state.keys:
            if level_of(key) >= self.plan.level and self.plan.takes(key):
                entry = self.expected_entry(key)
                if entry is not None:
                    yield key, entry

    def expected_entry(self, key: int, version: str | None = None) -> Entry | None:
        """The entry of the key with this hash, if it should exist; the cache's own version unless
        one is given."""
        state = self._state.keys.get(key)
        found = _version_of(state, version or self._names.version)
        if state is None or found is None or found.gone is not None or key in self.not_replayed:
            return None
        before, _, name = state.name.rpartition("\0")
        if before == SHOWN:
            name = ""
        if name and not self._names.has_key_function and before != self._names.prefix:
            return None
        latest = self._latest(found)
        if not latest or not all(
            each.kind in THERE and (each.expires < 0 or each.expires > self._now) for each in latest
        ):
            return None
        ends = {each.expires for each in latest}
        expires = ends.pop() if len(ends) == 1 else UNKNOWN_TIME
        entry = Entry(
            name or state.group,
            None,
            expires_in=(expires - self._now) / SECOND if expires >= 0 else None,
            no_expiry=expires == NEVER,
            known=bool(name),
        )
        use = self.use_of(key, version or self._names.version)
        return self._with(entry, use, "sample" if self.plan.level else "whole")

    def expected_of(self, key: str, stored: str, version: int | None) -> Entry | None:
        """The entry of ``key``, stored under ``stored``, if it should exist."""
        hashed = self._names.hash_of(Entry(key, None, stored=stored))
        if hashed is None:
            return None
        return self.expected_entry(hashed, None if version is None else str(version))

    def _latest(self, entry: VersionState) -> list[EntryChange]:
        """The changes that may be the newest, within the tolerance of the clocks."""
        changes = entry.changes
        if len(changes) > 1:
            changes = entry.history(self.tolerance).latest(len(changes))
        return changes

    def with_uses(self, entry: Entry, version: str | None = None) -> Entry:
        """``entry`` with its recorded uses; the cache's version unless given."""
        if entry.traced:
            return entry
        key = self._names.hash_of(entry)
        if key is None:
            return entry
        if not self.plan.takes(key):
            return entry._replace(traced="out")
        is_sample = self.plan.level > 0 and key not in self.plan.hot
        use = self.use_of(key, version or self._names.version)
        return self._with(entry, use, "sample" if is_sample else "whole")

    def _with(self, entry: Entry, use: RecordedUse, traced: Traced) -> Entry:
        written_at = None if entry.age is None else self._now - int(entry.age * SECOND)
        if written_at is not None and (use.changed is None or written_at > use.changed + _SAME):
            # It was written later than any recorded call.
            return entry._replace(traced=traced)
        idle = [entry.idle, self._ago(use.idle_since)]
        age = self._ago(use.written)
        return entry._replace(
            idle=min((each for each in idle if each is not None), default=None),
            age=entry.age if age is None else age,
            never_read=entry.never_read if use.unread is None else use.unread,
            traced=traced,
        )

    def _ago(self, at: int | None) -> float | None:
        return None if at is None else max(0.0, (self._now - at) / SECOND)

    def use_of(self, key: int, version: str) -> RecordedUse:
        """The recorded uses of the entry that is stored under the key with this hash."""
        if key in self.not_replayed or not self._state.since:
            return _UNKNOWN
        covered = max(self._state.since * SECOND, self._state.uncovered_until(key))
        found = self._state.keys.get(key)
        entry = _version_of(found, version)
        if entry is None:
            is_known = found is None or found.whole
            return self._not_on_record(key, covered) if is_known else _UNKNOWN
        writes = [change for change in self._latest(entry) if change.kind in THERE]
        if not writes and not entry.last_read:
            return _UNKNOWN
        used = max(entry.last_read, *(change.ended for change in writes), 0)
        if used < covered and self._now - used > self.stale_after * SECOND:
            return self._unused_since(covered)
        if not writes or writes[-1].ended < covered:
            return RecordedUse(idle_since=used)
        unread = self._is_unread(entry, writes)
        return RecordedUse(used, writes[-1].ended, _written(writes), unread)

    def _not_on_record(self, key: int, covered: int) -> RecordedUse:
        at = self.first_scanned.get(key, self._now)
        if len(self.unrecorded) < MAX_UNRECORDED:
            self.unrecorded[key] = at
        if at > self.reported_until:
            # A process that has not reported yet may have written it a moment ago.
            return _UNKNOWN
        # The trace forgets keys that are long unused.
        forgotten = self._state.until * SECOND - int(self.kept * SECOND)
        return self._unused_since(max(covered, forgotten))

    def _unused_since(self, at: int) -> RecordedUse:
        """It may have been used until ``at``: it is surely idle only if that is long ago."""
        is_long = self._now - at > self.stale_after * SECOND
        return RecordedUse(idle_since=at) if is_long else _UNKNOWN

    def _is_unread(self, entry: VersionState, writes: list[EntryChange]) -> bool | None:
        if all(_was_found(each, entry.last_read) for each in writes):
            return False
        written = _written(writes)
        if written is None or any(each.written == UNKNOWN_TIME for each in writes):
            return None
        if entry.found >= max(each.written for each in writes):
            return False
        is_reported = writes[-1].ended <= self.reported_until
        first = min(each.written for each in writes)
        return True if is_reported and entry.perhaps < first else None


def _was_found(change: EntryChange, read: int) -> bool:
    """Whether ``change`` found the entry, or touched what was ``read`` later."""
    return change.kind == HIT or (change.kind == TOUCH and read > change.ended)


def _version_of(found: KeyState | None, version: str) -> VersionState | None:
    if found is None:
        return None
    return next((each for each in found.versions if str(each.version) == version), None)


def _written(writes: list[EntryChange]) -> int | None:
    """When the value was made, to the second."""
    written = [change.written for change in writes]
    is_known = UNKNOWN_TIME not in written and max(written) - min(written) < SECOND
    return max(written) if is_known else None


class Reporter(NamedTuple):
    """A process, by its name in the trace, and the time until which the store has its calls."""

    process: str = ""
    reported_at: float = 0.0


NO_REPORTER = Reporter()


def uses_of(
    alias: str, cache: Any, store: Store, own: Reporter, pace: Callable[[], None] = no_pause
) -> RecordedUses | None:
    """The recorded uses of ``cache``, known as ``alias``; ``own`` is this process. None where the
    store cannot be used, which it reports elsewhere."""
    name = trace_store(alias, cache, own.process)
    conf, now = get_conf(), time.time()
    until, length = int(now) + stored.HOUR, stored.SLICE
    try:
        plan = stored.plans(store).get(base_name(name), Plan())
        name = plan.name_of(name)
        state = stored.state_of(store, name)
        rows = store.read("trace", stored.FIRST, until, name, seconds=length, of_processes=True)
        slices = [each for row in Paced([*rows], pace, 1) for each in stored.slices_of(row.payload)]
    except StoreError:
        return None
    uses = RecordedUses(_names_of(cache), plan, state, now)
    uses.stale_after, uses.kept = conf.stale_after, conf.trace_kept
    uses.tolerance = int(conf.clock_tolerance * SECOND)
    reporting = stored.reporting_processes(state, slices, now)
    if reporting:
        all_reported = 2 * conf.flush_interval + stored.SLICE
        reported_at = own.reported_at if reporting == {own.process} else 0.0
        uses.reported_until = int(max(reported_at, now - all_reported) * SECOND)
    uses.not_replayed = _replay_newest(
        state, slices, 2 * conf.trace_keys, Replay(state, uses.tolerance, pace=pace)
    )
    return uses


def _names_of(cache: Any) -> TraceNames:
    own: Any = BaseCache.make_key
    is_own = getattr(type(cache), "make_key", own) is own
    key_function = getattr(cache, "key_func", default_key_func)
    has_key_function = key_function is not default_key_func or not is_own
    backend_prefix: str | None = ""
    if isinstance(cache, FileBasedCache):
        backend_prefix = None  # a file's name is a digest
    elif isinstance(cache, BaseMemcachedCache):
        given: Any = cache
        option = given._options.get("key_prefix", b"")
        backend_prefix = option if isinstance(option, str) else bytes(option).decode()
    return TraceNames(prefix_of(cache), version_of(cache), has_key_function, backend_prefix)


def _replay_newest(
    state: State, slices: list[StoredSlice], most_keys: int, replay: Replay
) -> set[int]:
    """Let ``replay`` bring ``slices`` to ``state``; returns the keys that are too many for it."""
    if sum(each.count for each in slices) > stored.MOST_REPLAYED:
        return {key.hash for each in slices for key in each.decode_keys()}
    few = most_keys if any(each.level for each in slices) else inf
    level = level_for(slices, (few, stored.MOST_REPLAYED), state.plans, 0)
    replayed, left_out = [], set[int]()
    for each in slices:
        # It is the latest known, final or not.
        each.final = True
        kept = sampled(each, level, state.plans.get(each.plan, frozenset()))
        if kept is not each:
            left_out |= {key.hash for key in each.decode_keys()} - {
                key.hash for key in kept.decode_keys()
            }
        replayed.append(kept)
    replay.run(replayed, [], max((each.end for each in replayed), default=state.until))
    return left_out


PERIOD = 86400.0
"""Seconds of recorded calls that are read."""
_ROWS = 200
_ROLLED_UP = 86400
"""Seconds of the longest bucket of rolled-up statistics."""

_PAGE = 1000
NOT_SCANNABLE = "This backend cannot be scanned: the figures are estimates from the recorded calls."
NOT_RECORDED = "This backend cannot be scanned, and no call of it is recorded."


class RecordedScanner(BackendScanner):
    """The entries that should be in a cache that cannot be scanned, by the recorded calls.

    The cache may evict entries on its own, and may have others. ``sizes`` are average value sizes
    by key group, meaningful only for many entries together.
    """

    def __init__(
        self, cache: Any, uses: RecordedUses, sizes: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(cache, ("idle", "never_read", "no_expiry"))
        self.sampled = True
        self.problems[NOT_SCANNABLE] = None
        if uses.share > 1:
            self.problems["Only a sample of the entries can be listed."] = None
        self._uses = uses
        self._sizes = sizes or {}
        self._expected = sorted(uses.expected(), key=lambda each: each[0])

    def total(self) -> int:
        return len(self._expected) * self._uses.share

    def pages(self, cursor: str, most: int) -> Generator[EntryPage, None, None]:
        """The entries in the order of the hashes of their keys; a cursor is the last hash."""
        if cursor and not (cursor.isascii() and cursor.isdigit()):
            raise BadCursor
        left = [each for each in self._expected if each[0] > int(cursor or 0)]
        for first in range(0, len(left), _PAGE) or (0,):
            page = left[first : first + _PAGE]
            following = str(page[-1][0]) if first + _PAGE < len(left) else None
            yield EntryPage([self._with_size(entry) for _, entry in page], len(page), following)

    def _with_size(self, entry: Entry) -> Entry:
        group = group_key(entry.key) if self._sizes else ""
        return entry._replace(bytes=self._sizes.get(group))

    def entry(self, key: str, version: int | None) -> Entry | None:
        """The expected entry. Raises :class:`ScanError` without one."""
        make_key = getattr(self._cache, "make_key", None)
        stored = key if make_key is None else str(make_key(key, version=version))
        found = self._uses.expected_of(key, stored, version)
        if found is None:
            raise ScanError(NOT_SCANNABLE)
        return found._replace(key=key, known=True)

    def remove(self, entries: Sequence[Entry]) -> None:
        """Remove ``entries`` one by one: such a backend may have no ``delete_many``."""
        for each in entries:
            self._cache.delete(each.key)


def estimated(snapshot: Snapshot) -> Snapshot:
    """``snapshot`` of a :class:`RecordedScanner` with the error of a sample, without figures that
    hold for many entries only. No live entry was examined."""
    error, sample = 0, snapshot.examined
    if snapshot.entries is not None and sample:
        left_out = snapshot.entries - sample
        error = min(left_out, ceil(left_out / sqrt(sample)))
    idle, never_read = snapshot.idle_error, snapshot.never_read_error
    return replace(
        snapshot,
        examined=0,
        largest=[],
        stale=[replace(each, bytes=None) for each in snapshot.stale],
        idle_error=None if idle is None else idle + error,
        never_read_error=None if never_read is None else never_read + error,
    )


def sizes_of(alias: str, pace: Callable[[], None]) -> dict[str, int]:
    """The average size of the values written in the last day, by key group."""
    sums: dict[str, tuple[int, int]] = {}
    for details in recorded_details(alias):
        pace()
        for name, group in details.groups.items():
            if group.sets and group.bytes_written is not None:
                sets, size = sums.get(name, (0, 0))
                sums[name] = sets + group.sets, size + group.bytes_written
    return {name: round(size / sets) for name, (sets, size) in sums.items()}


def recorded_details(alias: str) -> Iterator[StoredDetails]:
    """The recorded details of ``alias``, the newest first; none without a store."""
    now = int(time.time())
    try:
        since = now - int(PERIOD) - _ROLLED_UP
        rows = list(get_store().read("details", since, now + 1, alias))
    except Exception:
        # The store reports its faults elsewhere.
        return
    rows.sort(key=lambda row: -(row.start + row.seconds))
    for row in rows[:_ROWS]:
        if row.start + row.seconds > now - PERIOD:
            try:
                yield decode(row.payload, StoredDetails)
            except CorruptPayload:
                continue
