"""The tables: searched, sorted and cut into pages as the URL asks, or as a file."""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic

import msgspec
from django.core.paginator import Page, Paginator
from django.http import HttpResponse
from django.utils.translation import gettext as _

from cache_monitor.dashboard import formats
from cache_monitor.dashboard.formats import Cell, ColumnSpec, Item, Value, code_column
from cache_monitor.dashboard.query import BadParameterError, Links, Query
from cache_monitor.reports import Cache

Caches = Mapping[str, Cache]
"""The caches of a report, by alias."""


@dataclass(frozen=True, slots=True)
class CacheItem(Generic[Item]):
    alias: str
    item: Item


def cache_column(caches: Caches) -> Sequence[ColumnSpec[CacheItem[Any]]]:
    """The column that names the cache; none where a page shows one cache alone."""
    if len(caches) == 1:
        return []
    return [code_column("cache", _("Cache"), lambda each: each.alias)]


def group_column(links: Links) -> ColumnSpec[CacheItem[Any]]:
    return code_column(
        "group", _("Group"), url=lambda each: links.group(each.alias, each.item.group)
    )


def key_column(links: Links) -> ColumnSpec[CacheItem[Any]]:
    def url(each: CacheItem[Any]) -> str:
        return links.entry(each.alias, each.item.key, getattr(each.item, "group", ""))

    return code_column("key", _("Key"), url=url)


ROWS = 50
"""Rows of one page of a table."""
ROWS_OF_SEVERAL = 15
"""Rows of one page of a table that has others below it."""


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
        return [
            {field.name: field.value(item) for field in self.data_columns} for item in self.items
        ]

    @property
    def data_columns(self) -> Sequence[ColumnSpec[Item]]:
        """The columns that hold figures, not buttons."""
        return [column for column in self.columns if not column.has_no_data]


AnySpec = TableSpec[Any]


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a page: ``tables`` that the URL sorts and searches, the context of its
    template, and other tables as ``downloads``."""

    tables: Sequence[AnySpec] = ()
    downloads: Sequence[AnySpec] = ()
    context: Mapping[str, object] = field(default_factory=dict)


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


ROWS_WITHOUT_SEARCH = 10
"""Rows from which on a table can be searched."""
COLUMNS_WITHOUT_CHOICES = 5
"""Columns from which on some can be left out."""
_NONE = "none"
"""No column is left out, where otherwise some are."""
MAX_SEARCH_LENGTH = 200
"""Characters of a search."""


@dataclass(frozen=True, slots=True)
class TableQuery:
    """The search, order and page of one table. ``prefix`` begins its parameters in the URL."""

    prefix: str
    search: str
    sort: str
    page: int
    hidden: frozenset[str] = frozenset()
    """The columns that are left out."""


def parameters(tables: Sequence[str]) -> list[str]:
    every = prefixes(tables).values()
    return [prefix + name for prefix in every for name in ("q", "sort", "page", "hide")]


def prefixes(tables: Sequence[str]) -> Mapping[str, str]:
    """The prefix of each table's parameters; the first one's have short names."""
    return {name: f"{name}-" if place else "" for place, name in enumerate(tables)}


def parse_table_query(own: Mapping[str, str], prefix: str, spec: AnySpec) -> TableQuery:
    """The query of ``spec`` in a page's parameters. Raises BadParameterError."""
    sort = own.get(f"{prefix}sort", spec.order)
    names = [column.name for column in spec.data_columns if not column.is_unsorted]
    if sort and sort.removeprefix("-") not in names:
        raise BadParameterError(
            f"{prefix}sort",
            _("Write one of: %(names)s; a minus before it turns the order round.")
            % {"names": ", ".join(names)},
        )
    search = own.get(f"{prefix}q", "")
    if len(search) > MAX_SEARCH_LENGTH:
        raise BadParameterError(f"{prefix}q", _("It is too long."))
    page = _page(f"{prefix}page", own.get(f"{prefix}page", "1"))
    return TableQuery(prefix, search, sort, page, _hidden(f"{prefix}hide", own, spec))


def apply_query(spec: TableSpec[Item], table_query: TableQuery) -> TableSpec[Item]:
    """``spec`` with the items that match the query, in its order."""
    found = _found(spec, table_query.search)
    return replace(spec, items=_sorted(spec.columns, found, table_query.sort))


