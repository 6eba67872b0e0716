"""Where a store keeps the trace: the plan and the state of each traced store, and the slices."""

from collections.abc import Iterable
from functools import lru_cache

from cache_monitor.stores.base import Store
from cache_monitor.trace.coding import Unreadable
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
