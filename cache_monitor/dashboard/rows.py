"""What the templates are given: texts ready to print, in rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar's filled part, 0 to 100, as SVG writes numbers."""

    width: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table. ``code`` marks text that the site's users wrote, such as a key."""

    text: str
    numeric: bool = True
    code: bool = False
    title: str = ""
    url: str = ""
    at: datetime | None = None
    bar: Bar | None = None
    sparkline: Sequence[str] = ()
    """The points of SVG lines that are drawn in place of the text, which says what they show."""

    @property
    def plain(self) -> bool:
        """Whether there is nothing but the text, as in most cells: a template of its own for
        each would take most of the time."""
        return not (self.code or self.url or self.at or self.bar or self.sparkline)


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column. ``sort_url`` sorts by it; ``order`` is how it is sorted now, as
    aria-sort has it."""

    label: str
    numeric: bool = True
    sort_url: str = ""
    order: str = ""


@dataclass(frozen=True, slots=True)
class ColumnChoice:
    """A column that can be left out, and the URL that shows or hides it."""

    label: str
    shown: bool
    url: str


@dataclass(frozen=True, slots=True)
class Pager:
    """Where the page of a table stands among its pages; empty URLs where there is none."""

    text: str
    previous_url: str
    next_url: str


@dataclass(frozen=True, slots=True)
class SearchBox:
    """The search box of a table: its parameter, what it asks now, the columns that it looks
    into, what the form sends along."""

    parameter: str
    text: str
    hint: str
    hidden: Mapping[str, str]
    clear_url: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first cell of a row is its heading.

    ``bounded`` says how many of how many rows are shown, nothing where it is all of them.

    The representation is without the rows: the debug toolbar keeps that of the whole context once
    for each template rendered, thus for each cell, which came to gigabytes a page.
    """

    name: str
    caption: str
    columns: Sequence[Column] = field(repr=False)
    rows: Sequence[Sequence[Cell]] = field(repr=False)
    bounded: str = ""
    note: str = ""
    empty: str = ""
    pager: Pager | None = None
    search: SearchBox | None = None
    csv_url: str = ""
    json_url: str = ""
    all_url: str = ""
    choices: Sequence[ColumnChoice] = ()
    """The columns to choose from; none where there are few."""
    every_column_url: str = ""
    """Shows all columns again; empty where they are."""


@dataclass(frozen=True, slots=True)
class ChartRows:
    """A chart: its name, what it shows, and the same figures as a table. ``labels`` are the words
    for what it stacks, by their names in the report, as JSON."""

    name: str
    title: str
    unit: str
    labels: str
    empty: bool
    table: Table


@dataclass(frozen=True, slots=True)
class Figure:
    """A labelled figure. ``loud`` marks one that asks for attention."""

    label: str
    text: str
    loud: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class ShareBar:
    """A part of a whole with its bar."""

    label: str
    text: str
    share: str
    bar: Bar | None


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
    # Left out of the representation for the same reason as a table's rows.
    sparkline: Sequence[str] = field(repr=False)
    figures: Sequence[Figure] = field(repr=False)
    short: Sequence[Figure] = field(repr=False)
    """Those that one line has room for."""
    memory: Sequence[Figure] = field(repr=False)
    memory_bar: Bar | None
    tables: Sequence[Table] = field(repr=False)


@dataclass(frozen=True, slots=True)
class QualityRows:
    """How far the figures can be trusted."""

    processes: str
    newest_at: datetime | None
    newest_age: str
    figures: Sequence[Figure]
    estimated: bool
    of_all_tenants: bool
    """Whether the site tells tenants apart, whose figures are here together."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What every page shows around its own: the period and the quality of the figures."""

    since: datetime | None
    until: datetime | None
    generated_at: datetime | None
    quality: QualityRows


@dataclass(frozen=True, slots=True)
class FilterChoice:
    """A link to the page with another filter."""

    label: str
    text: str
    url: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class LiveRows:
    """What a look into one cache found, on the pages about memory and stale entries.

    ``said`` tells how much was looked at, ``problem`` why nothing is known, or why ``known`` is not
    all, ``drawn`` whether there are groups to draw. ``names`` are the cache's and those of others
    with the same entries, ``neighbours`` those with other entries in the same store.
    """

    alias: str
    names: str
    neighbours: str
    backend_name: str
    measured_at: datetime | None
    said: str
    problem: str
    known: bool
    figures: Sequence[Figure]
    bar: Bar | None
    parts: Sequence[ShareBar]
    drawn: bool
    action_url: str
