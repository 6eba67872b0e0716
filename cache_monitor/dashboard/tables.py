"""The tables of the dashboard: their columns, and what the templates print of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any, Generic, TypeVar

from django.utils.translation import gettext as _

from cache_monitor.dashboard import formats
from cache_monitor.dashboard.formats import counts
from cache_monitor.reports.schema import Cache


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar's filled part, 0 to 100, as SVG writes numbers."""

    width: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table. ``code`` marks text that the site's users wrote, such as a key."""

    text: str
    is_numeric: bool = True
    code: bool = False
    title: str = ""
    url: str = ""
    at: datetime | None = None
    bar: Bar | None = None
    sparkline: Sequence[str] = ()
    """The points of SVG lines that are drawn instead of the text, which describes them."""

    @property
    def is_plain(self) -> bool:
        """Whether there is only text, as in most cells: a template for each cell would take most of
        the time."""
        return not (self.code or self.url or self.at or self.bar or self.sparkline)


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column. ``sort_url`` sorts by it; ``order`` is the present order, a value of
    aria-sort."""

    label: str
    is_numeric: bool = True
    sort_url: str = ""
    order: str = ""


@dataclass(frozen=True, slots=True)
class ColumnChoice:
    """A column that can be left out, and the URL that shows or hides it."""

    label: str
    is_shown: bool
    url: str


@dataclass(frozen=True, slots=True)
class Pager:
    """The links between the pages of a table; empty URLs where there is none."""

    text: str
    previous_url: str
    next_url: str


@dataclass(frozen=True, slots=True)
class SearchBox:
    """The search box of a table. ``hint`` names the columns that it searches, ``hidden`` are the
    form's other parameters."""

    parameter: str
    text: str
    hint: str
    hidden: Mapping[str, str]
    clear_url: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first cell of a row is its heading.

    ``shown_of`` says how many of how many rows are shown; empty for all of them.

    The ``repr`` is without the rows: the debug toolbar keeps that of the whole context for each
    template rendered, thus for each cell, which came to gigabytes a page.
    """

    name: str
    caption: str
    columns: Sequence[Column] = field(repr=False)
    rows: Sequence[Sequence[Cell]] = field(repr=False)
    shown_of: str = ""
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
    """Shows all columns again; empty where they are shown."""


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


@dataclass(frozen=True, slots=True)
class Figure:
    """A labelled figure. ``is_warning`` marks one that needs attention."""

    label: str
    text: str
    is_warning: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class LabelledShare:
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
    # Not in the ``repr``, for the same reason as a table's rows.
    sparkline: Sequence[str] = field(repr=False)
    figures: Sequence[Figure] = field(repr=False)
    short: Sequence[Figure] = field(repr=False)
    """Those that fit into one line."""
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
    """Whether the site has tenants, whose figures are added up here."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What every page shows: the period and the quality of the figures."""

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
class CacheMemory:
    """What the last scan found in one cache, for the pages about memory and stale entries.

    ``names`` are the cache's and those of others with the same entries, ``neighbours`` those with
    other entries in the same store. ``basis`` says how many entries were scanned, ``problem`` why
    something is unknown.
    """

    alias: str
    names: str
    neighbours: str
    backend_name: str
    measured_at: datetime | None
    basis: str
    problem: str
    is_known: bool
    figures: Sequence[Figure]
    bar: Bar | None
    freed_within: Sequence[LabelledShare]
    has_chart: bool
    """Whether there are groups to draw."""
    action_url: str


Item = TypeVar("Item")
Value = str | int | float | None
ROWS = 50
"""Rows of one page of a table."""
ROWS_OF_SEVERAL = 15
"""Rows of one page of a table that has others below it."""
# Beyond this a key is no longer read, only carried in every refresh.
MAX_TITLE_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class ColumnSpec(Generic[Item]):
    """A column: ``value`` is sorted by, searched in and downloaded, ``cell`` is what is shown.

    A column that ``has_no_data`` is neither sorted by nor downloaded, one that ``is_unsorted`` is
    not sorted by.
    """

    name: str
    label: str
    value: Callable[[Item], Value]
    cell: Callable[[Item], Cell]
    is_numeric: bool = True
    has_no_data: bool = False
    is_unsorted: bool = False


@dataclass(frozen=True, slots=True)
class TableSpec(Generic[Item]):
    """A table with all of its items.

    ``order`` is the column that it is sorted by unless the URL names another, with a minus for
    descending; empty keeps the order of the items. ``empty`` is shown without items, ``rows`` is
    the number of them on one page. The ``hidden`` columns are shown on demand, because with them a
    table is wider than most screens.
    """

    name: str
    caption: str
    columns: Sequence[ColumnSpec[Item]]
    items: Sequence[Item]
    order: str = ""
    note: str = ""
    empty: str = ""
    rows: int = ROWS
    is_searchable: bool = True
    hidden: frozenset[str] = frozenset()

    def records(self) -> list[Mapping[str, Value]]:
        """The items as plain values, for a download."""
        return [
            {field.name: field.value(item) for field in self.data_columns} for item in self.items
        ]

    @property
    def data_columns(self) -> Sequence[ColumnSpec[Item]]:
        """The columns that hold figures, not buttons."""
        return [column for column in self.columns if not column.has_no_data]


AnySpec = TableSpec[Any]
Caches = Mapping[str, Cache]


@dataclass(frozen=True, slots=True)
class CacheItem(Generic[Item]):
    """An item of one cache."""

    alias: str
    item: Item


def cache_column(caches: Caches) -> Sequence[ColumnSpec[CacheItem[Any]]]:
    """The column that names the cache; none where a page shows one cache alone."""
    if len(caches) == 1:
        return []
    return [code_column("cache", _("Cache"), lambda each: each.alias)]


