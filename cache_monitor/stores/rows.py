"""The rows of a store: how long they are as they age, and those that processes share.

Shared are the trace's slices, plans and states, the results of its replay, and the learned key
groups. A new process has seen no keys, so all processes read and extend one row of groups: they
stay the same after a deployment and in each period. Two that write at once may overwrite
each other; the next flush of either adds what is missing.
"""

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct

from cache_monitor.conf import get_conf
from cache_monitor.keys.grouping import MOST_TEMPLATES
from cache_monitor.stats.codec import CorruptPayload, compress, decode, encode
from cache_monitor.stats.details import Details
from cache_monitor.stats.hot_keys import HotKeys, KeyStats
from cache_monitor.stats.window import MemoryByProcess, Window
from cache_monitor.stores.base import Kind, Row, Store
from cache_monitor.trace import Plan, TraceLimits, UncertainStores, base_name, uncertain_stores
from cache_monitor.trace.codec import StoredSlice, decode_slices, sampled
from cache_monitor.trace.state import ReplayResult, State

MERGED = ""
"""The process of rows that several processes have gone into."""


class Resolution(NamedTuple):
    """Rows of ``fine`` seconds become rows of ``coarse`` seconds when they are ``age`` old. Where
    both are the same only the processes are merged."""

    kind: Kind
    fine: int
    coarse: int
    age: int


MINUTE, HOUR, DAY, WEEK = 60, 3600, 86400, 7 * 86400
SETTLED = 30
"""Seconds after which the rows of a bucket are there, all but late ones, with the default
``FLUSH_INTERVAL``. The sooner they are merged, the fewer rows a report has to read. But a process
that could not tell whether its row was written writes it once more, and a row that came again after
it was merged would count twice."""
_CLOSED = 10
"""Seconds after which a process has closed a bucket, and its row is under way."""
YOUNG = 10 * MINUTE
"""Seconds for which it is asked every few seconds whether there are rows of single processes; what
comes later is merged by :func:`roll_up`."""

LIVE = 20 * MINUTE
"""Seconds for which charts stay as fine as they were recorded: somebody who looks at the last
quarter of an hour wants to see what he has just done."""

STEPS = (
    Resolution("window", 10, 10, age=SETTLED),
    Resolution("window", 10, MINUTE, age=LIVE),
    Resolution("window", MINUTE, 5 * MINUTE, age=2 * HOUR),
    Resolution("window", 5 * MINUTE, HOUR, age=26 * HOUR),
    Resolution("window", HOUR, DAY, age=35 * DAY),
    Resolution("details", MINUTE, MINUTE, age=SETTLED),
    Resolution("details", MINUTE, 5 * MINUTE, age=15 * MINUTE),
    Resolution("details", 5 * MINUTE, HOUR, age=2 * HOUR),
    Resolution("details", HOUR, DAY, age=50 * HOUR),
    Resolution("details", DAY, WEEK, age=100 * DAY),
)

_SHORTEST: dict[Kind, int] = {"window": 10, "details": MINUTE}


def longest(kind: Kind, ago: float) -> int:
    """The longest bucket, in seconds, that a row may cover that ended ``ago`` seconds ago."""
    lengths = [step.coarse for step in STEPS if step.kind == kind and step.age <= ago]
    return max([_SHORTEST[kind], *lengths])


ABANDONED_AFTER = 2 * HOUR
"""Seconds after which a row that its process has not finished will not be finished."""

KEYS_KEPT = {MINUTE: 1000, 5 * MINUTE: 500, HOUR: 500, DAY: 250, WEEK: 250}
"""Hot keys in merged details, by their length: fewer in older ones, which are read more often than
they are shown."""


def settled(flush_interval: float) -> int:
    """:data:`SETTLED` for processes that write every ``flush_interval`` seconds."""
    return max(SETTLED, math.ceil(2 * flush_interval + _CLOSED))


