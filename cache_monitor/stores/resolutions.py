"""How long the rows of a store are: fine while they are young, coarser as they age."""

import math
from typing import NamedTuple

from cache_monitor.stats.codec import decode
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Kind, Row

MERGED = ""
"""The process of rows that several processes have gone into."""


class Resolution(NamedTuple):
    """Rows of ``fine`` seconds become rows of ``coarse`` seconds when they are ``age`` old. Where
    both are the same only the processes are merged."""

    kind: Kind
    fine: int
    coarse: int
    age: int


MINUTE, HOUR, DAY, WEEK = 60, 3600, 86400, 7 * 86400
SETTLED = 30
"""Seconds after which the rows of a bucket are there, all but late ones, with the default
``FLUSH_INTERVAL``. The sooner they are merged, the fewer rows a report has to read. But a process
that could not tell whether its row was written writes it once more, and a row that came again after
it was merged would count twice."""
_CLOSED = 10
"""Seconds after which a process has closed a bucket, and its row is under way."""
YOUNG = 10 * MINUTE
"""Seconds for which it is asked every few seconds whether there are rows of single processes; what
comes later is merged by :func:`roll_up`."""

LIVE = 20 * MINUTE
"""Seconds for which charts stay as fine as they were recorded: somebody who looks at the last
quarter of an hour wants to see what he has just done."""

STEPS = (
    Resolution("window", 10, 10, age=SETTLED),
    Resolution("window", 10, MINUTE, age=LIVE),
    Resolution("window", MINUTE, 5 * MINUTE, age=2 * HOUR),
    Resolution("window", 5 * MINUTE, HOUR, age=26 * HOUR),
    Resolution("window", HOUR, DAY, age=35 * DAY),
    Resolution("details", MINUTE, MINUTE, age=SETTLED),
    Resolution("details", MINUTE, 5 * MINUTE, age=15 * MINUTE),
    Resolution("details", 5 * MINUTE, HOUR, age=2 * HOUR),
    Resolution("details", HOUR, DAY, age=50 * HOUR),
    Resolution("details", DAY, WEEK, age=100 * DAY),
)

_SHORTEST: dict[Kind, int] = {"window": 10, "details": MINUTE}


def longest(kind: Kind, ago: float) -> int:
    """The longest bucket, in seconds, that a row may cover that ended ``ago`` seconds ago."""
    lengths = [step.coarse for step in STEPS if step.kind == kind and step.age <= ago]
    return max([_SHORTEST[kind], *lengths])


ABANDONED_AFTER = 2 * HOUR
"""Seconds after which a row that its process has not finished will not be finished."""

KEYS_KEPT = {MINUTE: 1000, 5 * MINUTE: 500, HOUR: 500, DAY: 250, WEEK: 250}
"""Hot keys in merged details of a length: what nobody will look at need not be read each time."""


def settled(flush_interval: float) -> int:
    """:data:`SETTLED` for processes that write every ``flush_interval`` seconds."""
    return max(SETTLED, math.ceil(2 * flush_interval + _CLOSED))


def window_of(row: Row) -> Window:
    """The window that a row holds. Raises :class:`CorruptPayload`."""
    window = decode(row.payload, Window)
    if row.process != MERGED and not window.final:
        window.unfinished = set(window.processes)
    return window
