"""The calls of a request as bars on its time axis."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cache_monitor.capture import DELETES, WRITES
from cache_monitor.toolbar.request import CallRow
from cache_monitor.toolbar.savings import fills

Colour = Literal["hit", "miss", "write", "error", "other"]

NARROWEST = 0.15
"""Per cent of the axis: a bar must be visible and clickable."""
CROWDED = 0.25
"""Where all calls are within this share of the request, that part is enlarged."""
TICKS = 5
_SHORTEST = 1e-3


@dataclass(frozen=True, slots=True)
class CallBar:
    """A call, or the work after a miss; ``x`` and ``width`` are per cent of the axis.

    ``number`` is the call's in the list, from 1.
    """

    number: int
    colour: Colour
    x: float
    width: float
    milliseconds: float
    title: str = ""


@dataclass(frozen=True, slots=True)
class Lane:
    """One cache's calls, and the ``work`` to produce missed values."""

    alias: str
    bars: Sequence[CallBar]
    work: Sequence[CallBar]


@dataclass(frozen=True, slots=True)
class Tick:
    """A time on the axis; ``anchor`` is SVG's ``text-anchor``."""

    x: float
    milliseconds: float
    anchor: Literal["start", "middle", "end"]


@dataclass(frozen=True, slots=True)
class Timeline:
    """A part of a request, in milliseconds from its start; ``enlarged`` is the part that another
    timeline enlarges."""

    begins: float
    ends: float
    lanes: Sequence[Lane]
    enlarged: CallBar | None = None

    @property
    def places(self) -> str:
        """The decimal places of the ticks, for ``floatformat``."""
        length = self.ends - self.begins
        return "0g" if length >= 100 else "1g" if length >= 10 else "2g"

    @property
    def ticks(self) -> list[Tick]:
        last = TICKS - 1
        length = self.ends - self.begins
        anchors: dict[int, Literal["start", "end"]] = {0: "start", last: "end"}
        return [
            Tick(100 * each / last, self.begins + length * each / last, anchors.get(each, "middle"))
            for each in range(TICKS)
        ]


def colour_of(row: CallRow) -> Colour:
    """The outcome of a call; a ``get_many`` that missed some keys is a miss."""
    if row["interrupted"]:
        return "other"
    if row["error"] is not None:
        return "error"
    if row["misses"]:
        return "miss"
    if row["hits"]:
        return "hit"
    return "write" if row["operation"] in WRITES | DELETES else "other"


def timelines(rows: Sequence[CallRow], titles: Sequence[str], ends: float) -> list[Timeline]:
    """The whole request of ``ends`` milliseconds, and its calls enlarged where they are close
    together."""
    if not rows:
        return []
    first = min(row["at"] for row in rows)
    last = max(_end(row) for row in rows)
    whole = _Axis(0.0, max(ends, last, _SHORTEST))
    if last - first > CROWDED * whole.length or len(rows) < 2:
        return [_timeline(rows, titles, whole)]
    part = _Axis(first, max(last - first, _SHORTEST))
    enlarged = whole.bar(0, "other", part.begins, part.length)
    return [_timeline(rows, titles, whole, enlarged), _timeline(rows, titles, part)]


def _timeline(
    rows: Sequence[CallRow], titles: Sequence[str], axis: "_Axis", enlarged: CallBar | None = None
) -> Timeline:
    calls: dict[str, list[CallBar]] = {row["alias"]: [] for row in rows}
    work: dict[str, list[CallBar]] = {alias: [] for alias in calls}
    for number, (row, title) in enumerate(zip(rows, titles, strict=True), 1):
        bar = axis.bar(number, colour_of(row), row["at"], row["milliseconds"], title)
        calls[row["alias"]].append(bar)
        if row["produced"] and row["misses"]:
            begun = row["at"] + row["milliseconds"]
            work[row["alias"]].append(axis.bar(number, "miss", begun, row["produced"]))
    for fill in fills(rows):
        bar = axis.bar(fill.miss + 1, "miss", fill.begins, fill.ends - fill.begins)
        work[rows[fill.miss]["alias"]].append(bar)
    lanes = [Lane(alias, calls[alias], work[alias]) for alias in calls]
    return Timeline(axis.begins, axis.begins + axis.length, lanes, enlarged)


@dataclass(frozen=True, slots=True)
class _Axis:
    begins: float
    length: float

    def bar(self, number: int, colour: Colour, at: float, took: float, title: str = "") -> CallBar:
        width = min(max(100 * took / self.length, NARROWEST), 100.0)
        x = min(max(100 * (at - self.begins) / self.length, 0.0), 100.0 - width)
        return CallBar(number, colour, round(x, 3), round(width, 3), took, title)


def _end(row: CallRow) -> float:
    return float(row["at"] + row["milliseconds"] + (row["produced"] or 0.0))
