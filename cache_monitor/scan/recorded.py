"""When entries were written and read, as the trace knows it, for what a backend does not tell.

The trace knows what all processes of the site did, from when it began. It may hold a part of the
keys only, and there may be gaps in it: of an entry that was used in one, or before it began, it is
not known when it was written, nor whether it was read since.
"""

import time
from collections.abc import Iterator, Mapping
from math import inf
from typing import Any, NamedTuple

from django.core.cache.backends.base import BaseCache, default_key_func
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.memcached import BaseMemcachedCache

from cache_monitor.conf import Conf, get_conf
from cache_monitor.scan.base import Entry, Traced
from cache_monitor.scan.identity import prefix_of, traced_as, version_of
from cache_monitor.stores import shared as traced
from cache_monitor.stores.base import Store, StoreError
from cache_monitor.trace.events import HIT, NEVER, SECOND, TOUCH, UNTOLD, hash_of, level_of
from cache_monitor.trace.history import THERE, EntryChange, family_of
from cache_monitor.trace.plan import Plan
from cache_monitor.trace.replay import Replay
from cache_monitor.trace.sampling import level_for, thinned
from cache_monitor.trace.slices import Stored
from cache_monitor.trace.state import KeyState, State, VersionState
from cache_monitor.trace.version_replay import SHOWN

_SAME = 2 * SECOND
"""By how much the time of a file and that of the call that wrote it may differ."""


MOST_UNSEEN = 50_000
"""Keys that are not in the record which are remembered."""


class RecordedUse(NamedTuple):
    """What is known of the uses of one entry. ``idle_since`` is when it was last used, at the
    latest; ``changed`` when it was last written or touched, ``written`` when its value came to be;
    ``unread`` whether nobody has read it since. Microseconds of Unix time; None: not known."""

    idle_since: int | None = None
    changed: int | None = None
    written: int | None = None
    unread: bool | None = None


_UNKNOWN = RecordedUse()


class Names(NamedTuple):
    """How the entries of a cache are told apart in the trace. Where a function of the project's
    ``makes`` the keys, it is by what it made, which the backend may have behind ``before``."""

    prefix: str
    version: str
    makes: bool = False
    before: str | None = ""

    def hash_of(self, entry: Entry) -> int | None:
        """What the trace knows ``entry`` by; None where that cannot be told."""
        if not self.makes:
            return hash_of(f"{self.prefix}\0{entry.key}") if entry.known else None
        if self.before is None or not entry.stored.startswith(self.before):
            return None
        made = entry.stored.removeprefix(self.before)
        if entry.known and made == default_key_func(entry.key, self.prefix, self.version):
            return hash_of(f"{self.prefix}\0{entry.key}")
        return hash_of(f"\0{made}")


