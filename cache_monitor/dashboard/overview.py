"""The overview: the report's figures of each cache, formatted for the templates."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

from django.utils.translation import gettext as _

from cache_monitor.checks import has_tenants
from cache_monitor.dashboard import formats, key_tables
from cache_monitor.dashboard.formats import sparkline
from cache_monitor.dashboard.layout import render_preview
from cache_monitor.dashboard.query import Links
from cache_monitor.dashboard.series import MOST_POINTS, is_empty, labels, series, units
from cache_monitor.dashboard.tables import (
    AnySpec,
    CacheRows,
    Caches,
    ChartRows,
    Figure,
    Frame,
    QualityRows,
    Table,
    make_bar,
)
from cache_monitor.reports.schema import Cache, Memory, Quality, Report

MOST_ROWS = 5
"""Rows of a table that has a page of its own."""
MOST_OPERATIONS = 20


def frame(report: Report) -> Frame:
    """What every page shows besides its own content."""
    now = formats.moment(report.generated_at)
    return Frame(
        since=formats.moment(report.since),
        until=formats.moment(report.until),
        generated_at=now,
        quality=_quality(report.quality, now),
    )


def charts(report: Report, here: str, names: Sequence[str]) -> Sequence[ChartRows]:
    """The charts ``names``, each with its table; ``here`` is the page's address with its query."""
    words = units(report.caches)
    sheets = {spec.name: spec for spec in series(report)}
    return [
        ChartRows(
            name=spec.name,
            title=spec.caption,
            unit=words[spec.name],
            labels=json.dumps(labels(spec.name), ensure_ascii=False),
            empty=is_empty(spec.name, report.caches),
            table=render_preview(spec, MOST_POINTS, download=f"{here}&table={spec.name}"),
        )
        for spec in (sheets[name] for name in names if name in sheets)
    ]


def cache_rows(caches: Caches, before: Caches, links: Links) -> Sequence[CacheRows]:
    """Every cache, in the order of the settings, compared with the period ``before``."""
    return [
        _cache(alias, f"cache-{place}", cache, before.get(alias), links)
        for place, (alias, cache) in enumerate(caches.items(), 1)
    ]


def memory_figures(memory: Memory, *, says_period: bool = False) -> Sequence[Figure]:
    """Bytes and entries with their limits. ``says_period`` where the other figures are of now."""
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
        Figure(
            _("Evictions"),
            formats.count(memory.evictions),
            note=_("in this period") if says_period and memory.evictions_since else "",
        ),
    ]


def _quality(quality: Quality, now: datetime | None) -> QualityRows:
    newest = formats.moment(quality.newest_record_at)
    seconds = (now - newest).total_seconds() if now and newest else None
    dropped, corrupt = quality.dropped_calls, quality.corrupt_windows
    return QualityRows(
        processes=formats.count(quality.processes),
        newest_at=newest,
        newest_age=formats.age(seconds),
        figures=[
            Figure(_("Dropped calls"), formats.count(dropped), dropped > 0),
            *(
                [Figure(_("Stopped reporting"), formats.count(quality.cut_off_processes), True)]
                if quality.cut_off_processes
                else []
            ),
            Figure(_("Corrupt windows"), formats.count(corrupt), corrupt > 0),
            *(
                [Figure(_("Not recorded: past CACHES"), ", ".join(quality.not_recorded), True)]
                if quality.not_recorded
                else []
            ),
            # A user who may see one tenant's keys sees those of all.
            *([Figure(_("Keys shown"), _("those of all tenants"), True)] if has_tenants() else []),
        ],
        estimated=quality.estimated,
        of_all_tenants=has_tenants(),
    )


