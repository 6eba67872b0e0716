"""Tables before they are laid out: what their columns are called, sorted by and written like."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from django.utils.translation import gettext as _

from cache_monitor.dashboard import formats
from cache_monitor.dashboard.formats import counts
from cache_monitor.dashboard.rows import Bar, Cell
from cache_monitor.reports.schema import Cache

Item = TypeVar("Item")
Value = str | int | float | None
ROWS = 50
"""Rows of one page of a table."""
ROWS_OF_SEVERAL = 15
"""Rows of one page of a table that has others below it."""
# Beyond this a key is no longer read, only carried in every refresh.
MOST_TITLE = 1000


@dataclass(frozen=True, slots=True)
class ColumnSpec(Generic[Item]):
    """A column: ``value`` is sorted by, searched in and downloaded, ``cell`` is what is shown.

    What is ``only_shown`` is neither sorted by nor downloaded, what is ``unordered`` not sorted by.
    """

    name: str
    label: str
    value: Callable[[Item], Value]
    cell: Callable[[Item], Cell]
    numeric: bool = True
    only_shown: bool = False
    unordered: bool = False


@dataclass(frozen=True, slots=True)
class TableSpec(Generic[Item]):
    """A table with all of its items. ``order`` is the field that it is sorted by unless asked
    otherwise, with a minus for descending; empty leaves the items as they are. ``empty`` says
    what it means that there are none, ``rows`` how many of them one page shows; what is
    not ``searched`` has no box for it. The columns ``left_out`` are shown to whoever asks for them:
    with them a table is wider than most screens."""

    name: str
    caption: str
    fields: Sequence[ColumnSpec[Item]]
    items: Sequence[Item]
    order: str = ""
    note: str = ""
    empty: str = ""
    rows: int = ROWS
    searched: bool = True
    left_out: frozenset[str] = frozenset()

    def records(self) -> list[Mapping[str, Value]]:
        """The items as plain values, for a download."""
        return [{field.name: field.value(item) for field in self.stored} for item in self.items]

    @property
    def stored(self) -> Sequence[ColumnSpec[Item]]:
        """The columns that hold figures, not buttons."""
        return [field for field in self.fields if not field.only_shown]


AnySpec = TableSpec[Any]
Caches = Mapping[str, Cache]


@dataclass(frozen=True, slots=True)
class Of(Generic[Item]):
    """Something of one cache."""

    alias: str
    it: Item


def cache_column(caches: Caches) -> Sequence[ColumnSpec[Of[Any]]]:
    """The column that names the cache; none where a page shows one cache alone."""
    if len(caches) == 1:
        return []
    return [coded("cache", _("Cache"), lambda each: each.alias)]


def counted(
    name: str,
    label: str,
    value: Callable[[Item], int | None],
    exact: Callable[[Item], bool | None] = lambda item: True,
) -> ColumnSpec[Item]:
    """A column of whole numbers."""
    return _written(name, label, value, formats.count, exact)


def sized(
    name: str,
    label: str,
    value: Callable[[Item], int | None],
    exact: Callable[[Item], bool | None] = lambda item: True,
) -> ColumnSpec[Item]:
    """A column of bytes."""
    return _written(name, label, value, formats.size, exact)


def timed(name: str, label: str, value: Callable[[Item], float | None]) -> ColumnSpec[Item]:
    """A column of seconds that something took."""
    return _written(name, label, value, formats.duration)


def estimated(
    name: str,
    label: str,
    value: Callable[[Item], float | None],
    error: Callable[[Item], float | None],
) -> ColumnSpec[Item]:
    """A column of seconds that may be off, and by how much is in each one's title."""

    def cell(item: Item) -> Cell:
        seconds, off = value(item), error(item)
        return Cell(formats.estimated(seconds, off), title=formats.give_or_take(seconds, off))

    return ColumnSpec(name, label, value, cell)


def aged(name: str, label: str, value: Callable[[Item], float | None]) -> ColumnSpec[Item]:
    """A column of seconds since something."""
    return _written(name, label, value, formats.age)


def averaged(name: str, label: str, value: Callable[[Item], float | None]) -> ColumnSpec[Item]:
    """A column of numbers with decimals."""
    return _written(name, label, value, formats.decimal)


def shared(name: str, label: str, value: Callable[[Item], float | None]) -> ColumnSpec[Item]:
    """A column of ratios, 0 to 1, each with its bar."""

    def cell(item: Item) -> Cell:
        ratio = value(item)
        return Cell(formats.ratio(ratio), bar=bar_of(ratio))

    return ColumnSpec(name, label, value, cell)


def coded(
    name: str,
    label: str,
    value: Callable[[Item], str],
    url: Callable[[Item], str] = lambda item: "",
) -> ColumnSpec[Item]:
    """A column of text that the site's users wrote, such as keys."""
    return ColumnSpec(name, label, value, lambda item: code(value(item), url(item)), numeric=False)


def worded(name: str, label: str, value: Callable[[Item], str]) -> ColumnSpec[Item]:
    """A column of words of ours."""
    return ColumnSpec(
        name, label, value, lambda item: Cell(value(item), numeric=False), numeric=False
    )


def dated(name: str, label: str, value: Callable[[Item], str | None]) -> ColumnSpec[Item]:
    """A column of moments, RFC 3339 text."""

    def cell(item: Item) -> Cell:
        at: datetime | None = formats.moment(value(item))
        return Cell(formats.UNKNOWN, numeric=False, at=at)

    return ColumnSpec(name, label, value, cell, numeric=False)


def traced(name: str, label: str, values: Callable[[Item], Sequence[int]]) -> ColumnSpec[Item]:
    """A column of numbers over time, drawn as a line; downloaded with a space between them."""

    def cell(item: Item) -> Cell:
        numbers = values(item)
        if not any(numbers):
            return Cell(formats.UNKNOWN, numeric=False)
        text = _("at most %(most)s in one step, %(last)s in the last") % {
            "most": formats.count(max(numbers)),
            "last": formats.count(numbers[-1]),
        }
        return Cell(text, numeric=False, sparkline=[counts(numbers)])

    def value(item: Item) -> str:
        return " ".join(map(str, values(item)))

    return ColumnSpec(name, label, value, cell, numeric=False, unordered=True)


def button(label: str, url: Callable[[Item], str]) -> ColumnSpec[Item]:
    """A column of links that lead to an action."""

    def cell(item: Item) -> Cell:
        target = url(item)
        return Cell(label if target else "", numeric=False, url=target)

    return ColumnSpec(
        "action", _("Action"), lambda item: None, cell, numeric=False, only_shown=True
    )


def code(text: str, url: str = "") -> Cell:
    """A cell with text that the site's users wrote: cut, with its invisible characters shown."""
    if not text:
        # An empty key, which a cache takes like any other.
        return Cell(_("(empty)"), numeric=False)
    shown = formats.visible(formats.cut(text))
    title = "" if shown == text else formats.visible(text[:MOST_TITLE])
    return Cell(shown, numeric=False, code=True, title=title, url=url)


def bar_of(share: float | None) -> Bar | None:
    """The bar of a share; None where nobody knows it."""
    return None if share is None else Bar(f"{min(1.0, max(0.0, share)) * 100:.2f}")


def _written(
    name: str,
    label: str,
    value: Callable[[Item], Any],
    text: Callable[[Any], str],
    exact: Callable[[Item], bool | None] = lambda item: True,
) -> ColumnSpec[Item]:
    def cell(item: Item) -> Cell:
        return Cell(formats.about(text(value(item)), exact=exact(item)))

    return ColumnSpec(name, label, value, cell)
