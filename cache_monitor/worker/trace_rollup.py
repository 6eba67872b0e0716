"""Replay the trace: each minute as it closes, in one of the processes.

What is told becomes rows of windows and details like those of a process, so that they are read,
merged and rolled up as those are. It counts once, wherever who does this is killed: the rows of the
minute go as the new state comes, in one step of the store, and what was told waits in that state
until the rows of it are there. These are first written as not final, which nobody rolls up.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import NamedTuple
from uuid import uuid4

from msgspec import structs

from cache_monitor.stats.codec import decode as decode_stats
from cache_monitor.stats.codec import encode
from cache_monitor.stats.details import Details
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Row, Store
from cache_monitor.stores.resolutions import MINUTE
from cache_monitor.stores.shared import (
    FIRST,
    HOUR,
    PLAN,
    SHARED,
    SLICE,
    STATE,
    TraceSettings,
    doubtful_of,
    plans,
    replay_process,
    row_of,
    rows_of,
    sampled_slices,
    slices_of,
    state_of,
)
from cache_monitor.trace.codec import StoredSlice, Unreadable, encode_slices, level_for, pack
from cache_monitor.trace.plan import (
    HOT_KEYS,
    Plan,
    TraceLimits,
    TraceUsage,
    base_name,
    next_level,
)
from cache_monitor.trace.replay import Replay
from cache_monitor.trace.state import (
    ClassifiedMiss,
    State,
    decode_state,
    encode_state,
)

PATIENCE = 60
"""Seconds for which a slice that its process has not finished is waited for."""
_HELD = 15.0
"""Seconds after which who was kept waiting leaves it to the next."""
_MUCH = 1.0
"""Seconds of CPU for which it was the work that took so long, not a process that was stopped."""
_HOT_FOR = 600


class _Due(NamedTuple):
    """The slices of one store: their rows, those to be replayed now, and those after them.
    ``is_doubtful`` says that these may not be all."""

    rows: list[Row]
    now: list[StoredSlice]
    ahead: list[StoredSlice]
    until: int
    is_doubtful: bool = False


def roll(store: Store, now: int, conf: TraceSettings) -> list[ClassifiedMiss]:
    """Replay the minutes that have closed by ``now``; why lookups missed in them. Raises
    :class:`StoreError`."""
    ends = time.monotonic() + _HELD
    rows = store.read("trace", FIRST, now + HOUR, None, seconds=SLICE, of_processes=True)
    known = plans(store)
    read = _by_store(rows)
    doubtful = _settled_doubt(store, _slices_in(read), known, now)
    families: dict[str, _Family] = {}
    for name, own in read.items():
        due = _due(own, now, conf.settled)
        if due is not None:
            family = base_name(name)
            plan = known.get(family, Plan())
            try:
                rolled = _roll(
                    store, name, due._replace(is_doubtful=name in doubtful), plan, conf, ends
                )
            except _TookTooLong as late:
                _put_plan(store, family, plan.following(late.level + 1), now)
                continue
            if rolled is not None:
                families.setdefault(family, _Family(plan.level)).add(*rolled)
    for family, what in families.items():
        made = what.plan(known.get(family, Plan()), now, conf.limits)
        if made is not None:
            _put_plan(store, family, made, now)
    if now // MINUTE % 10 == 0:
        _prune(store, now, conf.limits.kept)
    return [each for family in families.values() for each in family.misses]


class _TookTooLong(Exception):
    """What was due took longer than it may, at this level: the next one shall have less to do."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.level = level


