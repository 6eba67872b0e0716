"""The overview: each cache with its figures and its short tables; and the charts over time, each
with the same figures as a table, for those who do not see it."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import NamedTuple

from django.utils.translation import gettext as _

from cache_monitor.dashboard import formats, keys
from cache_monitor.dashboard.findings import finding_rows
from cache_monitor.dashboard.formats import (
    Bar,
    Cell,
    ColumnSpec,
    Figure,
    Value,
    code_column,
    figure_column,
    ratio_column,
    sparkline,
    text_column,
    time_column,
)
from cache_monitor.dashboard.query import Links, PageRequest
from cache_monitor.dashboard.tables import (
    AnySpec,
    CacheItem,
    Caches,
    Content,
    Table,
    TableSpec,
    cache_column,
    render_preview,
)
from cache_monitor.reports import Cache, Memory, Operation, Point, Report
from cache_monitor.reports.caches import calls_per_second, misses_of
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
            hit_bar=formats.make_bar(cache.hit_ratio),
            sparkline=sparkline([point.hit_ratio for point in cache.series]),
            figures=_figures(cache, before.get(alias)),
            short=_short(cache),
            memory=memory_figures(cache.memory),
            memory_bar=formats.make_bar(cache.memory.full),
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


def _limit(value: int | None, written: Callable[[int | None], str]) -> str:
    return "" if value is None else _("of %(limit)s") % {"limit": written(value)}


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
            *cache_column(caches),
            code_column("operation", _("Operation"), "name"),
            figure_column("calls", _("Calls"), "figures.calls"),
            figure_column("keys", _("Keys"), "figures.keys"),
            figure_column("hits", _("Hits"), "figures.hits"),
            figure_column("misses", _("Misses"), "figures.misses"),
            figure_column("errors", _("Errors"), "figures.errors"),
            figure_column("interrupted", _("Interrupted"), "figures.interrupted"),
            figure_column("p50", _("p50"), "figures.seconds.p50", text=formats.duration),
            figure_column("p90", _("p90"), "figures.seconds.p90", text=formats.duration),
            figure_column("p99", _("p99"), "figures.seconds.p99", text=formats.duration),
            figure_column("max", _("Max"), "figures.seconds.max", text=formats.duration),
            figure_column("total", _("Total"), "figures.seconds.total", text=formats.duration),
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
            *cache_column(caches),
            text_column("reason", _("Reason"), lambda each: each.item.word),
            figure_column("misses", _("Misses")),
            ratio_column("share", _("Share")),
        ],
        every,
        order="-misses",
    )


MOST_POINTS = 30
"""Steps of a chart's table that the page shows; a download has all."""

Step = tuple[str, Mapping[str, Point]]
"""A moment, and its points by alias."""


@dataclass(frozen=True, slots=True)
class ChartRows:
    """A chart, and the same figures as a table. ``labels`` are the words for its bars, by their
    names in the report, as JSON."""

    name: str
    title: str
    unit: str
    labels: str
    empty: bool
    table: Table


# Whether a chart has something to draw at a point.
_MEASURED: Mapping[str, Callable[[Point], bool]] = {
    "hit_ratio": lambda point: point.lookups > 0,
    "rate": lambda point: point.calls > 0,
    "latency": lambda point: point.p99 is not None,
    "latency_map": lambda point: point.p99 is not None,
    "memory": lambda point: point.memory_bytes is not None or point.evictions is not None,
}


def charts(report: Report, here: str, names: Sequence[str]) -> Sequence[ChartRows]:
    """The charts ``names``, each with its table; ``here`` is the page's address with its query."""
    words = chart_units(report.caches)
    sheets = {spec.name: spec for spec in series(report)}
    return [
        ChartRows(
            name=spec.name,
            title=spec.caption,
            unit=words[spec.name],
            labels=json.dumps(chart_labels(spec.name), ensure_ascii=False),
            empty=is_chart_empty(spec.name, report.caches),
            table=render_preview(spec, MOST_POINTS, download=f"{here}&table={spec.name}"),
        )
        for spec in (sheets[name] for name in names if name in sheets)
    ]


def series(report: Report) -> Sequence[TableSpec[Step]]:
    """A table for each chart, the newest step first; none where no cache has anything to draw."""
    lines = {
        alias: it.series for alias, it in report.caches.items() if any(map(_is_measured, it.series))
    }
    if not lines:
        return []
    steps: dict[str, dict[str, Point]] = {}
    for alias, line in lines.items():
        for point in line:
            steps.setdefault(point.at, {})[alias] = point
    items = sorted(steps.items(), reverse=True)
    return [
        TableSpec(name, title, [time_column("at", _("Time"), lambda item: item[0]), *drawn], items)
        for name, title, drawn in _chart_columns(lines, calls_per_second(report))
    ]


