"""What the store has of a test's calls."""

import cache_monitor
from cache_monitor.stats.codec import decode
from cache_monitor.stats.details import Details, DetailsMerge, StoredDetails
from cache_monitor.stores.base import get_store


def read_details(payload: bytes) -> Details:
    """The details of one row, read as for a report."""
    stored = decode(payload, StoredDetails)
    merging = DetailsMerge(stored.start, stored.seconds, stored.group_limit)
    merging.add(stored)
    details = merging.whole(stored.hot_keys.capacity)
    details.final = stored.final
    return details


def stored_details() -> Details:
    """The details of all minutes of one cache, one row each, in one: a minute may end while a test
    runs."""
    cache_monitor.flush()
    rows = list(get_store().read("details", 0, 2**40, None))
    assert len({row.alias for row in rows}) == 1
    assert len({row.start for row in rows}) == len(rows) <= 2
    merging = DetailsMerge(0, 60, group_limit=200)
    for row in rows:
        merging.add(decode(row.payload, StoredDetails))
    return merging.whole(1000)
