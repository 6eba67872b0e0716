"""Replay of the events of all processes, in the order of time.

It finds the reasons of misses, the ages of the values that were found, how the lives of entries
ended, and stampedes.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import cast

from msgspec import structs

from cache_monitor.concurrency import Paced, no_pause
from cache_monitor.stats import sketches
from cache_monitor.stats.groups import End
from cache_monitor.trace import (
    COMPUTE,
    HIT,
    MISS,
    SECOND,
    UNKNOWN_TIME,
    USE,
    BulkDelete,
    Event,
    EvictionReading,
    Key,
    Version,
    latest_readings,
    takes,
)
from cache_monitor.trace.codec import StoredSlice
from cache_monitor.trace.miss_reasons import GONE, Reason, agreed_reason, loss_cause, why_gone
from cache_monitor.trace.state import (
    ALL_KEYS,
    MOST_WAITING,
    NEAR,
    REMEMBERED,
    UNREAD,
    WINDOW,
    ClassifiedMiss,
    KeyState,
    PendingMiss,
    ReplayResult,
    State,
    VersionState,
)
from cache_monitor.trace.version_replay import LifeTracker, VersionReplay

MOST_VERSIONS = 8
PATIENCE = 600 * SECOND
"""How long a miss waits for the backend's reading of its evictions."""
_HOUR = 3600 * SECOND
_KEYS_A_CHECK = 10
"""Keys that are replayed between two readings of the clock: less than a millisecond."""


class EventBatch:
    """The events of ``slices`` that ``state`` does not include yet: by key, and bulk deletes. If
    ``only`` is given, only the events of the key with this hash."""

    def __init__(
        self,
        slices: Collection[StoredSlice],
        state: State,
        only: int | None,
        pace: Callable[[], None] = no_pause,
    ) -> None:
        self._only = only
        self.events: defaultdict[int, list[Event]] = defaultdict(list)
        self.keys: dict[int, Key] = {}
        self.deletes: list[BulkDelete] = []
        for each in Paced(slices, pace, 1):
            self._add(each, state)
        self.deletes.sort(key=lambda delete: delete.ended)

    def counts(self) -> dict[int, int]:
        """The number of events of each key."""
        return {key: len(events) for key, events in self.events.items()}

    def _add(self, stored: StoredSlice, state: State) -> None:
        keys = stored.decode_keys()
        level, events, deletes = state.taken.get(_slice_id(stored), (stored.level, 0, 0))
        if level != stored.level:
            return  # Keys were dropped since: which events were replayed is unknown.
        for key in keys:
            known = self.keys.get(key.hash)
            if known is None or (key.name and not known.name):
                self.keys[key.hash] = key
        self.deletes += list(stored.bulk_deletes())[deletes:]
        if self._only is not None and all(key.hash != self._only for key in keys):
            return
        hot = state.plans.get(stored.plan, frozenset())
        for index, event in enumerate(stored.decode_events(keys, hot)):
            if index >= events and self._only in {None, event.key}:
                self.events[event.key].append(event)


def _slice_id(stored: StoredSlice) -> str:
    return f"{stored.process}:{stored.start}"


