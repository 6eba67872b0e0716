"""What happened to one key in a period: from the trace, and hence for any key that is in it."""

from collections import defaultdict
from typing import Any, NamedTuple

from cache_monitor.collecting.instances import instance
from cache_monitor.collecting.joining import store_of
from cache_monitor.conf import get_conf
from cache_monitor.inspectors.identity import prefix_of
from cache_monitor.instrument.finalkeys import makes_own_keys
from cache_monitor.reports.caches import lives_of
from cache_monitor.reports.schema import Lives
from cache_monitor.stats.lives import LifeStats
from cache_monitor.stores import traced
from cache_monitor.stores.base import Store
from cache_monitor.trace.events import SECOND, hash_of
from cache_monitor.trace.onekey import Moment, one_key
from cache_monitor.trace.plan import Plan
from cache_monitor.trace.slices import Stored
from cache_monitor.trace.version import SHOWN

MOST_MOMENTS = 100
"""The latest that are shown."""
MOST_READ = 200_000
"""Events that are gone through for it, of all keys; those of a busy site's last minutes."""


class KeyHistory(NamedTuple):
    """The latest ``moments``, the newest first, of ``total`` since the Unix time ``since``; and
    how long its values lasted. ``is_traced`` says whether the key is among those in the trace."""

    is_traced: bool
    since: float
    total: int = 0
    moments: list[Moment] = []
    lives: Lives = Lives()

    def times(self, *kinds: int) -> int:
        """How often something of these kinds happened, of the moments shown."""
        return sum(each.times for each in self.moments if each.kind in kinds)


def key_history(
    store: Store, alias: str, key: str, since: float, until: float
) -> KeyHistory | None:
    """What happened to ``key``, as the user writes it, in the cache ``alias``; None where the trace
    cannot tell which entry that is. Raises :class:`StoreError`."""
    family = store_of(alias)
    if family is None:
        return None
    found = _identity(store, instance(alias), family, key)
    if found is None:
        return None
    hashed, name = found
    if not traced.plans(store).get(family, Plan()).takes(hashed):
        return KeyHistory(False, since)
    begins, parts = _parts(store, family, since, until)
    tolerance = int(get_conf().clock_tolerance * SECOND)
    moments: list[Moment] = []
    lives = LifeStats()
    for slices in parts.values():
        # Of a cache that each process has for itself most do not have the key.
        if any(_has(each, hashed) for each in slices):
            told = one_key(slices, hashed, name, tolerance)
            moments += told.moments
            lives.merge(told.lives)
    kept = [each for each in moments if begins * SECOND <= each.at < until * SECOND]
    kept.sort(reverse=True)
    return KeyHistory(True, begins, len(kept), kept[:MOST_MOMENTS], lives_of(lives))


def _parts(
    store: Store, family: str, since: float, until: float
) -> tuple[float, dict[str, list[Stored]]]:
    """The slices of a cache by their stores, and since when they are all there."""
    first = max(int(since) - traced.HOUR, traced.FIRST)
    rows = [
        row
        for row in store.read("trace", first, int(until) + 1, None)
        if row.seconds and row.alias.partition(".")[0] == family and row.start + row.seconds > since
    ]
    rows.sort(key=lambda row: row.start, reverse=True)
    parts: defaultdict[str, list[Stored]] = defaultdict(list)
    left = MOST_READ
    for row in rows:
        slices = traced.slices_of(row.payload)
        left -= sum(part.count for part in slices)
        if left < 0:
            return max(since, float(row.start + row.seconds)), parts
        parts[row.alias] += slices
    return since, parts


def _has(part: Stored, hashed: int) -> bool:
    return any(key.hash == hashed for key in part.traced())


def _identity(store: Store, cache: Any, family: str, key: str) -> tuple[int, str] | None:
    """The hash and the name of a key in the trace."""
    if not makes_own_keys(cache):
        name = f"{prefix_of(cache)}\0{key}"
        return hash_of(name), name
    # What the function makes of it here need not be what it made of it there.
    states = [
        traced.remembered_state(row.payload)
        for row in store.read("trace", traced.STATE, traced.STATE + 1, None)
        if row.alias.partition(".")[0] == family
    ]
    found = {
        (hashed, each.name)
        for state in states
        for hashed, each in state.keys.items()
        if each.name.rpartition("\0")[2] == key and not each.name.startswith(SHOWN)
    }
    return found.pop() if len(found) == 1 else None
