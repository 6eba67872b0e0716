"""What this process has counted, on its way to the store."""

import time
from collections import deque
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from math import inf
from uuid import uuid4

from cache_monitor.stats.codec import encode
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Kind, Row, Store
from cache_monitor.stores.resolutions import ABANDONED_AFTER
from cache_monitor.trace.codec import encode_slices
from cache_monitor.trace.slices import Slice
from cache_monitor.worker.aggregator import Aggregator
from cache_monitor.worker.aggregator import Part as CountedPart
from cache_monitor.worker.trace_writer import Tracer

Part = CountedPart | Slice

PARTS_KEPT = 1000
"""Parts kept for a store that refuses them; the oldest are given up, and their calls counted."""
STEP = 10.0
"""Seconds that the clock may go back by without anything being done about it: as many at most
are calls late in a report then."""
HANGS_AFTER = 10.0
"""Seconds after which a store that has not answered counts as one that refuses."""
_CLOSED_AFTER = 5.0
"""Seconds after the end of a bucket in which late calls still find their part."""


@dataclass(slots=True)
class _ClockEra:
    """What is counted until the clock is set back, and what the store has of it."""

    process: str
    aggregator: Aggregator
    tracer: Tracer
    stored: dict[tuple[Kind, str, int], tuple[object, int]] = field(default_factory=dict)
    is_over: bool = False

    def stored_revision(self, alias: str, part: Part) -> object:
        return self.stored.get(_name(alias, part), (None, 0))[0]

    def undelivered(self, alias: str, part: Part) -> int:
        return _calls(part) - self.stored.get(_name(alias, part), (None, 0))[1]

    def parts(self) -> Iterator[tuple[str, Part]]:
        yield from self.aggregator.parts()
        yield from self.tracer.parts()

    def seal(self, part: Part) -> None:
        if isinstance(part, Slice):
            self.tracer.seal(part)
        else:
            self.aggregator.seal(part)

    def forget(self, alias: str, part: Part) -> None:
        if isinstance(part, Slice):
            self.tracer.forget(alias, part)
        else:
            self.aggregator.forget(alias, part)
        self.stored.pop(_name(alias, part), None)

    def row(self, alias: str, part: Part, written_at: float | None = None) -> Row:
        if isinstance(part, Slice) and written_at is not None:
            payload = self.tracer.encoded(part, written_at)
        else:
            payload = _encoded(part)
        return Row(_kind(part), self.process, alias, part.start, part.seconds, payload)


@dataclass(slots=True)
class _Flushed:
    life: _ClockEra
    alias: str
    part: Part
    revision: object
    calls: int
    row: Row


