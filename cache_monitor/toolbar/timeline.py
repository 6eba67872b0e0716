"""The time of a request: its calls as bars on an axis, the computing after misses, and what hits
saved.

The time to compute a value is known from a ``get_or_set``, or from a miss to the set of the same
key in the same thread or task. A hit saved that time, less the lookup's; where it is unknown, a hit
counts for nothing. A hit whose value the request then renews saved nothing.

A cached page has two entries, its list of headers and itself. The time is the page's, though often
only the list is missed.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from cache_monitor.capture import DELETES, WRITES
from cache_monitor.keys.known_keys import CACHALOT_TABLES_GROUP
from cache_monitor.stats.compute_time import Spans
from cache_monitor.toolbar.request import CallRow, KeyRow

Group = tuple[str, str]
"""Alias and key group."""
_NONE: Mapping[Group, float] = MappingProxyType({})
_SETS = frozenset({"set", "add", "set_many"})
_GETS = frozenset({"get", "get_many"})


@dataclass(slots=True)
class Fill:
    """The rows of a miss and of the write that filled it; between them the values of ``names`` were
    computed."""

    miss: int
    write: int
    begins: float
    ends: float
    names: list[str]


@dataclass(frozen=True, slots=True)
class Saved:
    """The ``milliseconds`` of the ``known`` ones of ``hits``; None where none is known."""

    milliseconds: float | None
    known: int
    hits: int


def fills(rows: Sequence[CallRow]) -> list[Fill]:
    """The misses with a later write of the same key."""
    missed: dict[tuple[object, ...], tuple[int, float]] = {}
    found: dict[tuple[int, int], Fill] = {}
    spans: defaultdict[object, Spans] = defaultdict(Spans)
    for number, row in enumerate(rows):
        ended = row["at"] + row["milliseconds"] + (row["produced"] or 0.0)
        for each in row["keys"]:
            entry = _entry(row, each)
            if row["operation"] in _GETS and each["hit"] is False:
                missed[entry] = (number, ended)
            elif _fills(row, each) and entry in missed:
                miss, began = missed.pop(entry)
                if (miss, number) not in found:
                    starts = max(row["at"], began)
                    begins = spans[row["context"]].since(began, starts, ended)
                    found[miss, number] = Fill(miss, number, begins, starts, [])
                found[miss, number].names.append(_name(each))
    return list(found.values())


def computed_in(rows: Sequence[CallRow]) -> dict[Group, tuple[int, float]]:
    """The number of computed values, and the sum of their milliseconds, by group."""
    seen: dict[Group, tuple[int, float]] = {}
    for row in rows:
        if row["produced"] is not None and row["misses"] and row["keys"]:
            _add(seen, (row["alias"], _name(row["keys"][0])), row["produced"])
    for fill in fills(rows):
        for name in fill.names:
            group = (rows[fill.write]["alias"], name)
            _add(seen, group, (fill.ends - fill.begins) / len(fill.names))
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


def _entry(row: CallRow, each: KeyRow) -> tuple[object, ...]:
    """The same for a miss and the write that fills it."""
    if each["route"] is not None:
        return row["alias"], each["route"]
    return each["id"], row["context"]


def _name(each: KeyRow) -> str:
    """The group, or the page by its route: all pages may share one group."""
    return each["group"] if each["route"] is None else f"page {each['route']}"


def _add(seen: dict[Group, tuple[int, float]], group: Group, milliseconds: float) -> None:
    count, total = seen.get(group, (0, 0.0))
    seen[group] = (count + 1, total + milliseconds)


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
