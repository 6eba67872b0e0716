"""What a report reads from the trace: the newest minutes, which nobody has rolled up yet, and what
happened to one key."""

import time
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from hashlib import blake2b
from math import inf
from types import MappingProxyType
from typing import Any, NamedTuple

from cache_monitor.instrument.aliases import makes_own_keys
from cache_monitor.keys.known_keys import header_list_of
from cache_monitor.reports import Lives
from cache_monitor.reports.caches import lives_of
from cache_monitor.scan.identity import own_cache, prefix_of, store_of
from cache_monitor.stats.groups import LifeStats
from cache_monitor.stores.base import Identity, Row, Store
from cache_monitor.stores.rows import (
    FIRST,
    HOUR,
    MOST_REPLAYED,
    SLICE,
    STATE,
    TraceSettings,
    doubtful_of,
    plans,
    remembered_state,
    replay_process,
    reporting_processes,
    row_of,
    rows_of,
    sampled_slices,
    slices_by_minute,
    slices_of,
    trace_settings,
)
from cache_monitor.trace import (
    CLEAR,
    MISS,
    PATTERN_DELETE,
    SECOND,
    SHOWN,
    Event,
    Plan,
    hash_of,
    takes,
)
from cache_monitor.trace.codec import StoredSlice, level_for
from cache_monitor.trace.miss_reasons import Reason
from cache_monitor.trace.replay import EventBatch, Replay
from cache_monitor.trace.state import ALL_KEYS, ReplayResult, State
from cache_monitor.what_if.reading import TracePeriod, lookups_of


class Newer(NamedTuple):
    """The result of replaying what one store has that nobody has rolled up yet. ``outbox``: rows of
    earlier results that may not be in the store yet."""

    name: str
    result: ReplayResult
    outbox: list[Row]


class _Unrolled(NamedTuple):
    """What one store has that nobody has rolled up yet: slices to be replayed on ``state``, and
    those ``ahead`` that only show what came after. Of equal ``version`` the result is equal."""

    name: str
    state: State
    slices: list[StoredSlice]
    ahead: list[StoredSlice]
    is_doubtful: bool
    version: Hashable


def newer(store: Store, conf: TraceSettings, now: float) -> Iterator[Newer]:
    """What the trace tells that nobody has rolled up yet. Raises :class:`StoreError`.

    Where several processes use a store, what they did last is not there yet: misses of that time
    are told of later.
    """
    for each in _unrolled(store, conf, now):
        yield _replayed(each, conf)


_latest: list[dict[str, tuple[Hashable, list[Row]]]] = [{}]
"""The rows that were made last, by the name of their store, and what they were made of: a page that
is looked at again replays only what is new."""


def newer_rows(store: Store, conf: TraceSettings, now: float) -> list[Row]:
    """The same as rows of windows and details. Raises :class:`StoreError`."""
    found: dict[Identity, Row] = {}
    made: dict[str, tuple[Hashable, list[Row]]] = {}
    for each in _unrolled(store, conf, now):
        version, rows = _latest[0].get(each.name, (None, []))
        if version != each.version:
            replayed, process = _replayed(each, conf), replay_process(each.name, -1)
            results = rows_of(replayed.result, process, conf.key_groups, final=False)
            rows = [*replayed.outbox, *results]
        made[each.name] = each.version, rows
        found.update({row.identity: row for row in rows})
    _latest[0] = made
    return list(found.values())


def _unrolled(store: Store, conf: TraceSettings, now: float) -> Iterator[_Unrolled]:
    payloads: dict[str, list[bytes]] = {}
    for row in store.read("trace", FIRST, int(now) + HOUR, None, seconds=SLICE, of_processes=True):
        payloads.setdefault(row.alias, []).append(row.payload)
    stored = {
        name: [part for payload in own for part in slices_of(payload)]
        for name, own in payloads.items()
    }
    doubtful = doubtful_of(store, stored, plans(store), now).names
    for name, slices in stored.items():
        payload = _state_of(store, name)
        state = remembered_state(payload)
        due, ahead = _settled(state, slices, now, conf)
        is_doubtful = name in doubtful
        digest = blake2b(b"".join(sorted(payloads[name])) + payload).digest()
        yield _Unrolled(name, state, due, ahead, is_doubtful, (digest, len(due), is_doubtful, conf))


def _settled(
    state: State, slices: Sequence[StoredSlice], now: float, conf: TraceSettings
) -> tuple[list[StoredSlice], list[StoredSlice]]:
    """The slices of a time of which all processes have reported, and later ones."""
    is_alone = len(reporting_processes(state, slices, now)) < 2
    until = inf if is_alone else now - conf.settled
    due = [each for each in slices if each.end <= until]
    return due, [each for each in slices if each.end > until]


