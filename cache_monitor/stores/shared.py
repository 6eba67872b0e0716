"""Rows that processes share: the trace's slices, plans and states, and the learned key groups.

A new process has seen no keys, so all processes read and extend one row of key groups: a site's
groups stay the same after a deployment and in each period. Two that write at once may overwrite
each other; the next flush of either adds what is missing.
"""

import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from cache_monitor.keys.learned import MOST_TEMPLATES
from cache_monitor.stores.base import Row, Store
from cache_monitor.trace.codec import Stored, Unreadable, decode_slices, pack, unpack
from cache_monitor.trace.plan import Plan, decode_plan
from cache_monitor.trace.state import State, decode_state

PLAN, STATE, FIRST = 0, 1, 2
"""The ``start`` of the rows of plans and states, and the least of others."""
SLICE, HOUR = 10, 3600
MOST_REPLAYED = 50_000
"""The most events that a reader replays."""
_LATELY = 120
"""Seconds without a report after which a process is taken to have ended."""


def plans(store: Store) -> dict[str, Plan]:
    """The plans by the names of their stores."""
    found = {}
    for row in store.read("trace", PLAN, PLAN + 1, None):
        try:
            found[row.alias] = decode_plan(row.payload)
        except Unreadable:
            continue
    return found


def state_of(store: Store, name: str) -> State:
    """The state of the store ``name``; a new one where none can be read."""
    for row in store.read("trace", STATE, STATE + 1, name):
        try:
            return decode_state(row.payload)
        except Unreadable:
            break
    return State()


@lru_cache(maxsize=8)
def remembered_state(payload: bytes) -> State:
    """The state of a row, cached: callers must not change it."""
    try:
        return decode_state(payload) if payload else State()
    except Unreadable:
        return State()


def slices_of(payload: bytes) -> list[Stored]:
    """The slices of a row; none where it is unreadable."""
    try:
        return decode_slices(payload)
    except Unreadable:
        return []


def at_work(state: State, parts: Iterable[Stored], now: float) -> set[str]:
    """The processes that may still report calls before ``now``."""
    those = list(parts)
    lately = {who for who, at in state.processes.items() if at > now - _LATELY}
    ended = {part.process for part in those if part.ended}
    return lately.union(part.process for part in those) - ended


SHARED = ""
_DAY = 86400
Name = Annotated[str, Meta(max_length=200, pattern=r"\{text\}")]


class _GroupRow(Struct, array_like=True, gc=False, frozen=True):
    """``day`` of its last write, in Unix days: an old row is pruned, so it is written daily."""

    day: Annotated[int, Meta(ge=0)] = 0
    templates: Annotated[frozenset[Name], Meta(max_length=MOST_TEMPLATES)] = frozenset()


_decoder = msgspec.msgpack.Decoder(_GroupRow)


def known_groups(store: Store) -> frozenset[str]:
    """The groups of all processes. Raises :class:`StoreError`."""
    return _group_row(store).templates


def share_groups(store: Store, learned: frozenset[str], now: int) -> frozenset[str]:
    """Add this process's ``learned`` groups; returns all. Raises :class:`StoreError`."""
    stored = _group_row(store)
    # Sorted, so that every process keeps the same ones.
    whole = frozenset(sorted(stored.templates | learned)[:MOST_TEMPLATES])
    day = now // _DAY
    if whole and (whole != stored.templates or day > stored.day):
        row = Row("groups", SHARED, SHARED, 0, 0, pack(_GroupRow(day, whole)))
        store.put([row], now)
    return whole


def _group_row(store: Store) -> _GroupRow:
    for row in store.read("groups", 0, 1, None):
        try:
            return unpack(row.payload, _decoder)
        except Unreadable:
            break
    return _GroupRow()


MINUTE = 60

_STEP = 10 * MINUTE
"""Of which the rows are read at once: a day of them may be more than memory has."""


def slices_by_minute(
    store: Store, family: str, since: float, until: float
) -> Iterator[dict[str, list[Stored]]]:
    """Minute by minute what is traced of one cache, by the names of its stores: one, or one for
    each process where each has its own. Raises :class:`StoreError`."""
    # What was told late is in a slice that begins after it.
    first = max(int(since) // MINUTE * MINUTE - MINUTE, FIRST)
    last = min(int(until), int(time.time())) + MINUTE
    for start in range(first, last, _STEP):
        minutes: dict[int, dict[str, list[Stored]]] = {}
        for row in store.read("trace", start, min(start + _STEP, last), None):
            if row.seconds and row.alias.partition(".")[0] == family:
                names = minutes.setdefault(row.start // MINUTE, {})
                names.setdefault(row.alias, []).extend(decoded(row))
        for _, found in sorted(minutes.items()):
            yield found


def decoded(row: Row) -> Iterator[Stored]:
    """The slices in ``row``; none where it cannot be read."""
    try:
        yield from decode_slices(row.payload)
    except Unreadable:
        return
