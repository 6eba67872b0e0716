"""The report as a screen full of text, for ``cache_top``."""

from collections.abc import Mapping

from cache_monitor.exporters.cells import brief, plain, processes, share, size, time
from cache_monitor.exporters.extras import MissingExtra
from cache_monitor.exporters.view import ORDERS, View
from cache_monitor.reports.schema import Cache, Report

try:
    from rich.box import SIMPLE_HEAD
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text
except ImportError as error:
    raise MissingExtra("rich") from error

WIDTH = 80

_REASONS = {
    "never_set": "never",
    "expired": "expired",
    "evicted": "evicted",
    "lost": "lost",
    "deleted": "deleted",
    "cleared": "cleared",
    "version_changed": "version",
    "unknown": "unknown",
}


def screen(report: Report, seconds: float, view: View, rows: int | None = None) -> RenderableType:
    """``report``, of a period of ``seconds``, in ``rows`` lines; all hot keys where that is None.

    The keys are those of all caches; a cache that nobody called has a line and no more.
    """
    caches = {alias: cache for alias, cache in report.caches.items() if view.alias in (None, alias)}
    # A table takes two lines more than it has rows, and the header and the help one each.
    left = None if rows is None else max(1, rows - 2 - 2 * 3 - 2 * len(caches))
    return Group(
        _header(report, seconds),
        _caches(caches, seconds),
        _misses(caches),
        _hot_keys(caches, view.order, left),
    )


def help_line(view: View) -> Text:
    """Which keys can be pressed."""
    line = Text(" sort: ", style="dim", no_wrap=True)
    for order in ORDERS:
        style = "reverse" if order == view.order else "bold"
        line.append(order[0], style=style).append(f"{order[1:]}  ")
    shown = plain(view.alias, 20) if view.alias else "all"
    return (
        line.append("a", style="bold")
        .append(f" cache: {shown}  ")
        .append("q", "bold")
        .append("uit")
    )


def problem_line(problem: str) -> Text:
    """What is wrong with the store, where something is."""
    return Text(plain(problem, 10 * WIDTH), style="bold red")


def _header(report: Report, seconds: float) -> Text:
    quality = report.quality
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f" caches, last {_length(seconds)} to {report.until[11:19]} UTC", style="bold")
    line.append(f"   {processes(quality.processes)}")
    if quality.dropped_calls:
        line.append(f"   {quality.dropped_calls:,} calls missing", style="yellow")
    grave = sum(each.severity != "info" for each in report.findings)
    if grave:
        line.append(f"   {grave} findings: cache_stats", style="yellow")
    return line


def _length(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length and not seconds % length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:.0f}s"


def _table(name: str, *columns: tuple[str, int]) -> Table:
    table = Table(box=SIMPLE_HEAD, width=WIDTH, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column(name, ratio=1, no_wrap=True, overflow="ellipsis")
    for title, width in columns:
        table.add_column(title, width=width, justify="right", no_wrap=True)
    return table


def _caches(caches: Mapping[str, Cache], seconds: float) -> Table:
    table = _table(
        "cache",
        ("hits", 6),
        ("lookups/s", 9),
        ("calls/s", 7),
        ("errors", 6),
        ("p99", 8),
        ("entries", 7),
        ("memory", 8),
    )
    for alias, cache in caches.items():
        calls = sum(each.calls for each in cache.operations.values())
        table.add_row(
            Text(plain(alias, WIDTH)),
            Text(share(cache.hit_ratio), style=_colour(cache.hit_ratio)),
            _rate(cache.lookups, seconds),
            _rate(calls, seconds),
            Text(brief(cache.errors), style="red" if cache.errors else ""),
            time(_slowest(cache)),
            brief(cache.memory.entries),
            size(cache.memory.bytes),
        )
    return table


def _slowest(cache: Cache) -> float | None:
    """The slowest hundredth of the operation that waits longest for it."""
    known = [each.seconds.p99 for each in cache.operations.values() if each.seconds.p99 is not None]
    return max(known, default=None)


def _misses(caches: Mapping[str, Cache]) -> Table:
    table = _table("misses", *((title, max(5, len(title))) for title in _REASONS.values()))
    for alias, cache in caches.items():
        if cache.misses:
            reasons = (getattr(cache.miss_reasons, name) for name in _REASONS)
            table.add_row(Text(plain(alias, WIDTH)), *map(_some, reasons))
    return table


def _hot_keys(caches: Mapping[str, Cache], order: str, most: int | None) -> Table:
    table = _table("key", ("cache", 10), ("lookups", 9), ("misses", 8), ("hits", 6), ("size", 9))
    keys = [(alias, key) for alias, cache in caches.items() for key in cache.hot_keys]
    keys.sort(key=lambda each: (ORDERS[order](each[1]), each[1].key))
    for alias, key in keys[:most]:
        ratio = key.hits / key.lookups if key.lookups else None
        table.add_row(
            Text(plain(key.key, WIDTH)),
            plain(alias, 10),
            brief(key.lookups),
            _some(key.misses),
            Text(share(ratio), style=_colour(ratio)),
            size(key.bytes),
        )
    return table


def _some(number: int | None) -> str:
    """A number; zero shows as nothing, so that the others stand out."""
    return "" if number == 0 else brief(number)


def _rate(number: int, seconds: float) -> str:
    rate = number / seconds
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"


def _colour(ratio: float | None) -> str:
    if ratio is None:
        return "dim"
    return "green" if ratio >= 0.8 else "yellow" if ratio >= 0.5 else "red"
