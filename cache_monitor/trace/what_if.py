"""What another size, policy or timeout would have hit, with the error of the estimate.

Sizes are in entries of the average size: a cache that holds a thousand entries today has room for a
thousand such entries, whatever else uses the memory of its server.

:func:`ceiling` is what no cache exceeds whose entries differ in size. The true optimum takes too
long to find. But to keep an entry from one lookup to the next takes room times time, of which a
cache has only so much; to give it to the lookups that need least is better than any policy can do
(Berger, Beckmann and Harchol-Balter, "Practical Bounds on Optimal Caching with Variable Object
Sizes", 2018).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from math import inf, sqrt
from types import MappingProxyType
from typing import NamedTuple

from cache_monitor.trace.models.base import Access, Model
from cache_monitor.trace.models.django import BY_THIRDS, Cull, Database, FileBased, LocMem
from cache_monitor.trace.models.memcached import Memcached, Slabs
from cache_monitor.trace.models.policies import Arc, Lfu, S3Fifo
from cache_monitor.trace.models.redis import NoEviction, RedisLfu, RedisLru, RedisRandom, RedisTtl
from cache_monitor.trace.workload import EMPTY, LOOK_UP, PUT, REMOVE, RENEW, Demand

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
"""By the name that users write: what each backend does, and others for comparison."""

CULLING = frozenset({"locmem", "database", "files"})
"""Policies of Django's own backends, which count their entries (``MAX_ENTRIES``)."""


def model_of(
    policy: str, cull: Cull = BY_THIRDS, slabs: Slabs | None = None
) -> Callable[[float], Model]:
    """What makes the models of ``policy``; ``cull`` is how those of ``CULLING`` make room, and
    ``slabs`` how memcached's memory goes to entries, as far as it is known."""
    make: Callable[..., Model] = POLICIES[policy]
    if policy == _MEMCACHED:
        return partial(make, slabs=slabs)
    return partial(make, cull=cull) if policy in CULLING else make


_Z = 1.96
"""Standard errors within which 95 of 100 estimates are."""
_STEP = 1.15
"""By how much the size is varied to see what a few keys more or less in the sample do."""


class Prediction(NamedTuple):
    """A hit ratio, 0 to 1; in 95 of 100 cases the truth is within ``error`` of it, which is 0
    where all keys are in the trace. Both are None where nothing was looked up; ``lookups`` is how
    much was, by weight, and ``hits`` what hit, by groups. ``by_room`` is the part of the error that
    comes from how the sample fills the cache."""

    hit_ratio: float | None
    error: float | None
    lookups: float = 0.0
    hits: Mapping[str, float] = MappingProxyType({})
    by_room: float = 0.0


def predict(
    demands: Collection[Demand],
    make: Callable[[float], Model],
    size: float,
    *,
    factor: float = 1.0,
    group: str | None = None,
    since: float = -inf,
    by_room: float | None = None,
) -> Prediction:
    """What a cache with room for ``size`` entries would have hit, if ``make`` makes its model and
    all timeouts are multiplied by ``factor``; where ``group`` is given its timeouts alone, and what
    is told is of its lookups. Those before ``since`` (Unix time) fill the cache and do not count.
    ``by_room`` may be taken from a prediction that differs little, which saves two simulations."""
    outcomes = simulate(demands, make(size), factor, group, since)
    if by_room is None and outcomes.are_sampled:
        change = _Counterfactual(make, size, factor, group, since)
        by_room = _error_by_room(demands, change) if size < inf else 0.0
    return outcomes.predicted(by_room or 0.0)


def combined(predictions: Sequence[Prediction]) -> Prediction:
    """Those of several caches, such as one in each process, in one."""
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
    return Prediction(ratio, error, lookups, hits, max(each.by_room for each in predictions))


class Count:
    """The lookups of one key, and those of them that hit."""

    __slots__ = ("group", "hits", "lookups", "weight")

    def __init__(self, weight: float, group: str) -> None:
        self.hits = self.lookups = 0
        self.weight = weight
        self.group = group


