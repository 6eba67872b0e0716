"""What the templates are given: texts ready to print, in rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Step:
    """One row of a time series: a time, and a figure of each column."""

    at: datetime | None
    texts: Sequence[str]


@dataclass(frozen=True, slots=True)
class ChartRows:
    """A chart: its name, what it shows, and the same figures as a table."""

    name: str
    title: str
    unit: str
    empty: bool
    columns: Sequence[str]
    steps: Sequence[Step]
    bounded: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table. ``code`` marks text that the site's users wrote, such as a key."""

    text: str
    numeric: bool = True
    code: bool = False
    title: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column."""

    label: str
    numeric: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """A table of at most MOST_ROWS rows; the first cell of a row is its heading."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    bounded: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A labelled figure. ``loud`` marks one that asks for attention."""

    label: str
    text: str
    loud: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar's filled part, 0 to 100, as SVG writes numbers."""

    width: str


@dataclass(frozen=True, slots=True)
class CacheRows:
    """One cache: its strip of figures and its tables."""

    alias: str
    anchor: str
    backend: str
    backend_name: str
    called: bool
    hit_ratio: str
    hit_bar: Bar | None
    figures: Sequence[Figure]
    memory: Sequence[Figure]
    memory_bar: Bar | None
    memory_at: datetime | None
    stale: Sequence[Figure]
    tables: Sequence[Table]
    memory_tables: Sequence[Table]
    stale_tables: Sequence[Table]


@dataclass(frozen=True, slots=True)
class QualityRows:
    """How far the figures can be trusted."""

    processes: str
    newest_at: datetime | None
    newest_age: str
    figures: Sequence[Figure]
    estimated: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Everything that the page shows."""

    since: datetime | None
    until: datetime | None
    generated_at: datetime | None
    quality: QualityRows
    caches: Sequence[CacheRows]
    not_called: Sequence[str]
    charts: Sequence[ChartRows]

    @property
    def called(self) -> Sequence[CacheRows]:
        return [cache for cache in self.caches if cache.called]

    @property
    def with_detail(self) -> Sequence[CacheRows]:
        """The caches that have something to show beyond their strip."""
        return [c for c in self.caches if c.called or c.memory_at or c.stale_tables]
