"""Why lookups missed: what finished calls tell the ledger, and what the ledger makes of it.

Hits are the bulk of all calls and tell nothing, so all that is done for them is to leave them
out. A miss waits before it is judged, until the other processes have told what they did before it.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, cast

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from cache_monitor.calls import RawCall
from cache_monitor.keys.toolbar import is_toolbars_own
from cache_monitor.ledger import Busy, Event, Kind, Ledger, Miss, Reason

GRACE = 1.5
"""Seconds that a miss waits: every process tells the ledger what it did twice a second."""
MOST_WAITING = 30_000
"""Events, and misses, that may wait for the ledger; 12 MB in all. Older ones make room: a
miss that nobody judges has no known reason."""
LOOKUP_SECONDS = 0.01
"""Seconds at the beginning of a ``get_or_set`` in which it looks; the rest produces the value."""
_BATCH = 1000

_KINDS: dict[str, Kind] = {
    "set": "written",
    "add": "written",
    "set_many": "written",
    "get_or_set": "written",
    "touch": "touched",
    "delete": "deleted",
    "delete_many": "deleted",
}
_VERSION_STEPS = {"incr_version": 1, "decr_version": -1}
_LOOKUPS = frozenset({"get", "get_many", "get_or_set"})
_TELLING = frozenset({*_KINDS, *_LOOKUPS, *_VERSION_STEPS, "clear", "incr", "decr"})

_time_of = itemgetter(2)


class Facts(NamedTuple):
    """What must be known of a cache to judge its misses.

    ``space`` names whose entries these are; caches of one space that differ in their ``prefix``
    are cleared together. ``is_own`` tells that no other process sees them. ``incr_renews`` tells
    that ``incr`` writes the entry anew, with the default timeout.
    """

    space: str
    default_timeout: float | None
    version: int | str
    prefix: str = ""
    is_own: bool = False
    incr_renews: bool = False


class Judged(NamedTuple):
    """A miss and its reason; ``at`` is the Unix time of the call's end."""

    alias: str
    key: str
    at: float
    reason: Reason


class _Waiting(NamedTuple):
    """A miss that is still to be judged."""

    alias: str
    key: str
    ended: float
    is_own: bool
    miss: Miss


class Judge:
    """Tells the ledger of one process's calls and asks it about their misses.

    ``facts`` gives what is known of an alias, or None where its misses cannot be judged. Not safe
    for several threads at once.
    """

    def __init__(self, ledger: Ledger, facts: Callable[[str], Facts | None]) -> None:
        self._ledger = ledger
        self._facts = facts
        self._events: deque[Event] = deque(maxlen=MOST_WAITING)
        self._misses: deque[_Waiting] = deque(maxlen=MOST_WAITING)

    def hear(self, calls: Sequence[RawCall], clock_offset: float) -> None:
        """Take in ``calls``; ``clock_offset`` makes Unix time of their clock's readings.

        Asks nobody, so that a thread of the site's may do it.
        """
        for call in [call for call in calls if call[4] is not True]:
            source, _, _, key, outcome, _, _, _, error, *_ = call
            if error is not None or source.operation not in _TELLING:
                continue
            facts = self._facts(source.alias)
            if facts is None or is_toolbars_own(key):
                continue
            if outcome is not None:
                self._misses.extend(_misses(call, facts, clock_offset))
            self._events.extend(_events(call, facts, clock_offset))

    def judged(self, now: float) -> Iterator[Judged]:
        """The misses that have waited long enough at ``now``, those whose reason is known."""
        # What the ledger is too busy for waits for the next turn.
        with contextlib.suppress(Busy):
            self._tell()
            while due := self._take_due(now):
                reasons = self._ask(due)
                for waiting, reason in zip(due, reasons, strict=True):
                    if reason != "unknown" and self._knows_all(waiting):
                        yield Judged(waiting.alias, waiting.key, waiting.ended, reason)

    def _tell(self) -> None:
        while self._events:
            batch = [self._events.popleft() for _ in range(min(_BATCH, len(self._events)))]
            batch.sort(key=_time_of)
            try:
                self._ledger.post(batch)
            except Busy:
                self._events.extendleft(reversed(batch))
                raise

    def _ask(self, due: list[_Waiting]) -> list[Reason]:
        try:
            return self._ledger.judge([waiting.miss for waiting in due])
        except Busy:
            self._misses.extendleft(reversed(due))
            raise

    def _take_due(self, now: float) -> list[_Waiting]:
        due: list[_Waiting] = []
        while self._misses and len(due) < _BATCH:
            # A clock that is set back must not make the misses before wait until it catches up.
            if now - GRACE < self._misses[0].miss.at <= now:
                break
            due.append(self._misses.popleft())
        return due

    def _knows_all(self, waiting: _Waiting) -> bool:
        """Whether the ledger hears of everybody who can change the entry."""
        return waiting.is_own or self._ledger.problem is None