def _replayed(unrolled: _Unrolled, conf: TraceSettings) -> Newer:
    name, state = unrolled.name, unrolled.state.copy()
    outbox = [row_of(each) for each in state.outbox]
    slices = [*unrolled.slices, *unrolled.ahead]
    if sum(each.count for each in slices) > MOST_REPLAYED:
        return Newer(name, ReplayResult(), outbox)
    # A process that had to drop keys says so by its level.
    most_keys = 2 * conf.limits.keys if any(each.level for each in slices) else inf
    level = level_for(slices, (most_keys, MOST_REPLAYED), state.plans, 0)
    due = sampled_slices(unrolled.slices, level, state)
    ahead = sampled_slices(unrolled.ahead, level, state)
    for each in due:
        # That it is not final yet says nothing of its process.
        each.final = True
    replay = Replay(state, int(conf.tolerance * 1e6))
    last = max((each.end for each in due), default=state.until)
    result = replay.skip(due, last) if unrolled.is_doubtful else replay.run(due, ahead, last)
    return Newer(name, result, outbox)


MOST_MOMENTS = 100
"""The latest that are shown."""
MOST_READ = 200_000
"""Events that are gone through for it, of all keys; those of a busy site's last minutes."""


class KeyEvent(NamedTuple):
    """An event of one key, as it is shown: ``kind`` is that of its call, ``at`` when it ended, with
    ``timeout`` in microseconds. ``process`` is its name. ``view`` wrote or deleted the key, as far
    as known."""

    at: int
    kind: int
    process: str
    host: int
    version: str
    timeout: int
    times: int = 1
    compute_time: int = 0
    reason: Reason | None = None
    view: str = ""


class KeyHistory(NamedTuple):
    """The latest ``moments``, the newest first, of ``total`` since the Unix time ``since``; and
    how long its values lasted. ``is_traced`` says whether the key is among those in the trace."""

    is_traced: bool
    since: float
    total: int = 0
    moments: list[KeyEvent] = []
    lives: Lives = Lives()
    counts: Mapping[int, int] = MappingProxyType({})
    """How often each kind of event happened, in all of them."""

    def times(self, *kinds: int) -> int:
        """How often something of these kinds happened."""
        return sum(self.counts.get(kind, 0) for kind in kinds)


class _TracedKey(NamedTuple):
    """A key's hash and its name in the trace."""

    hash: int
    name: str


def key_history(
    store: Store, alias: str, key: str, since: float, until: float
) -> KeyHistory | None:
    """What happened to ``key``, as the user writes it, in the cache ``alias``; None where the trace
    cannot tell which entry that is. A cached page is missed as well where the list of its headers
    is, which Django asks for first. Raises :class:`StoreError`."""
    found = _history_of(store, alias, key, since, until)
    if found is None:
        return None
    moments, headers = found.moments, header_list_of(key)
    lists = _history_of(store, alias, headers, since, until) if headers else None
    if lists is not None:
        moments += (each for each in lists.moments if each.kind == MISS)
    moments.sort(reverse=True)
    counts = Counter[int]()
    for each in moments:
        counts[each.kind] += each.times
    return found._replace(total=len(moments), moments=moments[:MOST_MOMENTS], counts=counts)


def _history_of(
    store: Store, alias: str, key: str, since: float, until: float
) -> KeyHistory | None:
    """All events of one key, in no order."""
    family = store_of(alias)
    if family is None:
        return None
    found = _identity(store, own_cache(alias), family, key)
    if found is None:
        return None
    known, conf = plans(store), trace_settings()
    if not known.get(family, Plan()).takes(found.hash):
        return KeyHistory(False, since, moments=[])
    begins, stores = _slices_by_store(store, family, since, until)
    doubtful = doubtful_of(store, stores, known, until).names
    moments: list[KeyEvent] = []
    lives = LifeStats()
    for name, slices in stores.items():
        # Of a cache that each process has for itself most do not have the key.
        if not any(key.hash == found.hash for each in slices for key in each.decode_keys()):
            continue
        state = remembered_state(_state_of(store, name))
        due, ahead = _settled(state, slices, time.time(), conf)
        replay_state = State()
        replay_state.note_uncovered(ALL_KEYS, _unknown_until(store, name, state, slices) * SECOND)
        replay = Replay(replay_state, int(conf.tolerance * SECOND), only=found.hash)
        events, ended = _replay_key(replay, due, ahead, found, state.until)
        if name in doubtful:
            moments += (
                each if each.reason is None else each._replace(reason="unknown") for each in events
            )
        else:
            moments += events
            lives.merge(ended)
    kept = [each for each in moments if begins * SECOND <= each.at < until * SECOND]
    return KeyHistory(True, begins, moments=kept, lives=lives_of(lives))


