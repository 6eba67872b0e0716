"""The use of hot keys over time, read once for all who look."""

from collections.abc import Callable
from functools import cache

from cache_monitor import api
from cache_monitor.dashboard.readings import FRESH_FOR_LONG, KeyLines, key_lines
from cache_monitor.dashboard.visit import Visit

LinesOf = Callable[[str], KeyLines]
"""The lines of the hot keys of a cache, by its alias."""


def lines_of(visit: Visit) -> LinesOf:
    """Reads the lines of a cache when its first key is shown: a page seldom has keys of all."""
    query = visit.query
    until = None if query.live else query.until

    @cache
    def lines(alias: str) -> KeyLines:
        keys = [each.key for each in visit.report.caches[alias].hot_keys]

        def read() -> KeyLines:
            return api.key_series(keys, query.since, until, alias)

        # A line's steps are a minute and longer: a refresh seldom has anything to add.
        return key_lines.get((*query.period.values(), alias), read, FRESH_FOR_LONG)

    return lines
