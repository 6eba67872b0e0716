"""What this process has counted, on its way to the store."""

import time
from dataclasses import dataclass, field

from cache_monitor.aggregator import Aggregator, Part
from cache_monitor.stats.encoding import encode
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Kind, Row, Store

PARTS_KEPT = 1000
"""Parts kept for a store that refuses them; the oldest are given up, and their calls counted."""
_CLOSED_AFTER = 5.0
"""Seconds after the end of a stretch in which late calls still find their part."""


@dataclass(slots=True)
class Pending:
    """What this process has not brought to the store: its rows, and how many calls are lost so
    far because the store refused them or they were given up."""

    rows: list[Row] = field(default_factory=list)
    dropped: int = 0


@dataclass(slots=True)
class _Change:
    alias: str
    part: Part
    revision: object
    calls: int
    row: Row


class Delivery:
    """The parts of one process and what of them the store has.

    Whoever calls holds the lock of the draining, but for :meth:`put`, which waits for the store.
    """

    def __init__(self, process: str, aggregator: Aggregator) -> None:
        self.process = process
        self.aggregator = aggregator
        self._stored: dict[tuple[Kind, str, int], tuple[object, int]] = {}
        self._given_up = 0

    def changes(self, last: bool) -> list[_Change]:
        """The parts that changed since the store took them, sealed where their time is over or
        this is the ``last`` look."""
        now = time.time()
        for _, part in self.aggregator.parts():
            if last or part.start + part.seconds + _CLOSED_AFTER < now:
                self.aggregator.seal(part)
        return [
            _Change(alias, part, part.revision, _calls(part), self._row(alias, part))
            for alias, part in self.aggregator.parts()
            if self._stored_revision(alias, part) != part.revision
        ]

    def put(self, store: Store, changes: list[_Change]) -> None:
        """Bring ``changes`` to the store. Raises its :class:`StoreError`."""
        if changes:
            store.put([change.row for change in changes], int(time.time()))

    def delivered(self, changes: list[_Change]) -> None:
        """Note that the store has ``changes``, and forget what will not change any more."""
        for change in changes:
            self._stored[_name(change.alias, change.part)] = (change.revision, change.calls)
        for alias, part in list(self.aggregator.parts()):
            if part.final and self._stored_revision(alias, part) == part.revision:
                self._forget(alias, part)

    def refused(self) -> None:
        """Give up the oldest parts where too many wait for the store."""
        parts = sorted(self.aggregator.parts(), key=lambda each: each[1].start)
        for alias, part in parts[: max(0, len(parts) - PARTS_KEPT)]:
            self._given_up += self._undelivered(alias, part)
            self._forget(alias, part)

    def pending(self, store_works: bool) -> Pending:
        """What a report must add to what the store says."""
        parts = list(self.aggregator.parts())
        if store_works:
            return Pending([self._row(alias, part) for alias, part in parts], self._given_up)
        undelivered = sum(self._undelivered(alias, part) for alias, part in parts)
        return Pending([], self._given_up + undelivered)

    def _forget(self, alias: str, part: Part) -> None:
        self.aggregator.forget(alias, part)
        self._stored.pop(_name(alias, part), None)

    def _stored_revision(self, alias: str, part: Part) -> object:
        return self._stored.get(_name(alias, part), (None, 0))[0]

    def _undelivered(self, alias: str, part: Part) -> int:
        return _calls(part) - self._stored.get(_name(alias, part), (None, 0))[1]

    def _row(self, alias: str, part: Part) -> Row:
        return Row(_kind(part), self.process, alias, part.start, part.seconds, encode(part))


def _kind(part: Part) -> Kind:
    return "window" if isinstance(part, Window) else "details"


def _name(alias: str, part: Part) -> tuple[Kind, str, int]:
    return _kind(part), alias, part.start


def _calls(part: Part) -> int:
    """Every call is in a window; details repeat them."""
    return part.calls if isinstance(part, Window) else 0
