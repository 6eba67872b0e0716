"""Make few long buckets of many short ones, in one process for all.

Statistics are kept fine while they are young and coarser as they age; on the way the processes are
merged, because nobody asks which worker of last week it was. Rows are merged, not averaged, so
every count stays exact. Rows that arrive late, from a process that could not reach its store, are
merged into what was rolled up before.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable

from cache_monitor.conf import Conf
from cache_monitor.keys.naming import learned_group
from cache_monitor.stats.codec import CorruptPayload, decode, encode
from cache_monitor.stats.details import Details, DetailsState, StoredDetails
from cache_monitor.stats.merge import DetailsMerge
from cache_monitor.stats.window import MemoryByProcess, Window
from cache_monitor.stores.base import Kind, Row, Store, StoreError, session
from cache_monitor.stores.rows import (
    ABANDONED_AFTER,
    KEYS_KEPT,
    MERGED,
    SETTLED,
    STEPS,
    YOUNG,
    Resolution,
    settled,
    window_of,
)

Name = tuple[str, int]


def roll_up(store: Store, now: int, settled: int = SETTLED) -> None:
    """Roll up everything that is old enough at ``now`` (Unix time). Raises :class:`StoreError`."""
    with session(store):
        for step in STEPS:
            _roll_up(store, step._replace(age=max(step.age, settled)), 0, now)


def merge_processes(store: Store, now: int, settled: int = SETTLED) -> None:
    """Merge what several processes did in the buckets that are just over at ``now`` (Unix
    time): far less work than :func:`roll_up`. Raises :class:`StoreError`."""
    with session(store):
        for step in STEPS:
            if step.fine == step.coarse:
                _roll_up(store, step._replace(age=settled), now - YOUNG, now)


def _roll_up(store: Store, step: Resolution, since: int, now: int) -> None:
    """Whole buckets only, so that a bucket is rolled up once."""
    end = (now - step.age) // step.coarse * step.coarse
    fine: defaultdict[Name, list[Row]] = defaultdict(list)
    # Where the length stays, what is merged is done.
    of_processes = step.fine == step.coarse
    for row in store.read(
        step.kind, since, end, None, seconds=step.fine, of_processes=of_processes
    ):
        if _is_settled(row, now):
            fine[row.alias, row.start // step.coarse * step.coarse].append(row)
    for (alias, start), rows in fine.items():
        before = [
            row
            for row in store.read(step.kind, start, start + 1, alias, seconds=step.coarse)
            if row.process == MERGED
        ]
        merged = _merged(step.kind, start, step.coarse, [*before, *rows])
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


def _merged(kind: Kind, start: int, seconds: int, rows: Iterable[Row]) -> Window | Details | None:
    """The parts in one; what cannot be read is left out, as it would be from a report."""
    if kind == "window":
        return _merged_windows(start, seconds, rows)
    return _merged_details(start, seconds, rows)


def _merged_windows(start: int, seconds: int, rows: Iterable[Row]) -> Window | None:
    whole = Window(start, seconds)
    held = MemoryByProcess()
    for row in rows:
        try:
            window = window_of(row)
        except CorruptPayload:
            continue
        held.add(window)
        whole.merge(window)
    held.note_in(whole)
    return whole


def _merged_details(start: int, seconds: int, rows: Iterable[Row]) -> Details | None:
    merging: DetailsMerge | None = None
    for row in rows:
        try:
            part = decode(row.payload, StoredDetails)
        except CorruptPayload:
            continue
        if merging is None:
            merging = DetailsMerge(start, seconds, part.group_limit, learned_group)
        merging.add(part)
    return None if merging is None else merging.whole(KEYS_KEPT[seconds])


MERGE_INTERVAL = 10
TRACE_INTERVAL = 20
INTERVAL = 60
_GOES_ON_FOR = 2 * INTERVAL
"""Seconds that it is done after the rows of the last calls have settled. Then there is nothing new
to be done, and an idle site writes nothing: what ages meanwhile waits for the next calls."""


class Maintenance:
    """Does it in whichever process comes first. ``failed`` takes note of a fault of ours;
    ``roll_trace`` replays what was traced, ``predict`` has predicted what other caches would hit,
    beside all this."""

    def __init__(
        self,
        get_conf: Callable[[], Conf],
        failed: Callable[[Exception], None],
        roll_trace: Callable[[Store, int], None],
        predict: Callable[[Store], None],
    ) -> None:
        self._get_conf = get_conf
        self._failed = failed
        self._roll_trace = roll_trace
        self._predict = predict
        self._tracing = _LeaderLock("trace", TRACE_INTERVAL)
        self._merging = _LeaderLock("merge", MERGE_INTERVAL)
        self._tidying = _LeaderLock("tidy", INTERVAL)
        self._predicting = _LeaderLock("what if", INTERVAL)

    def work(
        self, store: Store, watch: Callable[[Store], None] | None, idle_for: float = 0.0
    ) -> None:
        """Merge, roll up and prune where it is time for that, and then let ``watch`` look at
        ``store``; unless this process has made no calls for long, ``idle_for`` seconds. A fault of
        ours in one of them keeps none of the others from being done.

        Raises :class:`StoreError`.
        """
        now = int(time.time())
        conf = self._get_conf()
        ready = settled(conf.flush_interval)
        if idle_for > ready + _GOES_ON_FOR:
            return
        if self._merging.has_come(store, now):
            self._do(lambda: merge_processes(store, now, ready))
        if self._tracing.has_come(store, now):
            self._do(lambda: self._roll_trace(store, now))
        if self._tidying.has_come(store, now):
            self._do(lambda: roll_up(store, now, ready))
            self._do(lambda: store.prune(int(now - conf.retention)))
            if watch is not None:
                self._do(lambda: watch(store))
        if self._predicting.has_come(store, now):
            self._do(lambda: self._predict(store))

    def _do(self, job: Callable[[], object]) -> None:
        try:
            job()
        except StoreError:
            raise
        except Exception as error:
            self._failed(error)


class _LeaderLock:
    """Whose turn a job is that one process does every ``interval`` seconds."""

    def __init__(self, job: str, interval: int) -> None:
        self._job = job
        self._interval = interval
        self._next = 0.0

    def has_come(self, store: Store, now: int) -> bool:
        """Whether this process does it now, which the store tells one of them. Whether or not it
        does, it does not ask again for ``interval``."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + self._interval
        return store.lock(self._job, self._interval, now)
