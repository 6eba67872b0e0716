"""The report laid out in rows for the templates. Formatting only: every figure is the report's."""

from collections.abc import Callable, Sequence
from datetime import datetime

from django.utils.translation import gettext as _

from cache_monitor.dashboard import formats, tables
from cache_monitor.dashboard.rows import Bar, CacheRows, Figure, Page, QualityRows, Table
from cache_monitor.dashboard.series import charts
from cache_monitor.reports.schema import Cache, Memory, Quality, Report, Stale


def present(report: Report) -> Page:
    """The report as the page's rows."""
    caches = [
        _cache(alias, f"cache-{place}", cache)
        for place, (alias, cache) in enumerate(report.caches.items(), 1)
    ]
    return Page(
        since=formats.moment(report.since),
        until=formats.moment(report.until),
        generated_at=formats.moment(report.generated_at),
        quality=_quality(report.quality, formats.moment(report.generated_at)),
        caches=caches,
        not_called=[cache.alias for cache in caches if not cache.called],
        charts=charts(report),
    )


def _quality(quality: Quality, now: datetime | None) -> QualityRows:
    newest = formats.moment(quality.newest_record_at)
    seconds = (now - newest).total_seconds() if now and newest else None
    return QualityRows(
        processes=formats.count(quality.processes),
        newest_at=newest,
        newest_age=formats.age(seconds),
        figures=[
            Figure(
                _("Dropped calls"), formats.count(quality.dropped_calls), quality.dropped_calls > 0
            ),
            Figure(
                _("Corrupt windows"),
                formats.count(quality.corrupt_windows),
                quality.corrupt_windows > 0,
            ),
        ],
        estimated=quality.estimated,
    )


def _cache(alias: str, anchor: str, cache: Cache) -> CacheRows:
    memory = cache.memory
    return CacheRows(
        alias=alias,
        anchor=anchor,
        backend=cache.backend,
        backend_name=cache.backend.rpartition(".")[2],
        called=any(operation.calls for operation in cache.operations.values()),
        hit_ratio=formats.ratio(cache.hit_ratio),
        hit_bar=_bar(cache.hit_ratio),
        figures=_figures(cache),
        memory=_memory_figures(memory),
        memory_bar=_bar(_share(memory.bytes, memory.limit_bytes)),
        memory_at=formats.moment(memory.measured_at),
        stale=_stale_figures(cache.stale),
        tables=_filled(
            tables.operations(cache),
            tables.miss_reasons(cache),
            tables.key_groups(cache),
            tables.hot_keys(cache),
            tables.views(cache),
        ),
        memory_tables=_filled(tables.memory_groups(memory), tables.largest(memory)),
        stale_tables=_filled(tables.stale_entries(cache.stale)),
    )


def _figures(cache: Cache) -> Sequence[Figure]:
    get = cache.operations.get("get")
    nothing = formats.UNKNOWN
    looked_up = cache.lookups > 0
    return [
        Figure(_("Lookups"), formats.count(cache.lookups)),
        Figure(_("Hits"), formats.count(cache.hits) if looked_up else nothing),
        Figure(_("Misses"), formats.count(cache.misses) if looked_up else nothing),
        Figure(_("Errors"), formats.count(cache.errors), cache.errors > 0),
        Figure(_("get p50"), formats.duration(get.seconds.p50 if get else None)),
        Figure(_("get p99"), formats.duration(get.seconds.p99 if get else None)),
    ]


def _memory_figures(memory: Memory) -> Sequence[Figure]:
    return [
        Figure(
            _("Memory"),
            formats.about(formats.size(memory.bytes), exact=memory.exact),
            note=_limit(memory.limit_bytes, formats.size),
        ),
        Figure(
            _("Entries"),
            formats.about(formats.count(memory.entries), exact=memory.exact),
            note=_limit(memory.limit_entries, formats.count),
        ),
        Figure(_("Evictions"), formats.count(memory.evictions)),
    ]


def _limit(value: int | None, written: Callable[[int | None], str]) -> str:
    return "" if value is None else _("of %(limit)s") % {"limit": written(value)}


def _stale_figures(stale: Stale) -> Sequence[Figure]:
    return [
        Figure(_("Expired, still stored"), formats.count(stale.expired)),
        Figure(_("Idle"), formats.count(stale.idle)),
        Figure(_("Never read"), formats.count(stale.never_read)),
        Figure(_("No expiry"), formats.count(stale.no_expiry)),
        Figure(_("Bytes held"), formats.size(stale.bytes)),
    ]


def _filled(*every: Table) -> Sequence[Table]:
    return [table for table in every if table.rows]


def _share(part: int | None, whole: int | None) -> float | None:
    return part / whole if part is not None and whole else None


def _bar(share: float | None) -> Bar | None:
    return None if share is None else Bar(f"{min(1.0, max(0.0, share)) * 100:.2f}")