class Flusher:
    """The parts of one process and what of them the store has.

    A part that is written again takes its own place in the store, so a process must not count
    the same time bucket into two parts. Where the clock is set back, time comes again: what
    is counted from then on goes by another name, as if another process had begun.

    Whoever calls holds the lock of the draining, but for :meth:`put`, which waits for the store.
    """

    def __init__(self, process: str, aggregator: Aggregator, tracer: Tracer) -> None:
        # As empty as this one still is: who begins anew begins with a copy of it.
        self._empty = deepcopy(aggregator)
        self._lives = [_ClockEra(process, aggregator, tracer)]
        self._clock_offset = -inf
        self._given_up = 0
        self._under_way: list[_Flushed] = []
        self._hangs_at = inf
        self.faults: deque[Exception] = deque(maxlen=10)
        """Faults of ours that kept a part from being written, for whoever notes them."""

    @property
    def aggregator(self) -> Aggregator:
        """What counts the calls that are made by the clock as it is now."""
        self._follow_clock()
        if self._under_way and time.monotonic() > self._hangs_at:
            self._hangs_at += HANGS_AFTER
            self.refused()
        return self._lives[-1].aggregator

    @property
    def tracer(self) -> Tracer:
        """What traces the calls, likewise."""
        return self._lives[-1].tracer

    def _follow_clock(self) -> None:
        offset = time.time() - time.perf_counter()
        if offset < self._clock_offset - STEP:
            self._lives[-1].is_over = True
            process = uuid4().hex
            tracer = self._lives[-1].tracer.renewed(process)
            self._lives.append(_ClockEra(process, deepcopy(self._empty), tracer))
            self._clock_offset = offset
        # The latest of all: steps back that are too short to matter come to one that does.
        self._clock_offset = max(self._clock_offset, offset)

    def changes(self, last: bool) -> list[_Flushed]:
        """The parts that changed since the store took them, sealed where their time is over or
        this is the ``last`` look."""
        now = time.time()
        self._give_up_abandoned(now)
        if last:
            self.aggregator.note_end(now)
            self.tracer.end(now)
        for life, _, part in self._parts():
            if last or life.is_over or part.start + part.seconds + _CLOSED_AFTER < now:
                life.seal(part)
        changed = [each for each in self._parts() if _is_changed(*each)]
        return [
            _Flushed(life, alias, part, part.revision, _calls(part), row)
            for life, alias, part in changed
            if (row := self._row(life, alias, part, now)) is not None
        ]

    def _row(
        self, life: _ClockEra, alias: str, part: Part, written_at: float | None = None
    ) -> Row | None:
        """The row of a part, which may be about to be written to the store; None where it cannot
        be, which must keep no other from the store."""
        try:
            return life.row(alias, part, written_at)
        except Exception as error:
            self.faults.append(error)
            self._given_up += life.undelivered(alias, part)
            life.forget(alias, part)
            return None

    def put(self, store: Store, changes: list[_Flushed]) -> None:
        """Bring ``changes`` to the store. Raises its :class:`StoreError`."""
        if not changes:
            return
        self._under_way, self._hangs_at = changes, time.monotonic() + HANGS_AFTER
        try:
            store.put([change.row for change in changes], int(time.time()))
        finally:
            self._under_way, self._hangs_at = [], inf

    def delivered(self, changes: list[_Flushed]) -> None:
        """Note that the store has ``changes``, and forget what will not change any more."""
        for change in changes:
            name = _name(change.alias, change.part)
            change.life.stored[name] = (change.revision, change.calls)
        for life, alias, part in list(self._parts()):
            if part.final and life.stored_revision(alias, part) == part.revision:
                life.forget(alias, part)
        self._bury()

    def refused(self) -> None:
        """Give up the oldest parts where too many wait for the store, but for those that may
        just be reaching it."""
        under_way = {id(change.part) for change in self._under_way}
        # Life by life: what came first may be of a later hour.
        parts = [
            (life, alias, part)
            for life in self._lives
            for alias, part in sorted(life.parts(), key=lambda each: each[1].start)
            if id(part) not in under_way
        ]
        for life, alias, part in parts[: max(0, len(parts) - PARTS_KEPT)]:
            self._given_up += life.undelivered(alias, part)
            life.forget(alias, part)
        self._bury()

    def _give_up_abandoned(self, now: float) -> None:
        """Give up the rest of a part whose beginning the store has had for so long that it may
        have been rolled up without it: the whole, written now, would count the beginning twice."""
        for life, alias, part in list(self._parts()):
            is_begun = _name(alias, part) in life.stored
            if is_begun and part.start + part.seconds < now - ABANDONED_AFTER / 2:
                self._given_up += life.undelivered(alias, part)
                life.forget(alias, part)

    def missing(self, store_works: bool) -> int:
        """How many calls are missing from the store: given up, or refused by it so far."""
        if store_works:
            return self._given_up
        return self._given_up + sum(
            life.undelivered(alias, part) for life, alias, part in self._parts()
        )

    def _bury(self) -> None:
        """Forget the lives of which the store has all that there was, or will have."""
        self._lives = [life for life in self._lives if not life.is_over or any(life.parts())]

    def _parts(self) -> Iterator[tuple[_ClockEra, str, Part]]:
        for life in self._lives:
            for alias, part in life.parts():
                yield life, alias, part


def _is_changed(life: _ClockEra, alias: str, part: Part) -> bool:
    return life.stored_revision(alias, part) != part.revision


def _kind(part: Part) -> Kind:
    if isinstance(part, Slice):
        return "trace"
    return "window" if isinstance(part, Window) else "details"


def _encoded(part: Part) -> bytes:
    if isinstance(part, Slice):
        return encode_slices([part.stored()])
    return encode(part)


def _name(alias: str, part: Part) -> tuple[Kind, str, int]:
    return _kind(part), alias, part.start


def _calls(part: Part) -> int:
    """Every call is in a window; details repeat them."""
    return part.calls if isinstance(part, Window) else 0
