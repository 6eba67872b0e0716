"""What processes share through a store beside the statistics: the trace and the key groups.

A process that begins has seen no keys, and a report of the last minutes only few: without what was
learned before, the groups of a site would be others after each deployment, and others for each
period. So there is one row that all processes add to and take from. Two that add at once may
overwrite each other; each looks again with its next flush, so that nothing stays out.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from cache_monitor.keys.learned import MOST_TEMPLATES
from cache_monitor.stores.base import Row, Store
from cache_monitor.trace.packing import Unreadable, packed, read
from cache_monitor.trace.plan import Plan, decode_plan
from cache_monitor.trace.slices import Stored, decode
from cache_monitor.trace.state import State, decode_state

PLAN, STATE, FIRST = 0, 1, 2
"""The ``start`` under which the plan and the state of a store are kept; and the first of others."""
SLICE, HOUR = 10, 3600
MOST_REPLAYED = 50_000
"""Events that are replayed at most for who only reads."""
_LATELY = 120
"""Seconds after which a process that was not heard of is taken to have ended."""


def plans(store: Store) -> dict[str, Plan]:
    """The plans by the names of the stores that they are for."""
    found = {}
    for row in store.read("trace", PLAN, PLAN + 1, None):
        try:
            found[row.alias] = decode_plan(row.payload)
        except Unreadable:
            continue
    return found


def state_of(store: Store, name: str) -> State:
    """The state of the store ``name``; a new one where there is none that can be read."""
    for row in store.read("trace", STATE, STATE + 1, name):
        try:
            return decode_state(row.payload)
        except Unreadable:
            break
    return State()


@lru_cache(maxsize=8)
def remembered_state(payload: bytes) -> State:
    """The state of a row, for who asks again and again, and does not change it."""
    try:
        return decode_state(payload) if payload else State()
    except Unreadable:
        return State()


def slices_of(payload: bytes) -> list[Stored]:
    """The slices of a row; none where it cannot be read."""
    try:
        return decode(payload)
    except Unreadable:
        return []


def at_work(state: State, parts: Iterable[Stored], now: float) -> set[str]:
    """The processes that may still have to tell of the time before ``now``."""
    those = list(parts)
    lately = {who for who, at in state.processes.items() if at > now - _LATELY}
    ended = {part.process for part in those if part.ended}
    return lately.union(part.process for part in those) - ended


SHARED = ""
_DAY = 86400
Name = Annotated[str, Meta(max_length=200, pattern=r"\{text\}")]


class _Kept(Struct, array_like=True, gc=False, frozen=True):
    """``day`` is when it was last written, in days of Unix time: rows that grow old are pruned."""

    day: Annotated[int, Meta(ge=0)] = 0
    templates: Annotated[frozenset[Name], Meta(max_length=MOST_TEMPLATES)] = frozenset()


_decoder = msgspec.msgpack.Decoder(_Kept)


def known_groups(store: Store) -> frozenset[str]:
    """What all processes have learned. Raises :class:`StoreError`."""
    return _kept(store).templates


def share_groups(store: Store, learned: frozenset[str], now: int) -> frozenset[str]:
    """Add what this process has ``learned``; what all have. Raises :class:`StoreError`."""
    kept = _kept(store)
    # The same ones in every process, where there are too many.
    whole = frozenset(sorted(kept.templates | learned)[:MOST_TEMPLATES])
    day = now // _DAY
    if whole and (whole != kept.templates or day > kept.day):
        row = Row("groups", SHARED, SHARED, 0, 0, packed(_Kept(day, whole)))
        store.put([row], now)
    return whole


def _kept(store: Store) -> _Kept:
    for row in store.read("groups", 0, 1, None):
        try:
            return read(row.payload, _decoder)
        except Unreadable:
            break
    return _Kept()
