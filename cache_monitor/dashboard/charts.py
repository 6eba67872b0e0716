"""The charts over time, each with the same figures as a table, for those who do not see it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from operator import attrgetter

from django.utils.translation import gettext as _

from cache_monitor.dashboard import columns, formats
from cache_monitor.dashboard.columns import Caches, Cell, ColumnSpec, Value
from cache_monitor.dashboard.query import PageRequest
from cache_monitor.dashboard.tables import Table, TableSpec, render_preview
from cache_monitor.reports.caches import calls_per_second, misses_of
from cache_monitor.reports.schema import Point, Report
from cache_monitor.trace.miss_reasons import REASON_WORDS

MOST_POINTS = 30
"""Steps that the page shows; a download has all."""

Step = Mapping[str, Point]
"""The points of one moment, by alias."""
Item = tuple[str, Step]


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


def series(report: Report) -> Sequence[TableSpec[Item]]:
    """A table for each chart, the newest step first; none where no cache has anything to draw."""
    lines = {alias: it.series for alias, it in report.caches.items() if any(map(_known, it.series))}
    if not lines:
        return []
    steps: dict[str, dict[str, Point]] = {}
    for alias, line in lines.items():
        for point in line:
            steps.setdefault(point.at, {})[alias] = point
    items = sorted(steps.items(), reverse=True)
    return [
        TableSpec(name, title, [columns.time("at", _("Time"), lambda item: item[0]), *drawn], items)
        for name, title, drawn in _columns(lines, calls_per_second(report))
    ]


def is_empty(name: str, caches: Caches) -> bool:
    """Whether the chart ``name`` has nothing to draw."""
    return not any(_MEASURED[name](point) for cache in caches.values() for point in cache.series)


def units(caches: Caches) -> Mapping[str, str]:
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


def labels(name: str) -> Mapping[str, str]:
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
        (point.at for cache in caches.values() for point in cache.series if _known(point)),
        default=None,
    )


_Line = tuple[str, str, Callable[[Point], Value], Callable[..., str]]
"""A column of each cache: its label, its name, what it shows of a point, and how."""
_ALIAS = "%(alias)s"


def _columns(
    lines: Mapping[str, Sequence[Point]], rate: Callable[[Point], float | None]
) -> Sequence[tuple[str, str, Sequence[ColumnSpec[Item]]]]:
    def of_each(*every: _Line) -> list[ColumnSpec[Item]]:
        return [_column(alias, line) for alias in lines for line in every]

    evictions = (_("%(alias)s evictions"), "evictions", attrgetter("evictions"), formats.count)
    memory = [
        column
        for alias, points in lines.items()
        for column in (
            _column(alias, (_ALIAS, "memory", attrgetter("memory_bytes"), formats.size)),
            *([_column(alias, evictions)] if _knows_evictions(points) else []),
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
        ("hit_ratio", _("Hit ratio and misses by reason"), [*ratios, *_reasons()]),
        ("rate", _("Operations a second"), [*rates, *lookups]),
        ("latency", _("Latency, p50, p90 and p99"), latency),
        ("memory", _("Memory"), memory),
        ("latency_map", _("Latency by cache"), p99s),
    ]


def _column(alias: str, line: _Line) -> ColumnSpec[Item]:
    label, name, value, text = line

    def read(item: Item) -> Value:
        point = item[1].get(alias)
        return None if point is None else value(point)

    named = label % {"alias": alias}
    return ColumnSpec(f"{alias}.{name}", named, read, lambda item: Cell(text(read(item))))


def _reasons() -> Sequence[ColumnSpec[Item]]:
    """For each reason the misses of all caches together, as the chart stacks them."""

    def missed(name: str, item: Item) -> int | None:
        return misses_of(item[1].values(), name)

    def cell(name: str, item: Item) -> Cell:
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


def _known(point: Point) -> bool:
    return any(measured(point) for measured in _MEASURED.values())
