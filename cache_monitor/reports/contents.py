"""What is inside a cache, as the last look found it, for the report."""

from cache_monitor.reports import schema
from cache_monitor.reports.series import moment
from cache_monitor.scan.snapshot import Snapshot


def memory(look: Snapshot | None, culled: int | None = None, since: float = 0.0) -> schema.Memory:
    """What ``look`` found in the cache; all unknown without one. Where the cache has no counter of
    its own, ``culled`` entries were evicted ``since`` then."""
    if look is None:
        return schema.Memory()
    counts = look.evictions is None and culled is not None
    return schema.Memory(
        entries=look.entries,
        bytes=look.bytes,
        limit_bytes=look.limit_bytes,
        limit_entries=look.limit_entries,
        evictions=culled if counts else look.evictions,
        evictions_since=moment(since) if counts else None,
        policy=look.policy,
        used_bytes=look.used_bytes,
        empty_bytes=look.empty_bytes,
        measured_at=moment(look.measured_at),
        scope=look.scope,
        exact=look.exact,
        groups=look.groups,
        largest=look.largest,
        looked_at=look.looked_at,
        freed_within=look.freed_within,
        problem=look.problem,
        processes=[
            schema.ProcessMemory(
                measured_at=moment(each.measured_at), entries=each.entries, bytes=each.bytes
            )
            for each in look.parts
        ],
    )


def stale(look: Snapshot | None) -> schema.Stale:
    """What of it is stale."""
    if look is None:
        return schema.Stale()
    return schema.Stale(
        expired=look.expired,
        idle=look.idle,
        never_read=look.never_read,
        no_expiry=look.no_expiry,
        bytes=look.stale_bytes,
        entries=look.stale,
        idle_error=look.idle_error,
        never_read_error=look.never_read_error,
        recorded_since=moment(look.recorded_since) if look.recorded_since else None,
    )
