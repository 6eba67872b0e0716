"""Make few long buckets of many short ones, in one process for all.

Statistics are kept fine while they are young and coarser as they age; on the way the processes are
merged, because nobody asks which worker of last week it was. Rows are merged, not averaged, so
every count stays exact. Rows that arrive late, from a process that could not reach its store, are
merged into what was rolled up before.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable

from cache_monitor.concurrency import Paced, no_pause
from cache_monitor.keys.naming import learned_group
from cache_monitor.stats.details import Details, DetailsMerge, StoredDetails
from cache_monitor.stats.payloads import CorruptPayload, DetailsState, decode, encode
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Row, Store, session
from cache_monitor.stores.rows import (
    ABANDONED_AFTER,
    KEYS_KEPT,
    MERGED,
    SETTLED,
    STEPS,
    YOUNG,
    Resolution,
    merged_windows,
)

Name = tuple[str, int]


def roll_up(
    store: Store, now: int, settled: int = SETTLED, pace: Callable[[], None] = no_pause
) -> None:
    """Roll up everything that is old enough at ``now`` (Unix time). ``pace`` is called all the
    time, outside of the store's transactions. Raises :class:`StoreError`."""
    with session(store):
        for step in STEPS:
            _roll_up(store, step._replace(age=max(step.age, settled)), 0, now, pace)


def merge_processes(
    store: Store, now: int, settled: int = SETTLED, pace: Callable[[], None] = no_pause
) -> None:
    """Merge what several processes did in the buckets that are just over at ``now`` (Unix
    time): far less work than :func:`roll_up`. Raises :class:`StoreError`."""
    with session(store):
        for step in STEPS:
            if step.fine == step.coarse:
                _roll_up(store, step._replace(age=settled), now - YOUNG, now, pace)


def _roll_up(
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
