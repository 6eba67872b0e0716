"""What is known of a request from elsewhere: from the trace why its lookups missed, from this
process and the site what values take to compute and how groups are used.

The reasons are the dashboard's, of misses that are not rolled up yet. The misses hold keys as the
site wrote them, so they stay in this process: another process, or a much later panel, shows
"unknown".
"""

import time
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from cache_monitor import api, context
from cache_monitor.calls import RawCall, recorder
from cache_monitor.concurrency import new_lock
from cache_monitor.errors import let_pass
from cache_monitor.keys.masking import is_sanitizing
from cache_monitor.reports.savings import mean_to_produce
from cache_monitor.stats.groups import GroupStats
from cache_monitor.stats.hot_keys import KeyStats
from cache_monitor.toolbar.hints import Usage
from cache_monitor.toolbar.request import CallRow, Kept, KeyRow
from cache_monitor.toolbar.timeline import Group
from cache_monitor.trace.events import Reason

MOST_MISSES = 20_000
"""The most misses in memory, of all requests, 6 MB; the oldest requests make room."""

Places = dict[tuple[int, int], Reason]
"""By row and key in it."""


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