class RecordedUses:
    """What the trace has of one cache, by ``now`` (Unix time)."""

    def __init__(self, names: Names, plan: Plan, state: State, now: float) -> None:
        self._names = names
        self.plan = plan
        self._state = state
        self._now = int(now * SECOND)
        self.stale_after = self.kept = 0.0
        self.tolerance = 0
        self.told_until = self._now
        """Until when all processes have told what they did."""
        self.seen_before: Mapping[int, int] = {}
        """Keys that are not in the record, and when that was first found."""
        self.unseen: dict[int, int] = {}
        """The same for those found so now."""
        self.doubtful: set[int] = set()
        """The keys of which what they did last was not gone through."""

    @property
    def since(self) -> float:
        """When the record begins, in Unix time."""
        return float(self._state.since)

    @property
    def share(self) -> int:
        """For how many keys each of those stands that :meth:`expected` goes by."""
        return 1 << self.plan.level

    def expected(self) -> Iterator[tuple[int, Entry]]:
        """The entries of the cache's own version that should be there by the record, each with its
        key's hash: those written, or found, and neither deleted nor expired since. Of a sample,
        without the keys that are in it for being hot: they stand for themselves alone."""
        for key in self._state.keys:
            if level_of(key) >= self.plan.level and self.plan.takes(key):
                entry = self.expected_entry(key)
                if entry is not None:
                    yield key, entry

    def expected_entry(self, key: int, version: str | None = None) -> Entry | None:
        """The entry of the key with this hash, of the cache's own version or another, if it should
        be there by the record."""
        state = self._state.keys.get(key)
        found = _version_of(state, version or self._names.version)
        if state is None or found is None or found.gone is not None or key in self.doubtful:
            return None
        before, _, name = state.name.rpartition("\0")
        if before == SHOWN:
            name = ""
        if name and not self._names.makes and before != self._names.prefix:
            return None
        latest = found.changes
        if len(latest) > 1:
            latest = found.history(self.tolerance).latest(len(latest))
        if not latest or any(not self._lasts(each) for each in latest):
            return None
        ends = {each.expires for each in latest}
        sure = ends.pop() if len(ends) == 1 else UNTOLD
        entry = Entry(
            name or state.group,
            None,
            expires_in=(sure - self._now) / SECOND if sure >= 0 else None,
            no_expiry=sure == NEVER,
            known=bool(name),
        )
        use = self.use_of(key, version or self._names.version)
        return self._with(entry, use, "sample" if self.plan.level else "whole")

    def expected_of(self, key: str, stored: str, version: int | None) -> Entry | None:
        """The entry of ``key``, which the cache makes ``stored`` of, if it should be there."""
        hashed = self._names.hash_of(Entry(key, None, stored=stored))
        if hashed is None:
            return None
        return self.expected_entry(hashed, None if version is None else str(version))

    def _lasts(self, change: EntryChange) -> bool:
        return change.kind in THERE and (change.expires < 0 or change.expires > self._now)

    def told(self, entry: Entry, version: str | None = None) -> Entry:
        """``entry``, of the cache's own version or another, with what is known of its uses."""
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
            # Somebody else wrote it since, or all that is known was before.
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
        """What is known of the entry of the key with this hash, which is there."""
        if key in self.doubtful or not self._state.since:
            return _UNKNOWN
        covered = max(self._state.since * SECOND, self._state.uncovered_until(key))
        found = self._state.keys.get(key)
        entry = _version_of(found, version)
        if entry is None:
            is_known = found is None or found.whole
            return self._not_on_record(key, covered) if is_known else _UNKNOWN
        latest = entry.changes
        if len(latest) > 1:
            latest = entry.history(self.tolerance).latest(len(latest))
        there = [change for change in latest if change.kind in THERE]
        if not there and not entry.read:
            return _UNKNOWN
        used = max(entry.read, *(change.ended for change in there), 0)
        if used < covered and self._now - used > self.stale_after * SECOND:
            return self._unused_since(covered)
        if not there or there[-1].ended < covered:
            return RecordedUse(idle_since=used)
        return RecordedUse(used, there[-1].ended, _written(there), self._is_unread(entry, there))

    def _not_on_record(self, key: int, covered: int) -> RecordedUse:
        at = self.seen_before.get(key, self._now)
        if len(self.unseen) < MOST_UNSEEN:
            self.unseen[key] = at
        if at > self.told_until:
            # Written a moment ago perhaps, by who has not told of it yet.
            return _UNKNOWN
        # Of keys that are long unused the trace forgets all.
        forgotten = self._state.until * SECOND - int(self.kept * SECOND)
        return self._unused_since(max(covered, forgotten))

    def _unused_since(self, at: int) -> RecordedUse:
        """It may have been used until then, which matters only if that is not long ago."""
        is_long = self._now - at > self.stale_after * SECOND
        return RecordedUse(idle_since=at) if is_long else _UNKNOWN

    def _is_unread(self, entry: VersionState, there: list[EntryChange]) -> bool | None:
        if all(_was_found(each, entry.read) for each in there):
            return False
        written = _written(there)
        if written is None or any(each.written == UNTOLD for each in there):
            return None
        if entry.found >= max(each.written for each in there):
            return False
        is_settled = there[-1].ended <= self.told_until
        return True if is_settled and entry.perhaps < min(e.written for e in there) else None