def _misses(call: RawCall, facts: Facts, clock_offset: float) -> Iterator[_Waiting]:
    source, started, seconds, key, outcome, *_ = call
    at, ended = started + clock_offset, started + seconds + clock_offset
    if source.operation == "get_or_set":
        seconds = min(seconds, LOOKUP_SECONDS)
    version = _version(call, facts)
    found = outcome if isinstance(outcome, tuple) else (outcome,)
    for each, hit in zip(_keys(key), found, strict=False):
        if hit is False:
            miss = Miss(facts.space, _named(each, facts), version, at, seconds)
            yield _Waiting(source.alias, each, ended, facts.is_own, miss)


def _events(call: RawCall, facts: Facts, clock_offset: float) -> Sequence[Event]:
    source, started, seconds, key, outcome, _, timeout, *_ = call
    operation = source.operation
    at = started + seconds + clock_offset
    if operation == "clear":
        return [Event(facts.space, "cleared", at, seconds=seconds)]
    kind = _KINDS.get(operation)
    if operation in _VERSION_STEPS:
        return _moved(call, facts, at)
    if kind is None:
        if operation in _LOOKUPS or not facts.incr_renews:
            return ()
        kind, timeout = "written", DEFAULT_TIMEOUT
    if not _took_place(call) or (operation == "get_or_set" and outcome is not False):
        return ()
    version, expiry = _version(call, facts), _expiry(timeout, facts, at)
    return [
        Event(facts.space, kind, at, _named(each, facts), version, expiry, seconds)
        for each in _keys(key)
    ]


def _moved(call: RawCall, facts: Facts, at: float) -> Sequence[Event]:
    """Both ends of ``incr_version`` by one: what takes larger steps is not seen."""
    source, _, seconds, key, *_ = call
    before = _version(call, facts)
    gone = [
        Event(facts.space, "moved", at, _named(each, facts), before, seconds=seconds)
        for each in _keys(key)
    ]
    try:
        after = int(before) + _VERSION_STEPS[source.operation]
    except ValueError:
        return gone
    # Django writes the entry anew, without the timeout that it had.
    expiry = _expiry(DEFAULT_TIMEOUT, facts, at)
    come = [each._replace(kind="written", version=after, expires_at=expiry) for each in gone]
    return [*gone, *come]


def _took_place(call: RawCall) -> bool:
    """Whether the call did what it is for, as far as is known."""
    extended: tuple[Any, ...] = call
    return len(extended) <= 9 or extended[9] is not False


def _keys(key: object) -> tuple[str, ...]:
    if type(key) is str:
        return (key,)
    if isinstance(key, tuple):
        return cast("tuple[str, ...]", key)
    return () if key is None else (str(key),)


def _named(key: str, facts: Facts) -> str:
    return f"{facts.prefix}\0{key}" if facts.prefix else key


def _version(call: RawCall, facts: Facts) -> int | str:
    given = call[7]
    return facts.version if given is None else cast("int | str", given)


def _expiry(timeout: Any, facts: Facts, at: float) -> float | None:
    """The Unix time of the expiry; None for an entry without, or with one that cannot be read."""
    seconds = facts.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
    if seconds is None:
        return None
    try:
        return at + float(seconds)
    except (TypeError, ValueError, OverflowError):
        return None
