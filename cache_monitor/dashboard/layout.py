"""Lay a table out as the URL asks: sorted, searched, a page of it; or as a file."""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import msgspec
from django.http import HttpResponse
from django.utils.translation import gettext as _

from cache_monitor.dashboard import formats
from cache_monitor.dashboard.query import BadParameterError, Query
from cache_monitor.dashboard.rows import Column, ColumnChoice, Pager, SearchBox, Table
from cache_monitor.dashboard.table_specs import AnySpec, ColumnSpec, TableSpec, Value

Item = TypeVar("Item")

MOST_AT_A_GLANCE = 10
"""Rows from which on a table can be searched."""
MOST_ALWAYS_SHOWN = 5
"""Columns from which on some can be left out."""
_NONE = "none"
"""No column is left out, where otherwise some are."""
MOST_ASKED = 200
"""Characters of a search."""


@dataclass(frozen=True, slots=True)
class TableQuery:
    """How one table is asked for. ``prefix`` tells its parameters from those of its neighbours."""

    prefix: str
    search: str
    sort: str
    page: int
    hidden: frozenset[str] = frozenset()
    """The columns that are left out."""


def parameters(tables: Sequence[str]) -> list[str]:
    """The parameters of the tables of a page, the first of which has the short names."""
    return [prefix + name for prefix in prefixes(tables).values() for name in ("q", "sort", "page")]


def column_parameters(tables: Sequence[str]) -> list[str]:
    """The parameters that leave columns of the tables out."""
    return [f"{prefix}hide" for prefix in prefixes(tables).values()]


def prefixes(tables: Sequence[str]) -> Mapping[str, str]:
    """The prefix of each table's parameters."""
    return {name: f"{name}-" if place else "" for place, name in enumerate(tables)}


def asked_of(own: Mapping[str, str], prefix: str, spec: AnySpec) -> TableQuery:
    """How ``sheet`` is asked for by a page's parameters, or BadParameterError."""
    sort = own.get(f"{prefix}sort", spec.order)
    names = [field.name for field in spec.stored if not field.unordered]
    if sort and sort.removeprefix("-") not in names:
        raise BadParameterError(
            f"{prefix}sort",
            _("Write one of: %(names)s; a minus before it turns the order round.")
            % {"names": ", ".join(names)},
        )
    search = own.get(f"{prefix}q", "")
    if len(search) > MOST_ASKED:
        raise BadParameterError(f"{prefix}q", _("It is too long."))
    page = _page(f"{prefix}page", own.get(f"{prefix}page", "1"))
    return TableQuery(prefix, search, sort, page, _hidden(f"{prefix}hide", own, spec))


def arranged(spec: TableSpec[Item], asked: TableQuery) -> TableSpec[Item]:
    """``sheet`` with the items that were asked for, in the order that was asked for."""
    found = _found(spec, asked.search)
    return replace(spec, items=_sorted(spec.fields, found, asked.sort))