# Without a ``value`` these columns show the attribute of a CacheItem's item that they are named by.
Read = Callable[[Item], Any] | None


def count_column(
    name: str,
    label: str,
    value: Read[Item] = None,
    exact: Callable[[Item], bool | None] = lambda item: True,
) -> ColumnSpec[Item]:
    """A column of whole numbers; those that are not ``exact`` are marked as estimates."""
    return _figure_column(name, label, value, formats.count, exact)


def size_column(
    name: str,
    label: str,
    value: Read[Item] = None,
    exact: Callable[[Item], bool | None] = lambda item: True,
) -> ColumnSpec[Item]:
    """A column of bytes; those that are not ``exact`` are marked as estimates."""
    return _figure_column(name, label, value, formats.size, exact)


def duration_column(name: str, label: str, value: Read[Item] = None) -> ColumnSpec[Item]:
    """A column of seconds that something took."""
    return _figure_column(name, label, value, formats.duration)


def age_column(name: str, label: str, value: Read[Item] = None) -> ColumnSpec[Item]:
    """A column of seconds since something."""
    return _figure_column(name, label, value, formats.age)


def decimal_column(name: str, label: str, value: Read[Item] = None) -> ColumnSpec[Item]:
    """A column of numbers with decimals."""
    return _figure_column(name, label, value, formats.decimal)


def estimate_column(
    name: str, label: str, error: Callable[[Item], float | None], value: Read[Item] = None
) -> ColumnSpec[Item]:
    """A column of seconds with their errors, which are in the titles."""
    read = value or _attribute(name)

    def cell(item: Item) -> Cell:
        seconds, off = read(item), error(item)
        return Cell(formats.estimated(seconds, off), title=formats.give_or_take(seconds, off))

    return ColumnSpec(name, label, read, cell)


def ratio_column(
    name: str, label: str, value: Read[Item] = None, *, has_bars: bool = True
) -> ColumnSpec[Item]:
    """A column of ratios, 0 to 1; without bars where there are many of them side by side."""
    read = value or _attribute(name)

    def cell(item: Item) -> Cell:
        ratio = read(item)
        return Cell(formats.ratio(ratio), bar=make_bar(ratio) if has_bars else None)

    return ColumnSpec(name, label, read, cell)


def code_column(
    name: str,
    label: str,
    value: Read[Item] = None,
    url: Callable[[Item], str] = lambda item: "",
) -> ColumnSpec[Item]:
    """A column of text that the site's users wrote, such as keys."""
    read = value or _attribute(name)
    return ColumnSpec(name, label, read, lambda item: code(read(item), url(item)), is_numeric=False)


def text_column(name: str, label: str, value: Callable[[Item], str]) -> ColumnSpec[Item]:
    """A column of the monitor's own words."""
    return ColumnSpec(
        name, label, value, lambda item: Cell(value(item), is_numeric=False), is_numeric=False
    )


def time_column(name: str, label: str, value: Read[Item] = None) -> ColumnSpec[Item]:
    """A column of moments, RFC 3339 text."""
    read = value or _attribute(name)

    def cell(item: Item) -> Cell:
        return Cell(formats.UNKNOWN, is_numeric=False, at=formats.moment(read(item)))

    return ColumnSpec(name, label, read, cell, is_numeric=False)


def sparkline_column(
    name: str, label: str, values: Callable[[Item], Sequence[int]]
) -> ColumnSpec[Item]:
    """A column of numbers over time, drawn as a line; downloaded with a space between them."""

    def cell(item: Item) -> Cell:
        numbers = values(item)
        if not any(numbers):
            return Cell(formats.UNKNOWN, is_numeric=False)
        text = _("at most %(most)s in one step, %(last)s in the last") % {
            "most": formats.count(max(numbers)),
            "last": formats.count(numbers[-1]),
        }
        return Cell(text, is_numeric=False, sparkline=[counts(numbers)])

    def value(item: Item) -> str:
        return " ".join(map(str, values(item)))

    return ColumnSpec(name, label, value, cell, is_numeric=False, is_unsorted=True)


def link_column(label: str, url: Callable[[Item], str]) -> ColumnSpec[Item]:
    """A column of links that lead to an action."""

    def cell(item: Item) -> Cell:
        target = url(item)
        return Cell(label if target else "", is_numeric=False, url=target)

    return ColumnSpec(
        "action", _("Action"), lambda item: None, cell, is_numeric=False, has_no_data=True
    )


def code(text: str, url: str = "") -> Cell:
    """A cell with text that the site's users wrote: cut, with its invisible characters shown."""
    if not text:
        # An empty key, which a cache takes like any other.
        return Cell(_("(empty)"), is_numeric=False)
    shown = formats.visible(formats.cut(text))
    title = "" if shown == text else formats.visible(text[:MAX_TITLE_LENGTH])
    return Cell(shown, is_numeric=False, code=True, title=title, url=url)


def make_bar(share: float | None) -> Bar | None:
    """The bar of a share; None where nobody knows it."""
    return None if share is None else Bar(f"{min(1.0, max(0.0, share)) * 100:.2f}")


def _attribute(name: str) -> Callable[[Any], Any]:
    read = attrgetter(name)
    return lambda each: read(each.item)


def _figure_column(
    name: str,
    label: str,
    value: Read[Item],
    text: Callable[[Any], str],
    exact: Callable[[Item], bool | None] = lambda item: True,
) -> ColumnSpec[Item]:
    read = value or _attribute(name)

    def cell(item: Item) -> Cell:
        return Cell(formats.about(text(read(item)), exact=exact(item)))

    return ColumnSpec(name, label, read, cell)
