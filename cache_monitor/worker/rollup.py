"""Roll-ups, in one process for all: of statistics into longer buckets, and of the trace.

Statistics are kept fine while they are young and coarser as they age; on the way the processes are
merged, because nobody asks which worker of last week it was. Rows are merged, not averaged, so
every count stays exact. Rows that arrive late, from a process that could not reach its store, are
merged into what was rolled up before.

The trace is replayed, each minute as it closes. The results become rows of windows and details like
those of a process, and are read, merged and rolled up with them. Each minute counts once, even if
the process is killed at any point: in one step of the store the rows of the minute are replaced by
the new state, whose outbox has the results until their rows are in the store. Those rows are first
written as not final, so that nobody rolls them up.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import NamedTuple
from uuid import uuid4

from msgspec import structs

from cache_monitor.concurrency import Paced, no_pause
from cache_monitor.keys.naming import learned_group
from cache_monitor.stats.codec import CorruptPayload, compress, decode, encode
from cache_monitor.stats.details import Details, DetailsMerge, DetailsState, StoredDetails
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Row, Store, session
from cache_monitor.stores.rows import (
    ABANDONED_AFTER,
    FIRST,
    HOUR,
    KEYS_KEPT,
    MERGED,
    MINUTE,
    PLAN,
    SETTLED,
    SHARED,
    SLICE,
    STATE,
    STEPS,
    YOUNG,
    Resolution,
    TraceSettings,
    doubtful_of,
    merged_windows,
    plans,
    replay_process,
    row_of,
    rows_of,
    sampled_slices,
    slices_of,
    state_of,
)
from cache_monitor.trace import HOT_KEYS, Plan, TraceLimits, TraceUsage, base_name, next_level
from cache_monitor.trace.codec import StoredSlice, encode_slices, level_for
from cache_monitor.trace.replay import Replay
from cache_monitor.trace.state import ClassifiedMiss, State

Name = tuple[str, int]


def roll_up(
    store: Store, now: int, settled: int = SETTLED, pace: Callable[[], None] = no_pause
) -> None:
    """Roll up everything that is old enough at ``now`` (Unix time). ``pace`` is called all the
    time, outside of the store's transactions. Raises :class:`StoreError`."""
    with session(store):
        for step in STEPS:
            _roll_step(store, step._replace(age=max(step.age, settled)), 0, now, pace)


def merge_processes(
    store: Store, now: int, settled: int = SETTLED, pace: Callable[[], None] = no_pause
) -> None:
    """Merge what several processes did in the buckets that are just over at ``now`` (Unix
    time): far less work than :func:`roll_up`. Raises :class:`StoreError`."""
    with session(store):
        for step in STEPS:
            if step.fine == step.coarse:
                _roll_step(store, step._replace(age=settled), now - YOUNG, now, pace)


