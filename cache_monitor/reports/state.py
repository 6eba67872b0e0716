"""Whether the values of a group are state, of which the cache is the owner, or copies of something.

A counter, a throttle, a lock, a flag, a namespace's version or a deny list saves no work: there is
nothing that it could be produced from. What a group is called does not tell that, its use does:

* its values are changed where they are (``incr``, ``decr``);
* they are added and never filled in after a miss: locks, and what must be done once;
* they are written although nobody has missed them, at no work: a throttle's history, a version;
* hardly any of its misses is filled: a flag, a deny list;
* who misses mostly waits for others to write, which takes no work then: a task's result;
* a query cache notes in them when a table was written.
"""

from cache_monitor.keys.querycaches import (
    CACHALOT_GROUP,
    CACHALOT_TABLES_GROUP,
    CACHEOPS_GROUP,
)
from cache_monitor.stats.details import GroupStats

NO_WORK = 1e-3
"""Seconds between a miss and its write, beyond what a lookup takes, in which hardly anybody was
asked for anything: what starts a history from nothing, be it that a thread had to wait."""


_QUERIES = frozenset({CACHALOT_GROUP, CACHEOPS_GROUP})
"""What a database was asked: copies, be they written anew where a table has changed."""


def is_state(name: str, group: GroupStats) -> bool:
    """Whether the use of the group ``name`` shows that its values are no copies."""
    if group.kind in {"page", "page_headers", "fragment"} or name in _QUERIES:
        return False
    return (
        name == CACHALOT_TABLES_GROUP
        or _is_changed_in_place(group)
        or _is_added(group)
        or _is_written_unasked(group)
        or _is_hardly_filled(group)
        or _is_awaited(group)
    )


def _is_changed_in_place(group: GroupStats) -> bool:
    return group.counts > 0 and 2 * group.counts >= group.sets


def _is_added(group: GroupStats) -> bool:
    # An add that fills a miss was seen producing its value.
    return group.adds > 0 and 2 * group.adds >= group.sets and 2 * group.produced < group.adds


def _is_written_unasked(group: GroupStats) -> bool:
    unasked = max(group.sets - group.misses, group.rewrites)
    # Who comes back late finds his history gone: then what he finds is written anew all the same.
    mostly = 2 * unasked >= group.sets or 2 * group.rewrites >= group.hits
    return bool(unasked and mostly) and _takes_no_work(group)


def _is_hardly_filled(group: GroupStats) -> bool:
    return (
        group.sets > 0
        and group.misses > 2 * group.sets
        and group.hits < group.misses
        and 2 * group.produced < group.sets
    )


def _is_awaited(group: GroupStats) -> bool:
    return group.sets > 0 and 2 * group.misses >= 3 * group.sets and _takes_no_work(group)


def _takes_no_work(group: GroupStats) -> bool:
    if not group.produced:
        return False
    lookup = group.lookup_seconds / group.lookups if group.lookups else 0.0
    return group.produce_seconds / group.produced <= lookup + NO_WORK