def render_table(spec: AnySpec, table_query: TableQuery, here: str, query: Query) -> Table:
    """One page of ``spec``, the last one where the query is beyond it. ``here`` is the address of
    the dashboard's page."""
    found = apply_query(spec, table_query).items
    page = Paginator(found, spec.rows).get_page(table_query.page)

    def url(**changes: str) -> str:
        prefixed = {table_query.prefix + name: value for name, value in changes.items()}
        return f"{here}?{query.encode(prefixed)}#{spec.name}"

    columns = [column for column in spec.columns if column.name not in table_query.hidden]
    return Table(
        name=spec.name,
        caption=spec.caption,
        columns=[_column(column, table_query.sort, url) for column in columns],
        rows=[[column.cell(item) for column in columns] for item in page],
        shown_of=formats.some_of(len(found), len(spec.items)),
        note=spec.note,
        empty=_("Nothing here matches the search.") if spec.items else spec.empty,
        pager=_pager(page, url) if page.has_other_pages() else None,
        search=_search(spec, table_query, query, url),
        csv_url=f"{here}?{query.encode(table=spec.name, format='csv')}",
        json_url=f"{here}?{query.encode(table=spec.name, format='json')}",
        choices=_choices(spec, table_query.hidden, url),
        every_column_url=url(hide=_left_out(spec, frozenset())) if table_query.hidden else "",
    )


def render_preview(spec: AnySpec, most: int, all_url: str = "", download: str = "") -> Table:
    """The first ``most`` rows of ``spec`` in its own order, with links to the whole table alone."""
    items = _sorted(spec.columns, spec.items, spec.order)
    columns = [column for column in spec.columns if column.name not in spec.hidden]
    return Table(
        name=spec.name,
        caption=spec.caption,
        columns=[Column(column.label, column.is_numeric) for column in columns],
        rows=[[column.cell(item) for column in columns] for item in items[:most]],
        shown_of=formats.some_of(min(most, len(items)), len(items)),
        note=spec.note,
        empty=spec.empty,
        all_url=all_url,
        csv_url=f"{download}&format=csv" if download else "",
        json_url=f"{download}&format=json" if download else "",
    )


def _found(spec: TableSpec[Item], search: str) -> Sequence[Item]:
    """The items that have the search's text somewhere in a column of words."""
    if not search:
        return spec.items
    text = search.casefold()
    searched = _searchable(spec)
    return [
        item
        for item in spec.items
        if any(text in str(column.value(item)).casefold() for column in searched)
    ]


def _searchable(spec: TableSpec[Item]) -> Sequence[ColumnSpec[Item]]:
    return [column for column in spec.data_columns if not (column.is_numeric or column.is_unsorted)]


def _sorted(columns: Sequence[ColumnSpec[Item]], items: Sequence[Item], order: str) -> list[Item]:
    """The items by one column; unknown values come last in either direction."""
    name = order.removeprefix("-")
    column = next((each for each in columns if each.name == name), None)
    if column is None:
        return list(items)
    valued = [(column.value(item), item) for item in items]
    known = [each for each in valued if each[0] is not None]
    known.sort(key=lambda each: _comparable(each[0]), reverse=order.startswith("-"))
    return [item for _, item in known] + [item for value, item in valued if value is None]


def _comparable(value: Value) -> tuple[bool, float | str]:
    """Numbers before texts, should a column hold both."""
    return (True, value.casefold()) if isinstance(value, str) else (False, value or 0)


def _page(parameter: str, text: str) -> int:
    # str.isdecimal() knows digits of other scripts, which int() reads as well.
    if len(text) > 6 or not text.isdecimal() or int(text) < 1:
        raise BadParameterError(parameter, _("Write a whole number from 1 on."))
    return int(text)


def _column(column: ColumnSpec[Item], sort: str, url: Callable[..., str]) -> Column:
    """The head of a column. The first click sorts figures from the largest, words from A."""
    if column.has_no_data or column.is_unsorted:
        return Column(column.label, column.is_numeric)
    up, down = column.name, f"-{column.name}"
    first, second = (down, up) if column.is_numeric else (up, down)
    order = {up: "ascending", down: "descending"}.get(sort, "")
    return Column(
        column.label,
        column.is_numeric,
        sort_url=url(sort=second if sort == first else first, page=""),
        order=order,
    )