class _Family:
    """What the stores of one plan took and told."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._uses: list[TraceUsage] = []
        self._counts: Counter[int] = Counter()
        self.misses: list[ClassifiedMiss] = []

    def add(self, use: TraceUsage, replay: Replay, level: int) -> None:
        """Add one that was replayed at ``level``."""
        self._level = max(self._level, level)
        self._uses.append(use)
        self._counts.update(replay.counts)
        self.misses += replay.result.misses

    def plan(self, plan: Plan, now: int, limits: TraceLimits) -> Plan | None:
        """The plan that follows ``plan``, if another does."""
        use = TraceUsage(
            sum(each.keys for each in self._uses),
            sum(each.events for each in self._uses),
            sum(each.bytes for each in self._uses),
            max(each.seconds for each in self._uses),
        )
        level = next_level(self._level, use, limits)
        is_stale = level > 0 and (not plan.hot or now % _HOT_FOR < MINUTE)
        # The first plan says as well that there is one: until then processes write but little.
        if plan.number and level == plan.level and not is_stale:
            return None
        hot = self._hottest(use.seconds * limits.events / 2) if level else ()
        return plan.following(level, frozenset(hot))

    def _hottest(self, most: float) -> Iterator[int]:
        """The hottest keys, with at most so many events: they are in at every level, and must
        leave room for others."""
        for key, count in self._counts.most_common(HOT_KEYS):
            most -= count
            if most < 0:
                return
            yield key


_Read = Sequence[tuple[Row, list[StoredSlice]]]
"""Rows with the slices in them; one that cannot be read has none."""


def _by_store(rows: Iterable[Row]) -> dict[str, _Read]:
    found: defaultdict[str, list[tuple[Row, list[StoredSlice]]]] = defaultdict(list)
    for row in rows:
        found[row.alias].append((row, slices_of(row.payload)))
    return dict(found)


def _slices_in(rows: Mapping[str, _Read]) -> dict[str, list[StoredSlice]]:
    return {name: [part for _, parts in own for part in parts] for name, own in rows.items()}


def _put_plan(store: Store, family: str, plan: Plan, now: int) -> None:
    store.put([Row("trace", SHARED, family, PLAN, 0, pack(plan))], now)


def _settled_doubt(
    store: Store, result: Mapping[str, Iterable[StoredSlice]], known: dict[str, Plan], now: int
) -> set[str]:
    """The stores that are doubtful; what was found out about their servers is in the plans then."""
    doubt = doubtful_of(store, result, known, now)
    for family in doubt.merged | doubt.split | doubt.shared:
        before = known.get(family, Plan())
        is_merged = (before.merged or family in doubt.merged) and family not in doubt.split
        shared_at = before.shared_at
        if family in doubt.shared and shared_at < now - HOUR // 2:
            shared_at = now
        known[family] = structs.replace(before, merged=is_merged, shared_at=shared_at)
        if known[family] != before:
            _put_plan(store, family, known[family], now)
    return doubt.names


def _due(rows: _Read, now: int, settled: int) -> _Due | None:
    """What is to be replayed; None where nothing is. Rows that cannot be read go with the rest."""
    until = (now - settled) // MINUTE * MINUTE
    for part in (each for _, parts in rows for each in parts):
        is_awaited = not part.final and now < part.end + settled + PATIENCE
        if is_awaited and part.end <= until:
            until = min(until, part.start // MINUTE * MINUTE)
    due = [row for row, _ in rows if row.start + row.seconds <= until]
    if not due:
        return None
    starts = {row.identity for row in due}
    now_parts = [part for row, parts in rows if row.identity in starts for part in parts]
    ahead = [part for row, parts in rows if row.identity not in starts for part in parts]
    return _Due(due, now_parts, ahead, until)


def _roll(
    store: Store, name: str, due: _Due, plan: Plan, conf: TraceSettings, ends: float
) -> tuple[TraceUsage, Replay, int] | None:
    """Replay ``due``, and bring what it tells to the store; what it took, and the level, or None
    where another process was quicker, or may be now."""
    began = time.thread_time()
    state = state_of(store, name)
    if state.outbox:
        _deliver(store, name, state)
    before = state.until or due.until - MINUTE
    level, due = _bounded(due, state, plan, conf.limits)
    replay = Replay(state, int(conf.tolerance * 1e6))
    if due.is_doubtful or (plan.merged and not state.until):
        result = replay.skip(due.now, due.until)
    else:
        result = replay.run(due.now, due.ahead, due.until)
    state.trim(plan, due.until - conf.limits.kept)
    state.serial += 1
    state.token = uuid4().hex
    process = replay_process(name, state.serial)
    state.outbox = list(rows_of(result, process, conf.key_groups, final=True))
    bundles = list(_bundles(store, name, due.now))
    row = Row("trace", SHARED, name, STATE, 0, encode_state(state))
    if time.monotonic() > ends:
        if time.thread_time() - began > _MUCH:
            raise _TookTooLong(level)
        return None
    store.replace(due.rows, [*bundles, row], int(time.time()))
    if state_of(store, name).token != state.token:
        return None
    _deliver(store, name, state)
    # All that was written for it. Of what was thinned the rows tell what was too much, not what
    # will be.
    slices = due.rows if level == plan.level else bundles
    size = sum(len(each.payload) for each in (*slices, *bundles, row))
    events = sum(replay.counts.values())
    keys = len(state.keys) or len(replay.counts)
    use = TraceUsage(keys, events, size, max(due.until - before, MINUTE))
    return use.times(_left_out(due.now, level)), replay, level


def _left_out(parts: Sequence[StoredSlice], level: int) -> float:
    """By how much there would have been more at ``level``: processes that know of no plan yet leave
    out keys of their own accord."""
    events = sum(part.count for part in parts)
    whole = sum(part.count << (0 if part.plan else max(part.level - level, 0)) for part in parts)
    return whole / events if events else 1.0


def _bounded(due: _Due, state: State, plan: Plan, limits: TraceLimits) -> tuple[int, _Due]:
    """As much of ``due`` as can be replayed in time and in a few megabytes, and the level that it
    has: who takes too long leaves it to the next, who would take as long."""
    # The plan that comes of it leaves keys out, but for the hottest, which show in all that there
    # is; a process that had to let keys go by itself has lost sight of those.
    has_let_go = any(part.level > plan.level for part in due.now)
    most = limits.keys if has_let_go else inf, 2 * MINUTE * limits.events
    level = level_for(due.now, most, state.plans, plan.level)
    now, ahead = sampled_slices(due.now, level, state), sampled_slices(due.ahead, level, state)
    return level, due._replace(now=now, ahead=ahead)


def _deliver(store: Store, name: str, state: State) -> None:
    """Bring what was told to the store. Until the state says that it is there nobody rolls it up:
    who does this once more writes the same rows."""
    now = int(time.time())
    rows = [row_of(each) for each in state.outbox]
    store.put([_open(row) for row in rows], now)
    state.outbox = []
    store.put([Row("trace", SHARED, name, STATE, 0, encode_state(state))], now)
    store.put(rows, now)


def _open(row: Row) -> Row:
    """``row`` as one that its process may still change."""
    if row.kind == "window":
        window = decode_stats(row.payload, Window)
        window.final = False
        return row._replace(payload=encode(window))
    details = decode_stats(row.payload, Details)
    details.final = False
    return row._replace(payload=encode(details))


def _bundles(store: Store, name: str, parts: Sequence[StoredSlice]) -> Iterator[Row]:
    """The slices of each minute in one row, with those that were there before."""
    minutes: defaultdict[int, list[StoredSlice]] = defaultdict(list)
    for part in parts:
        minutes[part.start // MINUTE * MINUTE].append(part)
    for start, those in minutes.items():
        before = [
            part
            for row in store.read("trace", start, start + 1, name, seconds=MINUTE)
            for part in slices_of(row.payload)
        ]
        yield Row("trace", SHARED, name, start, MINUTE, encode_slices([*before, *those]))


def _prune(store: Store, now: int, kept: int) -> None:
    """Remove what is older than ``kept`` seconds, and the states of stores that went with their
    processes."""
    old = list(store.read("trace", FIRST, now - kept, None))
    states = store.read("trace", STATE, STATE + 1, None)
    old += [row for row in states if "." in row.alias and _until(row.payload) < now - kept]
    if old:
        store.replace(old, [], now)


def _until(payload: bytes) -> int:
    try:
        return decode_state(payload).until
    except Unreadable:
        return 0
