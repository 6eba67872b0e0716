"""One cache's part of the report."""

from cache_monitor.inspectors.snapshot import EntrySample, Snapshot
from cache_monitor.reports import schema
from cache_monitor.reports.series import Series, moment
from cache_monitor.stats import distinct, histogram
from cache_monitor.stats.details import Details, GroupStats
from cache_monitor.stats.hotkeys import KeyStats
from cache_monitor.stats.window import OperationStats, Reasons, Window

HOT_KEYS_SHOWN = 100
GROUPS_SHOWN = 200
VIEWS_SHOWN = 200

_LOOKUPS = frozenset({"get", "get_many", "get_or_set"})
_REASONS = ("never_set", "expired", "evicted", "deleted", "cleared", "version_changed")


def cache(
    backend: str, total: Window, details: Details, series: Series, look: Snapshot | None
) -> schema.Cache:
    """What is known of a cache: ``total`` merges its windows, ``details`` what is known of its
    keys, ``look`` is what is inside now."""
    operations = total.operations.values()
    hits = sum(each.hits for each in operations)
    misses = sum(each.misses for each in operations)
    return schema.Cache(
        backend=backend,
        lookups=hits + misses,
        hits=hits,
        misses=misses,
        hit_ratio=_ratio(hits, hits + misses),
        errors=sum(each.errors for each in operations),
        operations={name: _operation(name, each) for name, each in _by_calls(total)},
        bytes_read=total.bytes_read,
        bytes_written=total.bytes_written,
        miss_reasons=_miss_reasons(total.reasons, misses),
        seconds_saved=None,
        hot_keys=_hot_keys(details),
        key_groups=_key_groups(details),
        views=_views(details),
        memory=_memory(look),
        stale=_stale(look),
        series=list(series.points()),
    )


def _miss_reasons(known: Reasons, misses: int) -> schema.MissReasons:
    """The reasons of ``misses``; those that nobody knows, or not yet, are unknown."""
    left = misses
    counts = {}
    for reason in _REASONS:
        # A reason that was found late may be counted in a later stretch than its miss.
        counts[reason] = min(known.get(reason, 0), left)
        left -= counts[reason]
    return schema.MissReasons(**counts, unknown=left)


def _by_calls(total: Window) -> list[tuple[str, OperationStats]]:
    return sorted(total.operations.items(), key=lambda each: (-each[1].calls, each[0]))


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _operation(name: str, stats: OperationStats) -> schema.Operation:
    p50, p90, p99 = histogram.quantiles(stats.buckets, (0.5, 0.9, 0.99), stats.slowest)
    looks_up = name in _LOOKUPS
    return schema.Operation(
        calls=stats.calls,
        keys=stats.keys,
        hits=stats.hits if looks_up else None,
        misses=stats.misses if looks_up else None,
        errors=stats.errors,
        seconds=schema.Seconds(
            total=stats.seconds,
            p50=p50,
            p90=p90,
            p99=p99,
            max=stats.slowest if stats.calls else None,
        ),
    )


def _hot_keys(details: Details) -> list[schema.HotKey]:
    # Details begin and end at other moments than windows: their shares are of their own.
    lookups = sum(group.lookups for group in details.groups.values())
    table = details.hot_keys.table.items()
    hottest = sorted(table, key=lambda each: (-each[1].weight(), each[0]))[:HOT_KEYS_SHOWN]
    return [_hot_key(key, stats, lookups) for key, stats in hottest]


def _hot_key(key: str, stats: KeyStats, lookups: int) -> schema.HotKey:
    most = stats.lookups + stats.missing
    return schema.HotKey(
        key=key,
        group=stats.group,
        lookups=most,
        hits=stats.hits,
        misses=stats.misses,
        sets=stats.sets,
        share=_ratio(stats.lookups, lookups),
        max_overcount=stats.missing,
        bytes=stats.bytes,
        seconds_saved=None,
    )


def _key_groups(details: Details) -> list[schema.KeyGroup]:
    groups = sorted(
        details.groups.items(), key=lambda each: (-each[1].lookups, -each[1].sets, each[0])
    )
    return [_key_group(name, stats) for name, stats in groups[:GROUPS_SHOWN]]


def _key_group(name: str, stats: GroupStats) -> schema.KeyGroup:
    return schema.KeyGroup(
        group=name,
        kind=stats.kind,
        distinct_keys=distinct.estimate(stats.keys),
        lookups=stats.lookups,
        hits=stats.hits,
        misses=stats.misses,
        hit_ratio=_ratio(stats.hits, stats.lookups),
        sets=stats.sets,
        deletes=stats.deletes,
        errors=stats.errors,
        bytes_read=stats.bytes_read,
        bytes_written=stats.bytes_written,
        seconds_saved=None,
    )


def _views(details: Details) -> list[schema.View]:
    busiest = sorted(details.views.items(), key=lambda each: (-each[1].requests, each[0]))
    return [
        schema.View(
            view=name,
            requests=stats.requests,
            lookups=stats.lookups,
            misses=stats.misses,
            misses_per_request=round(stats.misses / stats.requests, 4) if stats.requests else None,
            seconds=stats.seconds,
        )
        for name, stats in busiest[:VIEWS_SHOWN]
    ]


def _memory(look: Snapshot | None) -> schema.Memory:
    if look is None:
        return schema.Memory()
    return schema.Memory(
        entries=look.entries,
        bytes=look.bytes,
        limit_bytes=look.limit_bytes,
        limit_entries=look.limit_entries,
        evictions=look.evictions,
        measured_at=moment(look.measured_at),
        scope=look.scope,
        exact=look.exact,
        groups=[
            schema.MemoryGroup(group=each.group, entries=each.entries, bytes=each.bytes)
            for each in look.groups
        ],
        largest=[schema.LargestEntry(key=each.key, bytes=each.bytes) for each in look.largest],
    )


def _stale(look: Snapshot | None) -> schema.Stale:
    if look is None:
        return schema.Stale()
    return schema.Stale(
        expired=look.expired,
        idle=look.idle,
        never_read=look.never_read,
        no_expiry=look.no_expiry,
        bytes=look.stale_bytes,
        entries=[_stale_entry(each) for each in look.stale],
    )


def _stale_entry(entry: EntrySample) -> schema.StaleEntry:
    return schema.StaleEntry(
        key=entry.key,
        why=entry.why,
        age=entry.age,
        idle=entry.idle,
        expires_in=entry.expires_in,
        bytes=entry.bytes,
    )
