"""What is known of a request from elsewhere: from the trace why its lookups missed, from this
process and the site what values take to compute, and so what hits saved, and how groups are used.

The reasons are the dashboard's, of misses that are not rolled up yet. The misses hold keys as the
site wrote them, so they stay in this process: another process, or a much later panel, shows
"unknown".

A hit saved the time to compute its value (:mod:`cache_monitor.stats.compute_time`), less the
lookup's; where that is unknown, a hit counts for nothing. A hit whose value the request then renews
saved nothing. A cached page has two entries, its list of headers and itself. The time is the
page's, though often only the list is missed.
"""

import time
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from cache_monitor import api, context
from cache_monitor.calls import RawCall, recorder
from cache_monitor.concurrency import new_lock
from cache_monitor.errors import let_pass
from cache_monitor.keys.known_keys import CACHALOT_TABLES_GROUP
from cache_monitor.keys.masking import is_sanitizing
from cache_monitor.panel.hints import Usage
from cache_monitor.panel.request import CallRow, Kept, KeyRow
from cache_monitor.reports.savings import mean_to_produce
from cache_monitor.stats.groups import GroupStats
from cache_monitor.stats.hot_keys import KeyStats
from cache_monitor.trace.miss_reasons import Reason

MOST_MISSES = 20_000
"""The most misses in memory, of all requests, 6 MB; the oldest requests make room."""

Places = dict[tuple[int, int], Reason]
"""By row and key in it."""
Group = tuple[str, str]
"""Alias and key group."""


class _RequestMisses:
    """The misses of one request: the calls with the number of their shown keys, and the reasons.
    ``clock_offset`` added to their times gives Unix time."""

    def __init__(self, calls: Sequence[tuple[int, int, RawCall]], clock_offset: float) -> None:
        self.calls = calls
        self.clock_offset = clock_offset
        self.reasons: Places = {}
        self.misses = sum(shown for _, shown, _ in calls)


class MissesOfRequests:
    """The misses of the latest requests of this process."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self._requests: OrderedDict[str, _RequestMisses] = OrderedDict()
        self._misses = 0

    def remember(self, request_id: str, kept: Kept, rows: Sequence[CallRow]) -> None:
        """Keep the misses of ``kept`` whose keys ``rows`` show."""
        calls = [
            (number, len(row["keys"]), call)
            for number, ((call, *_), row) in enumerate(zip(kept, rows, strict=True))
            if row["misses"] and _may_be_kept(row["keys"])
        ]
        request = _RequestMisses(calls, time.time() - time.perf_counter())
        with self._lock:
            self._forget(request_id)
            if request.misses:
                self._requests[request_id] = request
                self._misses += request.misses
            while self._misses > MOST_MISSES and len(self._requests) > 1:
                self._forget(next(iter(self._requests)))

    def reasons(self, request_id: str) -> Places:
        """The reasons of the misses, as far as known."""
        with self._lock:
            request = self._requests.get(request_id)
        if request is None:
            return {}
        with context.muted():
            found = api.reasons_of_misses(
                [call for _, _, call in request.calls], request.clock_offset
            )
        for (number, shown, _), reasons in zip(request.calls, found, strict=True):
            for place, reason in reasons.items():
                # What was known once may be rolled up by now.
                if place < shown and request.reasons.get((number, place), "unknown") == "unknown":
                    request.reasons[number, place] = reason
        return request.reasons

    def _forget(self, request_id: str) -> None:
        request = self._requests.pop(request_id, None)
        if request is not None:
            self._misses -= request.misses


misses_of_requests = MissesOfRequests()


def _may_be_kept(keys: Sequence[KeyRow]) -> bool:
    """Whether the keys may stay in memory as written: not a session's, a credential, and none where
    the project sanitizes keys."""
    return not is_sanitizing() and all(each["kind"] != "session" for each in keys)


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


MOST_GROUPS = 2000


class RecentComputeTimes:
    """The mean milliseconds to compute values, in this process lately."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self._seen: OrderedDict[Group, tuple[int, float]] = OrderedDict()

    def learn(self, seen: Mapping[Group, tuple[int, float]]) -> None:
        """Add computed values: their number and the sum of their milliseconds, by group."""
        with self._lock:
            for group, (count, total) in seen.items():
                before, took = self._seen.pop(group, (0, 0.0))
                self._seen[group] = (before + count, took + total)
            while len(self._seen) > MOST_GROUPS:
                self._seen.popitem(last=False)

    def means(self) -> dict[Group, float]:
        with self._lock:
            return {group: total / count for group, (count, total) in self._seen.items()}


compute_times = RecentComputeTimes()


@dataclass(frozen=True, slots=True)
class SiteStats:
    """The mean milliseconds to compute a value by alias and key group, or key; the use by group."""

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
                    (alias, name): Usage(group.sets, group.lookups + group.other_uses)
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
