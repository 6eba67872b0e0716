"""The columns of the dashboard's tables, and the cells, figures and bars that the pages show."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, Generic, TypeVar

from django.utils.translation import gettext as _

from cache_monitor.dashboard import formats
from cache_monitor.dashboard.query import Links
from cache_monitor.reports.schema import Cache

Bar = str
"""A bar's filled part, 0 to 100, as SVG writes numbers."""


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
class Figure:
    """A labelled figure. ``is_warning`` marks one that needs attention."""

    label: str
    text: str
    is_warning: bool = False
    note: str = ""


Item = TypeVar("Item")
Value = str | int | float | None
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


Caches = Mapping[str, Cache]


@dataclass(frozen=True, slots=True)
class CacheItem(Generic[Item]):
    alias: str
    item: Item


def cache(caches: Caches) -> Sequence[ColumnSpec[CacheItem[Any]]]:
    """The column that names the cache; none where a page shows one cache alone."""
    if len(caches) == 1:
        return []
    return [code("cache", _("Cache"), lambda each: each.alias)]


def group(links: Links) -> ColumnSpec[CacheItem[Any]]:
    return code("group", _("Group"), url=lambda each: links.group(each.alias, each.item.group))


def key(links: Links) -> ColumnSpec[CacheItem[Any]]:
    def url(each: CacheItem[Any]) -> str:
        return links.entry(each.alias, each.item.key, getattr(each.item, "group", ""))

    return code("key", _("Key"), url=url)


# Text is the path of an attribute of a CacheItem's item; None stands for the column's name.
Read = Callable[[Item], Any] | str | None


def figure(
    name: str,
    label: str,
    value: Read[Item] = None,
    exact: Callable[[Item], bool | None] = lambda item: True,
    *,
    text: Callable[[Any], str] = formats.count,
) -> ColumnSpec[Item]:
    """A column of whole numbers, or of what ``text`` writes; those that are not ``exact`` are
    marked as estimates."""
    read = _reader(name, value)

    def cell(item: Item) -> Cell:
        return Cell(formats.about(text(read(item)), exact=exact(item)))

    return ColumnSpec(name, label, read, cell)


def estimate(
    name: str, label: str, error: Read[Item], value: Read[Item] = None
) -> ColumnSpec[Item]:
    """A column of seconds with their errors, which are in the titles."""
    read, read_error = _reader(name, value), _reader(name, error)

    def cell(item: Item) -> Cell:
        seconds, off = read(item), read_error(item)
        return Cell(formats.estimated(seconds, off), title=formats.give_or_take(seconds, off))

    return ColumnSpec(name, label, read, cell)


def ratio(
    name: str, label: str, value: Read[Item] = None, *, has_bars: bool = True
) -> ColumnSpec[Item]:
    """A column of ratios, 0 to 1; without bars where there are many of them side by side."""
    read = _reader(name, value)

    def cell(item: Item) -> Cell:
        ratio = read(item)
        return Cell(formats.ratio(ratio), bar=make_bar(ratio) if has_bars else None)

    return ColumnSpec(name, label, read, cell)


def code(
    name: str,
    label: str,
    value: Read[Item] = None,
    url: Callable[[Item], str] = lambda item: "",
) -> ColumnSpec[Item]:
    """A column of text that the site's users wrote, such as keys."""
    read = _reader(name, value)
    return ColumnSpec(
        name, label, read, lambda item: code_cell(read(item), url(item)), is_numeric=False
    )


def text(name: str, label: str, value: Callable[[Item], str]) -> ColumnSpec[Item]:
    """A column of the monitor's own words."""
    return ColumnSpec(
        name, label, value, lambda item: Cell(value(item), is_numeric=False), is_numeric=False
    )


def time(name: str, label: str, value: Read[Item] = None) -> ColumnSpec[Item]:
    """A column of moments, RFC 3339 text."""
    read = _reader(name, value)

    def cell(item: Item) -> Cell:
        return Cell(formats.UNKNOWN, is_numeric=False, at=formats.moment(read(item)))

    return ColumnSpec(name, label, read, cell, is_numeric=False)


def sparkline(name: str, label: str, values: Callable[[Item], Sequence[int]]) -> ColumnSpec[Item]:
    """A column of numbers over time, drawn as a line; downloaded with a space between them."""

    def cell(item: Item) -> Cell:
        numbers = values(item)
        most = max(numbers, default=0)
        if not most:
            return Cell(formats.UNKNOWN, is_numeric=False)
        text = _("at most %(most)s in one step, %(last)s in the last") % {
            "most": formats.count(most),
            "last": formats.count(numbers[-1]),
        }
        return Cell(
            text,
            is_numeric=False,
            sparkline=formats.sparkline([number / most for number in numbers]),
        )

    def value(item: Item) -> str:
        return " ".join(map(str, values(item)))

    return ColumnSpec(name, label, value, cell, is_numeric=False, is_unsorted=True)


def link(label: str, url: Callable[[Item], str]) -> ColumnSpec[Item]:
    def cell(item: Item) -> Cell:
        target = url(item)
        return Cell(label if target else "", is_numeric=False, url=target)

    return ColumnSpec(
        "action", _("Action"), lambda item: None, cell, is_numeric=False, has_no_data=True
    )


def code_cell(text: str, url: str = "") -> Cell:
    """A cell with text that the site's users wrote: cut, with its invisible characters shown."""
    if not text:
        # An empty key, which a cache takes like any other.
        return Cell(_("(empty)"), is_numeric=False)
    shown = formats.visible(formats.cut(text))
    title = "" if shown == text else formats.visible(text[:MAX_TITLE_LENGTH])
    return Cell(shown, is_numeric=False, code=True, title=title, url=url)


def make_bar(share: float | None) -> Bar | None:
    return None if share is None else f"{min(1.0, max(0.0, share)) * 100:.2f}"


def _reader(name: str, value: Read[Item]) -> Callable[[Any], Any]:
    if callable(value):
        return value
    read = attrgetter(value or name)
    return lambda each: read(each.item)
