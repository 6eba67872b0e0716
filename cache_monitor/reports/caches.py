"""One cache's part of the report."""

from math import inf

from cache_monitor.inspectors.snapshot import Snapshot
from cache_monitor.reports import insides, pages, reasons, savings, schema
from cache_monitor.reports.series import Series
from cache_monitor.stats import distinct, histogram
from cache_monitor.stats.details import Details, GroupStats, ViewStats
from cache_monitor.stats.hotkeys import KeyStats
from cache_monitor.stats.window import OperationStats, Window

HOT_KEYS_SHOWN = 100
GROUPS_SHOWN = 200
VIEWS_SHOWN = 200

_LOOKUPS = frozenset({"get", "get_many", "get_or_set"})


def cache(
    backend: str, total: Window, details: Details, series: Series, look: Snapshot | None
) -> schema.Cache:
    """What is known of a cache: ``total`` merges its windows, ``details`` what is known of its
    keys, ``look`` is what is inside now."""
    operations = total.operations.values()
    hits = sum(each.hits for each in operations)
    misses = sum(each.misses for each in operations)
    lookup = savings.mean_lookup(total)
    return schema.Cache(
        backend=backend,
        lookups=hits + misses,
        hits=hits,
        misses=misses,
        hit_ratio=_ratio(hits, hits + misses),
        errors=sum(each.errors for each in operations),
        interrupted=sum(each.interrupted for each in operations),
        operations={name: _operation(name, each) for name, each in _by_calls(total)},
        bytes_read=total.bytes_read,
        bytes_written=total.bytes_written,
        miss_reasons=reasons.of(misses, total.reasons),
        misses_per_request=_misses_per_request(details),
        seconds_saved=_saved(details, lookup),
        hot_keys=_hot_keys(details, lookup),
        key_groups=_key_groups(details, lookup),
        views=_views(details, lookup),
        pages=pages.pages(details),
        memory=insides.memory(look),
        stale=insides.stale(look),
        series=list(series.points()),
    )


def _by_calls(total: Window) -> list[tuple[str, OperationStats]]:
    return sorted(total.operations.items(), key=lambda each: (-each[1].calls, each[0]))


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _misses_per_request(details: Details) -> float | None:
    """The misses of all views together for each of their requests, those not shown too."""
    requests = sum(view.requests for view in details.views.values())
    misses = sum(view.misses for view in details.views.values())
    return round(misses / requests, 4) if requests else None


def _operation(name: str, stats: OperationStats) -> schema.Operation:
    p50, p90, p99 = stats.times.quantiles((0.5, 0.9, 0.99), stats.slowest)
    looks_up = name in _LOOKUPS
    return schema.Operation(
        calls=stats.calls,
        keys=stats.keys,
        hits=stats.hits if looks_up else None,
        misses=stats.misses if looks_up else None,
        errors=stats.errors,
        interrupted=stats.interrupted,
        seconds=schema.Seconds(
            total=stats.seconds,
            p50=p50,
            p90=p90,
            p99=p99,
            max=stats.slowest if stats.calls else None,
        ),
    )


def _saved(details: Details, lookup: float | None) -> float | None:
    """What all groups save together, those not shown too; None where it is known of none."""
    known = [
        each for group in details.groups.values() if (each := _saved_by(group, lookup)) is not None
    ]
    return sum(known) if known else None


def _saved_by(group: GroupStats, lookup: float | None) -> float | None:
    return savings.saved(group.hits, group.lookups, savings.mean_to_produce(group), lookup)


def _hot_keys(details: Details, lookup: float | None) -> list[schema.HotKey]:
    # Details begin and end at other moments than windows: their shares are of their own.
    lookups = sum(group.lookups for group in details.groups.values())
    table = details.hot_keys.table.items()
    hottest = sorted(table, key=lambda each: (-each[1].weight(), each[0]))[:HOT_KEYS_SHOWN]
    return [
        _hot_key(key, stats, details.groups.get(stats.group), lookups, lookup)
        for key, stats in hottest
    ]


def _hot_key(
    key: str, stats: KeyStats, group: GroupStats | None, lookups: int, lookup: float | None
) -> schema.HotKey:
    most = stats.lookups + stats.missing
    own = savings.mean_to_produce(stats)
    to_produce = savings.mean_to_produce(group) if own is None and group is not None else own
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
        miss_reasons=reasons.of(stats.misses, stats.reasons or {}),
        produce_seconds=own,
        seconds_saved=savings.saved(stats.hits, stats.lookups, to_produce, lookup),
    )


def _key_groups(details: Details, lookup: float | None) -> list[schema.KeyGroup]:
    groups = sorted(
        details.groups.items(), key=lambda each: (-each[1].lookups, -each[1].sets, each[0])
    )
    has_seen_requests = bool(details.views)
    return [
        _key_group(name, stats, lookup, has_seen_requests) for name, stats in groups[:GROUPS_SHOWN]
    ]


def _key_group(
    name: str, stats: GroupStats, lookup: float | None, has_seen_requests: bool
) -> schema.KeyGroup:
    age_p50, age_p90 = histogram.quantiles(stats.ages, (0.5, 0.9), inf)
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
        miss_reasons=reasons.of(stats.misses, stats.reasons),
        produce_seconds=savings.mean_to_produce(stats),
        seconds_saved=_saved_by(stats, lookup),
        age_p50=age_p50,
        age_p90=age_p90,
        other_uses=stats.other_uses,
        produced=stats.produced,
        stampedes=stats.stampedes,
        repeated_gets=stats.repeated_gets if has_seen_requests else None,
        repeated_gets_requests=stats.repeated_gets_requests if has_seen_requests else None,
        single_gets=stats.single_gets if has_seen_requests else None,
        single_gets_requests=stats.single_gets_requests if has_seen_requests else None,
        sample_hits=list(stats.sample_hits),
        sample_misses=list(stats.sample_misses),
    )


def _views(details: Details, lookup: float | None) -> list[schema.View]:
    busiest = sorted(details.views.items(), key=lambda each: (-each[1].requests, each[0]))
    return [_view(name, stats, lookup) for name, stats in busiest[:VIEWS_SHOWN]]


def _view(name: str, stats: ViewStats, lookup: float | None) -> schema.View:
    hits = stats.lookups - stats.misses
    whole = stats.request_seconds
    return schema.View(
        view=name,
        requests=stats.requests,
        lookups=stats.lookups,
        misses=stats.misses,
        misses_per_request=round(stats.misses / stats.requests, 4) if stats.requests else None,
        seconds=stats.seconds,
        seconds_saved=savings.saved(hits, stats.lookups, savings.mean_to_produce(stats), lookup),
        request_seconds=whole or None,
        # Calls that run at once, in several tasks, may take longer together than their request.
        share_of_request=min(1.0, round(stats.seconds / whole, 4)) if whole else None,
        sample_hits=list(stats.sample_hits),
        sample_misses=list(stats.sample_misses),
    )