def is_chart_empty(name: str, caches: Caches) -> bool:
    """Whether the chart ``name`` has nothing to draw."""
    return not any(_MEASURED[name](point) for cache in caches.values() for point in cache.series)


def chart_units(caches: Caches) -> Mapping[str, str]:
    memory = _("bytes in the cache")
    if any(_knows_evictions(cache.series) for cache in caches.values()):
        memory = _("bytes in the cache; below, how many entries were evicted")
    return {
        "hit_ratio": _("per cent of lookups; below, how many missed, and why"),
        "rate": _("calls of every kind a second"),
        "latency": _("of 100 calls 50, 90 and 99 are faster"),
        "latency_map": _("p99 of each step: the stronger, the slower"),
        "memory": memory,
    }


def chart_labels(name: str) -> Mapping[str, str]:
    """The words for the bars of the chart ``name``, by their names in the report."""
    if name == "memory":
        # %s: the scripts put each cache's alias there.
        evictions_of = _("%(alias)s evictions") % {"alias": "%s"}
        return {"evictions": _("Evictions"), "evictions_of": evictions_of}
    reasons = REASON_WORDS if name == "hit_ratio" else {}
    return {reason: str(word) for reason, word in reasons.items()}


def recorded_from(page_request: PageRequest) -> datetime | None:
    """When the figures begin, if that is well after the period's beginning."""
    begins = formats.moment(begins_at(page_request.report.caches))
    length = page_request.query.until - page_request.query.since
    return begins if begins and begins > page_request.query.since + length / 10 else None


def begins_at(caches: Caches) -> str | None:
    return min(
        (point.at for cache in caches.values() for point in cache.series if _is_measured(point)),
        default=None,
    )


_Line = tuple[str, str, Callable[[Point], Value], Callable[..., str]]
"""A column of each cache: its label, its name, what it shows of a point, and how."""
_ALIAS = "%(alias)s"


def _chart_columns(
    lines: Mapping[str, Sequence[Point]], rate: Callable[[Point], float | None]
) -> Sequence[tuple[str, str, Sequence[ColumnSpec[Step]]]]:
    def of_each(*every: _Line) -> list[ColumnSpec[Step]]:
        return [_chart_column(alias, line) for alias in lines for line in every]

    evictions = (_("%(alias)s evictions"), "evictions", attrgetter("evictions"), formats.count)
    memory = [
        column
        for alias, points in lines.items()
        for column in (
            _chart_column(alias, (_ALIAS, "memory", attrgetter("memory_bytes"), formats.size)),
            *([_chart_column(alias, evictions)] if _knows_evictions(points) else []),
        )
    ]
    ratios = of_each((_ALIAS, "hit_ratio", attrgetter("hit_ratio"), formats.ratio))
    rates = of_each((_ALIAS, "operations_per_second", rate, formats.decimal))
    lookups = of_each(
        (_("%(alias)s hits"), "hits", attrgetter("hits"), formats.count),
        (_("%(alias)s misses"), "misses", attrgetter("misses"), formats.count),
    )
    latency = of_each(
        *(
            (f"{_ALIAS} {name}", name, attrgetter(name), formats.duration)
            for name in ("p50", "p90", "p99")
        )
    )
    p99s = of_each((_ALIAS, "latency_map", attrgetter("p99"), formats.duration))
    return [
        ("hit_ratio", _("Hit ratio and misses by reason"), [*ratios, *_reason_columns()]),
        ("rate", _("Operations a second"), [*rates, *lookups]),
        ("latency", _("Latency, p50, p90 and p99"), latency),
        ("memory", _("Memory"), memory),
        ("latency_map", _("Latency by cache"), p99s),
    ]


def _chart_column(alias: str, line: _Line) -> ColumnSpec[Step]:
    label, name, value, text = line

    def read(item: Step) -> Value:
        point = item[1].get(alias)
        return None if point is None else value(point)

    named = label % {"alias": alias}
    return ColumnSpec(f"{alias}.{name}", named, read, lambda item: Cell(text(read(item))))


def _reason_columns() -> Sequence[ColumnSpec[Step]]:
    """For each reason the misses of all caches together, as the chart stacks them."""

    def missed(name: str, item: Step) -> int | None:
        return misses_of(item[1].values(), name)

    def cell(name: str, item: Step) -> Cell:
        return Cell(formats.count(missed(name, item)))

    return [
        ColumnSpec(
            f"misses.{name}",
            _("Misses: %(reason)s") % {"reason": word},
            partial(missed, name),
            partial(cell, name),
        )
        for name, word in REASON_WORDS.items()
    ]


def _knows_evictions(line: Sequence[Point]) -> bool:
    return any(point.evictions is not None for point in line)


def _is_measured(point: Point) -> bool:
    return any(measured(point) for measured in _MEASURED.values())
