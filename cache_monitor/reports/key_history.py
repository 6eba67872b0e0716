"""One key in a period: what happened to it, and its use over time."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from cache_monitor.conf import get_conf
from cache_monitor.instrument.aliases import makes_own_keys
from cache_monitor.keys.known_keys import header_list_of
from cache_monitor.reports.build import ReportPeriod
from cache_monitor.reports.caches import lives_of
from cache_monitor.reports.schema import Lives
from cache_monitor.reports.series import moment
from cache_monitor.scan.identity import own_cache, prefix_of, store_of
from cache_monitor.stats import packed_ints
from cache_monitor.stats.codec import CorruptPayload, decode
from cache_monitor.stats.columns import Columns
from cache_monitor.stats.details import DetailedKeys
from cache_monitor.stats.lifetimes import LifeStats
from cache_monitor.stores import rows as stored
from cache_monitor.stores.base import Row, Store
from cache_monitor.stores.rows import longest
from cache_monitor.trace.codec import StoredSlice
from cache_monitor.trace.events import MISS, SECOND, SHOWN, hash_of
from cache_monitor.trace.plan import Plan
from cache_monitor.trace.reading import KeyEvent, replay_key

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
    moments: list[KeyEvent] = []
    lives: Lives = Lives()

    def times(self, *kinds: int) -> int:
        """How often something of these kinds happened, of the moments shown."""
        return sum(each.times for each in self.moments if each.kind in kinds)


def key_history(
    store: Store, alias: str, key: str, since: float, until: float
) -> KeyHistory | None:
    """What happened to ``key``, as the user writes it, in the cache ``alias``; None where the trace
    cannot tell which entry that is. A cached page is missed as well where the list of its headers
    is, which Django asks for first. Raises :class:`StoreError`."""
    told = _history_of(store, alias, key, since, until)
    headers = header_list_of(key)
    lists = headers and told and _history_of(store, alias, headers, since, until)
    if not told or not lists:
        return told
    missed = [each for each in lists.moments if each.kind == MISS]
    moments = sorted([*told.moments, *missed], reverse=True)
    total = told.total + len(missed)
    return told._replace(total=total, moments=moments[:MOST_MOMENTS])


def _history_of(
    store: Store, alias: str, key: str, since: float, until: float
) -> KeyHistory | None:
    family = store_of(alias)
    if family is None:
        return None
    found = _identity(store, own_cache(alias), family, key)
    if found is None:
        return None
    hashed, name = found
    plans = stored.plans(store)
    if not plans.get(family, Plan()).takes(hashed):
        return KeyHistory(False, since)
    begins, parts = _parts(store, family, since, until)
    doubtful = stored.doubtful_of(store, parts, plans, until).names
    tolerance = int(get_conf().clock_tolerance * SECOND)
    moments: list[KeyEvent] = []
    lives = LifeStats()
    for place, slices in parts.items():
        # Of a cache that each process has for itself most do not have the key.
        if any(_has(each, hashed) for each in slices):
            told = replay_key(slices, hashed, name, tolerance)
            if place in doubtful:
                moments += map(_without_reason, told.events)
            else:
                moments += told.events
                lives.merge(told.lives)
    kept = [each for each in moments if begins * SECOND <= each.at < until * SECOND]
    kept.sort(reverse=True)
    return KeyHistory(True, begins, len(kept), kept[:MOST_MOMENTS], lives_of(lives))


def _without_reason(moment: KeyEvent) -> KeyEvent:
    return moment if moment.reason is None else moment._replace(reason="unknown")


def _parts(
    store: Store, family: str, since: float, until: float
) -> tuple[float, dict[str, list[StoredSlice]]]:
    """The slices of a cache by their stores, and since when they are all there."""
    first = max(int(since) - stored.HOUR, stored.FIRST)
    rows = [
        row
        for row in store.read("trace", first, int(until) + 1, None)
        if row.seconds and row.alias.partition(".")[0] == family and row.start + row.seconds > since
    ]
    rows.sort(key=lambda row: row.start, reverse=True)
    parts: defaultdict[str, list[StoredSlice]] = defaultdict(list)
    left = MOST_READ
    for row in rows:
        slices = stored.slices_of(row.payload)
        left -= sum(part.count for part in slices)
        if left < 0:
            return max(since, float(row.start + row.seconds)), parts
        parts[row.alias] += slices
    return since, parts


def _has(part: StoredSlice, hashed: int) -> bool:
    return any(key.hash == hashed for key in part.decode_keys())


def _identity(store: Store, cache: Any, family: str, key: str) -> tuple[int, str] | None:
    """The hash and the name of a key in the trace."""
    if not makes_own_keys(cache):
        name = f"{prefix_of(cache)}\0{key}"
        return hash_of(name), name
    # What the function makes of it here need not be what it made of it there.
    states = [
        stored.remembered_state(row.payload)
        for row in store.read("trace", stored.STATE, stored.STATE + 1, None)
        if row.alias.partition(".")[0] == family
    ]
    found = {
        (hashed, each.name)
        for state in states
        for hashed, each in state.keys.items()
        if each.name.rpartition("\0")[2] == key and not each.name.startswith(SHOWN)
    }
    return found.pop() if len(found) == 1 else None


MOST_POINTS = 60


class KeyPoint(Struct, frozen=True, kw_only=True):
    """What is known of one key in one step of time; ``at`` is its beginning.

    Nothing is 0 here, and not None: a key that was not among the hot ones of a step has at most
    as many lookups as the report's ``max_overcount`` says for the whole period.
    """

    at: str
    lookups: int
    hits: int


def key_series(
    keys: Collection[str], rows: Iterable[Row], period: ReportPeriod
) -> dict[str, list[KeyPoint]]:
    """For each of ``keys``, named as the report names them, its steps in order, at most
    ``MOST_POINTS``: all keys have the same ones. ``rows`` are the details of one cache."""
    step = _step(period)
    first, last = int(period.since // step), int(-(-period.until // step))
    lines = {key: ([0] * (last - first), [0] * (last - first)) for key in keys}
    for row in rows:
        at = row.start // step - first
        if 0 <= at < last - first:
            try:
                columns = decode(row.payload, DetailedKeys).hot_keys.columns
            except CorruptPayload:
                continue
            _add(lines, at, columns)
    moments = [moment(number * step) for number in range(first, last)]
    return {
        key: [
            KeyPoint(at=at, lookups=of, hits=found)
            for at, of, found in zip(moments, lookups, hits, strict=True)
        ]
        for key, (lookups, hits) in lines.items()
    }


def _step(period: ReportPeriod) -> int:
    """As fine as the period's oldest rows are, or a multiple of it: none leaves a gap."""
    finest = longest("details", period.now - period.since)
    # One more than fits: a period seldom begins where a step does.
    steps = (period.until - period.since) / finest + 1
    return finest * max(1, int(-(-steps // MOST_POINTS)))


def _add(lines: Mapping[str, tuple[list[int], list[int]]], at: int, columns: Columns) -> None:
    all_lookups, all_misses = (
        packed_ints.unpack(columns.lookups),
        packed_ints.unpack(columns.misses),
    )
    for place, key in enumerate(columns.keys):
        if key in lines:
            lookups, hits = lines[key]
            lookups[at] += all_lookups[place]
            hits[at] += max(0, all_lookups[place] - all_misses[place])
