"""The reasons of a request's misses, by the trace when the panel is opened.

They are the dashboard's, for misses that are not rolled up yet. The misses hold keys as the site
wrote them, so they stay in this process: another process, or a much later panel, shows "unknown".
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence

from cache_monitor import context
from cache_monitor.calls import SOURCE, RawCall
from cache_monitor.capture import outcomes_of
from cache_monitor.concurrency import new_lock
from cache_monitor.keys.custom import is_sanitizing
from cache_monitor.reports.newest_trace import newer
from cache_monitor.stores.base import StoreError
from cache_monitor.stores.opening import get_store
from cache_monitor.stores.rows import trace_settings
from cache_monitor.toolbar.request import CallRow, Kept, KeyRow
from cache_monitor.trace.events import MISS, SECOND, Reason, hash_of
from cache_monitor.worker import wiring
from cache_monitor.worker.trace_events import accesses_of, entry_identity

MOST_MISSES = 20_000
"""The most misses in memory, of all requests, 6 MB; the oldest requests make room."""
_NEAR = SECOND // 100
"""The greatest difference between the times of a miss here and in the trace: they are of two
clocks."""

Places = dict[tuple[int, int], Reason | None]
"""By row and key in it; None where there is no reason."""

_TracedMisses = Mapping[tuple[str, int], Sequence[tuple[int, Reason]]]
"""The times and reasons of misses by alias and key."""


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
        traced = _traced_misses()
        for place, alias, key, at in _missed(request):
            reason = _nearest(traced.get((alias, key), ()), at)
            if request.reasons.get(place, "unknown") == "unknown":
                request.reasons[place] = reason
        return request.reasons

    def _forget(self, request_id: str) -> None:
        request = self._requests.pop(request_id, None)
        if request is not None:
            self._misses -= request.misses


misses_of_requests = MissesOfRequests()


def _missed(request: _RequestMisses) -> Iterator[tuple[tuple[int, int], str, int, int]]:
    """The shown misses: place, alias, key and time."""
    offset = int(request.clock_offset * SECOND)
    for number, shown, call in request.calls:
        alias = call[SOURCE].alias
        facts = wiring.cache_identity(wiring.background_worker.process, alias)
        places = [place for place, hit in enumerate(outcomes_of(call)) if hit is False]
        if facts is None:
            continue
        accesses = [access for access in accesses_of(call, facts, offset) if access.kind == MISS]
        for place, access in zip(places, accesses, strict=False):
            if place < shown:
                key = hash_of(entry_identity(facts, access.key, access.final))
                yield (number, place), alias, key, access.ended


def _nearest(misses: Sequence[tuple[int, Reason]], at: int) -> Reason:
    """The reason of the one of ``misses`` at the time ``at``."""
    near = min(misses, key=lambda each: abs(each[0] - at), default=None)
    return near[1] if near is not None and abs(near[0] - at) <= _NEAR else "unknown"


def _traced_misses() -> _TracedMisses:
    """The misses of the trace by now; none where the store cannot be read."""
    found: dict[tuple[str, int], list[tuple[int, Reason]]] = {}
    try:
        with context.muted():
            wiring.background_worker.request_flush()
            for each in newer(get_store(), trace_settings(), time.time()):
                for miss in each.result.misses:
                    misses = found.setdefault((miss.alias, miss.key), [])
                    misses.append((miss.at, miss.reason))
    except StoreError:
        return {}
    return found


def _may_be_kept(keys: Sequence[KeyRow]) -> bool:
    """Whether the keys may stay in memory as written: not a session's, a credential, and none where
    the project sanitizes keys."""
    return not is_sanitizing() and all(each["kind"] != "session" for each in keys)


def summed(places: Mapping[tuple[int, int], Reason | None]) -> dict[str, int]:
    """The number of misses by reason."""
    return Counter[str](reason for reason in places.values() if reason is not None)