def _roll_step(
    store: Store, step: Resolution, since: int, now: int, pace: Callable[[], None]
) -> None:
    """Whole buckets only, so that a bucket is rolled up once."""
    end = (now - step.age) // step.coarse * step.coarse
    fine: defaultdict[Name, list[Row]] = defaultdict(list)
    # Where the length stays, what is merged is done.
    of_processes = step.fine == step.coarse
    found = store.read(step.kind, since, end, None, seconds=step.fine, of_processes=of_processes)
    # All of them first: a store may hold something while it reads.
    for row in Paced([*found], pace, 1):
        if _is_settled(row, now):
            fine[row.alias, row.start // step.coarse * step.coarse].append(row)
    for (alias, start), rows in fine.items():
        before = [
            row
            for row in store.read(step.kind, start, start + 1, alias, seconds=step.coarse)
            if row.process == MERGED
        ]
        merged = _merged(step, start, Paced([*before, *rows], pace, 1))
        if merged is not None:
            row = Row(step.kind, MERGED, alias, start, step.coarse, encode(merged))
            # By the time that they tell of: rolled up again and again they would never be old.
            store.replace(rows, [row], min(now, start + step.coarse))


def _is_settled(row: Row, now: int) -> bool:
    """Whether the row will not be written again: its process says so, or has ended.

    A process that could not reach its store writes the whole row once it can. Were half of it
    rolled up by then, that half would count twice.
    """
    if row.process == MERGED or row.start + row.seconds < now - ABANDONED_AFTER:
        return True
    try:
        if row.kind == "window":
            return decode(row.payload, Window).final
        return decode(row.payload, DetailsState).final
    except CorruptPayload:
        return True


def _merged(step: Resolution, start: int, rows: Iterable[Row]) -> Window | Details | None:
    """The parts in one; what cannot be read is left out, as it would be from a report."""
    if step.kind == "window":
        return merged_windows(start, step.coarse, rows)[0]
    merging: DetailsMerge | None = None
    for row in rows:
        try:
            part = decode(row.payload, StoredDetails)
        except CorruptPayload:
            continue
        if merging is None:
            merging = DetailsMerge(start, step.coarse, part.group_limit, learned_group)
        merging.add(part)
    return None if merging is None else merging.whole(KEYS_KEPT[step.coarse])


# The trace

PATIENCE = 60
"""Seconds for which a slice is awaited that its process has not finished."""
_TIME_LIMIT = 15.0
"""Seconds after which a process leaves the work to the next."""
_MOST_CPU = 1.0
"""Seconds of CPU above which the work was too much; below it the process was stopped meanwhile."""
_HOT_FOR = 600


class _Batch(NamedTuple):
    """The slices of one store to be replayed, with their rows, and ``later`` ones.
    ``is_uncertain``: there may be others of the same time that are not known."""

    rows: list[Row]
    slices: list[StoredSlice]
    later: list[StoredSlice]
    until: int
    is_uncertain: bool


def roll_trace(
    store: Store, now: int, conf: TraceSettings, pace: Callable[[], None] = no_pause
) -> list[ClassifiedMiss]:
    """Replay the minutes that have closed by ``now``; returns their misses. ``pace`` is called all
    the time, outside of the store's transactions. Raises :class:`StoreError`."""
    deadline = time.monotonic() + _TIME_LIMIT
    known_plans = plans(store)
    found = store.read("trace", FIRST, now + HOUR, None, seconds=SLICE, of_processes=True)
    # All of them first: a store may hold something while it reads.
    read = _by_store(Paced([*found], pace, 1))
    slices = {name: [each for _, own in rows for each in own] for name, rows in read.items()}
    uncertain = _uncertain_stores(store, slices, known_plans, now)
    usages: dict[str, _PlanUsage] = {}
    for name, own in read.items():
        batch = _batch(own, now, conf.settled, is_uncertain=name in uncertain)
        if batch is not None:
            base = base_name(name)
            plan = known_plans.get(base, Plan())
            try:
                rolled = _replay(store, name, batch, plan, conf, _Haste(deadline, pace))
            except _TookTooLong as error:
                _put_plan(store, base, plan.following(error.level + 1), now)
                continue
            if rolled is not None:
                usages.setdefault(base, _PlanUsage(plan.level)).add(*rolled)
    for base, usage in usages.items():
        plan_after = usage.next_plan(known_plans.get(base, Plan()), now, conf.limits)
        if plan_after is not None:
            _put_plan(store, base, plan_after, now)
    if now // MINUTE % 10 == 0:
        _prune(store, now, conf.limits.kept)
    return [each for usage in usages.values() for each in usage.misses]


class _Haste(NamedTuple):
    """Until when it must be done, by ``time.monotonic``, and a pace for the first half of that: no
    replay is given up because of its pauses."""

    deadline: float
    pause: Callable[[], None]

    def pace(self) -> None:
        """Pause, if it is time to and there is time for it."""
        if time.monotonic() < self.deadline - _TIME_LIMIT / 2:
            self.pause()


class _TookTooLong(Exception):
    """The replay took too long at this level: the next process must have less to do."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.level = level


class _PlanUsage:
    """What the stores of one plan took, and their misses."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._usages: list[TraceUsage] = []
        self._counts: Counter[int] = Counter()
        self.misses: list[ClassifiedMiss] = []

    def add(self, usage: TraceUsage, replay: Replay, level: int) -> None:
        """Add a store that was replayed at ``level``."""
        self._level = max(self._level, level)
        self._usages.append(usage)
        self._counts.update(replay.counts)
        self.misses += replay.result.misses

    def next_plan(self, plan: Plan, now: int, limits: TraceLimits) -> Plan | None:
        """The plan that follows ``plan``; None if that stays."""
        usage = TraceUsage(
            sum(each.keys for each in self._usages),
            sum(each.events for each in self._usages),
            sum(each.bytes for each in self._usages),
            max(each.seconds for each in self._usages),
        )
        level = next_level(self._level, usage, limits)
        is_stale = level > 0 and (not plan.hot or now % _HOT_FOR < MINUTE)
        # Until there is a first plan, processes trace but little.
        if plan.number and level == plan.level and not is_stale:
            return None
        hot = self._hottest(usage.seconds * limits.events / 2) if level else ()
        return plan.following(level, frozenset(hot))

    def _hottest(self, most: float) -> Iterator[int]:
        """The hottest keys that together have no more events: since they are traced at every level,
        they must leave room for others."""
        for key, count in self._counts.most_common(HOT_KEYS):
            most -= count
            if most < 0:
                return
            yield key


_ReadRows = list[tuple[Row, list[StoredSlice]]]
"""Rows with their slices; one that cannot be read has none."""


def _by_store(rows: Iterable[Row]) -> Mapping[str, _ReadRows]:
    found: defaultdict[str, _ReadRows] = defaultdict(list)
    for row in rows:
        found[row.alias].append((row, slices_of(row.payload)))
    return found


def _put_plan(store: Store, base: str, plan: Plan, now: int) -> None:
    store.put([Row("trace", SHARED, base, PLAN, 0, compress(plan))], now)


def _uncertain_stores(
    store: Store,
    slices: Mapping[str, Sequence[StoredSlice]],
    known_plans: dict[str, Plan],
    now: int,
) -> set[str]:
    """The uncertain stores. What was found out about servers is added to the plans."""
    uncertain = doubtful_of(store, slices, known_plans, now)
    for base in uncertain.merged | uncertain.split | uncertain.shared:
        before = known_plans.get(base, Plan())
        is_merged = (before.merged or base in uncertain.merged) and base not in uncertain.split
        shared_at = before.shared_at
        if base in uncertain.shared and shared_at < now - HOUR // 2:
            shared_at = now
        known_plans[base] = structs.replace(before, merged=is_merged, shared_at=shared_at)
        if known_plans[base] != before:
            _put_plan(store, base, known_plans[base], now)
    return uncertain.names


def _batch(rows: _ReadRows, now: int, settled: int, *, is_uncertain: bool) -> _Batch | None:
    """The slices to be replayed now; None if there are none. Unreadable rows go with the rest."""
    until = (now - settled) // MINUTE * MINUTE
    for each in (each for _, slices in rows for each in slices):
        is_awaited = not each.final and now < each.end + settled + PATIENCE
        if is_awaited and each.end <= until:
            until = min(until, each.start // MINUTE * MINUTE)
    closed = {row.identity: row for row, _ in rows if row.start + row.seconds <= until}
    if not closed:
        return None
    return _Batch(
        list(closed.values()),
        [each for row, slices in rows if row.identity in closed for each in slices],
        [each for row, slices in rows if row.identity not in closed for each in slices],
        until,
        is_uncertain,
    )


def _replay(
    store: Store, name: str, batch: _Batch, plan: Plan, conf: TraceSettings, haste: _Haste
) -> tuple[TraceUsage, Replay, int] | None:
    """Replay ``batch`` and write the results; returns what it took, the replay and its level. None
    if another process was, or may have been, quicker."""
    began = time.thread_time()
    state = state_of(store, name)
    if state.outbox:
        _deliver(store, name, state)
    haste.pace()
    before = state.until or batch.until - MINUTE
    level, batch = _bounded(batch, state, plan, conf.limits)
    replay = Replay(state, int(conf.tolerance * 1e6), pace=haste.pace)
    if batch.is_uncertain or (plan.merged and not state.until):
        result = replay.skip(batch.slices, batch.until)
    else:
        result = replay.run(batch.slices, batch.later, batch.until)
    state.trim(plan, batch.until - conf.limits.kept)
    state.serial += 1
    state.token = uuid4().hex
    process = replay_process(name, state.serial)
    state.outbox = list(rows_of(result, process, conf.key_groups, final=True))
    haste.pace()
    bundles = list(_bundles(store, name, batch.slices))
    haste.pace()
    row = Row("trace", SHARED, name, STATE, 0, compress(state))
    if time.monotonic() > haste.deadline:
        if time.thread_time() - began > _MOST_CPU:
            raise _TookTooLong(level)
        return None
    store.replace(batch.rows, [*bundles, row], int(time.time()))
    if state_of(store, name).token != state.token:
        return None
    _deliver(store, name, state)
    # All rows written for it. If a sample was taken, the rows of the slices were too many and do
    # not count: there will not be so many again.
    slices = batch.rows if level == plan.level else bundles
    size = sum(len(each.payload) for each in (*slices, *bundles, row))
    events = sum(replay.counts.values())
    keys = len(state.keys) or len(replay.counts)
    usage = TraceUsage(keys, events, size, max(batch.until - before, MINUTE))
    return usage.times(_share_left_out(batch.slices, level)), replay, level


def _share_left_out(slices: Sequence[StoredSlice], level: int) -> float:
    """By which factor there would have been more events at ``level``: processes without a plan
    trace fewer keys."""
    events = sum(each.count for each in slices)
    whole = sum(each.count << (0 if each.plan else max(each.level - level, 0)) for each in slices)
    return whole / events if events else 1.0


def _bounded(batch: _Batch, state: State, plan: Plan, limits: TraceLimits) -> tuple[int, _Batch]:
    """As much of ``batch`` as can be replayed in time and in a few megabytes, and its level.
    Otherwise each process would take too long and leave it to the next."""
    # A process that raised its level by itself has dropped keys that may be among the hottest.
    is_raised = any(each.level > plan.level for each in batch.slices)
    most = limits.keys if is_raised else inf, 2 * MINUTE * limits.events
    level = level_for(batch.slices, most, state.plans, plan.level)
    slices = sampled_slices(batch.slices, level, state)
    return level, batch._replace(slices=slices, later=sampled_slices(batch.later, level, state))


def _deliver(store: Store, name: str, state: State) -> None:
    """Write the rows of the outbox. Nobody rolls them up until the state says that they are there;
    who delivers it again writes the same rows."""
    now = int(time.time())
    rows = [row_of(each) for each in state.outbox]
    store.put([_not_final(row) for row in rows], now)
    state.outbox = []
    store.put([Row("trace", SHARED, name, STATE, 0, compress(state))], now)
    store.put(rows, now)


def _not_final(row: Row) -> Row:
    """``row`` as one that its process may still change."""
    type_: type[Window | StoredDetails] = Window if row.kind == "window" else StoredDetails
    stats = decode(row.payload, type_)
    stats.final = False
    return row._replace(payload=encode(stats))


def _bundles(store: Store, name: str, slices: Sequence[StoredSlice]) -> Iterator[Row]:
    """One row for each minute with its slices, old and new."""
    minutes: defaultdict[int, list[StoredSlice]] = defaultdict(list)
    for each in slices:
        minutes[each.start // MINUTE * MINUTE].append(each)
    for start, new in minutes.items():
        old = [
            each
            for row in store.read("trace", start, start + 1, name, seconds=MINUTE)
            for each in slices_of(row.payload)
        ]
        yield Row("trace", SHARED, name, start, MINUTE, encode_slices([*old, *new]))


def _prune(store: Store, now: int, kept: int) -> None:
    """Remove what is older than ``kept`` seconds, also the states of stores that ended with their
    processes."""
    old = list(store.read("trace", FIRST, now - kept, None))
    states = store.read("trace", STATE, STATE + 1, None)
    old += [row for row in states if "." in row.alias and _until(row.payload) < now - kept]
    if old:
        store.replace(old, [], now)


def _until(payload: bytes) -> int:
    try:
        return decode(payload, State).until
    except CorruptPayload:
        return 0
