"""What the hits of a request saved: for each, the time to produce its value less the lookup's.

The time to produce a value is known from a ``get_or_set``, or from a miss to the set of the same
key in the same thread or task. Where it is unknown, a hit counts for nothing.

A cached page has two entries, its list of headers and itself. The time is the page's, though often
only the list is missed. A hit whose value the request then renews saved nothing.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from cache_monitor import api, context
from cache_monitor.concurrency import new_lock
from cache_monitor.errors import let_pass
from cache_monitor.keys.known_keys import CACHALOT_TABLES_GROUP
from cache_monitor.recorder import recorder
from cache_monitor.reports.savings import mean_to_produce
from cache_monitor.stats.compute_time import Spans
from cache_monitor.stats.details import GroupStats
from cache_monitor.stats.top_keys import KeyStats
from cache_monitor.toolbar.hints import Usage
from cache_monitor.toolbar.request import CallRow, KeyRow

MOST_GROUPS = 2000

Group = tuple[str, str]
"""Alias and key group."""
_NONE: Mapping[Group, float] = MappingProxyType({})
_SETS = frozenset({"set", "add", "set_many"})
_GETS = frozenset({"get", "get_many"})


@dataclass(slots=True)
class Fill:
    """The rows of a miss and of the write that filled it; between them the values of ``names`` were
    produced."""

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


class Productions:
    """The mean milliseconds to produce values, in this process lately."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self._seen: OrderedDict[Group, tuple[int, float]] = OrderedDict()

    def learn(self, seen: Mapping[Group, tuple[int, float]]) -> None:
        """Add produced values: their number and the sum of their milliseconds, by group."""
        with self._lock:
            for group, (count, total) in seen.items():
                before, took = self._seen.pop(group, (0, 0.0))
                self._seen[group] = (before + count, took + total)
            while len(self._seen) > MOST_GROUPS:
                self._seen.popitem(last=False)

    def means(self) -> dict[Group, float]:
        with self._lock:
            return {group: total / count for group, (count, total) in self._seen.items()}


productions = Productions()


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


def produced_in(rows: Sequence[CallRow]) -> dict[Group, tuple[int, float]]:
    """The number of produced values, and the sum of their milliseconds, by group."""
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
    """What the hits of ``rows`` saved, by the mean milliseconds to produce values of groups and
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


@dataclass(frozen=True, slots=True)
class SiteStats:
    """The mean milliseconds to produce a value by alias and key group, or key; the use by group."""

    means: Mapping[Group, float] = field(default_factory=dict)
    key_means: Mapping[Group, float] = field(default_factory=dict)
    usage: Mapping[Group, Usage] = field(default_factory=dict)


def of_the_last_hour(aliases: Collection[str]) -> SiteStats:
    """What the store tells of these caches; nothing where that cannot be read."""
    means: dict[Group, float] = {}
    key_means: dict[Group, float] = {}
    usage: dict[Group, Usage] = {}
    try:
        with context.muted():
            for alias in aliases:
                details = api.key_details(alias)
                usage |= {
                    (alias, name): Usage(group.sets, group.lookups)
                    for name, group in details.groups.items()
                }
                means |= _means(alias, details.groups)
                key_means |= _means(alias, details.hot_keys.table)
    except Exception as error:
        let_pass(error)
        # The panel shows the request without them.
        recorder.failed(error)
        return SiteStats()
    return SiteStats(means, key_means, usage)


def _means(alias: str, stats: Mapping[str, GroupStats | KeyStats]) -> dict[Group, float]:
    means = {name: mean_to_produce(each) for name, each in stats.items()}
    return {(alias, name): mean * 1000 for name, mean in means.items() if mean is not None}