class Outcomes(NamedTuple):
    """What a simulation gave, by key."""

    keys: Mapping[object, Count]

    @property
    def lookups(self) -> float:
        """All lookups, by weight."""
        return sum(each.lookups * each.weight for each in self.keys.values())

    @property
    def hit_ratio(self) -> float | None:
        """Hits divided by lookups; None without lookups."""
        hits = sum(each.hits * each.weight for each in self.keys.values())
        return hits / self.lookups if self.lookups else None

    def hits_by_group(self) -> Mapping[str, float]:
        """What hit, by weight."""
        hits = Counter[str]()
        for each in self.keys.values():
            hits[each.group] += each.hits * each.weight  # type: ignore[assignment]  # no whole number
        return hits

    @property
    def are_sampled(self) -> bool:
        """Whether the keys stand for others."""
        return any(count.weight != 1 for count in self.keys.values())

    def predicted(self, by_room: float = 0.0) -> Prediction:
        """The hit ratio with its error."""
        ratio = self.hit_ratio
        if ratio is None:
            return Prediction(None, None)
        hits = self.hits_by_group()
        if not self.are_sampled:
            return Prediction(ratio, 0.0, self.lookups, hits)
        error = min(1.0, _Z * sqrt(self.standard_error(ratio) ** 2 + by_room**2))
        return Prediction(ratio, error, self.lookups, hits, by_room)

    def standard_error(self, ratio: float) -> float:
        """Of ``ratio``, since only some keys are in. Each is in by itself with the chance of one
        over its weight (Horvitz and Thompson, 1952), those of weight 1 always."""
        variance = sum(
            each.weight * (each.weight - 1) * (each.hits - ratio * each.lookups) ** 2
            for each in self.keys.values()
        )
        return sqrt(variance) / self.lookups


def simulate(
    demands: Iterable[Demand],
    model: Model,
    factor: float = 1.0,
    group: str | None = None,
    since: float = -inf,
) -> Outcomes:
    """Ask all of it of ``model``; what is counted is from ``since`` on, and of ``group`` alone
    where one is given."""
    counts: dict[object, Count] = {}
    for kind, asked, fills, own, times, is_known, _ in demands:
        access = asked
        is_meant = group in {None, own}
        if factor != 1.0 and is_meant:
            access = asked._replace(lasts=asked.lasts * factor)
        if kind != LOOK_UP:
            _change(model, kind, access)
            continue
        hits = int(model.look_up(access))
        if not hits and fills:
            model.write(access)
        if times > 1 and model.look_up_again(access, times - 1):
            hits += times - 1
        if is_meant and is_known and access.at >= since:
            count = counts.get(access.key)
            if count is None:
                count = counts[access.key] = Count(access.weight, own)
            count.lookups += times
            count.hits += hits
    return Outcomes(counts)


def _change(model: Model, kind: str, access: Access) -> None:
    if kind == PUT:
        model.write(access)
    elif kind == RENEW:
        model.renew(access)
    elif kind == REMOVE:
        model.delete(access.key)
    elif kind == EMPTY:
        model.clear()


class _Counterfactual(NamedTuple):
    """What is other than it was."""

    make: Callable[[float], Model]
    size: float
    factor: float
    group: str | None
    since: float

    def hit_ratio(self, demands: Iterable[Demand], size: float) -> float:
        """With room for ``size`` entries instead."""
        model = self.make(size)
        outcomes = simulate(demands, model, self.factor, self.group, self.since)
        return outcomes.hit_ratio or 0.0


def _error_by_room(demands: Collection[Demand], change: _Counterfactual) -> float:
    """Of the hit ratio, since a sample of the keys fills a cache a little more or less than all of
    them do: how steep the curve is there, times the standard error of the room they take."""
    weights = {each.access.key: (each.access.weight, each.access.size) for each in demands}
    sampled = [each for each in weights.values() if each[0] > 1]
    all_sampled = sum(weight for weight, _ in sampled)
    weight = all_sampled / len(sampled)
    share = all_sampled / (all_sampled + len(weights) - len(sampled))
    size = change.size
    # As many keys of that weight fill the cache, each in or out by itself; and the more their sizes
    # differ, the more it matters which.
    mean = sum(each for _, each in sampled) / len(sampled)
    spread = sum(each * each for _, each in sampled) / len(sampled) / mean**2
    relative = share * sqrt(spread * (weight - 1) / max(share * size, weight))
    more = change.hit_ratio(demands, size * _STEP)
    less = change.hit_ratio(demands, size / _STEP)
    return abs(more - less) / (_STEP - 1 / _STEP) * relative


