"""What the hits of a request saved: for each, the time to produce its value less the lookup's.

How long a value takes to produce is known from a ``get_or_set`` that ran its callable, and from a
miss to the set of the same key in the same thread or task. Where nobody has seen that, nothing is
said.

A cached page takes two entries, one that tells which headers it varies by and the page itself:
what producing it takes is told by the page alone, though often only the other one is missed. A hit
whose value the request then writes anew saved nothing.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from cache_monitor import api, context
from cache_monitor.concurrency import new_lock
from cache_monitor.errors import let_pass
from cache_monitor.keys.known_keys import CACHALOT_TABLES_GROUP
from cache_monitor.recorder import recorder
from cache_monitor.stats.spans import Spans
from cache_monitor.toolbar.hints import Usage
from cache_monitor.toolbar.rows import CallRow

MOST_GROUPS = 2000

Group = tuple[str, str]
"""Alias and key group."""
_NONE: Mapping[Group, float] = MappingProxyType({})
_SETS = frozenset({"set", "add", "set_many"})
_GETS = frozenset({"get", "get_many"})


@dataclass(slots=True)
class Fill:
    """A miss and the write that filled it, by their rows; between them the values were produced.

    ``names`` are what the keys are known by.
    """

    miss: int
    write: int
    begins: float
    ends: float
    names: list[str]


@dataclass(frozen=True, slots=True)
class Saved:
    """``milliseconds`` is None where it is known of no hit; ``known`` of ``hits`` tell it."""

    milliseconds: float | None
    known: int
    hits: int


class Productions:
    """The mean milliseconds that values took to produce, as this process has seen lately."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self._seen: OrderedDict[Group, tuple[int, float]] = OrderedDict()

    def learn(self, seen: Mapping[Group, tuple[int, float]]) -> None:
        """Add how many values were produced, and in how many milliseconds together."""
        with self._lock:
            for group, (count, total) in seen.items():
                before, took = self._seen.pop(group, (0, 0.0))
                self._seen[group] = (before + count, took + total)
            while len(self._seen) > MOST_GROUPS:
                self._seen.popitem(last=False)

    def means(self) -> dict[Group, float]:
        """What is known by now."""
        with self._lock:
            return {group: total / count for group, (count, total) in self._seen.items()}


productions = Productions()


def fills(rows: Sequence[CallRow]) -> list[Fill]:
    """The misses that a later write of the same key filled."""
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


def produced_in(rows: Sequence[CallRow]) -> dict[Group, tuple[int, float]]:
    """How many values of each group were produced, in how many milliseconds together."""
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
    """What the hits of ``rows`` saved, given the mean milliseconds to produce a value of a group,
    and of some keys."""
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
    """The hits, by row and key, whose value is written anew later."""
    found: dict[int, int] = {}
    renewed: set[tuple[int, int]] = set()
    for number, row in enumerate(rows):
        for each in row["keys"]:
            if each["hit"]:
                found[each["id"]] = number
            elif each["id"] in found and _fills(row, each):
                renewed.add((found.pop(each["id"]), each["id"]))
    return renewed


def _fills(row: CallRow, each: CallRow) -> bool:
    return row["operation"] in _SETS and row["error"] is None and _holds_a_value(each)


def _holds_a_value(each: CallRow) -> bool:
    return bool(each["kind"] != "page_headers" and each["group"] != CACHALOT_TABLES_GROUP)


def _entry(row: CallRow, each: CallRow) -> tuple[object, ...]:
    """What tells that a write fills a miss."""
    if each["route"] is not None:
        return row["alias"], each["route"]
    return each["id"], row["context"]


def _name(each: CallRow) -> str:
    """What the key is known by: all pages may share one group."""
    return each["group"] if each["route"] is None else f"page {each['route']}"


def _add(seen: dict[Group, tuple[int, float]], group: Group, milliseconds: float) -> None:
    count, total = seen.get(group, (0, 0.0))
    seen[group] = (count + 1, total + milliseconds)


@dataclass(frozen=True, slots=True)
class SiteStats:
    """By alias and key group: the mean milliseconds to produce a value, and how it is used. The
    busiest keys have means of their own."""

    means: Mapping[Group, float] = field(default_factory=dict)
    key_means: Mapping[Group, float] = field(default_factory=dict)
    usage: Mapping[Group, Usage] = field(default_factory=dict)


def of_the_last_hour() -> SiteStats:
    """What the report says; nothing where it cannot be made."""
    try:
        with context.muted():
            report = api.report()
    except Exception as error:
        let_pass(error)
        # A fault of ours, or of the store's that is none of those it may have: the panel has
        # the request to tell of all the same.
        recorder.failed(error)
        return SiteStats()
    groups = [
        ((alias, group.group), group)
        for alias, cache in report.caches.items()
        for group in cache.key_groups
    ]
    return SiteStats(
        means={
            name: group.produce_seconds * 1000
            for name, group in groups
            if group.produce_seconds is not None
        },
        key_means={
            (alias, key.key): key.produce_seconds * 1000
            for alias, cache in report.caches.items()
            for key in cache.hot_keys
            if key.produce_seconds is not None
        },
        usage={name: Usage(group.sets, group.lookups) for name, group in groups},
    )