def laid_out(spec: AnySpec, asked: TableQuery, here: str, query: Query) -> Table:
    """The page of ``sheet`` that was asked for. ``here`` is the address of the page."""
    found = arranged(spec, asked).items
    pages = max(1, -(-len(found) // spec.rows))
    page = min(asked.page, pages)
    first = (page - 1) * spec.rows
    shown = found[first : first + spec.rows]

    def url(**changes: str) -> str:
        prefixed = {asked.prefix + name: value for name, value in changes.items()}
        return f"{here}?{query.encode(prefixed)}#{spec.name}"

    fields = [field for field in spec.fields if field.name not in asked.hidden]
    return Table(
        name=spec.name,
        caption=spec.caption,
        columns=[_column(field, asked.sort, url) for field in fields],
        rows=[[field.cell(item) for field in fields] for item in shown],
        bounded=formats.some_of(len(found), len(spec.items)),
        note=spec.note,
        empty=_("Nothing here matches the search.") if spec.items else spec.empty,
        pager=_pager(page, pages, (first, len(shown), len(found)), url) if pages > 1 else None,
        search=_search(spec, asked, query, url),
        csv_url=f"{here}?{query.encode(table=spec.name, format='csv')}",
        json_url=f"{here}?{query.encode(table=spec.name, format='json')}",
        choices=_choices(spec, asked.hidden, url),
        every_column_url=url(hide=_left_out(spec, frozenset())) if asked.hidden else "",
    )


def plain(spec: AnySpec, most: int, all_url: str = "", download: str = "") -> Table:
    """The first ``most`` rows of ``sheet``, in its own order and without anything to click but
    what leads to the whole."""
    items = _sorted(spec.fields, spec.items, spec.order)
    fields = [field for field in spec.fields if field.name not in spec.left_out]
    return Table(
        name=spec.name,
        caption=spec.caption,
        columns=[Column(field.label, field.numeric) for field in fields],
        rows=[[field.cell(item) for field in fields] for item in items[:most]],
        bounded=formats.some_of(min(most, len(items)), len(items)),
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
    wanted = search.casefold()
    words = _words(spec)
    return [
        item
        for item in spec.items
        if any(wanted in str(field.value(item)).casefold() for field in words)
    ]


def _words(spec: TableSpec[Item]) -> Sequence[ColumnSpec[Item]]:
    """The columns that can be searched."""
    return [field for field in spec.stored if not (field.numeric or field.unordered)]


def _sorted(fields: Sequence[ColumnSpec[Item]], items: Sequence[Item], order: str) -> list[Item]:
    """What nobody knows stands last, whichever way the rest is sorted."""
    name = order.removeprefix("-")
    field = next((field for field in fields if field.name == name), None)
    if field is None:
        return list(items)
    valued = [(field.value(item), item) for item in items]
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


def _column(field: ColumnSpec[Item], sort: str, url: Callable[..., str]) -> Column:
    """Figures are first sorted from the largest, words from A."""
    if field.only_shown or field.unordered:
        return Column(field.label, field.numeric)
    up, down = field.name, f"-{field.name}"
    first, second = (down, up) if field.numeric else (up, down)
    order = {up: "ascending", down: "descending"}.get(sort, "")
    return Column(
        field.label,
        field.numeric,
        sort_url=url(sort=second if sort == first else first, page=""),
        order=order,
    )


def _hidden(parameter: str, own: Mapping[str, str], spec: AnySpec) -> frozenset[str]:
    """The columns that are left out; the first one is the heading of its row and stays."""
    asked = own.get(parameter, "")
    if not asked:
        return spec.left_out
    hidden = frozenset(asked.split(",")) - {"", _NONE}
    names = [field.name for field in spec.fields[1:]]
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
    if chosen == spec.left_out:
        return ""
    return ",".join(each.name for each in spec.fields if each.name in chosen) or _NONE


def _choices(
    spec: AnySpec, hidden: frozenset[str], url: Callable[..., str]
) -> Sequence[ColumnChoice]:
    if len(spec.fields) < MOST_ALWAYS_SHOWN or not spec.items:
        return []
    return [
        ColumnChoice(
            field.label,
            field.name not in hidden,
            url(hide=_left_out(spec, chosen)),
        )
        for field in spec.fields[1:]
        for chosen in [hidden ^ {field.name}]
        if field.label
    ]


def _pager(page: int, pages: int, place: tuple[int, int, int], url: Callable[..., str]) -> Pager:
    """``place``: the rows before the page, those on it, and all."""
    before, shown, every = place
    return Pager(
        text=_("%(first)s to %(last)s of %(every)s")
        % {
            "first": formats.count(before + 1),
            "last": formats.count(before + shown),
            "every": formats.count(every),
        },
        previous_url=url(page=str(page - 1)) if page > 1 else "",
        next_url=url(page=str(page + 1)) if page < pages else "",
    )


def _search(
    spec: AnySpec, asked: TableQuery, query: Query, url: Callable[..., str]
) -> SearchBox | None:
    """No box for a table that is read at a glance."""
    few = len(spec.items) < MOST_AT_A_GLANCE or not spec.searched
    if few and not asked.search:
        return None
    parameter = f"{asked.prefix}q"
    hidden = {**query.shared, **query.own}
    left_out = {parameter, f"{asked.prefix}page"}
    return SearchBox(
        parameter=parameter,
        text=asked.search,
        hint=", ".join(field.label for field in _words(spec)),
        hidden={name: text for name, text in hidden.items() if text and name not in left_out},
        clear_url=url(q="", page="") if asked.search else "",
    )


Format = Literal["csv", "json"]
FORMATS: tuple[Format, ...] = ("csv", "json")

# A spreadsheet runs what begins so as a formula, and a visitor may have written the key.
# Some take the wide forms of East Asian scripts for the same signs.
_SIGNS = r"=+\-@\uff1d\uff0b\uff0d\uff20"
_FORMULA = re.compile(rf"[\t\r\n]|[\s\"']*[{_SIGNS}]")
# Where a comma is the decimal sign, a file's cells end at a semicolon, whatever stands around it;
# a text that is pasted has them end at a tab.
_NEXT_CELL = re.compile(rf"([;\t\r\n][\s\"']*)(?=[{_SIGNS}])")


def download(spec: AnySpec, wanted: Format) -> HttpResponse:
    """All rows of ``sheet`` as a file that the browser saves."""
    body, kind = (
        (_csv(spec), "text/csv; charset=utf-8")
        if wanted == "csv"
        else (msgspec.json.encode(spec.records()), "application/json")
    )
    response = HttpResponse(body, content_type=kind)
    response["Content-Disposition"] = f'attachment; filename="cache-{spec.name}.{wanted}"'
    return response


def _csv(spec: AnySpec) -> bytes:
    text = io.StringIO()
    names = [field.name for field in spec.stored]
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows(_cells(record, names) for record in spec.records())
    # With the mark by which spreadsheets know UTF-8; a lone surrogate has no bytes.
    return text.getvalue().encode("utf-8-sig", "backslashreplace")


def _cells(record: Mapping[str, Value], names: Sequence[str]) -> list[Value]:
    return [_harmless(record[name]) for name in names]


def _harmless(value: Value) -> Value:
    if not isinstance(value, str):
        return value
    text = _NEXT_CELL.sub(r"\1'", value)
    return f"'{text}" if _FORMULA.match(text) else text
