"""The reasons of a request's misses, by the trace when the panel is opened.

They are the dashboard's, for misses that are not rolled up yet. The misses hold keys as the site
wrote them, so they stay in this process: another process, or a much later panel, shows "unknown".
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Sequence

from cache_monitor import api, context
from cache_monitor.calls import RawCall
from cache_monitor.concurrency import new_lock
from cache_monitor.keys.display import is_sanitizing
from cache_monitor.toolbar.request import CallRow, Kept, KeyRow
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


def summed(places: Places) -> dict[str, int]:
    """The number of misses by reason."""
    return Counter[str](places.values())
