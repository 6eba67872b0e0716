"""The overview: each cache with its figures, its short tables, and the charts."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from django.utils.translation import gettext as _

from cache_monitor.dashboard import columns, formats, keys
from cache_monitor.dashboard.charts import charts, recorded_from, series
from cache_monitor.dashboard.columns import Bar, CacheItem, Caches, Figure
from cache_monitor.dashboard.findings import finding_rows
from cache_monitor.dashboard.formats import sparkline
from cache_monitor.dashboard.memory import memory_figures
from cache_monitor.dashboard.query import Links, PageRequest
from cache_monitor.dashboard.tables import AnySpec, Content, Table, TableSpec, render_preview
from cache_monitor.reports.schema import Cache, Operation, Report
from cache_monitor.trace.miss_reasons import REASON_WORDS

OVERVIEW_CHARTS = ("hit_ratio", "rate", "latency", "memory", "latency_map")
MAX_STRIPS = 4
"""Caches that the overview has room for with all of their figures; of more each has a line."""
MAX_FINDINGS = 3
"""Findings that the overview shows; they have a page of their own."""
MOST_ROWS = 5
"""Rows of a table that has a page of its own."""
MOST_OPERATIONS = 20


def build(page_request: PageRequest) -> Content:
    caches = page_request.report.caches
    before = page_request.before.caches if page_request.before else {}
    rows = cache_rows(caches, before, page_request.links)
    here = page_request.links.page("dashboard")
    called = [cache for cache in rows if cache.called]
    many = len(called) > MAX_STRIPS
    return Content(
        downloads=[
            operations(caches),
            miss_reasons(caches),
            *series(page_request.report),
        ],
        context={
            "caches": worst_first(called, page_request.report) if many else called,
            "many_caches": many,
            "not_called": [cache.alias for cache in rows if not cache.called],
            "charts": charts(page_request.report, here, OVERVIEW_CHARTS),
            "begins_at": recorded_from(page_request),
            "findings": finding_rows(page_request.report, page_request.links)[:MAX_FINDINGS],
            "findings_url": page_request.links.page("findings"),
            "more_findings": formats.some_of(MAX_FINDINGS, len(page_request.report.findings)),
        },
    )


@dataclass(frozen=True, slots=True)
class CacheRows:
    """One cache on the overview: its strip of figures and its tables."""

    alias: str
    anchor: str
    backend: str
    backend_name: str
    called: bool
    hit_ratio: str
    hit_change: str
    hit_bar: Bar | None
    # Not in the ``repr``, for the same reason as a table's rows.
    sparkline: Sequence[str] = field(repr=False)
    figures: Sequence[Figure] = field(repr=False)
    short: Sequence[Figure] = field(repr=False)
    """Those that fit into one line."""
    memory: Sequence[Figure] = field(repr=False)
    memory_bar: Bar | None
    tables: Sequence[Table] = field(repr=False)


def cache_rows(caches: Caches, before: Caches, links: Links) -> Sequence[CacheRows]:
    """Every cache, in the order of the settings, compared with the period ``before``."""
    return [
        CacheRows(
            alias=alias,
            anchor=f"cache-{place}",
            backend=cache.backend,
            backend_name=cache.backend.rpartition(".")[2],
            called=cache.calls > 0,
            hit_ratio=formats.ratio(cache.hit_ratio),
            hit_change=(
                formats.points(cache.hit_ratio, before[alias].hit_ratio) if alias in before else ""
            ),
            hit_bar=columns.make_bar(cache.hit_ratio),
            sparkline=sparkline([point.hit_ratio for point in cache.series]),
            figures=_figures(cache, before.get(alias)),
            short=_short(cache),
            memory=memory_figures(cache.memory),
            memory_bar=columns.make_bar(cache.memory.full),
            tables=_tables(alias, cache, links),
        )
        for place, (alias, cache) in enumerate(caches.items(), 1)
    ]


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


def _figures(cache: Cache, before: Cache | None) -> Sequence[Figure]:
    def figure(
        label: str,
        name: str,
        text: Callable[..., str],
        *,
        is_known: bool = True,
        is_warning: bool = False,
        note: str = "",
    ) -> Figure:
        now = getattr(cache, name)
        change = formats.change(now, getattr(before, name)) if before else ""
        notes = " ".join(filter(None, (note, change)))
        return Figure(label, text(now if is_known else None), is_warning, notes)

    count, looked_up, error = formats.count, cache.lookups > 0, cache.seconds_saved_error
    return [
        figure(_("Lookups"), "lookups", count),
        figure(_("Hits"), "hits", count, is_known=looked_up),
        figure(_("Misses"), "misses", count, is_known=looked_up),
        figure(_("Misses per request"), "misses_per_request", formats.decimal),
        figure(_("Errors"), "errors", count, is_warning=cache.errors > 0),
        figure(_("get p99"), "get_p99", formats.duration),
        figure(
            _("Time saved"),
            "seconds_saved",
            partial(formats.estimated, error=error),
            note=formats.give_or_take(cache.seconds_saved, error),
        ),
    ]


def _short(cache: Cache) -> Sequence[Figure]:
    named = {figure.label: figure for figure in _figures(cache, None)}
    labels = _("Lookups"), _("Misses"), _("Errors"), _("get p99")
    return [*(named[label] for label in labels), memory_figures(cache.memory)[0]]


def _tables(alias: str, cache: Cache, links: Links) -> Sequence[Table]:
    """The short tables, and the first rows of those that have a page of their own."""
    alone = {alias: cache}
    here = links.page("dashboard", alias=alias)
    every: Sequence[tuple[AnySpec, int, str]] = [
        (operations(alone), MOST_OPERATIONS, ""),
        (miss_reasons(alone), MOST_OPERATIONS, ""),
        (keys.key_groups(alone, links), MOST_ROWS, links.page("groups", alias=alias)),
        (keys.hot_keys(alone, links), MOST_ROWS, links.page("keys", alias=alias)),
        (keys.views(alone, links), MOST_ROWS, links.page("views", alias=alias)),
    ]
    return [
        render_preview(spec, most, all_url, "" if all_url else f"{here}&table={spec.name}")
        for spec, most, all_url in every
        if spec.items
    ]


class MissShare(NamedTuple):
    """A reason of ``misses``, and its share of those of a cache."""

    word: str
    misses: int
    share: float | None


class NamedOperation(NamedTuple):
    name: str
    figures: Operation


def operations(caches: Caches) -> TableSpec[CacheItem[NamedOperation]]:
    every = [
        CacheItem(alias, NamedOperation(*each))
        for alias, cache in caches.items()
        for each in cache.operations.items()
    ]
    return TableSpec(
        "operations",
        _("Operations"),
        [
            *columns.cache(caches),
            columns.code("operation", _("Operation"), "name"),
            columns.figure("calls", _("Calls"), "figures.calls"),
            columns.figure("keys", _("Keys"), "figures.keys"),
            columns.figure("hits", _("Hits"), "figures.hits"),
            columns.figure("misses", _("Misses"), "figures.misses"),
            columns.figure("errors", _("Errors"), "figures.errors"),
            columns.figure("interrupted", _("Interrupted"), "figures.interrupted"),
            columns.figure("p50", _("p50"), "figures.seconds.p50", text=formats.duration),
            columns.figure("p90", _("p90"), "figures.seconds.p90", text=formats.duration),
            columns.figure("p99", _("p99"), "figures.seconds.p99", text=formats.duration),
            columns.figure("max", _("Max"), "figures.seconds.max", text=formats.duration),
            columns.figure("total", _("Total"), "figures.seconds.total", text=formats.duration),
        ],
        every,
        order="-calls",
    )


def miss_reasons(caches: Caches) -> TableSpec[CacheItem[MissShare]]:
    every = [
        CacheItem(alias, MissShare(str(word), misses, cache.miss_reasons.share(name)))
        for alias, cache in caches.items()
        for name, word in REASON_WORDS.items()
        if (misses := getattr(cache.miss_reasons, name))
    ]
    return TableSpec(
        "miss_reasons",
        _("Misses by reason"),
        [
            *columns.cache(caches),
            columns.text("reason", _("Reason"), lambda each: each.item.word),
            columns.figure("misses", _("Misses")),
            columns.ratio("share", _("Share")),
        ],
        every,
        order="-misses",
    )