def _hidden(parameter: str, own: Mapping[str, str], spec: AnySpec) -> frozenset[str]:
    """The columns that are left out; the first one is the heading of its row and stays."""
    text = own.get(parameter, "")
    if not text:
        return spec.hidden
    hidden = frozenset(text.split(",")) - {"", _NONE}
    names = [column.name for column in spec.columns[1:]]
    if not hidden <= set(names):
        raise BadParameterError(
            parameter,
            _("Write the columns to leave out with a comma between: %(names)s.")
            % {"names": ", ".join(names)},
        )
    return hidden


def _left_out(spec: AnySpec, chosen: frozenset[str]) -> str:
    """How an address says that the columns ``chosen`` are left out: in their order, so that a
    choice has one address."""
    if chosen == spec.hidden:
        return ""
    return ",".join(each.name for each in spec.columns if each.name in chosen) or _NONE


def _choices(
    spec: AnySpec, hidden: frozenset[str], url: Callable[..., str]
) -> Sequence[ColumnChoice]:
    if len(spec.columns) < COLUMNS_WITHOUT_CHOICES or not spec.items:
        return []
    return [
        ColumnChoice(
            column.label,
            column.name not in hidden,
            url(hide=_left_out(spec, chosen)),
        )
        for column in spec.columns[1:]
        for chosen in [hidden ^ {column.name}]
        if column.label
    ]


def _pager(page: Page[Any], url: Callable[..., str]) -> Pager:
    return Pager(
        text=_("%(first)s to %(last)s of %(every)s")
        % {
            "first": formats.count(page.start_index()),
            "last": formats.count(page.end_index()),
            "every": formats.count(page.paginator.count),
        },
        previous_url=url(page=str(page.number - 1)) if page.has_previous() else "",
        next_url=url(page=str(page.number + 1)) if page.has_next() else "",
    )


def _search(
    spec: AnySpec, table_query: TableQuery, query: Query, url: Callable[..., str]
) -> SearchBox | None:
    """The search box; none for a table of a few rows."""
    few = len(spec.items) < ROWS_WITHOUT_SEARCH or not spec.is_searchable
    if few and not table_query.search:
        return None
    parameter = f"{table_query.prefix}q"
    return SearchBox(
        parameter=parameter,
        text=table_query.search,
        hint=", ".join(column.label for column in _searchable(spec)),
        hidden=query.without(parameter, f"{table_query.prefix}page"),
        clear_url=url(q="", page="") if table_query.search else "",
    )


FORMATS = ("csv", "json")
# A spreadsheet runs what begins so as a formula, and a visitor may have written the key.
# Some take the wide forms of East Asian scripts for the same signs.
_SIGNS = r"=+\-@\uff1d\uff0b\uff0d\uff20"
_FORMULA = re.compile(rf"[\t\r\n]|[\s\"']*[{_SIGNS}]")
# Where a comma is the decimal sign, a file's cells end at a semicolon, whatever stands around it;
# a text that is pasted has them end at a tab.
_NEXT_CELL = re.compile(rf"([;\t\r\n][\s\"']*)(?=[{_SIGNS}])")


def download(spec: AnySpec, form: str) -> HttpResponse:
    """All rows of ``spec`` as a file that the browser saves."""
    body, kind = (
        (_csv(spec), "text/csv; charset=utf-8")
        if form == "csv"
        else (msgspec.json.encode(spec.records()), "application/json")
    )
    response = HttpResponse(body, content_type=kind)
    response["Content-Disposition"] = f'attachment; filename="cache-{spec.name}.{form}"'
    return response


def _csv(spec: AnySpec) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(column.name for column in spec.data_columns)
    writer.writerows(map(_harmless, record.values()) for record in spec.records())
    # With the mark by which spreadsheets know UTF-8; a lone surrogate has no bytes.
    return text.getvalue().encode("utf-8-sig", "backslashreplace")


def _harmless(value: Value) -> Value:
    if not isinstance(value, str):
        return value
    text = _NEXT_CELL.sub(r"\1'", value)
    return f"'{text}" if _FORMULA.match(text) else text
