"""What the trace tells of the newest minutes, which nobody has rolled up yet."""

from collections.abc import Hashable, Iterator
from hashlib import blake2b
from math import inf
from typing import NamedTuple

from cache_monitor.stores.base import Identity, Row, Store
from cache_monitor.stores.rows import (
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


class _Unrolled(NamedTuple):
    """What one store has that nobody has rolled up yet: slices to be replayed on ``state``, and
    those ``ahead`` that only show what came after. Of equal ``version`` the result is equal."""

    name: str
    state: State
    slices: list[StoredSlice]
    ahead: list[StoredSlice]
    is_all: bool
    is_doubtful: bool
    version: Hashable


def newer(store: Store, conf: TraceSettings, now: float) -> Iterator[Newer]:
    """What the trace tells that nobody has rolled up yet. Raises :class:`StoreError`.

    Where several processes use a store, what they did last is not there yet: misses of that time
    are told of later.
    """
    for each in _unrolled(store, conf, now):
        yield _replayed(each, conf)


def newer_rows(store: Store, conf: TraceSettings, now: float) -> list[Row]:
    """The same as rows of windows and details. Raises :class:`StoreError`."""
    found: dict[Identity, Row] = {}
    made: dict[str, tuple[Hashable, list[Row]]] = {}
    for each in _unrolled(store, conf, now):
        version, rows = _latest.rows.get(each.name, (None, []))
        if version != each.version:
            rows = _rows(_replayed(each, conf), conf)
        made[each.name] = each.version, rows
        found.update({row.identity: row for row in rows})
    _latest.rows = made
    return list(found.values())


class _Latest:
    """The rows that were made last, by the name of their store, and what they were made of: a page
    that is looked at again replays only what is new."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[Hashable, list[Row]]] = {}


_latest = _Latest()


def _rows(newer: Newer, conf: TraceSettings) -> list[Row]:
    process = replay_process(newer.name, -1)
    return [*newer.outbox, *rows_of(newer.result, process, conf.key_groups, final=False)]


def _unrolled(store: Store, conf: TraceSettings, now: float) -> Iterator[_Unrolled]:
    payloads: dict[str, list[bytes]] = {}
    for row in store.read("trace", FIRST, int(now) + HOUR, None, seconds=SLICE, of_processes=True):
        payloads.setdefault(row.alias, []).append(row.payload)
    stored = {
        name: [part for payload in own for part in slices_of(payload)]
        for name, own in payloads.items()
    }
    doubtful = doubtful_of(store, stored, plans(store), now).names
    for name, slices in stored.items():
        states = [row.payload for row in store.read("trace", STATE, STATE + 1, name)]
        payload = states[0] if states else b""
        state = remembered_state(payload)
        is_all = len(reporting_processes(state, slices, now)) < 2
        until = int(now) + HOUR if is_all else int(now) - conf.settled
        due = [each for each in slices if each.end <= until]
        ahead = [each for each in slices if each.end > until]
        is_doubtful = name in doubtful
        digest = blake2b(b"".join(sorted(payloads[name])) + payload).digest()
        version = digest, len(due), is_all, is_doubtful, conf
        yield _Unrolled(name, state, due, ahead, is_all, is_doubtful, version)


def _replayed(unrolled: _Unrolled, conf: TraceSettings) -> Newer:
    name, state, is_all = unrolled.name, unrolled.state.copy(), unrolled.is_all
    outbox = [row_of(each) for each in state.outbox]
    slices = [*unrolled.slices, *unrolled.ahead]
    if sum(each.count for each in slices) > MOST_REPLAYED:
        return Newer(name, ReplayResult(), False, outbox)
    # A process that had to drop keys says so by its level.
    most_keys = 2 * conf.limits.keys if any(each.level for each in slices) else inf
    level = level_for(slices, (most_keys, MOST_REPLAYED), state.plans, 0)
    due = sampled_slices(unrolled.slices, level, state)
    ahead = sampled_slices(unrolled.ahead, level, state)
    for each in due:
        # That it is not final yet says nothing of its process.
        each.final = True
    replay = Replay(state, int(conf.tolerance * 1e6))
    last = max((each.end for each in due), default=state.until)
    result = replay.skip(due, last) if unrolled.is_doubtful else replay.run(due, ahead, last)
    return Newer(name, result, is_all, outbox)
