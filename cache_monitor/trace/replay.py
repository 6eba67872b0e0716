"""Replay of the events of all processes in the order of time: the reasons of misses, the ages of
values that were found, lives of entries, stampedes.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from msgspec import structs

from cache_monitor.stats import histogram
from cache_monitor.stats.lifetimes import End
from cache_monitor.trace.codec import Stored
from cache_monitor.trace.events import (
    COMPUTE,
    HIT,
    MISS,
    SECOND,
    UNTOLD,
    USE,
    Event,
    Key,
    Reason,
    Sweep,
    Version,
    takes,
    thinned,
)
from cache_monitor.trace.lives import Living
from cache_monitor.trace.miss_reasons import GONE, TracedLookup, agreed, cause_of, why_gone
from cache_monitor.trace.state import (
    EVERYTHING,
    MOST_READINGS,
    MOST_WAITING,
    NEAR,
    REMEMBERED,
    WINDOW,
    KeyState,
    ReplayResult,
    State,
    Verdict,
    VersionState,
    Waiting,
)
from cache_monitor.trace.version_replay import VersionReplay, asked_of

MOST_VERSIONS = 8
_HOUR = 3600 * SECOND
_LEAST_OVERLAP = SECOND // 1000
"""What two computations must share to count as made at once."""


class Around(NamedTuple):
    """What the keys of one replay share. ``judge`` takes misses of entries that should have been
    there."""

    told: ReplayResult
    state: State
    tolerance: int
    judge: Callable[[Waiting, int], None]


class KeyReplay:
    """Replays the events of one key."""

    def __init__(self, around: Around, key: int, before: KeyState | None, named: Key | None):
        self._around = around
        self._told = around.told
        self._key = key
        self._tolerance = around.tolerance
        state = before or KeyState()
        self._state = KeyState(
            group=state.group or (named.group if named else ""),
            kind=state.kind if state.group or not named else named.kind,
            name=state.name or (named.name if named else ""),
            seen=state.seen,
            computed=state.computed,
            whole=state.whole,
            missed=state.missed,
        )
        self._versions: dict[Version, VersionReplay] = {
            each.version: VersionReplay(each, self._tolerance) for each in state.versions
        }

    def take(self, events: Iterable[Event], ahead: Iterable[Event]) -> None:
        """Take in what happened now, and what will have."""
        for event in events:
            self._version(event.form.version).take(event)
        for event in ahead:
            if event.form.kind not in (HIT, MISS, COMPUTE, USE):
                self._version(event.form.version).take_ahead(event)

    def _version(self, version: Version) -> VersionReplay:
        found = self._versions.get(version)
        if found is None:
            state = VersionState(version, [], complete=self._state.whole)
            found = self._versions[version] = VersionReplay(state, self._tolerance)
        return found

    def sweep(self, sweeps: Sequence[Sweep], ahead: Sequence[Sweep]) -> None:
        """Take in what deleted many entries at once."""
        if sweeps or ahead:
            for version, replay in self._versions.items():
                replay.sweep([each for each in sweeps if self._may_concern(each, version)])
                replay.sweep([each for each in ahead if self._may_concern(each, version)], True)

    def _may_concern(self, sweep: Sweep, version: Version) -> bool:
        if sweep.pattern is None:
            return True
        return sweep.version == version and takes(sweep.pattern, self._state.name) is not False

    def run(self, since: int) -> KeyState:
        """Judge the misses and tell the ages; the state of the key after it."""
        covered = self._around.state.uncovered_until(self._key)
        for replay in self._versions.values():
            replay.prepare(self._state.name)
            replay.follow(partial(self._told.lives_of, self._state), covered)
            replay.follow_values(partial(self._told.changes_of, self._state), covered)
        for version, replay in self._versions.items():
            for event in sorted(replay.asked, key=lambda each: each.ended):
                if event.form.kind == HIT:
                    self._hit(replay, event)
                else:
                    self._miss(version, replay, event)
            for event in replay.used:
                replay.read(event)
        self._count_stampedes()
        seen = [event.ended for each in self._versions.values() for event in each.events()]
        self._state.seen = max([self._state.seen, *(at // SECOND for at in seen)])
        versions = [each.state(version, since) for version, each in self._versions.items()]
        versions.sort(key=lambda each: each.changes[-1][0] if each.changes else 0)
        if len(versions) > MOST_VERSIONS:
            self._state.whole = False
        self._state.versions = versions[-MOST_VERSIONS:]
        return self._state

    def _hit(self, replay: VersionReplay, event: Event) -> None:
        written = replay.read(event)
        replay.hit(event)
        if written is not None:
            figures = self._told.of_group(event.form.alias, event.ended, self._state)
            if figures is not None:
                age = max(event.began - written, 0) / SECOND
                [bucket] = histogram.buckets_of([age])
                weight = event.times * event.weight
                figures.ages[bucket] = figures.ages.get(bucket, 0) + weight

    def _miss(self, version: Version, replay: VersionReplay, event: Event) -> None:
        asked = asked_of(event)
        spread = self._spread(event)
        reason = self._reason(version, replay, asked)
        if reason == GONE:
            since, until = replay.gone_between(asked)
            life = replay.missing(event)
            waiting = Waiting(
                since,
                until,
                event.ended,
                event.form.alias,
                self._state.group,
                self._state.kind,
                self._state.name,
                event.weight,
                self._key,
                spread,
                UNTOLD if life is None else life.written,
                life is not None and life.is_unread,
            )
            self._around.judge(waiting, event.ended)
            return
        lives = self._told.lives_of(self._state, event.form.alias, event.ended)
        if reason == "lost" and lives is not None:
            lives.lose("refused", event.weight)
        self._told.add(
            Verdict(
                event.form.alias,
                self._state.group,
                self._state.kind,
                self._state.name,
                event.ended,
                reason,  # type: ignore[arg-type]  # "gone" was dealt with
                event.weight,
                self._key,
                spread,
            )
        )

    def _spread(self, event: Event) -> int:
        """What a miss adds to the square of how many there are of the key in an hour: keys are in
        the trace with all their misses, or with none."""
        hour, before = event.ended // _HOUR, 0
        if hour <= self._state.missed[0]:
            hour, before = self._state.missed
        self._state.missed = hour, before + 1
        return event.weight * (event.weight - 1) * (2 * before + 1)

    def _reason(self, version: Version, replay: VersionReplay, asked: TracedLookup) -> str:
        history = replay.history
        uncovered = self._around.state.uncovered_until(self._key)
        if uncovered:
            last = history.positions(asked).last
            if any(each.ended < uncovered for each in last):
                return "unknown"
            if not last and asked.ended < uncovered + REMEMBERED:
                return "unknown"
        reason = agreed(history.reasons(asked))
        if reason != "never_set":
            return reason
        there = {
            each.history.there(asked)
            for other, each in self._versions.items()
            if other != version and each.history.changes
        }
        if True in there:
            return "version_changed"
        return "unknown" if None in there else "never_set"

    def _count_stampedes(self) -> None:
        made = [
            (event.began - event.computed, event.began, event)
            for replay in self._versions.values()
            for event in replay.made
            if event.computed
        ]
        made.sort(key=lambda each: each[:2])
        last = self._state.computed
        for began, ended, event in made:
            if last is not None:
                least = _LEAST_OVERLAP if last[2] == event.host else self._tolerance
                if min(last[1], ended) - max(last[0], began) > max(least, _LEAST_OVERLAP):
                    last = (min(last[0], began), max(last[1], ended), event.host)
                    figures = self._told.of_group(event.form.alias, event.ended, self._state)
                    if figures is not None:
                        figures.stampedes += event.weight
                    continue
            last = (began, ended, event.host)
        self._state.computed = last


class EventBatch:
    """What is in ``slices``, but for what ``state`` has of them already; of the key ``only``, where
    one is named."""

    def __init__(self, slices: Iterable[Stored], state: State, only: int | None = None) -> None:
        self._only = only
        self.events: defaultdict[int, list[Event]] = defaultdict(list)
        self.keys: dict[int, Key] = {}
        self.sweeps: list[Sweep] = []
        self.count = 0
        for each in slices:
            self._add(each, state)
        self.sweeps.sort(key=lambda sweep: sweep.ended)

    def _add(self, part: Stored, state: State) -> None:
        keys = part.traced()
        level, events, sweeps = state.taken.get(name_of(part), (part.level, 0, 0))
        if level != part.level:
            return  # It has let events go since: which of them were taken cannot be told.
        for key in keys:
            known = self.keys.get(key.hash)
            if known is None or (key.name and not known.name):
                self.keys[key.hash] = key
        self.sweeps += list(part.swept())[sweeps:]
        if self._only is not None and all(key.hash != self._only for key in keys):
            return
        hot = state.plans.get(part.plan, frozenset())
        for place, event in enumerate(part.events(keys, hot)):
            if place >= events and self._only in {None, event.key}:
                self.events[event.key].append(event)
                self.count += 1


def name_of(part: Stored) -> str:
    """What tells a slice from all others of its store."""
    return f"{part.process}:{part.start}"


PATIENCE = 600 * SECOND
"""How long a miss waits for what a backend says of its evictions."""


class Replay:
    """Replays slices onto ``state``, which changes; ``told`` is what comes out.

    ``tolerance`` is by how much the clocks of two hosts may differ, in microseconds. ``ahead`` are
    slices that will be replayed later: what they tell decides about misses just before them.
    ``only`` is the hash of a key, where nothing is wanted of others.
    """

    def __init__(self, state: State, tolerance: int, only: int | None = None) -> None:
        self.state = state
        self.told = ReplayResult()
        self.counts: dict[int, int] = {}
        """How many events each key had."""
        self._tolerance = tolerance
        self._only = only
        self._readings = state.told()
        self._waiting: list[Waiting] = []

    def run(self, slices: Sequence[Stored], ahead: Sequence[Stored], until: int) -> ReplayResult:
        """Replay ``slices``; the state is then that of ``until`` (seconds)."""
        state = self.state
        state.since = state.since or min((part.start for part in slices), default=until)
        self._note_coverage(slices)
        self._readings = thinned(
            {*self._readings, *(each for part in slices for each in part.read())}, MOST_READINGS
        )
        for waiting in state.waiting:
            self._settle(waiting, until * SECOND)
        now, later = (EventBatch(each, state, self._only) for each in (slices, ahead))
        state.until = max(state.until, until)
        since = state.until * SECOND - NEAR
        touched = now.events.keys()
        self.counts = {key: len(events) for key, events in now.events.items()}
        sweeps = now.sweeps + later.sweeps
        around = Around(self.told, state, self._tolerance, self._settle)
        for key in state.keys.keys() | touched if sweeps else touched:
            before = state.keys.get(key)
            replayed = KeyReplay(around, key, before, now.keys.get(key))
            replayed.take(now.events.get(key, ()), later.events.get(key, ()))
            replayed.sweep(now.sweeps, later.sweeps)
            state.keys[key] = replayed.run(since)
        for key in state.keys.keys() - touched:
            state.keys[key] = self._expired(state.keys[key], since)
        state.readings = self._readings
        state.waiting = self._waiting[-MOST_WAITING:]
        self._note_taken(slices, until)
        return self.told

    def pass_over(self, slices: Sequence[Stored], until: int) -> ReplayResult:
        """Take note of ``slices`` of which it is not known what they tell of: other processes may
        have done to their entries what is told elsewhere. Why lookups missed is unknown."""
        state = self.state
        batch = EventBatch(slices, state, self._only)
        state.since = state.since or min((part.start for part in slices), default=until)
        for event in (each for events in batch.events.values() for each in events):
            if event.form.kind == MISS:
                key = batch.keys[event.key]
                form, weight = event.form, event.weight
                self.told.add(
                    Verdict(
                        form.alias,
                        key.group,
                        key.kind,
                        key.name,
                        event.ended,
                        "unknown",
                        weight,
                        event.key,
                    )
                )
        for each in state.waiting:
            self._tell(each, "unknown")
        self.counts = {key: len(events) for key, events in batch.events.items()}
        state.until = max(state.until, until)
        told_to = max((part.end for part in slices), default=until)
        state.note_uncovered(EVERYTHING, told_to * SECOND + self._tolerance)
        state.keys, state.waiting = {}, []
        state.readings = thinned(
            {*state.readings, *(each for part in slices for each in part.read())}, MOST_READINGS
        )
        self._note_taken(slices, until)
        return self.told

    def _expired(self, state: KeyState, since: int) -> KeyState:
        """``state`` of a key that nobody used, without what has expired by ``since``."""
        if not any(each.life is not None and each.life.is_over(since) for each in state.versions):
            return state
        figures = partial(self.told.lives_of, state)
        versions = [
            structs.replace(each, life=Living(each.life, figures, self._tolerance).close(since))
            for each in state.versions
        ]
        return structs.replace(state, versions=versions)

    def _settle(self, waiting: Waiting, until: int) -> None:
        """Tell why what should be there was not, now or when the backend has told."""
        reason = why_gone(waiting.since, waiting.until, self._readings)
        if reason is None and waiting.at > until - PATIENCE:
            self._waiting.append(waiting)
            return
        self._tell(waiting, reason or "unknown")
        if reason in {"evicted", "lost"}:
            self._note_gone(waiting, reason)

    def _tell(self, waiting: Waiting, reason: Reason) -> None:
        self.told.add(
            Verdict(
                waiting.alias,
                waiting.group,
                waiting.kind,
                waiting.name,
                waiting.at,
                reason,
                waiting.weight,
                waiting.key,
                waiting.spread,
            )
        )

    def _note_gone(self, waiting: Waiting, reason: End) -> None:
        """Note what else is known of an entry that was gone."""
        group = KeyState(waiting.group, waiting.kind)
        lives = self.told.lives_of(group, waiting.alias, waiting.at)
        if lives is None:
            return
        if waiting.written != UNTOLD:
            lasted = (waiting.at - waiting.written) / SECOND
            lives.end(reason, lasted, waiting.weight, waiting.is_unread)
        cause = cause_of(waiting.since, waiting.until, self._readings)
        if reason == "lost" and cause is not None:
            lives.lose(cause.what, waiting.weight, cause.at / SECOND)

    def _note_coverage(self, slices: Sequence[Stored]) -> None:
        state = self.state
        for part in slices:
            end = part.end * SECOND
            state.note_uncovered(part.level, end)
            hot = state.plans.get(part.plan, frozenset())
            for key in state.uncovered_hot:
                if key not in hot:
                    state.uncovered_hot[key] = max(state.uncovered_hot[key], end)
            if part.gap or not part.final:
                # Of a process that died nobody knows what it did after it was last heard of.
                state.note_uncovered(EVERYTHING, end + (0 if part.final else WINDOW * SECOND))

    def _note_taken(self, slices: Sequence[Stored], until: int) -> None:
        state = self.state
        for part in slices:
            if part.ended:
                state.processes.pop(part.process, None)
            else:
                state.processes[part.process] = max(state.processes.get(part.process, 0), part.end)
            if not part.final:
                counts = len(list(part.events(part.traced(), frozenset()))), len(part.sweeps)
                state.taken[name_of(part)] = (part.level, *counts)
            else:
                state.taken.pop(name_of(part), None)
        oldest = until - REMEMBERED // SECOND
        state.processes = {name: at for name, at in state.processes.items() if at > oldest}
        state.taken = {
            name: each
            for name, each in state.taken.items()
            if int(name.rpartition(":")[2]) > until - 4 * REMEMBERED // SECOND
        }