def _was_found(change: EntryChange, read: int) -> bool:
    """Whether what is there since ``change`` was found then, or was touched and ``read`` since."""
    return change.kind == HIT or (change.kind == TOUCH and read > change.ended)


def _version_of(found: KeyState | None, version: str) -> VersionState | None:
    if found is None:
        return None
    return next((each for each in found.versions if str(each.version) == version), None)


def _written(there: list[EntryChange]) -> int | None:
    """When the value came to be, to the second."""
    written = [change.written for change in there]
    is_known = UNTOLD not in written and max(written) - min(written) < SECOND
    return max(written) if is_known else None


class Teller(NamedTuple):
    """A process, by the name under which its calls are traced, and until when it has told the store
    of them."""

    process: str = ""
    told_at: float = 0.0


NOBODY = Teller()


def uses_of(alias: str, cache: Any, store: Store, own: Teller) -> RecordedUses | None:
    """What the trace in ``store`` has of ``cache``, known as ``alias``; ``own`` is this process.
    None where the store cannot be used, which it says elsewhere."""
    try:
        return _uses_of(alias, cache, store, own)
    except StoreError:
        return None


def _uses_of(alias: str, cache: Any, store: Store, own: Teller) -> RecordedUses:
    name = traced_as(alias, cache, own.process)
    conf, now = get_conf(), time.time()
    plan = traced.plans(store).get(family_of(name), Plan())
    name = plan.name_of(name)
    state = traced.state_of(store, name)
    rows = store.read(
        "trace", traced.FIRST, int(now) + traced.HOUR, name, seconds=traced.SLICE, of_processes=True
    )
    parts = [part for row in rows for part in traced.slices_of(row.payload)]
    uses = RecordedUses(_names_of(cache), plan, state, now)
    uses.stale_after, uses.kept = conf.stale_after, conf.trace_kept
    uses.tolerance = int(conf.clock_tolerance * SECOND)
    at_work = traced.at_work(state, parts, now)
    if at_work:
        told_at = own.told_at if at_work == {own.process} else 0.0
        uses.told_until = int(max(told_at, now - _settled(conf)) * SECOND)
    uses.doubtful = _catch_up(state, parts, 2 * conf.trace_keys, uses.tolerance)
    return uses


def _names_of(cache: Any) -> Names:
    own: Any = BaseCache.make_key
    is_own = getattr(type(cache), "make_key", own) is own
    makes = getattr(cache, "key_func", default_key_func) is not default_key_func or not is_own
    before: str | None = ""
    if isinstance(cache, FileBasedCache):
        before = None  # a file's name is a digest
    elif isinstance(cache, BaseMemcachedCache):
        given: Any = cache
        option = given._options.get("key_prefix", b"")
        before = option if isinstance(option, str) else bytes(option).decode()
    return Names(prefix_of(cache), version_of(cache), makes, before)


def _catch_up(state: State, parts: list[Stored], most_keys: int, tolerance: int) -> set[int]:
    """Bring ``state`` to what is known by now; the keys for which that is too much."""
    if sum(part.count for part in parts) > traced.MOST_REPLAYED:
        return {key.hash for part in parts for key in part.traced()}
    few = most_keys if any(part.level for part in parts) else inf
    level = level_for(parts, (few, traced.MOST_REPLAYED), state.plans, 0)
    replayed, left_out = [], set[int]()
    for part in parts:
        # That it is not final yet says nothing of its process.
        part.final = True
        kept = thinned(part, level, state.plans.get(part.plan, frozenset()))
        if kept is not part:
            left_out |= {key.hash for key in part.traced()} - {key.hash for key in kept.traced()}
        replayed.append(kept)
    Replay(state, tolerance).run(
        replayed, [], max((part.end for part in replayed), default=state.until)
    )
    return left_out


def _settled(conf: Conf) -> float:
    """Seconds after which every process has told what it did."""
    return 2 * conf.flush_interval + traced.SLICE