def window_of(row: Row) -> Window:
    """The window that a row holds. Raises :class:`CorruptPayload`."""
    window = decode(row.payload, Window)
    if row.process != MERGED and not window.final:
        window.unfinished = set(window.processes)
    return window


def merged_windows(start: int, seconds: int, rows: Iterable[Row]) -> tuple[Window, int]:
    """The windows of ``rows`` in one, and how many could not be read."""
    whole, corrupt = Window(start, seconds), 0
    memory = MemoryByProcess()
    for row in rows:
        try:
            window = window_of(row)
        except CorruptPayload:
            corrupt += 1
            continue
        memory.add(window)
        whole.merge(window)
    memory.note_in(whole)
    return whole, corrupt


SHARED = ""
PLAN, STATE, FIRST = 0, 1, 2
"""The ``start`` of the rows of plans and states, and the least of others."""
SLICE = 10
MOST_REPLAYED = 50_000
"""The most events that a reader replays."""
MOST_KEYS = 1000
"""Keys that the details of a replay name."""
_STEP = 10 * MINUTE
"""Of which the rows are read at once: a day of them may be more than memory has."""
_LATELY = 120
"""Seconds without a report after which a process is taken to have ended."""


def plans(store: Store) -> dict[str, Plan]:
    """The plans by the names of their stores."""
    found = {}
    for row in store.read("trace", PLAN, PLAN + 1, None):
        try:
            found[row.alias] = decode(row.payload, Plan)
        except CorruptPayload:
            continue
    return found


def state_of(store: Store, name: str) -> State:
    """The state of the store ``name``; a new one where none can be read."""
    for row in store.read("trace", STATE, STATE + 1, name):
        try:
            return decode(row.payload, State)
        except CorruptPayload:
            break
    return State()


@lru_cache(maxsize=8)
def remembered_state(payload: bytes) -> State:
    """The state of a row, cached: callers must not change it."""
    try:
        return decode(payload, State) if payload else State()
    except CorruptPayload:
        return State()


def slices_of(payload: bytes) -> list[StoredSlice]:
    """The slices of a row; none where it is unreadable."""
    try:
        return decode_slices(payload)
    except CorruptPayload:
        return []


def reporting_processes(state: State, slices: Iterable[StoredSlice], now: float) -> set[str]:
    """The processes that may still report calls before ``now``."""
    slices = list(slices)
    recent = {process for process, at in state.processes.items() if at > now - _LATELY}
    ended = {each.process for each in slices if each.ended}
    return recent.union(each.process for each in slices) - ended


