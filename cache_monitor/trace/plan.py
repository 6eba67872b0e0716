"""Which keys are in the trace.

A key is in, or not, with all its events, in every process. At level 0 all keys are; at each level
further half of those before. The hottest keys are in at every level: there are few of them, and
they make up much of the traffic. The plan is set by whoever rolls up, and every process follows it
from when it reads it. A process that gets more events than it may keep raises its own level.
"""

from math import ceil, log2
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from cache_monitor.trace.events import HASH_BITS, level_of
from cache_monitor.trace.miss_reasons import family_of, proof_of
from cache_monitor.trace.packing import read

HOT_KEYS = 256

_HEADROOM = 0.75
_LOWER_BELOW = 0.2


class Plan(Struct, array_like=True, gc=False, frozen=True):
    """What is in the trace of one store. ``number`` grows with each plan. ``merged`` says that
    hosts which may have a server each by its address have one in fact; ``shared_at`` when another
    address led to the same (seconds)."""

    number: Annotated[int, Meta(ge=0)] = 0
    level: Annotated[int, Meta(ge=0, le=HASH_BITS)] = 0
    hot: Annotated[frozenset[int], Meta(max_length=4 * HOT_KEYS)] = frozenset()
    merged: bool = False
    shared_at: Annotated[int, Meta(ge=0, le=253_000_000_000)] = 0

    def following(self, level: int, hot: frozenset[int] | None = None) -> "Plan":
        """The plan that follows, at another ``level``, with other ``hot`` keys perhaps."""
        hot = self.hot if hot is None else hot
        return replace(self, number=self.number + 1, level=min(level, HASH_BITS), hot=hot)

    def name_of(self, store: str) -> str:
        """The name that ``store`` goes by."""
        return family_of(store) if self.merged and proof_of(store) == "s" else store

    def takes(self, key: int) -> bool:
        """Whether the key with this hash is in."""
        return level_of(key) >= self.level or key in self.hot


def decode_plan(payload: bytes) -> Plan:
    """The plan that a store kept. Raises :class:`~cache_monitor.trace.packing.Unreadable`."""
    return read(payload, _decoder)


_decoder = msgspec.msgpack.Decoder(Plan)


class TraceLimits(Struct, frozen=True):
    """What a trace may take."""

    keys: int = 8192
    events: float = 1000.0
    """A second, over all processes."""
    bytes: int = 500_000_000
    """A day, in the store."""
    kept: int = 86400
    """Seconds for which it is kept."""


class TraceUsage(Struct, frozen=True):
    """What a trace took in some ``seconds``."""

    keys: int
    events: int
    bytes: int
    seconds: float

    def times(self, factor: float) -> "TraceUsage":
        """The use of so many times as much in the same time."""
        keys, events, size = (round(each * factor) for each in (self.keys, self.events, self.bytes))
        return TraceUsage(keys, events, size, self.seconds)


def next_level(level: int, use: TraceUsage, limits: TraceLimits) -> int:
    """The level that keeps the trace within ``limits``: raised at once, lowered one by one."""
    share = max(
        use.keys / limits.keys,
        use.events / use.seconds / limits.events,
        use.bytes / use.seconds * 86400 / limits.bytes,
    )
    if share > 1:
        return min(level + max(1, ceil(log2(share / _HEADROOM))), HASH_BITS)
    return max(level - (share < _LOWER_BELOW), 0)
