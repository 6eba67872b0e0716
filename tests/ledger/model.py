"""The ledger's rules over the full history, as plainly as they can be written."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import inf

from cache_monitor.ledger import Event, Miss, Reason
from cache_monitor.ledger.history import TOLERANCE

_GONE: dict[str, Reason] = {"deleted": "deleted", "moved": "version_changed"}


@dataclass
class Model:
    """Remembers everything."""

    events: list[Event] = field(default_factory=list)

    def post(self, events: Iterable[Event]) -> None:
        self.events.extend(events)
        self.events.sort(key=lambda event: event.at)

    def judge(self, misses: Iterable[Miss]) -> list[Reason]:
        return [self.reason(miss) for miss in misses]

    def reason(self, miss: Miss) -> Reason:
        before = [event for event in self._of_key(miss) if event.at <= miss.at]
        own = [event for event in before if event.version == miss.version]
        if own:
            return _GONE.get(own[-1].kind) or self._reason_of_written(own[-1], miss)
        newest = {event.version: event for event in before}
        there = any(self._is_there(event, miss.at) for event in newest.values())
        return "version_changed" if there else "never_set"

    def _reason_of_written(self, write: Event, miss: Miss) -> Reason:
        if self._cleared(write.at, miss.at, miss.space):
            return "cleared"
        if self._swept(write, miss.at):
            return "deleted"
        if _expiry(write) - TOLERANCE <= miss.at + miss.seconds:
            return "expired"
        began, ended = write.at - write.seconds, miss.at + miss.seconds
        if any(
            clear.at > began and clear.at - clear.seconds < ended
            for clear in self._clears(miss.space)
        ):
            return "cleared"
        if any(
            sweep.at > began and sweep.at - sweep.seconds < ended for sweep in self._sweeps(write)
        ):
            return "deleted"
        overlapping = [
            event
            for event in self._of_key(miss)
            if event.version == miss.version
            and event.kind in _GONE
            and event.at > began
            and event.at - event.seconds < ended
        ]
        return _GONE[overlapping[-1].kind] if overlapping else "evicted"

    def _of_key(self, miss: Miss) -> list[Event]:
        return [
            event
            for event in self.events
            if event.kind not in {"cleared", "swept"}
            and (event.space, event.key) == (miss.space, miss.key)
        ]

    def _clears(self, space: str) -> list[Event]:
        return [event for event in self.events if event.kind == "cleared" and event.space == space]

    def _cleared(self, after: float, until: float, space: str) -> bool:
        return any(after < clear.at <= until for clear in self._clears(space))

    def _is_there(self, event: Event, at: float) -> bool:
        return (
            event.kind not in _GONE
            and _expiry(event) > at
            and not self._cleared(event.at, at, event.space)
            and not self._swept(event, at)
        )

    def _sweeps(self, write: Event) -> list[Event]:
        return [
            event
            for event in self.events
            if event.kind == "swept"
            and (event.space, event.version) == (write.space, write.version)
            and fnmatchcase(write.key, event.key)
        ]

    def _swept(self, write: Event, until: float) -> bool:
        return any(write.at < sweep.at <= until for sweep in self._sweeps(write))


def _expiry(event: Event) -> float:
    return inf if event.expires_at is None else event.expires_at
