"""The events of several slices by key, and what concerns all keys."""

from collections import defaultdict
from collections.abc import Iterable

from cache_monitor.trace.events import Event, Key, Sweep
from cache_monitor.trace.slices import Stored
from cache_monitor.trace.state import State


class Batch:
    """What is in ``slices``, but for what ``state`` has of them already; of the key ``only``, where
    one is named."""

    def __init__(self, slices: Iterable[Stored], state: State, only: int | None = None) -> None:
        self._only = only
        self.events: defaultdict[int, list[Event]] = defaultdict(list)
        self.keys: dict[int, Key] = {}
        self.sweeps: list[Sweep] = []
        self.count = 0
        for each in slices:
            self._add(each, state)
        self.sweeps.sort(key=lambda sweep: sweep.ended)

    def _add(self, part: Stored, state: State) -> None:
        keys = part.traced()
        level, events, sweeps = state.taken.get(name_of(part), (part.level, 0, 0))
        if level != part.level:
            return  # It has let events go since: which of them were taken cannot be told.
        for key in keys:
            known = self.keys.get(key.hash)
            if known is None or (key.name and not known.name):
                self.keys[key.hash] = key
        self.sweeps += list(part.swept())[sweeps:]
        if self._only is not None and all(key.hash != self._only for key in keys):
            return
        hot = state.plans.get(part.plan, frozenset())
        for place, event in enumerate(part.events(keys, hot)):
            if place >= events and self._only in {None, event.key}:
                self.events[event.key].append(event)
                self.count += 1


def name_of(part: Stored) -> str:
    """What tells a slice from all others of its store."""
    return f"{part.process}:{part.start}"
