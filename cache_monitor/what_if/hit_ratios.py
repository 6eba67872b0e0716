"""What another size, policy or timeout would have hit, with the error of the estimate.

Sizes are in entries of the average size: a cache that holds a thousand entries today has room for a
thousand such entries, whatever else uses the memory of its server.

:class:`Optimum` is what no cache exceeds; :func:`ceiling`, if its entries differ in size: then the
true optimum takes too long to find. But to keep an entry from one lookup to the next takes room
times time, of which a cache has only so much; to give it to the lookups that need least is better
than any policy can do (Berger, Beckmann and Harchol-Balter, "Practical Bounds on Optimal Caching
with Variable Object Sizes", 2018).
"""

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from math import inf, sqrt
from types import MappingProxyType
from typing import NamedTuple

from msgspec import Struct

from cache_monitor.what_if.reading import CallKind
from cache_monitor.what_if.simulated_caches import (
    BY_THIRDS,
    Access,
    Arc,
    Cull,
    Database,
    FileBased,
    Key,
    Lfu,
    LocMem,
    Model,
    S3Fifo,
)
from cache_monitor.what_if.simulated_servers import (
    Memcached,
    NoEviction,
    RedisLfu,
    RedisLru,
    RedisRandom,
    RedisTtl,
    Slabs,
)
from cache_monitor.what_if.workload import SimulatedCall

_MEMCACHED = "memcached"
POLICIES: Mapping[str, Callable[[float], Model]] = {
    "locmem": LocMem,
    "database": Database,
    "files": FileBased,
    _MEMCACHED: Memcached,
    "allkeys-lru": RedisLru,
    "allkeys-lfu": RedisLfu,
    "allkeys-random": RedisRandom,
    "volatile-lru": partial(RedisLru, volatile=True),
    "volatile-lfu": partial(RedisLfu, volatile=True),
    "volatile-ttl": RedisTtl,
    "volatile-random": partial(RedisRandom, volatile=True),
    "noeviction": NoEviction,
    "fifo": Model,
    "lfu": Lfu,
    "s3-fifo": S3Fifo,
    "arc": Arc,
}
"""By the name that users write: the policies of the backends, and others for comparison."""

CULLING = frozenset({"locmem", "database", "files"})
"""Policies of Django's own backends, which count their entries (``MAX_ENTRIES``)."""


def model_of(
    policy: str, cull: Cull = BY_THIRDS, slabs: Slabs | None = None
) -> Callable[[float], Model]:
    """A factory of models of ``policy``, called with their size. ``cull``: how those of ``CULLING``
    make room; ``slabs``: how memcached divides its memory, None if unknown."""
    make: Callable[..., Model] = POLICIES[policy]
    if policy == _MEMCACHED:
        return partial(make, slabs=slabs)
    return partial(make, cull=cull) if policy in CULLING else make


_Z = 1.96
"""95 of 100 estimates are within so many standard errors."""
_STEP = 1.15
"""The factor of the two sizes between which the curve's slope is measured."""


class Prediction(NamedTuple):
    """A hit ratio, 0 to 1, which in 95 of 100 cases is within ``error`` of the truth.

    ``error`` is 0 if all keys are traced. Both are None without lookups. ``lookups`` are by weight,
    ``hits`` by group and weight. ``fill_error``: the standard error that comes from how the sample
    fills the cache.
    """

    hit_ratio: float | None
    error: float | None
    lookups: float = 0.0
    hits: Mapping[str, float] = MappingProxyType({})
    fill_error: float = 0.0


