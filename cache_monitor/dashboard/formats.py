"""How values are shown: as text (localised, with units, and a dash for an unknown figure), in the
cells of a table, and in its columns."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import dropwhile, groupby
from math import floor, log10
from operator import attrgetter
from typing import Any, Generic, TypeVar
from unicodedata import category

from django.template.defaultfilters import filesizeformat
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cache_monitor.reports import StaleReason, relative_change

UNKNOWN = "–"
MINUS = "\u2212"
_DECIMALS = 3
_CLOSE = 0.05
"""The relative error up to which a figure is not marked as an estimate, as for percentiles."""
_NARROW_SPACE = "\u202f"


def count(value: int | None) -> str:
    """A whole number with its thousands grouped."""
    return UNKNOWN if value is None else number_format(value, force_grouping=True)


def rounded(value: float, places: int) -> str:
    """A number with so many decimals, rounded before Django writes it, which cuts digits off."""
    return number_format(Decimal(f"{value:.{places}f}"), places, force_grouping=True)


def decimal(value: float | None) -> str:
    """A number with two decimals."""
    return UNKNOWN if value is None else rounded(value, 2)


def significant(value: float) -> str:
    """A number above 0 with two significant digits, and no fewer than all before its point."""
    places = max(0, min(6, 1 - floor(log10(value))))
    text = rounded(value, places)
    return text.rstrip("0").rstrip(".,") if places else text


def some_of(shown: int, every: int) -> str:
    """How many rows of how many are shown; empty for all of them."""
    if shown >= every:
        return ""
    return _("%(shown)s of %(every)s") % {"shown": count(shown), "every": count(every)}


def about(text: str, *, exact: bool | None) -> str:
    """``text`` marked as an estimate where it is one."""
    if exact is not False or text == UNKNOWN:
        return text
    # Apart from a minus, or the two would look like one sign.
    return f"~{_NARROW_SPACE}{text}" if text.startswith(MINUS) else f"~{text}"


def estimated(seconds: float | None, error: float | None) -> str:
    """A duration that may be off by ``error`` seconds."""
    is_close = seconds is None or (error is not None and error <= _CLOSE * abs(seconds))
    return about(duration(seconds), exact=is_close)


def give_or_take(seconds: float | None, error: float | None) -> str:
    """The error of a duration, such as "± 3 s"; empty for an exact one."""
    if seconds is None or not error:
        return ""
    return f"±{_NARROW_SPACE}{duration(error)}"


def ratio(value: float | None) -> str:
    """A share as per cent; only a true 0 or 1 reads as 0 % or 100 %."""
    if value is None:
        return UNKNOWN
    percent = value * 100
    if 0 < percent < 0.1:
        return "<" + _percent(0.1)
    if 99.9 < percent < 100:
        return ">" + _percent(99.9)
    return _percent(percent)


def _percent(percent: float) -> str:
    places = 0 if percent in {0.0, 100.0} else 1
    return _("%(number)s%%") % {"number": rounded(percent, places)}


def change(now: float | None, before: float | None) -> str:
    """The relative change of a figure; empty where there is none to compare with."""
    share = relative_change(now, before)
    return "" if share is None else _signed(share * 100, _("%(number)s%%"))


def points(now: float | None, before: float | None) -> str:
    """The change of a ratio in percentage points."""
    if now is None or before is None:
        return ""
    return _signed((now - before) * 100, _("%(number)s points"))


def _signed(number: float, unit: str) -> str:
    if abs(number) < 0.05:
        return "±0"
    # The tenths of a change beyond a hundredfold say nothing.
    text = rounded(abs(number), 1) if abs(number) < 1000 else count(round(abs(number)))
    sign = "+" if number > 0 else MINUS
    return sign + unit % {"number": text}


def duration(seconds: float | None) -> str:
    """How long something took, in the unit that fits; time lost has a minus."""
    if seconds is None:
        return UNKNOWN
    return _length(seconds) if seconds >= 0 else MINUS + _length(-seconds)


def _length(seconds: float) -> str:
    if seconds == 0:
        return _joined(0, _("s"))
    if seconds < 1e-3:
        return _with_unit(seconds * 1e6, _("µs"))
    if seconds < 1:
        return _with_unit(seconds * 1e3, _("ms"))
    if seconds < 1000:
        return _with_unit(seconds, _("s"))
    return age(seconds)


def age(seconds: float | None) -> str:
    """A time in its two largest units."""
    if seconds is None:
        return UNKNOWN
    whole = max(0, round(seconds))
    units = ((86400, _("d")), (3600, _("h")), (60, _("min")), (1, _("s")))
    for place, (size, unit) in enumerate(units):
        if whole >= size:
            first = _joined(whole // size, unit)
            rest = whole % size
            if place + 1 == len(units):
                return first
            below, name = units[place + 1]
            return f"{first} {_joined(rest // below, name)}" if rest >= below else first
    return _joined(0, _("s"))


def size(value: int | None) -> str:
    return UNKNOWN if value is None else filesizeformat(value)


def moment(text: str | None) -> datetime | None:
    """The report's RFC 3339 text as a datetime in the user's time zone."""
    # Where USE_TZ is off, templates would show it as it is, in UTC.
    return None if text is None else localtime(datetime.fromisoformat(text))


def cut(text: str, most: int = 100) -> str:
    """``text`` short enough for a table: its beginning and its end, where keys differ."""
    if len(text) <= most:
        return text
    return f"{text[: most - 31]}…{text[-30:]}"


def visible(text: str) -> str:
    """``text`` with invisible characters, and those that change the direction, escaped."""
    return "".join(
        each.encode("unicode_escape").decode() if category(each) in {"Cc", "Cf", "Cs"} else each
        for each in text
    )


STALE_WORDS: Mapping[str, Promise] = {
    "expired": gettext_lazy("expired"),
    "idle": gettext_lazy("idle"),
    "never_read": gettext_lazy("never read"),
    "no_expiry": gettext_lazy("no expiry"),
}
"""The words for the kinds of stale entries, by their names in the report."""


def stale_kinds(why: Iterable[StaleReason]) -> str:
    return ", ".join(str(STALE_WORDS[each]) for each in why)


def expiry(seconds: float | None, *, never: bool) -> str:
    """When an entry expires, or how long ago it did."""
    if never:
        return _("never")
    if seconds is not None and seconds < 0:
        return ago(-seconds)
    return age(seconds)


def ago(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else _("%(age)s ago") % {"age": age(seconds)}


def _joined(number: int, unit: str) -> str:
    return f"{number_format(number, force_grouping=True)}{_NARROW_SPACE}{unit}"


def _with_unit(number: float, unit: str) -> str:
    """Three significant digits, since a histogram's percentile has no more to say."""
    digits = _DECIMALS - 1 - (floor(log10(number)) if number >= 0.01 else -2)
    return f"{rounded(number, max(0, min(digits, 2)))}{_NARROW_SPACE}{unit}"


