"""What the store has of a test's calls."""

import cache_monitor
from cache_monitor.stats.details import Details, StoredDetails
from cache_monitor.stats.encoding import decode
from cache_monitor.stats.merging import Merging
from cache_monitor.stores.opening import get_store


def stored_details() -> Details:
    """The details of all minutes in one: one may end while a test runs."""
    cache_monitor.flush()
    merging = Merging(0, 60, group_limit=200)
    for row in get_store().read("details", 0, 2**40, None):
        merging.add(decode(row.payload, StoredDetails))
    return merging.whole(1000)
