"""Why the misses of a request missed, asked of the ledger when somebody looks.

What the ledger is to be asked holds keys as the site wrote them, so it stays in this process and
goes into no store: another process, or a much later look, gets "unknown".
"""

import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from cache_monitor import scope
from cache_monitor.calls import RawCall
from cache_monitor.capture import outcomes_of
from cache_monitor.collecting import joining
from cache_monitor.collecting.misses import GRACE
from cache_monitor.collecting.telling import misses_of
from cache_monitor.forks import new_lock
from cache_monitor.keys.sanitizing import is_sanitizing
from cache_monitor.ledger import Busy, Miss, Reason
from cache_monitor.panels.rows import Kept, Row

MOST_MISSES = 20_000
"""Misses that are remembered for all requests together, 6 MB; the oldest requests make room."""

Places = dict[tuple[int, int], Reason | None]
"""By row and key in it; None where no reason is to be had, as from a DummyCache."""


class _Question(NamedTuple):
    """A miss that the ledger can judge. ``is_own``: no other process can change its entry."""

    place: tuple[int, int]
    miss: Miss
    is_own: bool


class _Asked:
    """The misses of one request: the calls, with how many of their keys are shown, and what the
    ledger answered. ``clock_offset`` makes Unix time of their clock's readings."""

    def __init__(self, calls: Sequence[tuple[int, int, RawCall]], clock_offset: float) -> None:
        self.calls = calls
        self.clock_offset = clock_offset
        self.answers: Places = {}
        self.misses = sum(shown for _, shown, _ in calls)


class MissesOfRequests:
    """Remembers the misses of the latest requests of this process."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self._requests: OrderedDict[str, _Asked] = OrderedDict()
        self._misses = 0

    def remember(self, request_id: str, kept: Kept, rows: Sequence[Row]) -> None:
        """Note the misses of ``kept``, as far as ``rows`` show their keys."""
        calls = [
            (number, len(row["keys"]), call)
            for number, ((call, *_), row) in enumerate(zip(kept, rows, strict=True))
            if row["misses"] and _may_be_kept(row["keys"])
        ]
        asked = _Asked(calls, time.time() - time.perf_counter())
        with self._lock:
            self._forget(request_id)
            if asked.misses:
                self._requests[request_id] = asked
                self._misses += asked.misses
            while self._misses > MOST_MISSES and len(self._requests) > 1:
                self._forget(next(iter(self._requests)))

    def reasons(self, request_id: str, may_wait: bool) -> Places:
        """The reasons of the misses, as far as they are known here.

        ``may_wait`` allows a pause of up to ``GRACE`` seconds after the request: so long may other
        processes take to tell what they did to a shared cache before it.
        """
        with self._lock:
            asked = self._requests.get(request_id)
        if asked is None:
            return {}
        if asked.calls:
            _ask(asked, may_wait)
        return asked.answers

    def _forget(self, request_id: str) -> None:
        asked = self._requests.pop(request_id, None)
        if asked is not None:
            self._misses -= asked.misses


misses_of_requests = MissesOfRequests()


def _ask(asked: _Asked, may_wait: bool) -> None:
    answers = dict(asked.answers)
    questions: list[_Question] = []
    for place, question in _questions(asked):
        if question is None:
            answers[place] = None
        else:
            questions.append(question)
    missing = _missing_seconds(questions)
    if may_wait and missing > 0:
        time.sleep(missing)
        missing = 0.0
    answered = _answers(questions)
    asked.answers = answers | (answered or {})
    if missing <= 0 and answered is not None:
        # The ledger forgets: what it said in time is better than what it would say later.
        asked.calls = ()


def _questions(asked: _Asked) -> Iterator[tuple[tuple[int, int], _Question | None]]:
    """What to ask of each key missed; None where there is no reason to be had."""
    process = joining.collector.process
    for number, shown, call in asked.calls:
        facts = joining.facts_of(process, call[0].alias)
        places = [place for place, hit in enumerate(outcomes_of(call)) if hit is False]
        if facts is None:
            yield from (((number, place), None) for place in places if place < shown)
            continue
        for place, missed in zip(places, misses_of(call, facts, asked.clock_offset), strict=True):
            if place < shown:
                where = (number, place)
                yield where, _Question(where, missed.miss, facts.is_own)


def _may_be_kept(keys: Sequence[Row]) -> bool:
    """Whether the keys may stay in memory as the site wrote them: a session's is a password, and
    of others a project may have something against it."""
    return not is_sanitizing() and all(each["kind"] != "session" for each in keys)


def _missing_seconds(questions: Sequence[_Question]) -> float:
    """How long to wait until the other processes have told what they did."""
    newest = max((each.miss.at for each in questions if not each.is_own), default=None)
    if newest is None:
        return 0.0
    return min(max(newest + GRACE - time.time(), 0.0), GRACE)


def _answers(questions: Sequence[_Question]) -> Places | None:
    """What the ledger says; None where it is too busy."""
    if not questions:
        return {}
    try:
        with scope.muted():
            # Lets the ledger know of everything that this process has done so far.
            joining.collector.drain()
        ledger = joining.open_ledger()
        reasons = ledger.judge([each.miss for each in questions])
    except Busy:
        return None
    return {
        each.place: reason if each.is_own or ledger.problem is None else "unknown"
        for each, reason in zip(questions, reasons, strict=True)
    }


def summed(places: Mapping[tuple[int, int], Reason | None]) -> dict[str, int]:
    """How many misses have each reason."""
    counts: dict[str, int] = {}
    for reason in places.values():
        if reason is not None:
            counts[reason] = counts.get(reason, 0) + 1
    return counts