def slices_by_minute(
    store: Store, family: str, since: float, until: float
) -> Iterator[dict[str, list[StoredSlice]]]:
    """Minute by minute what is traced of one cache, by the names of its stores: one, or one for
    each process where each has its own. Raises :class:`StoreError`."""
    # An event that was reported late is in a slice that begins after it.
    first = max(int(since) // MINUTE * MINUTE - MINUTE, FIRST)
    last = min(int(until), int(time.time())) + MINUTE
    for start in range(first, last, _STEP):
        minutes: dict[int, dict[str, list[StoredSlice]]] = {}
        for row in store.read("trace", start, min(start + _STEP, last), None):
            if row.seconds and row.alias.partition(".")[0] == family:
                names = minutes.setdefault(row.start // MINUTE, {})
                names.setdefault(row.alias, []).extend(slices_of(row.payload))
        for _, found in sorted(minutes.items()):
            yield found


# The results of a replay, as rows


class TraceSettings(NamedTuple):
    """How the trace is rolled up and replayed. Times are seconds."""

    limits: TraceLimits
    tolerance: float
    settled: int
    key_groups: int


def trace_settings() -> TraceSettings:
    """Those of the settings in force."""
    conf = get_conf()
    limits = TraceLimits(conf.trace_keys, conf.trace_events, conf.trace_bytes, int(conf.trace_kept))
    return TraceSettings(
        limits, conf.clock_tolerance, settled(conf.flush_interval), conf.max_key_groups
    )


def doubtful_of(
    store: Store, slices: Mapping[str, Iterable[StoredSlice]], known: Mapping[str, Plan], now: float
) -> UncertainStores:
    """The uncertain ones of the stores in ``slices``. Raises :class:`StoreError`."""
    merged = {family for family, plan in known.items() if plan.merged}
    readings = {
        name: sorted(reading for each in own for reading in each.readings)
        for name, own in slices.items()
    }
    uncertain = uncertain_stores(readings, merged, lambda name: state_of(store, name).readings)
    shared = {*uncertain.shared, *(f for f, plan in known.items() if plan.shared_at > now - HOUR)}
    uncertain.names.update(name for name in slices if base_name(name) in shared)
    return uncertain


def sampled_slices(slices: Iterable[StoredSlice], level: int, state: State) -> list[StoredSlice]:
    """``slices`` with the keys that are traced at ``level``, and those that are hot."""
    return [sampled(each, level, state.plans.get(each.plan, frozenset())) for each in slices]


def replay_process(name: str, serial: int) -> str:
    """Whom the rows of a replay are of: the same for the same replay."""
    return "t" + blake2b(f"{name} {serial}".encode(), digest_size=15).hexdigest()


def row_of(each: tuple[str, str, str, int, int, bytes]) -> Row:
    """The row of what waits in a state's outbox."""
    kind: Kind = "window" if each[0] == "window" else "details"
    return Row(kind, *each[1:])


def rows_of(result: ReplayResult, process: str, key_groups: int, final: bool) -> Iterator[Row]:
    """The windows and details of a replay's ``result``, as rows."""
    for (alias, start), window in result.windows.items():
        window.final = final
        yield Row("window", process, alias, start, SLICE, encode(window))
    for (alias, start), details in _details(result, key_groups).items():
        details.final = final
        yield Row("details", process, alias, start, MINUTE, encode(details))


def _details(result: ReplayResult, key_groups: int) -> Mapping[tuple[str, int], Details]:
    found: dict[tuple[str, int], Details] = {}

    def of(alias: str, start: int) -> Details:
        made = found.get((alias, start))
        if made is None:
            made = Details(start, MINUTE, HotKeys(MOST_KEYS), key_groups, uses=1)
            found[alias, start] = made
        return made

    for (alias, start, name, _), stats in result.groups.items():
        of(alias, start).group(name, stats.kind).merge(stats)
    for (alias, start, name, group_name), reasons in result.keys.items():
        table = of(alias, start).hot_keys.table
        if len(table) < MOST_KEYS:
            shown = name.rpartition("\0")[2]
            table[shown] = KeyStats(group_name, reasons=dict(reasons))
    return found


# Learned key groups

Name = Annotated[str, Meta(max_length=200, pattern=r"\{text\}")]


class _GroupRow(Struct, array_like=True, gc=False, frozen=True):
    """``day`` of its last write, in Unix days: an old row is pruned, so it is written daily."""

    day: Annotated[int, Meta(ge=0)] = 0
    templates: Annotated[frozenset[Name], Meta(max_length=MOST_TEMPLATES)] = frozenset()


def known_groups(store: Store) -> frozenset[str]:
    """The groups of all processes. Raises :class:`StoreError`."""
    return _group_row(store).templates


def share_groups(store: Store, learned: frozenset[str], now: int) -> frozenset[str]:
    """Add this process's ``learned`` groups; returns all. Raises :class:`StoreError`."""
    stored = _group_row(store)
    # Sorted, so that every process keeps the same ones.
    whole = frozenset(sorted(stored.templates | learned)[:MOST_TEMPLATES])
    day = now // DAY
    if whole and (whole != stored.templates or day > stored.day):
        row = Row("groups", SHARED, SHARED, 0, 0, compress(_GroupRow(day, whole)))
        store.put([row], now)
    return whole


def _group_row(store: Store) -> _GroupRow:
    for row in store.read("groups", 0, 1, None):
        try:
            return decode(row.payload, _GroupRow)
        except CorruptPayload:
            break
    return _GroupRow()