class Replay:
    """Replays slices onto ``state``, which it changes.

    ``tolerance`` is the greatest difference between the clocks of two hosts, in microseconds. If
    ``only`` is given, only the key with this hash is replayed. ``pace`` is called all the time.
    """

    def __init__(
        self,
        state: State,
        tolerance: int,
        only: int | None = None,
        pace: Callable[[], None] = no_pause,
    ) -> None:
        self.state = state
        self.tolerance = tolerance
        self.result = ReplayResult()
        self.counts: dict[int, int] = {}
        """The number of events of each key."""
        self._only = only
        self._pace = pace
        self._readings = state.readings
        self._pending: list[PendingMiss] = []

    def run(
        self, slices: Sequence[StoredSlice], later: Sequence[StoredSlice], until: int
    ) -> ReplayResult:
        """Replay ``slices``; the state is then that of ``until`` (seconds). ``later`` will be
        replayed another time: their changes matter for the misses just before them."""
        state = self.state
        state.since = state.since or min((each.start for each in slices), default=until)
        self._note_coverage(slices)
        self._readings = _readings_with(state, slices)
        for miss in state.pending:
            self.classify(miss, until * SECOND)
        batch, later_batch = (
            EventBatch(each, state, self._only, self._pace) for each in (slices, later)
        )
        state.until = max(state.until, until)
        since = state.until * SECOND - NEAR
        used = batch.events.keys()
        self.counts = batch.counts()
        has_deletes = batch.deletes or later_batch.deletes
        replayed = state.keys.keys() | used if has_deletes else used
        for key in Paced(replayed, self._pace, _KEYS_A_CHECK):
            replay = KeyReplay(self, key, batch.keys.get(key))
            replay.add(batch.events.get(key, ()), later_batch.events.get(key, ()))
            replay.add_bulk_deletes(batch.deletes, later_batch.deletes)
            state.keys[key] = replay.run(since)
        for key in Paced(state.keys.keys() - used, self._pace):
            state.keys[key] = self._without_expired(state.keys[key], since)
        state.readings = self._readings
        state.pending = self._pending[-MOST_WAITING:]
        self._note_taken(slices, until)
        return self.result

    def skip(self, slices: Sequence[StoredSlice], until: int) -> ReplayResult:
        """Count the misses of ``slices`` as of unknown reason: calls of other processes to the same
        entries may be missing from them."""
        state = self.state
        batch = EventBatch(slices, state, self._only, self._pace)
        state.since = state.since or min((each.start for each in slices), default=until)
        for event in (each for events in batch.events.values() for each in events):
            if event.call.kind == MISS:
                self.result.add(_unexplained(event, batch.keys[event.key]))
        for miss in state.pending:
            self.result.add(miss.miss)
        self.counts = batch.counts()
        state.until = max(state.until, until)
        end = max((each.end for each in slices), default=until)
        state.note_uncovered(ALL_KEYS, end * SECOND + self.tolerance)
        state.keys, state.pending = {}, []
        state.readings = _readings_with(state, slices)
        self._note_taken(slices, until)
        return self.result

    def _without_expired(self, key: KeyState, since: int) -> KeyState:
        """The state of an unused key, without the lives that expired by ``since``."""
        if not any(each.life is not None and each.life.is_over(since) for each in key.versions):
            return key
        stats_at = partial(self.result.life_stats, key)
        versions = [
            structs.replace(
                each, life=LifeTracker(each.life, stats_at, self.tolerance).life_at(since)
            )
            for each in key.versions
        ]
        return structs.replace(key, versions=versions)

    def classify(self, pending: PendingMiss, until: int) -> None:
        """Find the reason of a miss of an entry that should be there, now or when the backend has
        said more."""
        reason = why_gone(pending.since, pending.until, self._readings)
        if reason is None and pending.miss.at > until - PATIENCE:
            self._pending.append(pending)
            return
        self.result.add(structs.replace(pending.miss, reason=reason or "unknown"))
        if reason in {"evicted", "lost"}:
            self._end_life(pending, reason)

    def _end_life(self, pending: PendingMiss, reason: End) -> None:
        """Count the life of the entry that was missed."""
        miss = pending.miss
        group = KeyState(miss.group, miss.kind)
        lives = self.result.life_stats(group, miss.alias, miss.at)
        if lives is None:
            return
        if pending.written != UNKNOWN_TIME:
            lasted = (miss.at - pending.written) / SECOND
            lives.end(reason, lasted, miss.weight, pending.is_unread)
        loss = loss_cause(pending.since, pending.until, self._readings)
        if reason == "lost" and loss is not None:
            lives.lose(loss.cause, miss.weight, loss.at / SECOND)

    def _note_coverage(self, slices: Sequence[StoredSlice]) -> None:
        state = self.state
        for each in slices:
            end = each.end * SECOND
            state.note_uncovered(each.level, end)
            hot = state.plans.get(each.plan, frozenset())
            for key in state.uncovered_hot:
                if key not in hot:
                    state.uncovered_hot[key] = max(state.uncovered_hot[key], end)
            if each.gap or not each.final:
                # What a process did after its last report, before it died, is unknown.
                state.note_uncovered(ALL_KEYS, end + (0 if each.final else WINDOW * SECOND))

    def _note_taken(self, slices: Sequence[StoredSlice], until: int) -> None:
        state = self.state
        for each in slices:
            if each.ended:
                state.processes.pop(each.process, None)
            else:
                state.processes[each.process] = max(state.processes.get(each.process, 0), each.end)
            if not each.final:
                state.taken[_slice_id(each)] = each.level, each.count, len(each.deletes)
            else:
                state.taken.pop(_slice_id(each), None)
        oldest = until - REMEMBERED // SECOND
        state.processes = {name: at for name, at in state.processes.items() if at > oldest}
        state.taken = {
            slice_id: counts
            for slice_id, counts in state.taken.items()
            if int(slice_id.rpartition(":")[2]) > until - 4 * REMEMBERED // SECOND
        }


def _readings_with(state: State, slices: Iterable[StoredSlice]) -> list[EvictionReading]:
    readings = {*state.readings, *(reading for each in slices for reading in each.readings)}
    return latest_readings(readings)