def predict(
    calls: Collection[SimulatedCall],
    make: Callable[[float], Model],
    size: float,
    *,
    factor: float = 1.0,
    group: str | None = None,
    since: float = -inf,
    fill_error: float | None = None,
) -> Prediction:
    """Predict a cache with room for ``size`` entries, of which ``make`` makes the model.

    All timeouts are multiplied by ``factor``; if ``group`` is given, only its timeouts, and only
    its lookups count. Lookups before ``since`` (Unix time) fill the cache and do not count. A
    ``fill_error`` from a similar prediction saves two simulations.
    """

    def simulated(size: float) -> Outcomes:
        return simulate(calls, make(size), factor, group, since)

    outcomes = simulated(size)
    if fill_error is None and outcomes.are_sampled:
        fill_error = _fill_error(calls, size, simulated) if size < inf else 0.0
    return outcomes.predicted(fill_error or 0.0)


def combined(predictions: Sequence[Prediction]) -> Prediction:
    """The prediction for several caches together, such as one in each process."""
    known = [
        (each.hit_ratio, each.error, each.lookups)
        for each in predictions
        if each.hit_ratio is not None and each.error is not None
    ]
    lookups = sum(each for *_, each in known)
    if not lookups:
        return Prediction(None, None)
    ratio = sum(ratio * each for ratio, _, each in known) / lookups
    error = sqrt(sum((error * each) ** 2 for _, error, each in known)) / lookups
    hits = Counter[str]()
    for prediction in predictions:
        hits.update(prediction.hits)
    return Prediction(ratio, error, lookups, hits, max(each.fill_error for each in predictions))


class LookupCount(Struct, gc=False):
    """The lookups and hits of one key."""

    weight: float
    group: str
    lookups: int = 0
    hits: int = 0


class Outcomes(NamedTuple):
    """The lookups and hits of a simulation, by key."""

    keys: Mapping[object, LookupCount]

    @property
    def lookups(self) -> float:
        """All lookups, by weight."""
        return sum(each.lookups * each.weight for each in self.keys.values())

    @property
    def hit_ratio(self) -> float | None:
        """Hits divided by lookups; None without lookups."""
        hits = sum(each.hits * each.weight for each in self.keys.values())
        return hits / self.lookups if self.lookups else None

    @property
    def are_sampled(self) -> bool:
        """Whether keys stand for others that are not traced."""
        return any(count.weight != 1 for count in self.keys.values())

    def predicted(self, fill_error: float = 0.0) -> Prediction:
        """The hit ratio with its error."""
        ratio = self.hit_ratio
        if ratio is None:
            return Prediction(None, None)
        hits: defaultdict[str, float] = defaultdict(float)
        for each in self.keys.values():
            hits[each.group] += each.hits * each.weight
        if not self.are_sampled:
            return Prediction(ratio, 0.0, self.lookups, hits)
        # Each key is in the sample with a probability of one over its weight (Horvitz and
        # Thompson, 1952).
        variance = sum(
            each.weight * (each.weight - 1) * (each.hits - ratio * each.lookups) ** 2
            for each in self.keys.values()
        )
        error = min(1.0, _Z * sqrt(variance / self.lookups**2 + fill_error**2))
        return Prediction(ratio, error, self.lookups, hits, fill_error)


def simulate(
    calls: Iterable[SimulatedCall],
    model: Model,
    factor: float = 1.0,
    group: str | None = None,
    since: float = -inf,
) -> Outcomes:
    """Make all ``calls`` to ``model``. Lookups count from ``since`` on; if ``group`` is given, only
    its own."""
    counts: dict[object, LookupCount] = {}
    for call in calls:
        access = call.access
        is_wanted = group in {None, call.group}
        if factor != 1.0 and is_wanted:
            access = access._replace(timeout=access.timeout * factor)
        if call.kind != "get":
            _apply(model, call.kind, access)
            continue
        hits = _hits(model, call, access)
        if is_wanted and call.counted and access.at >= since:
            count = counts.get(access.key)
            if count is None:
                count = counts[access.key] = LookupCount(access.weight, call.group)
            count.lookups += call.times
            count.hits += hits
    return Outcomes(counts)


