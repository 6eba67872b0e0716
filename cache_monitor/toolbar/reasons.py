"""Why the misses of a request missed: what the trace tells of them when somebody looks.

It is what the dashboard tells, of the misses that nobody has rolled up yet. What the trace is asked
holds keys as the site wrote them, so it stays in this process and goes into no store: another
process, or a much later look, gets "unknown".
"""

import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence

from cache_monitor import context
from cache_monitor.calls import SOURCE, RawCall
from cache_monitor.capture import outcomes_of
from cache_monitor.concurrency import new_lock
from cache_monitor.keys.custom import is_sanitizing
from cache_monitor.stores.base import StoreError
from cache_monitor.stores.opening import get_store
from cache_monitor.toolbar.rows import CallRow, Kept
from cache_monitor.trace.events import MISS, SECOND, Reason, hash_of
from cache_monitor.worker import trace_rollup, wiring
from cache_monitor.worker.trace_events import deeds_of, identity_of

MOST_MISSES = 20_000
"""Misses that are remembered for all requests together, 6 MB; the oldest requests make room."""
_NEAR = SECOND // 100
"""By how much the moment of a miss may differ from that of the one in the trace: both were read
from two clocks."""

Places = dict[tuple[int, int], Reason | None]
"""By row and key in it; None where no reason is to be had."""

_Told = Mapping[tuple[str, int], Sequence[tuple[int, Reason]]]
"""By alias and key, when it was missed, and why."""


class _RequestMisses:
    """The misses of one request: the calls, with how many of their keys are shown, and what was
    told of them. ``clock_offset`` makes Unix time of their clock's readings."""

    def __init__(self, calls: Sequence[tuple[int, int, RawCall]], clock_offset: float) -> None:
        self.calls = calls
        self.clock_offset = clock_offset
        self.answers: Places = {}
        self.misses = sum(shown for _, shown, _ in calls)


class MissesOfRequests:
    """Remembers the misses of the latest requests of this process."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self._requests: OrderedDict[str, _RequestMisses] = OrderedDict()
        self._misses = 0

    def remember(self, request_id: str, kept: Kept, rows: Sequence[CallRow]) -> None:
        """Note the misses of ``kept``, as far as ``rows`` show their keys."""
        calls = [
            (number, len(row["keys"]), call)
            for number, ((call, *_), row) in enumerate(zip(kept, rows, strict=True))
            if row["misses"] and _may_be_kept(row["keys"])
        ]
        asked = _RequestMisses(calls, time.time() - time.perf_counter())
        with self._lock:
            self._forget(request_id)
            if asked.misses:
                self._requests[request_id] = asked
                self._misses += asked.misses
            while self._misses > MOST_MISSES and len(self._requests) > 1:
                self._forget(next(iter(self._requests)))

    def reasons(self, request_id: str) -> Places:
        """The reasons of the misses, as far as they are known now."""
        with self._lock:
            asked = self._requests.get(request_id)
        if asked is None:
            return {}
        told = _told()
        for place, alias, key, at in _missed(asked):
            reason = _nearest(told.get((alias, key), ()), at)
            if asked.answers.get(place, "unknown") == "unknown":
                asked.answers[place] = reason
        return asked.answers

    def _forget(self, request_id: str) -> None:
        asked = self._requests.pop(request_id, None)
        if asked is not None:
            self._misses -= asked.misses


misses_of_requests = MissesOfRequests()


def _missed(asked: _RequestMisses) -> Iterator[tuple[tuple[int, int], str, int, int]]:
    """The misses that are shown: place, alias, key and time."""
    offset = int(asked.clock_offset * SECOND)
    for number, shown, call in asked.calls:
        alias = call[SOURCE].alias
        facts = wiring.facts_of(wiring.background_worker.process, alias)
        places = [place for place, hit in enumerate(outcomes_of(call)) if hit is False]
        if facts is None:
            continue
        deeds = [deed for deed in deeds_of(call, facts, offset) if deed.kind == MISS]
        for place, deed in zip(places, deeds, strict=False):
            if place < shown:
                key = hash_of(identity_of(facts, deed.key, deed.final))
                yield (number, place), alias, key, deed.ended


def _nearest(misses: Sequence[tuple[int, Reason]], at: int) -> Reason:
    """The reason of the one of ``misses`` that was ``at``."""
    near = min(misses, key=lambda each: abs(each[0] - at), default=None)
    return near[1] if near is not None and abs(near[0] - at) <= _NEAR else "unknown"


def _told() -> _Told:
    """What the trace tells by now; nothing where the store cannot be read."""
    found: dict[tuple[str, int], list[tuple[int, Reason]]] = {}
    try:
        with context.muted():
            pending = wiring.background_worker.pending().rows
            conf = wiring.trace_settings()
            for each in trace_rollup.newer(get_store(), pending, conf, time.time()):
                for verdict in each.told.verdicts:
                    misses = found.setdefault((verdict.alias, verdict.key), [])
                    misses.append((verdict.at, verdict.reason))
    except StoreError:
        return {}
    return found


def _may_be_kept(keys: Sequence[CallRow]) -> bool:
    """Whether the keys may stay in memory as the site wrote them: a session's is a password, and
    of others a project may have something against it."""
    return not is_sanitizing() and all(each["kind"] != "session" for each in keys)


def summed(places: Mapping[tuple[int, int], Reason | None]) -> dict[str, int]:
    """How many misses have each reason."""
    counts: dict[str, int] = {}
    for reason in places.values():
        if reason is not None:
            counts[reason] = counts.get(reason, 0) + 1
    return counts
