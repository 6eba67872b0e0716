"""What a cache saves: the time that producing what it found would have taken, less its own time.

* A group saves what its hits were spared (:mod:`cache_monitor.reports.produce_times`), less the
  time of all calls on its keys. A negative figure says that the cache took longer than it saved,
  and stays negative.
* A hit whose value the same request writes anew saved nothing: the value was produced all the same.
  A session is another matter: what was found need not be loaded, and what has changed is stored.
* A cached page and its list of headers are one thing: the page's hits count, and the time of both.
* What is state, not a copy (:mod:`cache_monitor.reports.state`), saves nothing and costs nothing.
* None says that nobody saw a value being produced; it is never 0.
"""

from collections import defaultdict
from functools import cache
from math import sqrt

from cache_monitor.keys.naming import headers_of_page
from cache_monitor.reports.produce_times import (
    NOTHING,
    Estimate,
    ProduceTimes,
    added,
)
from cache_monitor.reports.state import is_state
from cache_monitor.stats.details import Details, GroupStats, ViewStats, ViewUse
from cache_monitor.stats.hotkeys import KeyStats


class Savings:
    """What groups, keys and views save, given all that is known of one cache's keys."""

    def __init__(self, details: Details) -> None:
        self._groups = details.groups
        keys: defaultdict[str, list[KeyStats]] = defaultdict(list)
        for stats in details.hot_keys.table.values():
            keys[stats.group].append(stats)
        self._keys = keys
        self._times = cache(self._times_of)

    def of_all(self) -> Estimate | None:
        """What all groups save together; None where it is known of none."""
        return added(self.of_group(name, group) for name, group in self._groups.items())

    def of_group(self, name: str, group: GroupStats) -> Estimate | None:
        """What the hits of a group save."""
        if group.kind == "page_headers":
            # Counted with its page.
            return None
        if is_state(name, group):
            return NOTHING
        spent = group.lookup_seconds + group.other_seconds + self._seconds_of_headers(name, group)
        return self._saved(name, _sparing(group, group), group.lookups, spent)

    def of_key(self, stats: KeyStats) -> Estimate | None:
        """What the hits of one key save; what is not known of itself is as in its group."""
        group = self._groups.get(stats.group)
        if group is None or group.kind == "page_headers":
            return None
        if is_state(stats.group, group):
            return NOTHING
        lookup = group.lookup_seconds / group.lookups if group.lookups else 0.0
        spent = stats.lookups * lookup
        if not stats.hits:
            return Estimate(-spent, 0.0) if stats.lookups else None
        times = self._times(stats.group)
        return None if times is None else times.spared_by_key(stats).less(spent)

    def of_view(self, view: ViewStats) -> Estimate | None:
        """What the hits of one view's requests save."""
        saved: list[Estimate | None] = []
        for name, use in view.groups.items():
            group = self._groups.get(name)
            if group is None or is_state(name, group):
                continue
            if group.kind == "page_headers":
                saved.append(Estimate(-use.seconds, 0.0))
                continue
            saved.append(self._of_use(name, group, use))
        return added(saved)

    def _of_use(self, name: str, group: GroupStats, use: ViewUse) -> Estimate | None:
        """What the hits of one view on one group save: they are taken to be like the others."""
        hits, every = _sparing(group, use), _sparing(group, group)
        if hits >= every or hits <= 0:
            return self._saved(name, hits, use.lookups, use.seconds)
        whole = self._saved(name, every, group.lookups, 0.0)
        if whole is None:
            return None
        part = whole.times(hits / every)
        # It may ask for keys that are unlike those of the other views.
        times = self._times(name)
        unlike = 0.0 if times is None else 2 * hits * times.apart * (1 - hits / every)
        return part._replace(error=sqrt(part.error**2 + unlike**2)).less(use.seconds)

    def _saved(self, name: str, hits: int, lookups: int, spent: float) -> Estimate | None:
        if hits <= 0:
            # Whatever a value takes to produce: none was there to save it.
            return Estimate(-spent, 0.0) if lookups else None
        times = self._times(name)
        return None if times is None else times.spared(hits).less(spent)

    def _times_of(self, name: str) -> ProduceTimes | None:
        group = self._groups[name]
        return ProduceTimes(group, self._keys.get(name, ())) if group.produced else None

    def _seconds_of_headers(self, name: str, group: GroupStats) -> float:
        headers = self._groups.get(headers_of_page(name) or "") if group.kind == "page" else None
        return headers.lookup_seconds + headers.other_seconds if headers is not None else 0.0


def _sparing(group: GroupStats, use: GroupStats | ViewUse) -> int:
    """The hits of ``use`` that spared producing a value."""
    return use.hits if group.kind == "session" else use.hits - use.rewrites
