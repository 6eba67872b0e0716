"""The time of a request: its calls as bars on an axis, the computing after misses, and what hits
saved.

A hit saved the time to compute its value (:mod:`cache_monitor.stats.compute_time`), less the
lookup's; where that is unknown, a hit counts for nothing. A hit whose value the request then renews
saved nothing.

A cached page has two entries, its list of headers and itself. The time is the page's, though often
only the list is missed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from cache_monitor.capture import DELETES, WRITES
from cache_monitor.keys.known_keys import CACHALOT_TABLES_GROUP
from cache_monitor.toolbar.request import CallRow, KeyRow

Group = tuple[str, str]
"""Alias and key group."""
_NONE: Mapping[Group, float] = MappingProxyType({})
_SETS = frozenset({"set", "add", "set_many"})


@dataclass(frozen=True, slots=True)
class Saved:
    """The ``milliseconds`` of the ``known`` ones of ``hits``; None where none is known."""

    milliseconds: float | None
    known: int
    hits: int


def computed_in(rows: Sequence[CallRow]) -> dict[Group, tuple[int, float]]:
    """The number of computed values, and the sum of their milliseconds, by group."""
    seen: dict[Group, tuple[int, float]] = {}
    for row in rows:
        for each in row["keys"]:
            if each["computed"] is not None:
                group = row["alias"], _name(each)
                count, total = seen.get(group, (0, 0.0))
                seen[group] = count + 1, total + each["computed"]
    return seen


def saved(
    rows: Sequence[CallRow], means: Mapping[Group, float], key_means: Mapping[Group, float] = _NONE
) -> Saved:
    """What the hits of ``rows`` saved, by the mean milliseconds to compute values of groups and
    keys."""
    total, known, hits = 0.0, 0, 0
    renewed = _renewed(rows)
    for number, row in enumerate(rows):
        lookup = row["milliseconds"] / max(len(row["keys"]) + row["more_keys"], 1)
        for each in row["keys"]:
            if not each["hit"] or not _holds_a_value(each) or (number, each["id"]) in renewed:
                continue
            hits += 1
            alias = row["alias"]
            places = (key_means, each["key"]), (means, _name(each)), (means, each["group"])
            mean = next((at[alias, name] for at, name in places if (alias, name) in at), None)
            if mean is not None:
                known += 1
                total += mean - lookup
    return Saved(total if known else None, known, hits)


def _renewed(rows: Sequence[CallRow]) -> set[tuple[int, int]]:
    """The hits, by row and key, whose value is written again later."""
    found: dict[int, int] = {}
    renewed: set[tuple[int, int]] = set()
    for number, row in enumerate(rows):
        for each in row["keys"]:
            if each["hit"]:
                found[each["id"]] = number
            elif each["id"] in found and _fills(row, each):
                renewed.add((found.pop(each["id"]), each["id"]))
    return renewed


def _fills(row: CallRow, each: KeyRow) -> bool:
    return row["operation"] in _SETS and row["error"] is None and _holds_a_value(each)


def _holds_a_value(each: KeyRow) -> bool:
    return bool(each["kind"] != "page_headers" and each["group"] != CACHALOT_TABLES_GROUP)


def _name(each: KeyRow) -> str:
    """The group, or the page by its route: all pages may share one group."""
    return each["group"] if each["route"] is None else f"page {each['route']}"


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
    missed: dict[tuple[str, int | str], int] = {}
    for number, (row, title) in enumerate(zip(rows, titles, strict=True), 1):
        bar = axis.bar(number, colour_of(row), row["at"], row["milliseconds"], title)
        calls[row["alias"]].append(bar)
        missed |= {_entry(row, each): number for each in row["keys"] if each["hit"] is False}
        if row["computed"]:
            filled = (_entry(row, each) for each in row["keys"] if each["computed"] is not None)
            miss = next((missed[each] for each in filled if each in missed), number)
            begun = row["at"] - row["computed"]
            if row["produced"] is not None:
                begun = row["at"] + row["milliseconds"]
            work[row["alias"]].append(axis.bar(miss, "miss", begun, row["computed"]))
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


def _entry(row: CallRow, each: KeyRow) -> tuple[str, int | str]:
    """The same for a miss and the write that fills it: a page, or the list of its headers."""
    return row["alias"], each["id"] if each["route"] is None else each["route"]


def _end(row: CallRow) -> float:
    return float(row["at"] + row["milliseconds"] + (row["produced"] or 0.0))
