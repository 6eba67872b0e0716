"""The time series as tables: the same figures as the charts, for those who do not see them."""

from collections.abc import Callable, Mapping, Sequence

from django.utils.translation import gettext as _

from cache_monitor.dashboard import formats
from cache_monitor.dashboard.rows import ChartRows, Step
from cache_monitor.reports.schema import Point, Report

MOST_POINTS = 60


Read = Callable[[Point], str]

# Whether a chart has something to draw at a point.
_MEASURED: Mapping[str, Callable[[Point], bool]] = {
    "hit_ratio": lambda point: point.lookups > 0,
    "lookups": lambda point: point.lookups > 0,
    "p99": lambda point: point.p99 is not None,
    "memory": lambda point: point.memory_bytes is not None,
}


def charts(report: Report) -> Sequence[ChartRows]:
    """The charts that have something to draw."""
    series = {alias: c.series for alias, c in report.caches.items() if _drawn(c.series)}
    if not series:
        return []
    ratios = {alias: (alias, _ratio) for alias in series}
    p99 = {alias: (alias, lambda point: formats.duration(point.p99)) for alias in series}
    memory = {alias: (alias, lambda point: formats.size(point.memory_bytes)) for alias in series}
    return [
        _chart("hit_ratio", _("Hit ratio"), _("per cent of lookups"), series, ratios),
        _chart("lookups", _("Lookups"), _("hits and misses per step"), series, _lookups(series)),
        _chart("p99", _("Latency, p99"), _("99 of 100 calls are faster"), series, p99),
        _chart("memory", _("Memory"), _("bytes in the cache"), series, memory),
    ]


def _lookups(series: Mapping[str, Sequence[Point]]) -> Mapping[str, tuple[str, Read]]:
    columns: dict[str, tuple[str, Read]] = {}
    for alias in series:
        hits = _("%(alias)s hits") % {"alias": alias}
        misses = _("%(alias)s misses") % {"alias": alias}
        columns[hits] = (alias, lambda point: formats.count(point.hits))
        columns[misses] = (alias, lambda point: formats.count(point.misses))
    return columns


def _chart(
    name: str,
    title: str,
    unit: str,
    series: Mapping[str, Sequence[Point]],
    columns: Mapping[str, tuple[str, Read]],
) -> ChartRows:
    points = {alias: {point.at: point for point in line} for alias, line in series.items()}
    times = sorted({at for line in points.values() for at in line}, reverse=True)
    shown = times[:MOST_POINTS]
    steps = [
        Step(
            formats.moment(at),
            [
                read(point) if (point := points[alias].get(at)) else formats.UNKNOWN
                for alias, read in columns.values()
            ],
        )
        for at in shown
    ]
    return ChartRows(
        name=name,
        title=title,
        unit=unit,
        empty=not any(_MEASURED[name](point) for line in series.values() for point in line),
        columns=list(columns),
        steps=steps,
        bounded=formats.some_of(len(shown), len(times)),
    )


def _ratio(point: Point) -> str:
    return formats.ratio(point.hits / point.lookups if point.lookups else None)


def _drawn(series: Sequence[Point]) -> bool:
    return any(measured(point) for point in series for measured in _MEASURED.values())
