"""What the trace tells of the newest minutes, which nobody has rolled up yet."""

from collections.abc import Iterator, Sequence
from math import inf
from typing import NamedTuple

from cache_monitor.stores.base import Identity, Row, Store
from cache_monitor.stores.shared import (
    FIRST,
    HOUR,
    MOST_REPLAYED,
    SLICE,
    STATE,
    TraceSettings,
    doubtful_of,
    plans,
    remembered_state,
    replay_process,
    reporting_processes,
    row_of,
    rows_of,
    sampled_slices,
    slices_of,
)
from cache_monitor.trace.codec import StoredSlice, level_for
from cache_monitor.trace.replay import Replay
from cache_monitor.trace.state import ReplayResult, State


class Newer(NamedTuple):
    """The result of replaying what one store has that nobody has rolled up yet. ``is_all``: no
    other process may still report calls from before now. ``outbox``: rows of earlier results that
    may not be in the store yet."""

    name: str
    result: ReplayResult
    is_all: bool
    outbox: list[Row]


def newer(store: Store, conf: TraceSettings, now: float) -> Iterator[Newer]:
    """What the trace tells that nobody has rolled up yet. Raises :class:`StoreError`.

    Where several processes use a store, what they did last is not there yet: misses of that time
    are told of later.
    """
    slices: dict[str, list[StoredSlice]] = {}
    for row in store.read("trace", FIRST, int(now) + HOUR, None, seconds=SLICE, of_processes=True):
        slices.setdefault(row.alias, []).extend(slices_of(row.payload))
    doubtful = doubtful_of(store, slices, plans(store), now).names
    for name, own in slices.items():
        states = [row.payload for row in store.read("trace", STATE, STATE + 1, name)]
        state = remembered_state(states[0] if states else b"").copy()
        yield _replayed(name, state, own, conf, now, is_doubtful=name in doubtful)


def _replayed(
    name: str,
    state: State,
    parts: Sequence[StoredSlice],
    conf: TraceSettings,
    now: float,
    *,
    is_doubtful: bool,
) -> Newer:
    outbox = [row_of(each) for each in state.outbox]
    if sum(part.count for part in parts) > MOST_REPLAYED:
        return Newer(name, ReplayResult(), False, outbox)
    has_let_go = any(part.level for part in parts)
    few = 2 * conf.limits.keys if has_let_go else inf, MOST_REPLAYED
    parts = sampled_slices(parts, level_for(parts, few, state.plans, 0), state)
    is_all = len(reporting_processes(state, parts, now)) < 2
    until = int(now) + HOUR if is_all else int(now) - conf.settled
    due = [part for part in parts if part.end <= until]
    ahead = [part for part in parts if part.end > until]
    for part in due:
        # That it is not final yet says nothing of its process.
        part.final = True
    replay = Replay(state, int(conf.tolerance * 1e6))
    last = max((part.end for part in due), default=state.until)
    result = replay.skip(due, last) if is_doubtful else replay.run(due, ahead, last)
    return Newer(name, result, is_all, outbox)


def newer_rows(store: Store, conf: TraceSettings, now: float) -> list[Row]:
    """The same as rows of windows and details. Raises :class:`StoreError`."""
    found: dict[Identity, Row] = {}
    for each in newer(store, conf, now):
        process = replay_process(each.name, -1)
        result = rows_of(each.result, process, conf.key_groups, final=False)
        found.update({row.identity: row for row in (*each.outbox, *result)})
    return list(found.values())