class MeasuredContents(NamedTuple):
    """What a cache held when somebody looked: its entries, the ``bytes`` that these took, and the
    bytes of an entry of each group, on the average. ``used`` is what its server took for everybody,
    of which ``empty`` even without entries; ``share`` of what entries took was this cache's."""

    entries: int
    bytes: int
    groups: Mapping[str, float]
    used: int
    empty: int = 0
    share: float = 1.0

    @property
    def mean(self) -> float:
        """Bytes of an entry."""
        return self.bytes / self.entries

    @property
    def _each(self) -> float:
        """What the server takes for an entry of this cache, with all that comes with it."""
        return (self.used - self.empty) / self.entries

    @property
    def slabs(self) -> Slabs:
        """The same for memcached."""
        return Slabs(self.mean, self.share * self._each)

    def room(self, limit: float) -> float:
        """The entries for which a server has room that may take ``limit`` bytes."""
        return max(1.0, (limit - self.empty) / self._each)

    def bytes_for(self, room: float) -> int:
        """What a server may take that has room for so many entries."""
        return round(self.empty + room * self._each)


def sized(parts: Sequence[Sequence[Demand]], held: MeasuredContents) -> list[list[Demand]]:
    """``parts``, where each entry takes what it takes: its value's bytes as far as they were seen,
    and what the backend needs beside that."""
    values = _values(parts)
    beside = _beside(parts, values, held)
    found = []
    for part in parts:
        sized_part = []
        for each in part:
            value = values.get(each.access.key)
            if value is None:
                took = held.groups.get(each.group, held.mean)
            else:
                took = max(1.0, value + beside[each.group])
            access = each.access._replace(size=took / held.mean)
            sized_part.append(each._replace(access=access))
        found.append(sized_part)
    return found


def _values(parts: Sequence[Sequence[Demand]]) -> dict[Hashable, int]:
    """The bytes of the values, by their entries."""
    return {each.access.key: each.bytes for part in parts for each in part if each.bytes}


def _beside(
    parts: Sequence[Sequence[Demand]], values: Mapping[Hashable, int], held: MeasuredContents
) -> Mapping[str, float]:
    """What an entry takes beside its value, by group: what it takes, less its value's bytes."""
    group_of = {each.access.key: each for part in parts for each in part}
    sums: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for entry, value in values.items():
        each = group_of[entry]
        for name in (each.group, ""):
            sums[name][0] += each.access.weight * value
            sums[name][1] += each.access.weight
    total, weight = sums[""]
    usual = held.mean - total / weight if weight else 0.0
    return defaultdict(
        lambda: usual,
        {
            name: held.groups[name] - total / weight
            for name, (total, weight) in sums.items()
            if name in held.groups
        },
    )


class _Hit(NamedTuple):
    """A lookup that may hit, where the entry has kept its room so long: ``room`` times time."""

    room: float
    demand: Demand


def ceiling(demands: Collection[Demand], size: float, since: float = -inf) -> Outcomes:
    """What a cache with room for ``size`` hits at most of the lookups from ``since`` on."""
    counts: dict[Hashable, Count] = {}
    possible, ends = [], since
    for hit in _possible(demands, since):
        each = hit.demand
        ends = max(ends, each.access.at)
        count = counts.setdefault(each.access.key, Count(each.access.weight, each.group))
        count.lookups += each.times
        if hit.room < inf:
            possible.append(hit)
        elif each.fills:
            count.hits += each.times - 1
    left = size * (ends - max(since, _began(demands)))
    for room, each in sorted(possible, key=lambda hit: hit.room):
        count = counts[each.access.key]
        count.hits += each.times if left >= 0 else each.times - 1
        left -= room * each.access.weight
    return Outcomes(counts)


def _began(demands: Collection[Demand]) -> float:
    return min((each.access.at for each in demands), default=0.0)


def _possible(demands: Collection[Demand], since: float) -> Iterator[_Hit]:
    """The lookups that count; of those that cannot hit the room is infinite."""
    known: dict[Hashable, tuple[float, float]] = {}
    for each in demands:
        access = each.access
        before, ends = known.get(access.key, (inf, -inf))
        is_there = ends > access.at
        if each.kind == EMPTY:
            known.clear()
        elif each.kind == REMOVE:
            known.pop(access.key, None)
        elif each.kind != RENEW or is_there:
            if each.kind != LOOK_UP or each.fills or is_there:
                known[access.key] = access.at, access.at + access.lasts
            if each.kind == LOOK_UP and each.counted and access.at >= since:
                kept = access.size * (access.at - max(before, since)) if is_there else inf
                yield _Hit(kept, each)
