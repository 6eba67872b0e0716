"""What the store has of a test's calls."""

import cache_monitor
from cache_monitor.stats.details import Details
from cache_monitor.stats.payloads import DetailsMerge, StoredDetails, decode
from cache_monitor.stores.opening import get_store


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
