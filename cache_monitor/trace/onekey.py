"""What happened to one key, one thing after the other, as far as slices tell of it."""

from collections.abc import Sequence
from typing import NamedTuple

from cache_monitor.stats.lives import LifeStats
from cache_monitor.trace.batch import Batch
from cache_monitor.trace.events import CLEAR, MISS, SECOND, SWEEP, Event, Reason, Sweep
from cache_monitor.trace.replay import Replay
from cache_monitor.trace.slices import Stored
from cache_monitor.trace.state import EVERYTHING, State
from cache_monitor.trace.version import takes


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
    batch = Batch(slices, state, only=key)
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
