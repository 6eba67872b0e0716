"""Sums that only grow, for those who want counters.

A report covers a period that moves with the clock, so its figures go up and down. A counter must
not: whoever reads it takes each step down for a restart, and all that follows for new. So these
are the sums of everything in the store since the last midnight (UTC). They start again from zero
at the next one, which is what a counter may do, and which costs the readers what was called
between their last look and midnight.

Every process that is asked gives the same sums, whichever it is: they are the store's alone. What
a process has counted and not yet brought there is left out.
"""

from typing import NamedTuple

from django.conf import settings

from cache_monitor.stats.encoding import CorruptPayload, decode
from cache_monitor.stats.window import Window
from cache_monitor.stores.opening import get_store

HOUR, DAY = 3600, 86400


class Totals(NamedTuple):
    """What each alias of ``CACHES`` did from ``since`` (Unix time) on, and how many windows of
    the store could not be read."""

    since: int
    windows: dict[str, Window]
    corrupt: int


def since_midnight(now: float, retention: float, alias: str | None = None) -> Totals:
    """The sums of all caches, or of ``alias``. Raises :class:`StoreError`.

    A store that keeps less than a day (``retention``, seconds) would let the sums shrink before
    the day is over; there they start again with every hour.
    """
    since = beginning(now, retention)
    windows = {name: Window(since, DAY) for name in settings.CACHES if alias in (None, name)}
    corrupt = 0
    # In one read: between two, a roll-up could move a row from one to the other. Stretches of
    # all lengths begin with the hour and, but for the shorter ones, with the day.
    for row in get_store().read("window", since, int(now) + HOUR, alias):
        if row.alias in windows:
            try:
                windows[row.alias].merge(decode(row.payload, Window))
            except CorruptPayload:
                corrupt += 1
    return Totals(since, windows, corrupt)


def beginning(now: float, retention: float) -> int:
    """The moment (Unix time) at which the sums of ``now`` began at zero."""
    length = DAY if retention >= DAY else HOUR
    return int(now // length) * length
