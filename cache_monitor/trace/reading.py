"""The events that a store's trace has of a period, or of one key."""

from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import NamedTuple

from cache_monitor.stats.lifetimes import LifeStats
from cache_monitor.trace.events import (
    CLEAR,
    HIT,
    MISS,
    SECOND,
    SWEEP,
    Event,
    Form,
    Reason,
    Sweep,
    level_of,
)
from cache_monitor.trace.replay import EventBatch, Replay
from cache_monitor.trace.slices import Stored
from cache_monitor.trace.state import EVERYTHING, State
from cache_monitor.trace.version_replay import takes


class Traced(NamedTuple):
    """What is known of one cache, or of one process's where each has its own.

    ``groups`` are those of the keys, by their hashes. ``share`` of the keys is in, the hottest
    apart, which always are. Where several aliases have their entries in one place, ``alias`` is the
    one whose lookups are meant; empty for all.
    """

    events: list[Event]
    groups: dict[int, str]
    share: float
    alias: str = ""

    def lookups(self, since: float = -inf) -> Iterator[Event]:
        """The lookups that are meant, from ``since`` (Unix time) on."""
        return (
            each
            for each in self.events
            if each.form.kind in {HIT, MISS}
            and each.began / 1e6 >= since
            and self.alias in {"", each.form.alias}
        )

    def of(self, alias: str) -> "Traced":
        """What concerns the entries of ``alias``."""
        own = {each.key for each in self.events if each.form.alias == alias}
        return Traced(
            # What concerns all entries has no key.
            [each for each in self.events if not each.key or each.key in own],
            {key: group for key, group in self.groups.items() if key in own},
            self.share,
            alias,
        )


def traced(slices: Iterable[Stored], hot: frozenset[int], since: float, until: float) -> Traced:
    """The events between ``since`` and ``until`` (Unix time) in ``slices``, in which a key is with
    all of its events or not at all: where their levels differ, at the highest."""
    parts = list(slices)
    level = max((part.level for part in parts), default=0)
    events: list[Event] = []
    groups: dict[int, str] = {}
    for part in parts:
        keys = part.traced()
        kept = {
            key.hash: key.group for key in keys if level_of(key.hash) >= level or key.hash in hot
        }
        groups.update(kept)
        for event in part.events(keys, hot):
            if event.key in kept:
                weight = 1 if event.key in hot else 1 << level
                events.append(event._replace(weight=weight))
        for sweep in part.swept():
            if sweep.pattern is None:
                form = Form(CLEAR, "", sweep.version)
                events.append(Event(0, form, sweep.began, sweep.ended, 0, 0, sweep.order))
    return Traced(
        sorted(
            (each for each in events if since <= each.began / 1e6 < until),
            key=lambda each: (each.began, each.order),
        ),
        groups,
        1 / (1 << level),
    )


class Moment(NamedTuple):
    """Something that was done to a key, or found: ``kind`` is that of an event. ``at`` is when it
    ended, ``lasts`` the time to the expiry of what was written, both in microseconds. ``times`` is
    more than one where it was found again and again. ``process`` is the name of who did it;
    ``view`` is the view that wrote or deleted it, where that is known."""

    at: int
    kind: int
    process: str
    host: int
    version: str
    lasts: int
    times: int = 1
    computed: int = 0
    reason: Reason | None = None
    view: str = ""


class OneKey(NamedTuple):
    """What is told of one key; the moments ascending."""

    moments: list[Moment]
    lives: LifeStats


def one_key(slices: Sequence[Stored], key: int, name: str, tolerance: int) -> OneKey:
    """What ``slices`` tell of the key with this hash and name. What was before is not known."""
    state = State()
    state.note_uncovered(EVERYTHING, min((part.start for part in slices), default=0) * SECOND)
    replay = Replay(state, tolerance, only=key)
    until = max((part.end for part in slices), default=0)
    for part in slices:
        # That it is not final yet says nothing of its process.
        part.final = True
    batch = EventBatch(slices, state, only=key)
    # A later time brings out what else waits for an answer.
    told = replay.run(slices, (), until)
    reasons = {(each.at, each.alias): each.reason for each in told.verdicts}
    who = {part.who: part.process for part in slices}
    found = [_moment(each, who, reasons) for each in batch.events.get(key, ())]
    found += [_swept(each, who) for each in batch.sweeps if _concerns(each, name)]
    lives = LifeStats()
    for figures in told.groups.values():
        if figures.lives is not None:
            lives.merge(figures.lives)
    return OneKey(sorted(found), lives)


def _moment(event: Event, who: dict[int, str], reasons: dict[tuple[int, str], Reason]) -> Moment:
    form = event.form
    reason = None
    if form.kind == MISS:
        reason = reasons.get((event.ended, form.alias), "unknown")
    return Moment(
        event.ended,
        form.kind,
        who.get(event.process, ""),
        event.host,
        str(form.version),
        form.lasts,
        event.times,
        event.computed,
        reason,
        event.view,
    )


def _concerns(sweep: Sweep, name: str) -> bool:
    return sweep.pattern is None or takes(sweep.pattern, name) is True


def _swept(sweep: Sweep, who: dict[int, str]) -> Moment:
    kind = CLEAR if sweep.pattern is None else SWEEP
    return Moment(sweep.ended, kind, who.get(sweep.process, ""), sweep.host, "", 0)
