"""Why lookups missed, as the report tells it."""

from cache_monitor.reports.schema import MissReasons
from cache_monitor.stats.window import Reasons

_REASONS = ("never_set", "expired", "evicted", "deleted", "cleared", "version_changed")


def of(misses: int, known: Reasons) -> MissReasons:
    """The reasons of ``misses``; those that nobody knows, or not yet, are unknown."""
    left = misses
    counts = {}
    for reason in _REASONS:
        # A reason that was found late may be counted in a later stretch than its miss.
        counts[reason] = min(known.get(reason, 0), left)
        left -= counts[reason]
    return MissReasons(**counts, unknown=left)