def _state_of(store: Store, name: str) -> bytes:
    """What was rolled up of the trace of one cache; empty before that was done."""
    return next((row.payload for row in store.read("trace", STATE, STATE + 1, name)), b"")


def _unknown_until(store: Store, name: str, state: State, slices: Sequence[StoredSlice]) -> int:
    """Up to when nothing is known of the keys (Unix time): where ``slices`` begin; 0 where the
    trace begins with them."""
    first = min(each.start for each in slices)
    if state.since:
        return 0 if first <= state.since else first
    is_first = not any(row.seconds for row in store.read("trace", FIRST, first, name))
    return 0 if is_first else first


def _slices_by_store(
    store: Store, family: str, since: float, until: float
) -> tuple[float, dict[str, list[StoredSlice]]]:
    """The slices of a cache by their stores, and since when they are all there."""
    first = max(int(since) - HOUR, FIRST)
    rows = [
        row
        for row in store.read("trace", first, int(until) + 1, None)
        if row.seconds and row.alias.partition(".")[0] == family and row.start + row.seconds > since
    ]
    rows.sort(key=lambda row: row.start, reverse=True)
    found: defaultdict[str, list[StoredSlice]] = defaultdict(list)
    left = MOST_READ
    for row in rows:
        slices = slices_of(row.payload)
        left -= sum(each.count for each in slices)
        if left < 0:
            return max(since, float(row.start + row.seconds)), found
        found[row.alias] += slices
    return since, found


def _identity(store: Store, cache: Any, family: str, key: str) -> _TracedKey | None:
    """The hash and the name of a key in the trace."""
    if not makes_own_keys(cache):
        name = f"{prefix_of(cache)}\0{key}"
        return _TracedKey(hash_of(name), name)
    # What the function makes of it here need not be what it made of it there.
    states = [
        remembered_state(row.payload)
        for row in store.read("trace", STATE, STATE + 1, None)
        if row.alias.partition(".")[0] == family
    ]
    found = {
        _TracedKey(hashed, each.name)
        for state in states
        for hashed, each in state.keys.items()
        if each.name.rpartition("\0")[2] == key and not each.name.startswith(SHOWN)
    }
    return found.pop() if len(found) == 1 else None


def _replay_key(
    replay: Replay,
    slices: Sequence[StoredSlice],
    ahead: Sequence[StoredSlice],
    key: _TracedKey,
    rolled_until: int,
) -> tuple[list[KeyEvent], LifeStats]:
    """The events of one key, ascending, and its lives. The reasons of misses in the slices
    ``ahead`` are unknown. ``rolled_until``: what is before that time has been rolled up."""
    until = max((each.end for each in slices), default=0)
    for each in slices:
        # That it is not final yet says nothing of its process, unless it was rolled up like that.
        each.final = each.final or each.end > rolled_until
    batch = EventBatch([*slices, *ahead], replay.state, only=key.hash)
    result = replay.run(slices, ahead, until)
    reasons = {(each.at, each.alias): each.reason for each in result.misses}
    processes = {each.process_number: each.process for each in (*slices, *ahead)}
    events = [_key_event(each, processes, reasons) for each in batch.events.get(key.hash, ())]
    events += [
        KeyEvent(
            each.ended,
            CLEAR if each.pattern is None else PATTERN_DELETE,
            processes.get(each.process, ""),
            each.host,
            "",
            0,
        )
        for each in batch.deletes
        if each.pattern is None or takes(each.pattern, key.name) is True
    ]
    lives = LifeStats()
    for stats in result.groups.values():
        if stats.lives is not None:
            lives.merge(stats.lives)
    return sorted(events), lives


def _key_event(
    event: Event, processes: dict[int, str], reasons: dict[tuple[int, str], Reason]
) -> KeyEvent:
    call = event.call
    is_miss = call.kind == MISS
    return KeyEvent(
        event.ended,
        call.kind,
        processes.get(event.process, ""),
        event.host,
        str(call.version),
        call.timeout,
        event.times,
        event.compute_time,
        reasons.get((event.ended, call.alias), "unknown") if is_miss else None,
        event.view,
    )


def traced_lookups(
    store: Store, family: str, since: float, until: float
) -> tuple[TracePeriod, Mapping[str, int]]:
    """The level of sampling of all slices of a cache, and the lookups of each process's cache at
    it."""
    span = int(since * SECOND), int(until * SECOND)
    level = 0
    for found in slices_by_minute(store, family, since, until):
        level = max([level, *(each.level for slices in found.values() for each in slices)])
    period = TracePeriod(*span, level)
    counts: dict[str, int] = {}
    for found in slices_by_minute(store, family, since, until):
        for name, slices in found.items():
            lookups = sum(lookups_of(each, period) for each in slices)
            if lookups:
                counts[name] = counts.get(name, 0) + lookups
    return period, counts
