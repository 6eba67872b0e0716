"""Why lookups missed, how old what they found was, and what was computed in vain: told from the
events of all processes, merged by time, and from what is known of the time before.

The events of several slices by key, and what concerns all keys.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial

from msgspec import structs

from cache_monitor.stats.lifetimes import End
from cache_monitor.trace.events import MISS, SECOND, UNTOLD, Event, Key, Reason, Sweep, thinned
from cache_monitor.trace.key_replay import Around, KeyReplay
from cache_monitor.trace.lives import Living
from cache_monitor.trace.miss_reasons import cause_of, why_gone
from cache_monitor.trace.results import WINDOW, ReplayResult, Verdict
from cache_monitor.trace.slices import Stored
from cache_monitor.trace.state import (
    EVERYTHING,
    MOST_READINGS,
    MOST_WAITING,
    NEAR,
    REMEMBERED,
    KeyState,
    State,
    Waiting,
)


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
