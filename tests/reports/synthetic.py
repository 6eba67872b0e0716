"""Windows and details made by hand, in which every figure is known."""

from __future__ import annotations

from collections.abc import Mapping

from cache_monitor.reports import Cache, Report
from cache_monitor.reports.build import Material, build
from cache_monitor.reports.caches import ReportPeriod
from cache_monitor.stats.codec import encode
from cache_monitor.stats.details import Details
from cache_monitor.stats.hot_keys import HotKeys
from cache_monitor.stats.sketches import hash_of
from cache_monitor.stats.window import OperationStats, Window
from cache_monitor.stores.base import Kind, Row
from cache_monitor.stores.rows import MERGED

BEGIN = 1_900_000_000 // 3600 * 3600
END = BEGIN + 3600
BACKEND = "django.core.cache.backends.locmem.LocMemCache"


def window(start: int = BEGIN, **operations: OperationStats) -> Window:
    made = Window(start, 10, newest=float(start + 9), processes={hash_of("one")})
    made.operations.update(operations)
    return made


def calls(hits: int, misses: int, *seconds: float) -> OperationStats:
    """An operation's calls, each of which took one of ``seconds``."""
    stats = OperationStats(len(seconds), hits + misses, hits, misses)
    stats.seconds, stats.slowest = sum(seconds), max(seconds, default=0.0)
    stats.times.count(seconds)
    return stats


def details(start: int = BEGIN) -> Details:
    return Details(start, 60, HotKeys(1000), 200)


def row(part: Window | Details, process: str = "one", alias: str = "default") -> Row:
    kind: Kind = "window" if isinstance(part, Window) else "details"
    return Row(kind, process, alias, part.start, part.seconds, encode(part))


def report_on(
    *rows: Row,
    backends: Mapping[str, str] | None = None,
    since: float = BEGIN,
    until: float = END,
    dropped: int = 0,
) -> Report:
    material = Material(
        backends={"default": BACKEND} if backends is None else backends,
        rows=rows,
        dropped=dropped,
    )
    return build(material, ReportPeriod(since, until, until), fresh_for=60)


def cache_of(*parts: Window | Details) -> Cache:
    """What is reported of the cache that these parts are of."""
    return report_on(*(row(part) for part in parts)).caches["default"]


def merged(part: Window | Details) -> Row:
    """A row as the roll-up leaves it."""
    return row(part, process=MERGED)