def _cache(alias: str, anchor: str, cache: Cache, before: Cache | None, links: Links) -> CacheRows:
    memory = cache.memory
    return CacheRows(
        alias=alias,
        anchor=anchor,
        backend=cache.backend,
        backend_name=cache.backend.rpartition(".")[2],
        called=cache.calls > 0,
        hit_ratio=formats.ratio(cache.hit_ratio),
        hit_change=formats.points(cache.hit_ratio, before.hit_ratio) if before else "",
        hit_bar=make_bar(cache.hit_ratio),
        sparkline=sparkline(cache.series),
        figures=_figures(cache, before),
        short=_short(cache),
        memory=memory_figures(memory),
        memory_bar=make_bar(memory.full),
        tables=_tables(alias, cache, links),
    )


def _figures(cache: Cache, before: Cache | None) -> Sequence[Figure]:
    nothing = formats.UNKNOWN
    looked_up = cache.lookups > 0

    def changed(value: Callable[[Cache], float | None]) -> str:
        return formats.change(value(cache), value(before)) if before else ""

    return [
        Figure(_("Lookups"), formats.count(cache.lookups), note=changed(lambda it: it.lookups)),
        Figure(
            _("Hits"),
            formats.count(cache.hits) if looked_up else nothing,
            note=changed(lambda it: it.hits),
        ),
        Figure(
            _("Misses"),
            formats.count(cache.misses) if looked_up else nothing,
            note=changed(lambda it: it.misses),
        ),
        Figure(
            _("Misses per request"),
            formats.decimal(cache.misses_per_request),
            note=changed(lambda it: it.misses_per_request),
        ),
        Figure(
            _("Errors"),
            formats.count(cache.errors),
            cache.errors > 0,
            note=changed(lambda it: it.errors),
        ),
        Figure(_("get p99"), formats.duration(cache.get_p99), note=changed(lambda it: it.get_p99)),
        Figure(
            _("Time saved"),
            formats.estimated(cache.seconds_saved, cache.seconds_saved_error),
            note=" ".join(filter(None, (_off(cache), changed(lambda it: it.seconds_saved)))),
        ),
    ]


def _off(cache: Cache) -> str:
    return formats.give_or_take(cache.seconds_saved, cache.seconds_saved_error)


def worst_first(rows: Sequence[CacheRows], report: Report) -> Sequence[CacheRows]:
    """Caches with severe findings first, then those with errors, then by their hit ratios."""
    weights = {"error": 10_000, "warning": 1, "info": 0}
    found = Counter[str]()
    for finding in report.findings:
        found[finding.alias] += weights[finding.severity]

    def rank(row: CacheRows) -> tuple[int, int, float]:
        cache = report.caches[row.alias]
        ratio = 2.0 if cache.hit_ratio is None else cache.hit_ratio
        return -found[row.alias], -cache.errors, ratio

    return sorted(rows, key=rank)


def _short(cache: Cache) -> Sequence[Figure]:
    """The figures that fit into one line."""
    named = {figure.label: figure for figure in _figures(cache, None)}
    labels = _("Lookups"), _("Misses"), _("Errors"), _("get p99")
    return [*(named[label] for label in labels), memory_figures(cache.memory)[0]]


def _limit(value: int | None, written: Callable[[int | None], str]) -> str:
    return "" if value is None else _("of %(limit)s") % {"limit": written(value)}


def _tables(alias: str, cache: Cache, links: Links) -> Sequence[Table]:
    """The short tables, and the first rows of those that have a page of their own."""
    alone = {alias: cache}
    here = links.page("dashboard", alias=alias)
    every: Sequence[tuple[AnySpec, int, str]] = [
        (key_tables.operations(alone), MOST_OPERATIONS, ""),
        (key_tables.miss_reasons(alone), MOST_OPERATIONS, ""),
        (key_tables.key_groups(alone, links), MOST_ROWS, links.page("groups", alias=alias)),
        (key_tables.hot_keys(alone, links), MOST_ROWS, links.page("keys", alias=alias)),
        (key_tables.views(alone, links), MOST_ROWS, links.page("views", alias=alias)),
    ]
    return [
        render_preview(spec, most, all_url, "" if all_url else f"{here}&table={spec.name}")
        for spec, most, all_url in every
        if spec.items
    ]
