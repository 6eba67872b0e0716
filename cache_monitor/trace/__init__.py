"""The trace: a sampled record of what happened to cache entries, merged over all processes.

It answers what counts cannot: why a lookup missed where another process or host wrote, how old the
value was that it found, who else computed it at that moment.

Here is what it records of calls, of which keys, and which stores of several hosts are one.

Times are integers: microseconds of Unix time. An entry is identified by the hash of its key and by
its version; what changes the version of a key concerns both entries.

A key is traced with all its events in every process, or not at all. At level 0 all keys are traced;
each further level keeps half of them. The hottest keys are traced at every level: they are few and
make up much of the traffic. The process that rolls up sets the plan; all others follow it as soon
as they read it. A process with more events than it may keep raises its own level.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from math import ceil, log2
from typing import Annotated, Literal, NamedTuple, cast

from msgspec import Meta, Struct
from msgspec.structs import replace

Version = int | str

SECOND = 1_000_000

HIT, MISS, WRITE, TOUCH, DELETE, MOVE, COMPUTE, CLEAR, PATTERN_DELETE, FAILED, USE, REFUSED = range(
    12
)
"""Kinds of calls.

``TOUCH``: an entry that was there gets a new expiry. ``MOVE``: an entry is moved to another
version, which gets a ``TOUCH``. ``COMPUTE``: a value was computed and not stored, as when ``add``
came too late. ``CLEAR``: the store was emptied. ``PATTERN_DELETE``: all keys were deleted that
match a pattern. ``FAILED``: a write or delete raised; whether it took effect is unknown. ``USE``:
another call needed the entry, as ``incr`` and ``has_key`` do. ``REFUSED``: the server answered a
write with an error, so it took no effect.
"""

NEVER, UNKNOWN_TIME = -1, -2
"""In place of a timeout or an expiry: there is none; it is unknown."""

HASH_BITS = 48


def hash_of(name: str) -> int:
    """The hash of a key: the same in every process, of ``HASH_BITS`` bits, never 0."""
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=HASH_BITS // 8).digest()
    return int.from_bytes(digest) or 1


def level_of(key: int) -> int:
    """The highest sampling level at which the key with this hash is traced: one key of two is at
    level 1 or above, one of four at level 2 or above, and so on."""
    return HASH_BITS - key.bit_length()


class Key(Struct, frozen=True, gc=False):
    """A traced key. ``name`` is empty if it must not be kept.

    Like the next classes, and the changes and misses of a replay, it is hidden from the garbage
    collector: there may be one for each call, and a collection would visit all of them. A
    ``NamedTuple`` is not, whatever it holds.
    """

    hash: int
    group: str = ""
    kind: str = "key"
    name: str = ""


class CallType(Struct, frozen=True, gc=False):
    """What many events have in common. ``timeout`` is that of a write, in microseconds."""

    kind: int
    alias: str
    version: Version
    timeout: int = NEVER


class Value(Struct, frozen=True, gc=False):
    """A written value: microseconds of its computation, fingerprint, bytes. Each is 0 if
    unknown."""

    compute_time: int = 0
    fingerprint: int = 0
    size: int = 0


UNKNOWN_VALUE = Value()


class Event(Struct, frozen=True, gc=False):
    """What a call did to an entry, or found.

    A run of hits is one event: from the first to the last of ``times``. ``order`` sorts the events
    of one process. ``weight`` is the number of keys that the key stands for. ``compute_time``,
    ``fingerprint`` and ``size`` are those of the value, 0 if unknown. ``view`` made the call, as
    far as known.
    """

    key: int
    call: CallType
    began: int
    ended: int
    process: int
    host: int
    order: int = 0
    times: int = 1
    compute_time: int = 0
    weight: int = 1
    fingerprint: int = 0
    size: int = 0
    view: str = ""


def hit_times(event: Event) -> Iterator[int]:
    """The times of a run's hits, spread evenly between the first and the last."""
    span = event.ended - event.began
    return (event.began + span * number // event.times for number in range(event.times))


class BulkDelete(NamedTuple):
    """The delete of all keys of one version that match ``pattern``, or, if it is None, of every
    entry."""

    began: int
    ended: int
    process: int
    host: int
    order: int
    pattern: str | None = None
    version: Version = 1


NOT_ONLY = "~"
"""First character of a ``boot`` that another server's start may have as well."""


class EvictionReading(NamedTuple):
    """What a backend said of its evictions: its counter since the start that ``boot`` identifies,
    or whether it was ``full`` if it has no counter. ``behind``: the replica that is read lagged."""

    at: Annotated[int, Meta(ge=0, le=253_000_000_000 * SECOND)]
    evictions: Annotated[int, Meta(ge=0, le=2**53)] | None
    boot: Annotated[str, Meta(max_length=512)] = ""
    full: bool | None = None
    behind: bool = False

    def same(self, other: "EvictionReading") -> bool:
        """Whether both say the same, at whatever time."""
        return self[1:] == other[1:]


MOST_READINGS = 200


def latest_readings(readings: Iterable[EvictionReading]) -> list[EvictionReading]:
    """``readings`` in the order of time: the latest ones that say something new. Of several equal
    ones the first and the last are kept."""
    kept: list[EvictionReading] = []
    for each in sorted(readings):
        if len(kept) > 1 and kept[-1].same(each) and kept[-2].same(each):
            kept[-1] = each
        else:
            kept.append(each)
    return kept[-MOST_READINGS:]


SHOWN = "\2"
"""Prefix of a key of which only the display name is known: no pattern can be matched against it."""


def takes(pattern: str, name: str) -> bool | None:
    """Whether ``pattern`` matches the key, both with their prefix; None if unknown."""
    if not name:
        return None
    own, _, text = pattern.rpartition("\0")
    prefix, _, key = name.rpartition("\0")
    if prefix == SHOWN:
        return None
    return prefix == own and _compiled(text).match(key) is not None


_TOKEN = re.compile(
    r"\\(?P<escaped>.)|\[(?P<set>(?:\\.|[^\]\\])*)\]|(?P<any>\?)|(?P<other>.)", re.DOTALL
)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    """The glob pattern as a regular expression. Between two stars the first match suffices, so an
    atomic group forbids further tries: no pattern takes exponential time."""
    first, *others = [
        "".join(map(_expression, _TOKEN.finditer(text))) for text in _between_stars(pattern)
    ]
    if not others:
        return re.compile(rf"{first}\Z", re.DOTALL)
    *middle, last = others
    inner = "".join(f"(?>.*?{text})" for text in middle if text)
    return re.compile(rf"{first}{inner}.*{last}\Z", re.DOTALL)


def _between_stars(pattern: str) -> list[str]:
    """The texts between the stars that are neither escaped nor in a set."""
    texts = [""]
    for token in _TOKEN.finditer(pattern):
        if token[0] == "*":
            texts.append("")
        else:
            texts[-1] += token[0]
    return texts


def _expression(token: re.Match[str]) -> str:
    if token["any"]:
        return "."
    if token["set"] is None:
        return re.escape(token["escaped"] or token["other"] or "")
    return _set_expression(token["set"])


def _set_expression(members: str) -> str:
    is_negated = members.startswith("^")
    found = re.findall(r"(\\.|[^\\])(?:-(\\.|[^\\]))?", members[is_negated:], re.DOTALL)
    ranges = ""
    for each in found:
        low, high = (member[-1:] for member in each)
        low, high = sorted((low, high or low))
        ranges += f"{re.escape(low)}-{re.escape(high)}"
    if not ranges:
        return "." if is_negated else "(?!)"
    return f"[{'^' if is_negated else ''}{ranges}]"


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
