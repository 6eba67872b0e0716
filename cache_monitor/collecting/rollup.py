"""Make few long stretches of many short ones.

Statistics are kept fine while they are young and coarser as they age; on the way the processes are
merged, because nobody asks which worker of last week it was. Rows are merged, not averaged, so
every count stays exact. Rows that arrive late, from a process that could not reach its store, are
merged into what was rolled up before.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from cache_monitor.keys.naming import learned_group
from cache_monitor.stats.details import Details, DetailsState, StoredDetails
from cache_monitor.stats.encoding import CorruptPayload, decode, encode
from cache_monitor.stats.held import Held
from cache_monitor.stats.merging import Merging
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Kind, Row, Store, session

MERGED = ""
"""The process of rows that several processes have gone into."""

Name = tuple[str, int]


class Step(NamedTuple):
    """Rows of ``fine`` seconds become rows of ``coarse`` seconds when they are ``age`` old. Where
    both are the same only the processes are merged."""

    kind: Kind
    fine: int
    coarse: int
    age: int


MINUTE, HOUR, DAY, WEEK = 60, 3600, 86400, 7 * 86400
SETTLED = 30
"""Seconds after which the rows of a stretch are there, all but late ones, with the default
``FLUSH_INTERVAL``. The sooner they are merged, the fewer rows a report has to read. But a process
that could not tell whether its row was written writes it once more, and a row that came again after
it was merged would count twice."""
_CLOSED = 10
"""Seconds after which a process has closed a stretch, and its row is under way."""
YOUNG = 10 * MINUTE
"""Seconds for which it is asked every few seconds whether there are rows of single processes; what
comes later is merged by :func:`roll_up`."""

LIVE = 20 * MINUTE
"""Seconds for which charts stay as fine as they were recorded: somebody who looks at the last
quarter of an hour wants to see what he has just done."""

STEPS = (
    Step("window", 10, 10, age=SETTLED),
    Step("window", 10, MINUTE, age=LIVE),
    Step("window", MINUTE, 5 * MINUTE, age=2 * HOUR),
    Step("window", 5 * MINUTE, HOUR, age=26 * HOUR),
    Step("window", HOUR, DAY, age=35 * DAY),
    Step("details", MINUTE, MINUTE, age=SETTLED),
    Step("details", MINUTE, 5 * MINUTE, age=15 * MINUTE),
    Step("details", 5 * MINUTE, HOUR, age=2 * HOUR),
    Step("details", HOUR, DAY, age=50 * HOUR),
    Step("details", DAY, WEEK, age=100 * DAY),
)

_SHORTEST: dict[Kind, int] = {"window": 10, "details": MINUTE}


def longest(kind: Kind, ago: float) -> int:
    """The longest stretch, in seconds, that a row may cover that ended ``ago`` seconds ago."""
    lengths = [step.coarse for step in STEPS if step.kind == kind and step.age <= ago]
    return max([_SHORTEST[kind], *lengths])


ABANDONED_AFTER = 2 * HOUR
"""Seconds after which a row that its process has not finished will not be finished."""

KEYS_KEPT = {MINUTE: 1000, 5 * MINUTE: 500, HOUR: 500, DAY: 250, WEEK: 250}
"""Hot keys in merged details of a length: what nobody will look at need not be read each time."""


def settled(flush_interval: float) -> int:
    """:data:`SETTLED` for processes that write every ``flush_interval`` seconds."""
    return max(SETTLED, math.ceil(2 * flush_interval + _CLOSED))


def roll_up(store: Store, now: int, settled: int = SETTLED) -> None:
    """Roll up everything that is old enough at ``now`` (Unix time). Raises :class:`StoreError`."""
    with session(store):
        for step in STEPS:
            _roll_up(store, step._replace(age=max(step.age, settled)), 0, now)


def merge_processes(store: Store, now: int, settled: int = SETTLED) -> None:
    """Merge what several processes did in the stretches that are just over at ``now`` (Unix
    time): far less work than :func:`roll_up`. Raises :class:`StoreError`."""
    with session(store):
        for step in STEPS:
            if step.fine == step.coarse:
                _roll_up(store, step._replace(age=settled), now - YOUNG, now)


def _roll_up(store: Store, step: Step, since: int, now: int) -> None:
    """Whole stretches only, so that a stretch is rolled up once."""
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


def window_of(row: Row) -> Window:
    """The window that a row holds. Raises :class:`CorruptPayload`."""
    window = decode(row.payload, Window)
    if row.process != MERGED and not window.final:
        window.unfinished = set(window.processes)
    return window


def _merged(kind: Kind, start: int, seconds: int, rows: Iterable[Row]) -> Window | Details | None:
    """The parts in one; what cannot be read is left out, as it would be from a report."""
    if kind == "window":
        return _merged_windows(start, seconds, rows)
    return _merged_details(start, seconds, rows)


def _merged_windows(start: int, seconds: int, rows: Iterable[Row]) -> Window | None:
    whole = Window(start, seconds)
    held = Held()
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
    merging: Merging | None = None
    for row in rows:
        try:
            part = decode(row.payload, StoredDetails)
        except CorruptPayload:
            continue
        if merging is None:
            merging = Merging(start, seconds, part.group_limit, learned_group)
        merging.add(part)
    return None if merging is None else merging.whole(KEYS_KEPT[seconds])