WIDTH, HEIGHT = 100.0, 20.0
# Half of a line's width, which would be cut off at the edges.
_INSET = 1.0


def sparkline(shares: Sequence[float | None]) -> list[str]:
    """The points of SVG lines for shares of 0 to 1, one line for each run without a gap, which None
    is; a box of 100 by 20."""
    # What was before the first one is left out, or a new site's line would be a dot.
    drawn = list(dropwhile(lambda share: share is None, shares))
    step = WIDTH / max(1, len(drawn) - 1)
    runs = groupby(enumerate(drawn), lambda each: each[1] is None)
    lines = [
        [f"{place * step:.1f},{_height(share):.1f}" for place, share in run if share is not None]
        for _is_gap, run in runs
    ]
    # A single point is drawn as a line to itself, which round ends make a dot.
    return [" ".join(line if len(line) > 1 else line * 2) for line in lines if line]


def _height(ratio: float) -> float:
    return _INSET + (1 - ratio) * (HEIGHT - 2 * _INSET)


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


# Beyond this a key is no longer read, only carried in every refresh.
MAX_TITLE_LENGTH = 1000


def code_cell(text: str, url: str = "") -> Cell:
    """A cell with text that the site's users wrote: cut, with its invisible characters shown."""
    if not text:
        # An empty key, which a cache takes like any other.
        return Cell(_("(empty)"), is_numeric=False)
    shown = visible(cut(text))
    title = "" if shown == text else visible(text[:MAX_TITLE_LENGTH])
    return Cell(shown, is_numeric=False, code=True, title=title, url=url)


