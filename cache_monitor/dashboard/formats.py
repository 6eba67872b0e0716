"""Figures and reasons in words: localised, with units, and a dash for an unknown figure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import dropwhile, groupby
from math import floor, log10
from unicodedata import category

from django.template.defaultfilters import filesizeformat
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cache_monitor.reports.schema import StaleReason, relative_change

UNKNOWN = "–"
MINUS = "\u2212"
_DECIMALS = 3
_CLOSE = 0.05
"""The relative error up to which a figure is not marked as an estimate, as for percentiles."""
_NARROW_SPACE = "\u202f"


def count(value: int | None) -> str:
    """A whole number with its thousands grouped."""
    return UNKNOWN if value is None else number_format(value, force_grouping=True)


def decimal(value: float | None) -> str:
    """A number with two decimals."""
    return UNKNOWN if value is None else _number(value, 2)


def significant(value: float) -> str:
    """A number above 0 with two significant digits, and no fewer than all before its point."""
    places = max(0, min(6, 1 - floor(log10(value))))
    text = _number(value, places)
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
    return _("%(number)s%%") % {"number": _number(percent, places)}


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
    text = _number(abs(number), 1) if abs(number) < 1000 else count(round(abs(number)))
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
    """The report's RFC 3339 text as a datetime, which templates show in the user's time zone."""
    return None if text is None else datetime.fromisoformat(text)


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
    return f"{_number(number, max(0, min(digits, 2)))}{_NARROW_SPACE}{unit}"


def _number(number: float, places: int) -> str:
    """Rounded before Django writes it, for Django cuts the digits off."""
    return number_format(Decimal(f"{number:.{places}f}"), places)


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
