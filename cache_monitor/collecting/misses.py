"""Why lookups missed, and how old what they found was: what the ledger makes of finished calls.

Hits are the bulk of all calls. A few of each batch, picked at random, stand for the others, and
say how old the values are that the cache serves. A miss, and such a hit, waits before the ledger
is asked, until the other processes have told what they did before it.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from math import inf
from operator import itemgetter
from random import Random
from typing import NamedTuple, TypeVar

from cache_monitor.calls import RawCall
from cache_monitor.collecting.stampedes import Stampedes
from cache_monitor.collecting.telling import Facts, events_of, hits_of, is_telling, misses_of
from cache_monitor.keys.toolbar import is_toolbars_own
from cache_monitor.ledger import Busy, Event, Hit, Ledger, Miss, Reason

GRACE = 1.5
"""Seconds that a miss waits at least: every process tells the ledger what it did twice a second.
It waits longer for one that has fallen behind."""
LAG = 0.2
"""Seconds for which a finished call may not be in the buffer yet: its thread may be kept waiting
between the two."""
MOST_WAITING = 30_000
"""Events, and misses, that may wait for the ledger; 12 MB in all. Older ones make room: a
miss that nobody judges has no known reason."""
MOST_HITS = 10_000
"""Hits that may wait for it; 3 MB."""
SAMPLE = 25
"""Calls of a batch that are looked at for the age of what they found."""
_BATCH = 1000

_time_of = itemgetter(2)


class Judged(NamedTuple):
    """A miss and its reason; ``at`` is the Unix time of the call's end."""

    alias: str
    key: str
    at: float
    reason: Reason


class Aged(NamedTuple):
    """A hit at the Unix time ``at``, that stands for ``times`` of them: ``seconds`` had passed
    since the value was written."""

    alias: str
    key: str
    at: float
    seconds: float
    times: int


class _WaitingMiss(NamedTuple):
    """A miss that is still to be judged; ``at`` is when it began."""

    at: float
    alias: str
    key: str
    ended: float
    is_own: bool
    miss: Miss


class _WaitingHit(NamedTuple):
    """A hit whose age is still to be told."""

    at: float
    alias: str
    key: str
    times: int
    is_own: bool
    hit: Hit


T = TypeVar("T")
Waiting = TypeVar("Waiting", _WaitingMiss, _WaitingHit)


class Judge:
    """Tells the ledger of one process's calls and asks it about their misses and hits.

    ``facts`` gives what is known of an alias, or None where its misses cannot be judged. Not safe
    for several threads at once.
    """

    def __init__(
        self, ledger: Ledger, facts: Callable[[str], Facts | None], process: str = ""
    ) -> None:
        self._ledger = ledger
        self._facts = facts
        self._process = process
        self._heard_until = 0.0
        self.stampedes = Stampedes(ledger, facts)
        self._events: deque[Event] = deque(maxlen=MOST_WAITING)
        self._misses: deque[_WaitingMiss] = deque(maxlen=MOST_WAITING)
        self._hits: deque[_WaitingHit] = deque(maxlen=MOST_HITS)
        # Of its own: the site may have seeded the common one, to get the same numbers again.
        self._random = Random()  # noqa: S311 - nothing secret depends on it

    def patient(self) -> contextlib.AbstractContextManager[None]:
        """Wait longer for the ledger than between two turns: for a process that ends."""
        return self._ledger.patient()

    def heard_all(self, until: float) -> None:
        """Note that everything that ended until ``until`` (Unix time) has been heard."""
        self._heard_until = until - LAG

    def hear(self, calls: Sequence[RawCall], clock_offset: float) -> None:
        """Take in ``calls`` that are not plain hits; ``clock_offset`` makes Unix time of their
        clock's readings.

        Asks nobody, so that a thread of the site's may do it.
        """
        for call in calls:
            if not is_telling(call):
                continue
            source, outcome = call[0], call[4]
            facts = self._facts(source.alias)
            if facts is None:
                continue
            if outcome is not None:
                for key, ended, miss in misses_of(call, facts, clock_offset):
                    self._misses.append(
                        _WaitingMiss(miss.at, source.alias, key, ended, facts.is_own, miss)
                    )
            self._events.extend(events_of(call, facts, clock_offset))

    def sample(self, calls: Sequence[RawCall], clock_offset: float) -> None:
        """Take in some of the hits in ``calls``, which are a whole batch. Asks nobody."""
        times = max(1, round(len(calls) / SAMPLE))
        chosen = calls if len(calls) <= SAMPLE else self._random.choices(calls, k=SAMPLE)
        for call in chosen:
            source, _, _, key, outcome, *_ = call
            if (outcome is not True and not isinstance(outcome, tuple)) or is_toolbars_own(key):
                continue
            facts = self._facts(source.alias)
            if facts is None:
                continue
            for each, hit in hits_of(call, facts, clock_offset):
                self._hits.append(_WaitingHit(hit.at, source.alias, each, times, facts.is_own, hit))

    def judged(self, now: float) -> Iterator[Judged]:
        """The misses that have waited long enough at ``now``, those whose reason is known."""
        # What the ledger is too busy for waits for the next turn.
        with contextlib.suppress(Busy):
            told = self._tell(now)
            while due := _take_due(self._misses, now, told):
                with _put_back(self._misses, due):
                    reasons = self._ledger.judge([waiting.miss for waiting in due])
                for waiting, reason in zip(due, reasons, strict=True):
                    if reason != "unknown" and self._knows_all(waiting.is_own):
                        yield Judged(waiting.alias, waiting.key, waiting.ended, reason)

    def aged(self, now: float) -> Iterator[Aged]:
        """The hits that have waited long enough at ``now``, those whose write is known."""
        with contextlib.suppress(Busy):
            told = self._tell(now)
            while due := _take_due(self._hits, now, told):
                with _put_back(self._hits, due):
                    moments = self._ledger.written([waiting.hit for waiting in due])
                for waiting, written in zip(due, moments, strict=True):
                    if written is not None and self._knows_all(waiting.is_own):
                        seconds = max(waiting.at - written, 0.0)
                        yield Aged(waiting.alias, waiting.key, waiting.at, seconds, waiting.times)

    def _tell(self, now: float) -> float:
        """Tell the ledger everything; until when the others have."""
        while self._events:
            batch = [self._events.popleft() for _ in range(min(_BATCH, len(self._events)))]
            batch.sort(key=_time_of)
            with _put_back(self._events, batch):
                self._ledger.post(batch)
        if now == inf:
            self._ledger.note_told(self._process, inf)
        elif self._heard_until:
            self._ledger.note_told(self._process, self._heard_until)
        return self._ledger.told_until(self._process, time.time())

    def _knows_all(self, is_own: bool) -> bool:
        """Whether the ledger hears of everybody who can change the entry."""
        return is_own or self._ledger.problem is None


def _take_due(queue: deque[Waiting], now: float, told: float) -> list[Waiting]:
    due: list[Waiting] = []
    latest = min(now - GRACE, told)
    while queue and len(due) < _BATCH:
        # A clock that is set back must not make the lookups before wait until it catches up.
        if latest < queue[0].at <= now:
            break
        due.append(queue.popleft())
    return due


@contextlib.contextmanager
def _put_back(queue: deque[T], taken: list[T]) -> Iterator[None]:
    """Leave ``taken`` at the head of the queue where the ledger is busy."""
    try:
        yield
    except Busy:
        queue.extendleft(reversed(taken))
        raise