def _hits(model: Model, call: SimulatedCall, access: Access) -> int:
    """Look the key up as often as ``call`` says, and do what follows; the number of hits."""
    hits = int(model.look_up(access))
    if hits and call.renews:
        model.renew(access)
    elif call.fills and not hits:
        # It expires that much later.
        model.write(access._replace(timeout=access.timeout + call.delay))
    if call.times > 1 and model.look_up_again(access, call.times - 1):
        hits += call.times - 1
    return hits


def _apply(model: Model, kind: CallKind, access: Access) -> None:
    if kind == "set":
        model.write(access)
    elif kind == "touch":
        model.renew(access)
    elif kind == "delete":
        model.delete(access.key)
    elif kind == "clear":
        model.clear()


def _fill_error(
    calls: Iterable[SimulatedCall], size: float, simulated: Callable[[float], Outcomes]
) -> float:
    """The standard error of the hit ratio that comes from the room that a sample takes: a little
    more or less than all keys. It is the slope of the curve, times the standard error of that
    room."""
    weights = {each.access.key: (each.access.weight, each.access.size) for each in calls}
    sampled = [each for each in weights.values() if each[0] > 1]
    all_sampled = sum(weight for weight, _ in sampled)
    weight = all_sampled / len(sampled)
    share = all_sampled / (all_sampled + len(weights) - len(sampled))
    # Each key of that weight is in the sample or not by itself; the more their sizes differ, the
    # more it matters which are.
    mean = sum(each for _, each in sampled) / len(sampled)
    spread = sum(each * each for _, each in sampled) / len(sampled) / mean**2
    relative = share * sqrt(spread * (weight - 1) / max(share * size, weight))
    more, less = (simulated(each).hit_ratio or 0.0 for each in (size * _STEP, size / _STEP))
    return abs(more - less) / (_STEP - 1 / _STEP) * relative


class MeasuredContents(NamedTuple):
    """What a scan found in a cache: its entries, their ``bytes``, and the average bytes of an entry
    of each group. ``used``: the memory of its server, of which ``empty`` without any entry;
    ``share``: this cache's share of the memory of all entries."""

    entries: int
    bytes: int
    groups: Mapping[str, float]
    used: int
    empty: int = 0
    share: float = 1.0

    @property
    def mean(self) -> float:
        """The average bytes of an entry."""
        return self.bytes / self.entries

    @property
    def _each(self) -> float:
        """The memory of the server for each entry of this cache."""
        return (self.used - self.empty) / self.entries

    @property
    def slabs(self) -> Slabs:
        """How memcached divides its memory."""
        return Slabs(self.mean, self.share * self._each)

    def room(self, limit: float) -> float:
        """The entries for which a server with ``limit`` bytes has room."""
        return max(1.0, (limit - self.empty) / self._each)

    def bytes_for(self, room: float) -> int:
        """The bytes of a server with room for so many entries."""
        return round(self.empty + room * self._each)


def sized(
    workloads: Sequence[Sequence[SimulatedCall]], contents: MeasuredContents
) -> list[list[SimulatedCall]]:
    """``workloads`` with the size of each entry: the bytes of its value as far as known, and the
    backend's overhead."""
    value_sizes = {
        each.access.key: each.bytes for workload in workloads for each in workload if each.bytes
    }
    overheads = _overheads(workloads, value_sizes, contents)
    found = []
    for workload in workloads:
        sized_calls = []
        for each in workload:
            value = value_sizes.get(each.access.key)
            if value is None:
                size = contents.groups.get(each.group, contents.mean)
            else:
                size = max(1.0, value + overheads[each.group])
            access = each.access._replace(size=size / contents.mean)
            sized_calls.append(each._replace(access=access))
        found.append(sized_calls)
    return found


