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

from msgspec import Meta, Struct
from msgspec.structs import replace

from cache_monitor.trace.events import HASH_BITS, NOT_ONLY, SECOND, EvictionReading, level_of

HOT_KEYS = 256

_HEADROOM = 0.75
_LOWER_BELOW = 0.2


class Plan(Struct, array_like=True, gc=False, frozen=True):
    """The keys of one store that are traced. ``number`` grows with each plan.

    ``merged``: hosts that might have a server each behind this address share one. ``shared_at``:
    when another address was found to lead to the same server (seconds).
    """

    number: Annotated[int, Meta(ge=0)] = 0
    level: Annotated[int, Meta(ge=0, le=HASH_BITS)] = 0
    hot: Annotated[frozenset[int], Meta(max_length=4 * HOT_KEYS)] = frozenset()
    merged: bool = False
    shared_at: Annotated[int, Meta(ge=0, le=253_000_000_000)] = 0

    def following(self, level: int, hot: frozenset[int] | None = None) -> "Plan":
        """The next plan, with another ``level`` and, if given, other ``hot`` keys."""
        hot = self.hot if hot is None else hot
        return replace(self, number=self.number + 1, level=min(level, HASH_BITS), hot=hot)

    def name_of(self, store: str) -> str:
        """The name under which ``store`` is traced."""
        return base_name(store) if self.merged and host_proof(store) == "s" else store

    def takes(self, key: int) -> bool:
        """Whether the key with this hash is traced."""
        return level_of(key) >= self.level or key in self.hot


class TraceLimits(Struct, frozen=True):
    """The most that a trace may take: keys, events a second over all processes, bytes a day in the
    store; ``kept``: the seconds for which it is kept."""

    keys: int = 8192
    events: float = 1000.0
    bytes: int = 500_000_000
    kept: int = 86400


class TraceUsage(Struct, frozen=True):
    """What a trace took in some ``seconds``."""

    keys: int
    events: int
    bytes: int
    seconds: float

    def times(self, factor: float) -> "TraceUsage":
        """``factor`` times as much in the same time."""
        keys, events, size = (round(each * factor) for each in (self.keys, self.events, self.bytes))
        return TraceUsage(keys, events, size, self.seconds)


def next_level(level: int, use: TraceUsage, limits: TraceLimits) -> int:
    """The level that keeps the trace within ``limits``: raised at once, lowered by one."""
    share = max(
        use.keys / limits.keys,
        use.events / use.seconds / limits.events,
        use.bytes / use.seconds * 86400 / limits.bytes,
    )
    if share > 1:
        return min(level + max(1, ceil(log2(share / _HEADROOM))), HASH_BITS)
    return max(level - (share < _LOWER_BELOW), 0)


HostProof = Literal["p", "s", "u"]
"""The first character after the dot in the name of a store that another host may have under the
same address. "p": the place proves that they are two; "s": the servers tell when asked; "u":
unknown. No process's name begins with these."""
_LATELY = 600 * SECOND


def base_name(store: str) -> str:
    """The part of a store's name that is the same on all hosts and in all processes."""
    return store.partition(".")[0]


def host_proof(store: str) -> HostProof | None:
    """How the store is told apart from other hosts' under the same address; None if other hosts
    have none, or each process has its own."""
    proof = store.partition(".")[2][:1]
    return cast("HostProof", proof) if proof in {"p", "s", "u"} else None


def is_one_server(readings: Sequence[EvictionReading]) -> bool:
    """Whether ``readings`` may all be of one server: a server does not return to an earlier start.
    Each host may have its own server, or directory, under the same name."""
    boots = [each.boot for each in readings if each.boot]
    return len(set(boots)) == sum(one != other for one, other in pairwise(["", *boots]))


class UncertainStores(NamedTuple):
    """``names``: the stores of which the trace may not have all calls, since it is uncertain which
    processes use them.

    The others are base names, of addresses: ``merged`` ones lead to one server from all hosts,
    ``split`` ones to several although they were merged, ``shared`` ones to a server that has
    another address too.
    """

    names: set[str]
    merged: set[str]
    split: set[str]
    shared: set[str]


def uncertain_stores(
    readings_of: Mapping[str, Sequence[EvictionReading]],
    merged: Collection[str],
    readings_before: Callable[[str], Sequence[EvictionReading]],
) -> UncertainStores:
    """The uncertain ones of the stores in ``readings_of``. ``merged``: the addresses that were
    found to lead to one server. ``readings_before`` gives the earlier readings of a store."""
    uncertain = UncertainStores(set(), set(), set(), set())
    by_address: defaultdict[str, list[str]] = defaultdict(list)
    addresses_of: defaultdict[str, set[str]] = defaultdict(set)
    for name, readings in readings_of.items():
        by_address[base_name(name)].append(name)
        for boot in _boots(name, readings):
            if not boot.startswith(NOT_ONLY):
                addresses_of[boot].add(base_name(name))
        if not is_one_server(_latest(readings)):
            uncertain.names.add(name)
            uncertain.split.update({name}.intersection(merged))
    uncertain.shared.update(*(each for each in addresses_of.values() if len(each) > 1))
    for address, names in by_address.items():
        by_server = {name: readings_of[name] for name in names if host_proof(name) == "s"}
        if len(names) > 1:
            uncertain.names.update(name for name in names if host_proof(name) == "u")
            _compare_servers(by_server, address, uncertain, readings_before)
        if by_server and (address in names or address in merged):
            uncertain.names.update((address, *by_server))
    return uncertain


def _compare_servers(
    readings_of: Mapping[str, Sequence[EvictionReading]],
    address: str,
    uncertain: UncertainStores,
    readings_before: Callable[[str], Sequence[EvictionReading]],
) -> None:
    """Add to ``uncertain`` which of the hosts' servers under one address may be the same."""
    boots = {
        name: _boots(name, readings) or _boots(name, readings_before(name))
        for name, readings in readings_of.items()
    }
    counts = Counter(boot for each in boots.values() for boot in each)
    if any(n > 1 and not boot.startswith(NOT_ONLY) for boot, n in counts.items()):
        uncertain.merged.add(address)
    # A server without a reading may be the same as any other.
    is_any_silent = len(readings_of) > 1 and not all(boots.values())
    uncertain.names.update(
        name
        for name, each in boots.items()
        if is_any_silent or any(counts[boot] > 1 for boot in each)
    )


def _latest(readings: Sequence[EvictionReading]) -> Sequence[EvictionReading]:
    return [each for each in readings if each.at > readings[-1].at - _LATELY]


def _boots(store: str, readings: Sequence[EvictionReading]) -> set[str]:
    """What identifies the place, or the starts of the server."""
    proof = host_proof(store)
    if proof == "p":
        return {store.partition(".")[2]}
    return set() if proof == "u" else {each.boot for each in readings if each.boot}
