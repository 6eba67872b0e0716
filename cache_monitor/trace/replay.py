"""Why lookups missed, how old what they found was, and what was computed in vain: told from the
events of all processes, merged by time, and from what is known of the time before.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

from msgspec import structs

from cache_monitor.stats import histogram
from cache_monitor.stats.lives import LifeStats
from cache_monitor.trace.events import (
    CLEAR,
    COMPUTE,
    HIT,
    MISS,
    NEVER,
    SECOND,
    SWEEP,
    TOUCH,
    UNTOLD,
    USE,
    WRITE,
    Event,
    Key,
    Reason,
    Sweep,
    Version,
    thinned,
)
from cache_monitor.trace.evictions import why_gone
from cache_monitor.trace.history import (
    AFTER,
    BEFORE,
    GONE,
    HOST_TOLERANCE,
    THERE,
    UNSURE,
    Asked,
    Change,
    History,
    agreed,
    relation,
)
from cache_monitor.trace.lives import Gone, Living
from cache_monitor.trace.patterns import matches
from cache_monitor.trace.slices import Stored
from cache_monitor.trace.state import (
    EVERYTHING,
    MOST_READINGS,
    MOST_WAITING,
    NEAR,
    REMEMBERED,
    KeyState,
    State,
    VersionState,
    Waiting,
    kept,
)

PATIENCE = 600 * SECOND
"""How long a miss waits for what a backend says of its evictions."""
WINDOW, MINUTE = 10, 60
MOST_VERSIONS = 8
_MOST_SWEEPS = 16
"""After a write that are looked at: mostly the first one takes the entry away."""
_THIS_KEY = ""
"""The pattern of a delete of one key: it matches that, whatever it is called."""
_LEAST_OVERLAP = SECOND // 1000
"""What two computations must share to count as made at once."""


class Verdict(NamedTuple):
    """A miss and its reason. ``at`` is when the call ended; ``weight`` how many misses it stands
    for. ``name`` is empty where the key must not be kept."""

    alias: str
    group: str
    kind: str
    name: str
    at: int
    reason: Reason
    weight: int
    key: int = 0
    """The hash of the key."""


class Figures:
    """What is told of one group in one minute."""

    __slots__ = ("ages", "judged", "lives", "reasons", "seen", "stampedes")

    def __init__(self) -> None:
        self.reasons: dict[str, int] = {}
        self.seen = 0
        self.judged = 0
        self.ages: dict[int, int] = {}
        self.stampedes = 0
        self.lives: LifeStats | None = None

    def add(self, verdict: Verdict) -> None:
        """Count a miss: how many there were, those of known reason, and what they stand for."""
        self.reasons[verdict.reason] = self.reasons.get(verdict.reason, 0) + verdict.weight
        self.seen += 1
        self.judged += verdict.reason != "unknown"


class Told:
    """What a replay tells: figures by alias and window, by alias, minute and group, and reasons by
    alias, minute, key and group."""

    def __init__(self) -> None:
        self.windows: defaultdict[tuple[str, int], Figures] = defaultdict(Figures)
        self.groups: defaultdict[tuple[str, int, str, str], Figures] = defaultdict(Figures)
        self.keys: defaultdict[tuple[str, int, str, str], dict[str, int]] = defaultdict(dict)
        self.verdicts: list[Verdict] = []

    def add(self, verdict: Verdict) -> None:
        """Count a miss."""
        self.verdicts.append(verdict)
        at = verdict.at // SECOND
        minute = at // MINUTE * MINUTE
        self.windows[verdict.alias, at // WINDOW * WINDOW].add(verdict)
        if verdict.group:
            self.groups[verdict.alias, minute, verdict.group, verdict.kind].add(verdict)
            if verdict.name:
                reasons = self.keys[verdict.alias, minute, verdict.name, verdict.group]
                reasons[verdict.reason] = reasons.get(verdict.reason, 0) + 1

    def of_group(self, alias: str, at: int, state: KeyState) -> Figures | None:
        """The figures of the group of a key, where it is known."""
        if not state.group:
            return None
        minute = at // SECOND // MINUTE * MINUTE
        return self.groups[alias, minute, state.group, state.kind]

    def lives_of(self, state: KeyState, alias: str, at: int) -> LifeStats | None:
        """The same of the lives of its entries."""
        figures = self.of_group(alias, at, state)
        if figures is None:
            return None
        if figures.lives is None:
            figures.lives = LifeStats()
        return figures.lives


class Batch:
    """The events of several slices by key, and what concerns all keys."""

    def __init__(self, slices: Iterable[Stored], state: State) -> None:
        self.events: defaultdict[int, list[Event]] = defaultdict(list)
        self.keys: dict[int, Key] = {}
        self.sweeps: list[Sweep] = []
        self.count = 0
        for each in slices:
            self._add(each, state)
        self.sweeps.sort(key=lambda sweep: sweep.ended)

    def _add(self, part: Stored, state: State) -> None:
        keys = part.traced()
        level, events, sweeps = state.taken.get(_name(part), (part.level, 0, 0))
        if level != part.level:
            return  # It has let events go since: which of them were taken cannot be told.
        for key in keys:
            known = self.keys.get(key.hash)
            if known is None or (key.name and not known.name):
                self.keys[key.hash] = key
        hot = state.plans.get(part.plan, frozenset())
        for place, event in enumerate(part.events(keys, hot)):
            if place >= events:
                self.events[event.key].append(event)
                self.count += 1
        self.sweeps += list(part.swept())[sweeps:]


def _name(part: Stored) -> str:
    return f"{part.process}:{part.start}"


class Replay:
    """Replays slices onto ``state``, which changes; ``told`` is what comes out.

    ``tolerance`` is by how much the clocks of two hosts may differ, in microseconds. ``ahead`` are
    slices that will be replayed later: what they tell decides about misses just before them.
    """

    def __init__(self, state: State, tolerance: int) -> None:
        self.state = state
        self.told = Told()
        self.counts: dict[int, int] = {}
        """How many events each key had."""
        self._tolerance = tolerance
        self._readings = state.told()
        self._waiting: list[Waiting] = []

    def run(self, slices: Sequence[Stored], ahead: Sequence[Stored], until: int) -> Told:
        """Replay ``slices``; the state is then that of ``until`` (seconds)."""
        state = self.state
        state.since = state.since or min((part.start for part in slices), default=until)
        self._note_coverage(slices)
        self._readings = thinned(
            {*self._readings, *(each for part in slices for each in part.read())}, MOST_READINGS
        )
        for waiting in state.waiting:
            self._settle(waiting, until * SECOND)
        now, later = Batch(slices, state), Batch(ahead, state)
        state.until = max(state.until, until)
        since = state.until * SECOND - NEAR
        touched = now.events.keys()
        self.counts = {key: len(events) for key, events in now.events.items()}
        sweeps = now.sweeps + later.sweeps
        for key in state.keys.keys() | touched if sweeps else touched:
            before = state.keys.get(key)
            replayed = _KeyReplay(self, key, before, now.keys.get(key))
            replayed.take(now.events.get(key, ()), later.events.get(key, ()))
            replayed.sweep(now.sweeps, later.sweeps)
            state.keys[key] = replayed.run(since)
        for key in state.keys.keys() - touched:
            state.keys[key] = self._expired(state.keys[key], since)
        state.readings = [
            (each.at, each.evictions, each.boot, each.full) for each in self._readings
        ]
        state.waiting = self._waiting[-MOST_WAITING:]
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

    def judge(self, waiting: Waiting, until: int) -> None:
        """Tell why what should be there was not, now or when the backend has told."""
        self._settle(waiting, until)

    def _settle(self, waiting: Waiting, until: int) -> None:
        reason = why_gone(waiting.since, waiting.until, self._readings)
        if reason is None and waiting.at > until - PATIENCE:
            self._waiting.append(waiting)
            return
        self.told.add(
            Verdict(
                waiting.alias,
                waiting.group,
                waiting.kind,
                waiting.name,
                waiting.at,
                reason or "unknown",
                waiting.weight,
                waiting.key,
            )
        )
        if waiting.written != UNTOLD and reason in {"evicted", "lost"}:
            key = KeyState(waiting.group, waiting.kind)
            lives = self.told.lives_of(key, waiting.alias, waiting.at)
            if lives is not None:
                lasted = (waiting.at - waiting.written) / SECOND
                lives.end(reason, lasted, waiting.weight, waiting.is_unread)

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
                state.taken[_name(part)] = (part.level, *counts)
            else:
                state.taken.pop(_name(part), None)
        oldest = until - REMEMBERED // SECOND
        state.processes = {name: at for name, at in state.processes.items() if at > oldest}
        state.taken = {
            name: each
            for name, each in state.taken.items()
            if int(name.rpartition(":")[2]) > until - 4 * REMEMBERED // SECOND
        }


class _KeyReplay:
    """Replays the events of one key."""

    def __init__(self, replay: Replay, key: int, before: KeyState | None, named: Key | None):
        self._replay = replay
        self._told = replay.told
        self._key = key
        self._tolerance = replay._tolerance
        state = before or KeyState()
        self._state = KeyState(
            group=state.group or (named.group if named else ""),
            kind=state.kind if state.group or not named else named.kind,
            name=state.name or (named.name if named else ""),
            seen=state.seen,
            computed=state.computed,
            whole=state.whole,
        )
        self._versions: dict[Version, _VersionReplay] = {
            each.version: _VersionReplay(each, self._tolerance) for each in state.versions
        }

    def take(self, events: Iterable[Event], ahead: Iterable[Event]) -> None:
        """Take in what happened now, and what will have."""
        for event in events:
            self._version(event.form.version).take(event)
        for event in ahead:
            if event.form.kind not in (HIT, MISS, COMPUTE, USE):
                self._version(event.form.version).take_ahead(event)

    def _version(self, version: Version) -> "_VersionReplay":
        found = self._versions.get(version)
        if found is None:
            state = VersionState(version, [], complete=self._state.whole)
            found = self._versions[version] = _VersionReplay(state, self._tolerance)
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
        return sweep.version == version and _takes(sweep.pattern, self._state.name) is not False

    def run(self, since: int) -> KeyState:
        """Judge the misses and tell the ages; the state of the key after it."""
        covered = self._replay.state.uncovered_until(self._key)
        for replay in self._versions.values():
            replay.prepare(self._state.name)
            replay.follow(partial(self._told.lives_of, self._state), covered)
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

    def _hit(self, replay: "_VersionReplay", event: Event) -> None:
        written = replay.read(event)
        replay.hit(event)
        if written is not None:
            figures = self._told.of_group(event.form.alias, event.ended, self._state)
            if figures is not None:
                age = max(event.began - written, 0) / SECOND
                [bucket] = histogram.buckets_of([age])
                weight = event.times * event.weight
                figures.ages[bucket] = figures.ages.get(bucket, 0) + weight

    def _miss(self, version: Version, replay: "_VersionReplay", event: Event) -> None:
        asked = _asked(event)
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
                UNTOLD if life is None else life.written,
                life is not None and life.is_unread,
            )
            self._replay.judge(waiting, event.ended)
            return
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
            )
        )

    def _reason(self, version: Version, replay: "_VersionReplay", asked: Asked) -> str:
        history = replay.history
        uncovered = self._replay.state.uncovered_until(self._key)
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


class _VersionReplay:
    """Replays the events of one version of a key."""

    def __init__(self, state: VersionState, tolerance: int) -> None:
        self._complete = state.complete
        self._tolerance = tolerance
        self._widest = max(tolerance, HOST_TOLERANCE)
        self._changes = list(state.changes)
        self._gone = state.gone
        self._read, self._found, self._perhaps = state.read, state.found, state.perhaps
        self._life = state.life
        self._new: list[tuple[Change, str, int]] = []
        self._sweeps: list[Sweep] = []
        self._later: list[Sweep] = []
        self.ahead: list[Change] = []
        self.asked: list[Event] = []
        self.made: list[Event] = []
        self.used: list[Event] = []

    def events(self) -> Iterator[Event]:
        """All that happened now."""
        return chain(self.asked, self.made, self.used)

    def take(self, event: Event) -> None:
        """Take in an event."""
        kind = event.form.kind
        if kind == USE:
            self.used.append(event)
            return
        if kind in (HIT, MISS):
            self.asked.append(event)
            return
        self.made.append(event)
        if kind == SWEEP:
            self._sweeps.append(_own_sweep(event))
        elif kind != COMPUTE:
            change = _change(event)
            self._changes.append(change)
            self._new.append((change, event.form.alias, event.weight))

    def take_ahead(self, event: Event) -> None:
        """Take in an event that will be replayed later."""
        if event.form.kind == SWEEP:
            self._later.append(_own_sweep(event))
        else:
            self.ahead.append(_change(event))

    def sweep(self, sweeps: Sequence[Sweep], ahead: bool = False) -> None:
        """Take in what deleted many entries at once, this one perhaps."""
        (self._later if ahead else self._sweeps).extend(sweeps)

    def prepare(self, name: str) -> None:
        """Put everything in its order, with the writes that must have been besides."""
        self._changes.sort()
        swept = self._swept(self._sweeps, self._changes, name)
        self._new += [(each, "", 1) for each in swept]
        self._changes += swept
        self._changes = _aged(sorted(self._changes))
        later = self.ahead + self._swept(self._later, sorted(self._changes + self.ahead), name)
        self.history = self._history(later)
        for event in sorted((e for e in self.asked if e.form.kind == HIT), key=lambda e: e.began):
            if self._contradicts(event):
                self._changes.append(
                    Change(
                        event.began, event.began, HIT, UNTOLD, UNTOLD, event.process, event.host
                    )._replace(order=event.order)
                )
                self.history = self._history(later)

    def follow(self, figures: Callable[[str, int], LifeStats | None], covered: int) -> None:
        """Follow the lives of its entries; what was not covered meanwhile has none."""
        life = self._life if self._life is not None and self._life.written >= covered else None
        self._living = Living(life, figures, self._tolerance)
        self._living.follow(self._new, [*self.asked, *self.used])

    def missing(self, event: Event) -> Gone | None:
        """The life that a miss was the first to find ended."""
        return self._living.missing.get((event.process, event.order))

    def _history(self, later: list[Change]) -> History:
        return History([*self._changes, *later], self._complete, self._tolerance)

    def _swept(self, sweeps: Sequence[Sweep], changes: Sequence[Change], name: str) -> list[Change]:
        """What ``sweeps`` did to the entry: each concerns it only where it was there."""
        if not sweeps:
            return []
        sweeps = sorted(sweeps, key=lambda each: each.ended)
        ends = [each.ended for each in sweeps]
        longest = max(each.ended - each.began for each in sweeps)
        found: set[Change] = set()
        for place, change in enumerate(changes):
            if change.kind in THERE:
                first = bisect_left(ends, change.began - self._widest)
                made = [_swept_change(each, name) for each in sweeps[first : first + _MOST_SWEEPS]]
                after = changes[place + 1 :][:_MOST_SWEEPS]
                found.update(self._first_of(made, change, after, longest))
        return list(found)

    def _first_of(
        self, sweeps: Sequence[Change], change: Change, after: Sequence[Change], longest: int
    ) -> Iterator[Change]:
        """Those of ``sweeps`` that may have taken away what ``change`` put there."""
        sure: Change | None = None
        for sweep in sweeps:
            if sure is not None and sweep.ended - longest > sure.ended + self._widest:
                return
            order = relation(sweep, change, self._tolerance)
            if order == BEFORE or any(self._is_between(each, change, sweep) for each in after):
                continue
            if sure is None or relation(sweep, sure, self._tolerance) == UNSURE:
                yield sweep
            if sure is None and order == AFTER and sweep.kind != COMPUTE:
                sure = sweep

    def _is_between(self, one: Change, change: Change, sweep: Change) -> bool:
        tolerance = self._tolerance
        is_after = relation(one, change, tolerance) == AFTER
        return is_after and relation(one, sweep, tolerance) == BEFORE

    def _contradicts(self, event: Event) -> bool:
        """Whether a hit found what should not be there."""
        last, before, known = self.history.positions(_asked(event))
        if not known:
            return False
        if not last:
            return True
        return before > 0 and all(
            each.kind not in THERE
            or (each.expires >= 0 and each.expires + 2 * SECOND < event.began)
            for each in last
        )

    def read(self, event: Event) -> int | None:
        """Note that the entry was read, and which of the values written by then was found; when
        that was written, None where it is not known."""
        positions = self.history.positions(_asked(event))
        self._read = max(self._read, event.ended)
        written = positions.written()
        if written is not None:
            self._found = max(self._found, written)
        elif not positions.known:
            self._perhaps = max(self._perhaps, event.ended)
        else:
            found = (each.written for each in positions.last if each.kind in THERE)
            self._perhaps = max(self._perhaps, *found, 0)
        return written

    def hit(self, event: Event) -> None:
        """Note that the entry was there."""
        if self._gone is not None and event.ended > self._gone[1]:
            self._gone = None

    def gone_between(self, asked: Asked) -> tuple[int, int]:
        """Between when an entry went that was missed now, without a cause on record: since it was
        written, and until it was first missed."""
        last = self.history.positions(asked).last
        since = min(each.ended for each in last if each.kind in THERE)
        if self._gone is None or self._gone[0] < since:
            self._gone = asked.began, asked.ended
        return since, min(self._gone[0], asked.began)

    def state(self, version: Version, since: int) -> VersionState:
        """What is known after it."""
        history = History(self._changes, self._complete, self._tolerance)
        changes, complete = kept(history, since)
        read = self._read, self._found, self._perhaps
        return VersionState(
            version, changes, complete, self._gone, *read, self._living.close(since)
        )


def _asked(event: Event) -> Asked:
    return Asked(event.began, event.ended, event.process, event.host, event.order)


def _change(event: Event) -> Change:
    form = event.form
    lasts = form.lasts
    expires = lasts if lasts in (NEVER, UNTOLD) else event.ended + lasts
    written = event.ended if form.kind == WRITE else UNTOLD
    return Change(
        event.ended,
        event.began,
        form.kind,
        expires,
        written,
        event.process,
        event.host,
        event.order,
    )


def _aged(changes: list[Change]) -> list[Change]:
    """``changes`` in order; a value that was touched is as old as it was before."""
    written = UNTOLD
    for place, change in enumerate(changes):
        if change.kind == TOUCH and change.written == UNTOLD and written != UNTOLD:
            changes[place] = change._replace(written=written)
        written = changes[place].written if change.kind in THERE else UNTOLD
    return changes


def _swept_change(sweep: Sweep, name: str) -> Change:
    kind = CLEAR
    if sweep.pattern is not None:
        kind = SWEEP if _takes(sweep.pattern, name) else COMPUTE
    return Change(
        sweep.ended,
        sweep.began,
        kind,
        process=sweep.process,
        host=sweep.host,
        order=sweep.order,
    )


def _own_sweep(event: Event) -> Sweep:
    """A delete of one entry that may not have been there."""
    version = event.form.version
    return Sweep(
        event.began, event.ended, event.process, event.host, event.order, _THIS_KEY, version
    )


def _takes(pattern: str, name: str) -> bool | None:
    """Whether ``pattern`` matches the key, both with their prefix; None where that is unknown."""
    if pattern == _THIS_KEY:
        return True
    if not name:
        return None
    own, _, text = pattern.rpartition("\0")
    prefix, _, key = name.rpartition("\0")
    return prefix == own and matches(text, key)