def _overheads(
    workloads: Sequence[Sequence[SimulatedCall]],
    value_sizes: Mapping[Hashable, int],
    contents: MeasuredContents,
) -> Mapping[str, float]:
    """The average bytes of an entry without its value, by group."""
    group_of = {each.access.key: each for workload in workloads for each in workload}
    sums: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for entry, value in value_sizes.items():
        each = group_of[entry]
        for name in (each.group, ""):
            sums[name][0] += each.access.weight * value
            sums[name][1] += each.access.weight
    total, weight = sums[""]
    mean_overhead = contents.mean - total / weight if weight else 0.0
    return defaultdict(
        lambda: mean_overhead,
        {
            name: contents.groups[name] - total / weight
            for name, (total, weight) in sums.items()
            if name in contents.groups
        },
    )


class _PossibleHit(NamedTuple):
    """A lookup that may hit if the entry is kept since the lookup before: ``room`` times time."""

    room: float
    call: SimulatedCall


def ceiling(calls: Collection[SimulatedCall], size: float, since: float = -inf) -> Outcomes:
    """The most hits of a cache with room for ``size``, of the lookups from ``since`` on."""
    counts: dict[Hashable, LookupCount] = {}
    possible, ends = [], since
    for hit in _possible_hits(calls, since):
        each = hit.call
        ends = max(ends, each.access.at)
        count = counts.setdefault(each.access.key, LookupCount(each.access.weight, each.group))
        count.lookups += each.times
        if hit.room < inf:
            possible.append(hit)
        elif each.fills:
            count.hits += each.times - 1
    began = min((each.access.at for each in calls), default=0.0)
    left = size * (ends - max(since, began))
    for room, each in sorted(possible, key=lambda hit: hit.room):
        count = counts[each.access.key]
        count.hits += each.times if left >= 0 else each.times - 1
        left -= room * each.access.weight
    return Outcomes(counts)


def _possible_hits(calls: Collection[SimulatedCall], since: float) -> Iterator[_PossibleHit]:
    """The lookups that count; the room of those that cannot hit is infinite."""
    known: dict[Hashable, tuple[float, float]] = {}
    for each in calls:
        access = each.access
        before, ends = known.get(access.key, (inf, -inf))
        is_there = ends > access.at
        if each.kind == "clear":
            known.clear()
        elif each.kind == "delete":
            known.pop(access.key, None)
        elif each.kind != "touch" or is_there:
            if each.kind != "get" or each.fills or is_there:
                known[access.key] = access.at, access.at + access.timeout
            if each.kind == "get" and each.counted and access.at >= since:
                kept = access.size * (access.at - max(before, since)) if is_there else inf
                yield _PossibleHit(kept, each)


class Optimum(Model):
    """What no policy exceeds (Belady, 1966): the entry that is asked for last goes, or the one
    just written if that is it. It knows what comes, so it is made of all lookups together."""

    def __init__(self, size: float, accesses: Sequence[Access]) -> None:
        super().__init__(size)
        self._places: dict[Key, deque[int]] = {}
        self._times = [access.at for access in accesses]
        for place, access in enumerate(accesses):
            self._places.setdefault(access.key, deque()).append(place)
        self._latest: list[tuple[float, int, Key]] = []
        self._next: dict[Key, float] = {}
        self._number = 0

    def look_up(self, access: Access) -> bool:
        """Look up the key, which comes next among the accesses that the model was made of."""
        self._places[access.key].popleft()
        return super().look_up(access)

    def _found(self, access: Access) -> None:
        self._plan(access)

    def _written(self, access: Access) -> None:
        self._plan(access)

    def _plan(self, access: Access) -> None:
        # What is never asked for may be written all the same.
        waiting = self._places.get(access.key)
        # What expires before it is asked for might as well never be.
        comes = float(waiting[0]) if waiting else inf
        if waiting and self._times[waiting[0]] >= self._ends[access.key]:
            comes = inf
        self._next[access.key] = comes
        self._number += 1
        heapq.heappush(self._latest, (-comes, self._number, access.key))

    def _dropped(self, key: Key) -> None:
        del self._next[key]

    def _victim(self, access: Access) -> Key:
        while True:
            comes, _, key = heapq.heappop(self._latest)
            if self._next.get(key) == -comes:
                return key
