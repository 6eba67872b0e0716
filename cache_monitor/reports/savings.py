"""What a cache saves: the time that producing what it found would have taken, less its own time.

* A group saves its hits x the mean time to produce one of its values, less the time of all calls on
  its keys. A negative figure says that the cache took longer than it saved, and stays negative.
* A hit whose value the same request writes anew saved nothing: the value was produced all the same.
* A cached page and its list of headers are one thing: the page's hits count, and the time of both.
* What is state, not a copy (:mod:`cache_monitor.reports.state`), saves nothing and costs nothing.
* None says that nobody saw a value being produced; it is never 0.
"""

from collections.abc import Iterable
from typing import Protocol

from cache_monitor.keys.naming import headers_of_page
from cache_monitor.reports.state import is_state
from cache_monitor.stats.details import Details, GroupStats, ViewStats
from cache_monitor.stats.hotkeys import KeyStats


class Production(Protocol):
    """How many values were seen being produced, and the seconds that this took together."""

    @property
    def produced(self) -> int: ...
    @property
    def produce_seconds(self) -> float: ...


def mean_to_produce(stats: Production) -> float | None:
    """The mean seconds that one value took to produce; None where none was seen."""
    return stats.produce_seconds / stats.produced if stats.produced else None


class Savings:
    """What groups, keys and views save, given all that is known of one cache's keys."""

    def __init__(self, details: Details) -> None:
        self._groups = details.groups

    def of_all(self) -> float | None:
        """What all groups save together; None where it is known of none."""
        return _sum(self.of_group(name, group) for name, group in self._groups.items())

    def of_group(self, name: str, group: GroupStats) -> float | None:
        """What the hits of a group save."""
        if group.kind == "page_headers":
            # Counted with its page.
            return None
        if is_state(name, group):
            return 0.0
        spent = group.lookup_seconds + group.other_seconds + self._seconds_of_headers(name, group)
        return _saved(group.hits - group.rewrites, group.lookups, mean_to_produce(group), spent)

    def of_key(self, stats: KeyStats) -> float | None:
        """What the hits of one key save; what is not known of itself is as in its group."""
        group = self._groups.get(stats.group)
        if group is None or group.kind == "page_headers":
            return None
        if is_state(stats.group, group):
            return 0.0
        own = mean_to_produce(stats)
        to_produce = mean_to_produce(group) if own is None else own
        lookup = group.lookup_seconds / group.lookups if group.lookups else 0.0
        return _saved(stats.hits, stats.lookups, to_produce, stats.lookups * lookup)

    def of_view(self, view: ViewStats) -> float | None:
        """What the hits of one view's requests save."""
        saved: list[float | None] = []
        for name, use in view.groups.items():
            group = self._groups.get(name)
            if group is None or is_state(name, group):
                continue
            if group.kind == "page_headers":
                saved.append(-use.seconds)
                continue
            hits = use.hits - use.rewrites
            saved.append(_saved(hits, use.lookups, mean_to_produce(group), use.seconds))
        return _sum(saved)

    def _seconds_of_headers(self, name: str, group: GroupStats) -> float:
        headers = self._groups.get(headers_of_page(name) or "") if group.kind == "page" else None
        return headers.lookup_seconds + headers.other_seconds if headers is not None else 0.0


def _saved(hits: int, lookups: int, to_produce: float | None, spent: float) -> float | None:
    if hits <= 0:
        # Whatever a value takes to produce: none was there to save it.
        return -spent if lookups else None
    return None if to_produce is None else hits * to_produce - spent


def _sum(figures: Iterable[float | None]) -> float | None:
    known = [each for each in figures if each is not None]
    return sum(known) if known else None