class KeyReplay:
    """The part of ``replay`` that concerns one key. ``recorded``: the key as its slices have it."""

    def __init__(self, replay: Replay, key: int, recorded: Key | None) -> None:
        self._replay = replay
        self._result = replay.result
        self._key = key
        before = replay.state.keys.get(key) or KeyState()
        recorded = recorded or Key(key, kind=before.kind)
        self._state = structs.replace(
            before,
            group=before.group or recorded.group,
            kind=before.kind if before.group else recorded.kind,
            name=before.name or recorded.name,
        )
        self._versions: dict[Version, VersionReplay] = {
            each.version: VersionReplay(each, replay.tolerance) for each in before.versions
        }

    def add(self, events: Iterable[Event], later: Iterable[Event]) -> None:
        """Add the events of this replay, and later ones."""
        for event in events:
            self._version(event.call.version).add(event)
        for event in later:
            if event.call.kind not in (HIT, MISS, COMPUTE, USE):
                self._version(event.call.version).add_later(event)

    def _version(self, version: Version) -> VersionReplay:
        found = self._versions.get(version)
        if found is None:
            state = VersionState(version, [], complete=self._state.whole)
            found = self._versions[version] = VersionReplay(state, self._replay.tolerance)
        return found

    def add_bulk_deletes(self, now: Sequence[BulkDelete], later: Sequence[BulkDelete]) -> None:
        """Add the bulk deletes of this replay, and later ones."""
        if now or later:
            for version, replay in self._versions.items():
                replay.add_bulk_deletes(
                    [each for each in now if self._may_concern(each, version)],
                    [each for each in later if self._may_concern(each, version)],
                )

    def _may_concern(self, delete: BulkDelete, version: Version) -> bool:
        if delete.pattern is None:
            return True
        return delete.version == version and takes(delete.pattern, self._state.name) is not False

    def run(self, since: int) -> KeyState:
        """Replay the events; returns the state after it."""
        covered = self._replay.state.uncovered_until(self._key)
        for replay in self._versions.values():
            replay.build_history(self._state.name)
            replay.count_lives(partial(self._result.life_stats, self._state), covered)
            replay.count_rewrites(partial(self._result.change_stats, self._state), covered)
            replay.count_stampedes(partial(self._result.group_stats, self._state))
        for version, replay in self._versions.items():
            for event in sorted(replay.lookups, key=lambda each: each.ended):
                if event.call.kind == HIT:
                    self._hit(replay, event)
                else:
                    self._miss(version, replay, event)
            for event in replay.uses:
                replay.note_read(event)
        seen = [event.ended for each in self._versions.values() for event in each.events()]
        self._state.seen = max([self._state.seen, *(at // SECOND for at in seen)])
        versions = [each.state(since) for each in self._versions.values()]
        versions.sort(key=lambda each: each.changes[-1].ended if each.changes else 0)
        if len(versions) > MOST_VERSIONS:
            self._state.whole = False
        self._state.versions = versions[-MOST_VERSIONS:]
        return self._state

    def _hit(self, replay: VersionReplay, event: Event) -> None:
        written = replay.note_read(event)
        replay.note_hit(event)
        if written is not None:
            stats = self._result.group_stats(self._state, event.call.alias, event.ended)
            if stats is not None:
                age = max(event.began - written, 0) / SECOND
                [bucket] = sketches.buckets_of([age])
                weight = event.times * event.weight
                stats.ages[bucket] = stats.ages.get(bucket, 0) + weight

    def _miss(self, version: Version, replay: VersionReplay, event: Event) -> None:
        key = self._state
        miss = _unexplained(event, key, self._variance(event))
        reason = self._reason(version, replay, event)
        if reason == GONE:
            since, until = replay.gone_between(event)
            pending = PendingMiss(since, until, miss)
            if (life := replay.life_ended_by(event)) is not None:
                pending.written, pending.is_unread = life.written, life.read == UNREAD
            self._replay.classify(pending, event.ended)
            return
        lives = self._result.life_stats(key, miss.alias, miss.at)
        if reason == "lost" and lives is not None:
            lives.lose("refused", miss.weight)
        self._result.add(structs.replace(miss, reason=cast("Reason", reason)))

    def _variance(self, miss: Event) -> int:
        """What a miss adds to the square of its key's misses in an hour: a key is traced with all
        of its misses, or with none."""
        hour, before = miss.ended // _HOUR, 0
        if hour <= self._state.missed[0]:
            hour, before = self._state.missed
        self._state.missed = hour, before + 1
        return miss.weight * (miss.weight - 1) * (2 * before + 1)

    def _reason(self, version: Version, replay: VersionReplay, lookup: Event) -> str:
        history = replay.history
        uncovered = self._replay.state.uncovered_until(self._key)
        if uncovered:
            last = history.positions(lookup).last
            if any(each.ended < uncovered for each in last):
                return "unknown"
            if not last and lookup.ended < uncovered + REMEMBERED:
                return "unknown"
        reason = agreed_reason(history.reasons(lookup))
        if reason != "never_set":
            return reason
        others = {
            each.history.is_there(lookup)
            for other, each in self._versions.items()
            if other != version and each.history.changes
        }
        if True in others:
            return "version_changed"
        return "unknown" if None in others else "never_set"


def _unexplained(event: Event, key: Key | KeyState, variance: int = 0) -> ClassifiedMiss:
    """A miss, its reason unknown so far."""
    return ClassifiedMiss(
        event.call.alias,
        key.group,
        key.kind,
        key.name,
        event.ended,
        "unknown",
        event.weight,
        event.key,
        variance,
    )