def make_bar(share: float | None) -> Bar | None:
    return None if share is None else f"{min(1.0, max(0.0, share)) * 100:.2f}"


Item = TypeVar("Item")
Value = str | int | float | None


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


# Text is the path of an attribute of a CacheItem's item; None stands for the column's name.
Read = Callable[[Item], Any] | str | None


def figure_column(
    name: str,
    label: str,
    value: Read[Item] = None,
    exact: Callable[[Item], bool | None] = lambda item: True,
    *,
    text: Callable[[Any], str] = count,
) -> ColumnSpec[Item]:
    """A column of whole numbers, or of what ``text`` writes; those that are not ``exact`` are
    marked as estimates."""
    read = _reader(name, value)

    def cell(item: Item) -> Cell:
        return Cell(about(text(read(item)), exact=exact(item)))

    return ColumnSpec(name, label, read, cell)


def estimate_column(
    name: str, label: str, error: Read[Item], value: Read[Item] = None
) -> ColumnSpec[Item]:
    """A column of seconds with their errors, which are in the titles."""
    read, read_error = _reader(name, value), _reader(name, error)

    def cell(item: Item) -> Cell:
        seconds, off = read(item), read_error(item)
        return Cell(estimated(seconds, off), title=give_or_take(seconds, off))

    return ColumnSpec(name, label, read, cell)


def ratio_column(
    name: str, label: str, value: Read[Item] = None, *, has_bars: bool = True
) -> ColumnSpec[Item]:
    """A column of ratios, 0 to 1; without bars where there are many of them side by side."""
    read = _reader(name, value)

    def cell(item: Item) -> Cell:
        share = read(item)
        return Cell(ratio(share), bar=make_bar(share) if has_bars else None)

    return ColumnSpec(name, label, read, cell)


def code_column(
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


def text_column(name: str, label: str, value: Callable[[Item], str]) -> ColumnSpec[Item]:
    """A column of the monitor's own words."""
    return ColumnSpec(
        name, label, value, lambda item: Cell(value(item), is_numeric=False), is_numeric=False
    )


def time_column(name: str, label: str, value: Read[Item] = None) -> ColumnSpec[Item]:
    """A column of moments, RFC 3339 text."""
    read = _reader(name, value)

    def cell(item: Item) -> Cell:
        return Cell(UNKNOWN, is_numeric=False, at=moment(read(item)))

    return ColumnSpec(name, label, read, cell, is_numeric=False)


def sparkline_column(
    name: str, label: str, values: Callable[[Item], Sequence[int]]
) -> ColumnSpec[Item]:
    """A column of numbers over time, drawn as a line; downloaded with a space between them."""

    def cell(item: Item) -> Cell:
        numbers = values(item)
        most = max(numbers, default=0)
        if not most:
            return Cell(UNKNOWN, is_numeric=False)
        text = _("at most %(most)s in one step, %(last)s in the last") % {
            "most": count(most),
            "last": count(numbers[-1]),
        }
        return Cell(
            text,
            is_numeric=False,
            sparkline=sparkline([number / most for number in numbers]),
        )

    def value(item: Item) -> str:
        return " ".join(map(str, values(item)))

    return ColumnSpec(name, label, value, cell, is_numeric=False, is_unsorted=True)


def link_column(label: str, url: Callable[[Item], str]) -> ColumnSpec[Item]:
    def cell(item: Item) -> Cell:
        target = url(item)
        return Cell(label if target else "", is_numeric=False, url=target)

    return ColumnSpec(
        "action", _("Action"), lambda item: None, cell, is_numeric=False, has_no_data=True
    )


def _reader(name: str, value: Read[Item]) -> Callable[[Any], Any]:
    if callable(value):
        return value
    read = attrgetter(value or name)
    return lambda each: read(each.item)
