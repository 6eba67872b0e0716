"""Replay what happened to one key: why lookups of it missed, how old what they found was, and what
was computed in vain."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from cache_monitor.stats import histogram
from cache_monitor.trace.events import (
    COMPUTE,
    HIT,
    MISS,
    SECOND,
    UNTOLD,
    USE,
    Event,
    Key,
    Sweep,
    Version,
)
from cache_monitor.trace.miss_reasons import GONE, TracedLookup, agreed
from cache_monitor.trace.results import ReplayResult, Verdict
from cache_monitor.trace.state import REMEMBERED, KeyState, State, VersionState, Waiting
from cache_monitor.trace.version_replay import VersionReplay, asked_of, takes

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
