"""Replay of the events of one version of one key."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from cache_monitor.stats.lifetimes import LifeStats
from cache_monitor.trace.events import (
    CLEAR,
    COMPUTE,
    HIT,
    MISS,
    NEVER,
    REFUSED,
    SECOND,
    SWEEP,
    THIS_KEY,
    TOUCH,
    UNTOLD,
    USE,
    WRITE,
    Event,
    Sweep,
    Version,
    takes,
)
from cache_monitor.trace.lives import Gone, Living, Rewritten, follow
from cache_monitor.trace.miss_reasons import (
    AFTER,
    BEFORE,
    HOST_TOLERANCE,
    THERE,
    UNSURE,
    EntryChange,
    TracedLookup,
    VersionHistory,
    relation,
)
from cache_monitor.trace.state import VersionState, kept

_MOST_SWEEPS = 16
"""After a write that are looked at: mostly the first one takes the entry away."""


class VersionReplay:
    """Replays the events of one version of a key."""

    def __init__(self, state: VersionState, tolerance: int) -> None:
        self._complete = state.complete
        self._tolerance = tolerance
        self._widest = max(tolerance, HOST_TOLERANCE)
        self._changes = list(state.changes)
        self._gone = state.gone
        self._read, self._found, self._perhaps = state.last_read, state.found, state.perhaps
        self._life = state.life
        self._written = state.written
        self._new: list[tuple[EntryChange, str, int]] = []
        self._sweeps: list[Sweep] = []
        self._later: list[Sweep] = []
        self.ahead: list[EntryChange] = []
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
                    EntryChange(
                        event.began, event.began, HIT, UNTOLD, UNTOLD, event.process, event.host
                    )._replace(order=event.order)
                )
                self.history = self._history(later)

    def follow(self, figures: Callable[[str, int], LifeStats | None], covered: int) -> None:
        """Follow the lives of its entries; what was not covered meanwhile has none."""
        life = self._life if self._life is not None and self._life.written >= covered else None
        self._living = Living(life, figures, self._tolerance)
        self._living.follow(self._new, [*self.asked, *self.used])

    def follow_values(self, figures: Rewritten, covered: int) -> None:
        """Count the values that were written anew, and whether they had changed."""
        before = self._written
        if before is not None and before.at < covered:
            before = None
        self._written = follow(before, self.made, figures)

    def missing(self, event: Event) -> Gone | None:
        """The life that a miss was the first to find ended."""
        return self._living.missing.get((event.process, event.order))

    def _history(self, later: list[EntryChange]) -> VersionHistory:
        return VersionHistory([*self._changes, *later], self._complete, self._tolerance)

    def _swept(
        self, sweeps: Sequence[Sweep], changes: Sequence[EntryChange], name: str
    ) -> list[EntryChange]:
        """What ``sweeps`` did to the entry: each concerns it only where it was there."""
        if not sweeps:
            return []
        sweeps = sorted(sweeps, key=lambda each: each.ended)
        ends = [each.ended for each in sweeps]
        longest = max(each.ended - each.began for each in sweeps)
        found: set[EntryChange] = set()
        for place, change in enumerate(changes):
            if change.kind in THERE or change.kind == REFUSED:
                first = bisect_left(ends, change.began - self._widest)
                made = [_swept_change(each, name) for each in sweeps[first : first + _MOST_SWEEPS]]
                after = changes[place + 1 :][:_MOST_SWEEPS]
                found.update(self._first_of(made, change, after, longest))
        return list(found)

    def _first_of(
        self,
        sweeps: Sequence[EntryChange],
        change: EntryChange,
        after: Sequence[EntryChange],
        longest: int,
    ) -> Iterator[EntryChange]:
        """Those of ``sweeps`` that may have taken away what ``change`` put there."""
        sure: EntryChange | None = None
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

    def _is_between(self, one: EntryChange, change: EntryChange, sweep: EntryChange) -> bool:
        tolerance = self._tolerance
        is_after = relation(one, change, tolerance) == AFTER
        return is_after and relation(one, sweep, tolerance) == BEFORE

    def _contradicts(self, event: Event) -> bool:
        """Whether a hit found what should not be there."""
        last, before, known = self.history.positions(asked_of(event))
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
        positions = self.history.positions(asked_of(event))
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

    def gone_between(self, asked: TracedLookup) -> tuple[int, int]:
        """Between when an entry went that was missed now, without a cause on record: since it was
        written, and until it was first missed."""
        last = self.history.positions(asked).last
        since = min(each.ended for each in last if each.kind in THERE)
        if self._gone is None or self._gone[0] < since:
            self._gone = asked.began, asked.ended
        return since, min(self._gone[0], asked.began)

    def state(self, version: Version, since: int) -> VersionState:
        """What is known after it."""
        history = VersionHistory(self._changes, self._complete, self._tolerance)
        changes, complete = kept(history, since)
        read = self._read, self._found, self._perhaps
        return VersionState(
            version,
            changes,
            complete,
            self._gone,
            *read,
            self._living.close(since),
            self._written,
        )


def asked_of(event: Event) -> TracedLookup:
    """The lookup of an event."""
    return TracedLookup(event.began, event.ended, event.process, event.host, event.order)


def _change(event: Event) -> EntryChange:
    form = event.form
    lasts = form.lasts
    expires = lasts if lasts in (NEVER, UNTOLD) else event.ended + lasts
    written = event.ended if form.kind == WRITE else UNTOLD
    return EntryChange(
        event.ended,
        event.began,
        form.kind,
        expires,
        written,
        event.process,
        event.host,
        event.order,
    )


def _aged(changes: list[EntryChange]) -> list[EntryChange]:
    """``changes`` in order; a value that was touched is as old as it was before."""
    written = UNTOLD
    for place, change in enumerate(changes):
        if change.kind == TOUCH and change.written == UNTOLD and written != UNTOLD:
            changes[place] = change._replace(written=written)
        written = changes[place].written if change.kind in THERE else UNTOLD
    return changes


def _swept_change(sweep: Sweep, name: str) -> EntryChange:
    kind = CLEAR
    if sweep.pattern is not None:
        kind = SWEEP if takes(sweep.pattern, name) else COMPUTE
    return EntryChange(
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
        event.began, event.ended, event.process, event.host, event.order, THIS_KEY, version
    )
