"""Which keys are traced, and which stores of several hosts are one.

A key is traced with all its events in every process, or not at all. At level 0 all keys are traced;
each further level keeps half of them. The hottest keys are traced at every level: they are few and
make up much of the traffic. The process that rolls up sets the plan; all others follow it as soon
as they read it. A process with more events than it may keep raises its own level.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import pairwise
from math import ceil, log2
from typing import Annotated, Literal, NamedTuple, cast

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from cache_monitor.trace.codec import unpack
from cache_monitor.trace.events import (
    HASH_BITS,
    NOT_ONLY,
    SECOND,
    EvictionReading,
    level_of,
)

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
    """The plan that a store kept. Raises :class:`~cache_monitor.trace.codec.Unreadable`."""
    return unpack(payload, _decoder)


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


Proof = Literal["p", "s", "u"]
"""How the stores of two hosts by one address are told apart, behind the dot in their names: the
place proves that they are two; the servers tell when they are asked; nobody can tell. No process's
name begins with these."""
_LATELY = 600 * SECOND


def is_one_server(readings: Sequence[EvictionReading]) -> bool:
    """Whether all of ``readings`` are of one backend, as far as they tell: one that begins anew
    does not go back. Each host may have a server, or a directory, of its own by the same name."""
    boots = [each.boot for each in readings if each.boot]
    return len(set(boots)) == sum(one != other for one, other in pairwise(["", *boots]))


class Doubt(NamedTuple):
    """The stores of which it is not known whether what is told of them is all: ``names``. Of some
    it is known that several names are one: ``merged`` are the addresses that lead to one server
    from all hosts, ``split`` those that do not, ``shared`` those that lead to that of another."""

    names: set[str]
    merged: set[str]
    split: set[str]
    shared: set[str]


def doubt_of(
    told: Mapping[str, Sequence[EvictionReading]],
    merged: Collection[str],
    readings_before: Callable[[str], Sequence[EvictionReading]],
) -> Doubt:
    """What is doubtful of the stores that processes tell of, by what these say themselves;
    ``merged`` are the addresses that were found to lead to one server. ``readings_before`` gives
    what was said before."""
    doubt = Doubt(set(), set(), set(), set())
    families: defaultdict[str, list[str]] = defaultdict(list)
    users: defaultdict[str, set[str]] = defaultdict(set)
    for name, readings in told.items():
        families[family_of(name)].append(name)
        for boot in _boots(name, readings):
            if not boot.startswith(NOT_ONLY):
                users[boot].add(family_of(name))
        if not is_one_server(_latest(readings)):
            doubt.names.add(name)
            doubt.split.update({name}.intersection(merged))
    doubt.shared.update(*(each for each in users.values() if len(each) > 1))
    for family, names in families.items():
        by_server = {name: told[name] for name in names if proof_of(name) == "s"}
        if len(names) > 1:
            doubt.names.update(name for name in names if proof_of(name) == "u")
            _compare(by_server, family, doubt, readings_before)
        if by_server and (family in names or family in merged):
            doubt.names.update((family, *by_server))
    return doubt


def _compare(
    told: Mapping[str, Sequence[EvictionReading]],
    family: str,
    doubt: Doubt,
    readings_before: Callable[[str], Sequence[EvictionReading]],
) -> None:
    """Note in ``doubt`` which of the hosts' servers by one address may be the same."""
    boots = {
        name: _boots(name, readings) or _boots(name, readings_before(name))
        for name, readings in told.items()
    }
    counts = Counter(boot for each in boots.values() for boot in each)
    if any(n > 1 and not boot.startswith(NOT_ONLY) for boot, n in counts.items()):
        doubt.merged.add(family)
    # One that is silent may be the same as any.
    is_any_silent = len(told) > 1 and not all(boots.values())
    doubt.names.update(
        name
        for name, each in boots.items()
        if is_any_silent or any(counts[boot] > 1 for boot in each)
    )


def family_of(name: str) -> str:
    """What the names have in common of the stores that processes, or hosts, call alike."""
    return name.partition(".")[0]


def proof_of(name: str) -> Proof | None:
    """How the store is told from those of other hosts that have one by the same address; None
    where they have none, or each process has one."""
    proof = name.partition(".")[2][:1]
    return cast("Proof", proof) if proof in {"p", "s", "u"} else None


def _latest(readings: Sequence[EvictionReading]) -> Sequence[EvictionReading]:
    return [each for each in readings if each.at > readings[-1].at - _LATELY]


def _boots(name: str, readings: Sequence[EvictionReading]) -> set[str]:
    """What only the same place, or server, has."""
    proof = proof_of(name)
    if proof == "p":
        return {name.partition(".")[2]}
    return set() if proof == "u" else {each.boot for each in readings if each.boot}
