"""Simulations of one cache with another size, policy or timeout, from its trace."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from math import inf, log
from statistics import median
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from msgspec import structs

from cache_monitor.concurrency import OutOfTime, Paced
from cache_monitor.what_if import (
    FACTORS,
    GROUPS,
    PERIODS,
    Bytes,
    Entries,
    Policy,
    TimeoutOption,
    Timeouts,
)
from cache_monitor.what_if.freshness import Values, entries_by_group, stale_share
from cache_monitor.what_if.hit_ratios import (
    CULLING,
    POLICIES,
    MeasuredContents,
    Optimum,
    Prediction,
    ceiling,
    combined,
    model_of,
    predict,
    simulate,
    sized,
)
from cache_monitor.what_if.simulated_caches import BY_THIRDS, Cull, Model
from cache_monitor.what_if.workload import SimulatedCall

WARM_UP = 0.25
"""The share of the trace that fills the simulated cache before anything counts."""
_LOOKS = 50
"""How often the entries of a simulated cache are counted."""
_DIGITS = 5

SIZES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0)
"""Times the size of today."""
OF_WHAT_IT_HOLDS = (0.125, 0.25, 0.5, 1.0)
"""Times the entries that a cache holds, where that is far below what it has room for."""
_FAR_BELOW = 4
COMPARED = ("allkeys-lru", "allkeys-lfu", "s3-fifo")
"""Policies that are shown beside the cache's own."""

T = TypeVar("T")

Make = Callable[[float], Model]
"""Makes the model of a cache of a size."""


class CacheFacts(NamedTuple):
    """What is known of a cache beside its trace: the policy of its backend, the entries that it
    takes, if they are limited, and holds; what the values of its groups take to compute, in
    seconds; the groups whose timeouts are not for the project to choose; how a backend that counts
    its entries makes room; and what the entries take, if somebody has looked."""

    policy: str
    policy_is_assumed: bool = False
    room: int | None = None
    held: int | None = None
    computed: Mapping[str, float] = MappingProxyType({})
    given: Collection[str] = ()
    cull: Cull = BY_THIRDS
    memory: MeasuredContents | None = None

    def sized(self, workloads: list[list[SimulatedCall]]) -> list[list[SimulatedCall]]:
        """``workloads``, with what each entry takes where the cache has room for bytes."""
        if self.memory is None or not self.has_sizes:
            return workloads
        return sized(workloads, self.memory)

    @property
    def has_sizes(self) -> bool:
        """Whether it matters how large each entry is."""
        return self.memory is not None and self.policy not in CULLING

    def in_bytes(self, curve: Iterable[Entries]) -> list[Bytes]:
        """The same for the memory that those entries take; nothing where that is not known."""
        if self.memory is None:
            return []
        return [
            Bytes(bytes=self.memory.bytes_for(each.entries), **structs.asdict(each))
            for each in curve
        ]

    @property
    def make(self) -> Make:
        """What makes the model of the cache as it is."""
        return model_of(self.policy, self.cull, self.memory.slabs if self.memory else None)

    @property
    def today(self) -> float:
        """Its room, in entries."""
        return inf if self.room is None else float(self.room)


class PredictionPeriod(NamedTuple):
    """The trace that there is, in Unix time, of which the share ``warm_up`` fills the simulated
    cache."""

    since: float
    until: float
    warm_up: float = WARM_UP

    @property
    def counted_from(self) -> float:
        """From when on lookups count."""
        return self.since + self.warm_up * (self.until - self.since)


class TimeoutChange(NamedTuple):
    """A timeout in seconds, how many times as long as the usual one it is, and whether all entries
    are given it, or each so many times its own."""

    timeout: float
    factor: float
    is_fixed: bool = False


class Simulations:
    """Simulations of one cache, whose traces are one, or one for each process that has a cache for
    itself. ``pace`` is called now and then, and may raise :class:`OutOfTime`."""

    def __init__(
        self,
        workloads: list[list[SimulatedCall]],
        values: Values,
        known: CacheFacts,
        period: PredictionPeriod,
        pace: Callable[[], None],
    ) -> None:
        self.known = known
        self._workloads = [Paced(each, pace) for each in workloads]
        self._values = values
        self._entries_of = entries_by_group(workloads)
        self.period = period
        self.on_step: Callable[[], None] = lambda: None
        """Called after each simulation."""

    @cached_property
    def today(self) -> Prediction:
        """What is hit by the cache as it is."""
        return self.predict(self.known.today)

    def predict(
        self,
        size: float,
        make: Make | None = None,
        *,
        factor: float = 1.0,
        group: str | None = None,
        fill_error: float | None = None,
        workloads: Sequence[Collection[SimulatedCall]] | None = None,
    ) -> Prediction:
        """What is hit with room for ``size``; of ``group``'s lookups alone where its timeouts
        change."""
        found = combined(
            [
                predict(
                    each,
                    make or self.known.make,
                    size,
                    factor=factor,
                    group=group,
                    since=self.period.counted_from,
                    fill_error=fill_error,
                )
                for each in (self._workloads if workloads is None else workloads)
            ]
        )
        self.on_step()
        return found

    def observed(self, group: str | None = None) -> float | None:
        """The hit ratio that the lookups which count, of ``group`` if given, really had."""
        lookups = hits = 0.0
        for call in (each for some in self._workloads for each in some):
            is_wanted = call.kind == "get" and call.counted and group in {None, call.group}
            if is_wanted and call.access.at >= self.period.counted_from:
                weight = call.times * call.access.weight
                lookups += weight
                hits += weight * call.hit
        return hits / lookups if lookups else None

    def ceiling(self, size: int, fill_error: float) -> Prediction:
        """What no policy exceeds."""
        if self.known.has_sizes:
            most = [
                ceiling(each, size, self.period.counted_from).predicted(fill_error)
                for each in self._workloads
            ]
            return min(combined(most), self._unlimited, key=lambda each: each.hit_ratio or 0.0)
        return combined(
            [
                predict(
                    each,
                    _optimum_for(each),
                    size,
                    since=self.period.counted_from,
                    fill_error=fill_error,
                )
                for each in self._workloads
            ]
        )

    @cached_property
    def _unlimited(self) -> Prediction:
        """What is hit where nothing ever goes."""
        return self.predict(inf)

    def most_held(self) -> int:
        """How many entries there are at most where nothing is evicted, by weight, as far as some
        looks tell."""
        held = 0.0
        for workload in self._workloads:
            model, calls = self.known.make(inf), iter(workload)
            while some := [*islice(calls, len(workload) // _LOOKS + 1)]:
                simulate(some, model)
                held = max(held, model.held_at(max(each.access.at for each in some)))
        return round(held)

    def usual_timeouts(self, without: Collection[str] = ()) -> Mapping[str, float]:
        """The median timeout of the groups that have one, those with the most lookups."""
        lasts: dict[str, list[float]] = {}
        lookups: dict[str, float] = {}
        for kind, access, _, group, times, *_ in (
            each for some in self._workloads for each in some
        ):
            if group in without:
                continue
            if kind == "get":
                lookups[group] = lookups.get(group, 0.0) + times * access.weight
            if kind in {"get", "set"} and access.timeout < inf:
                lasts.setdefault(group, []).append(access.timeout)
        busiest = sorted(lasts, key=lambda group: (-lookups.get(group, 0.0), group))
        return {group: median(lasts[group]) for group in busiest[:GROUPS] if group in lookups}

    def entries(self, size: int, found: Prediction) -> Entries:
        """``found``, for room for ``size``."""
        return Entries(entries=size, **self.figures(found))

    def figures(self, found: Prediction, now: Prediction | None = None) -> dict[str, Any]:
        """The fields that all answers have; ``now`` is what is hit today, of the whole cache unless
        given."""
        return {
            "hit_ratio": rounded(found.hit_ratio),
            "error": rounded(found.error),
            "seconds_saved_per_hour": self._saved(found, now or self.today),
        }

    def timeouts(
        self, group: str, timeout: float, changes: Iterable[TimeoutChange], *, is_quick: bool
    ) -> Timeouts | None:
        """A group with other timeouts; None where none of its lookups counts, or where the
        simulation of today's does not give what they found. ``is_quick``: the
        error of the options that comes from how the sample fills the cache is that of today's."""
        room = self.known.today
        # Without a limit no other group has a say in what this one hits.
        workloads = (
            self._workloads if room < inf else [_of(group, each) for each in self._workloads]
        )
        now = self.predict(room, group=group, workloads=workloads)
        if not are_alike(now.hit_ratio, self.observed(group), now.error):
            return None
        fill_error = now.fill_error if is_quick else None
        rewrites = self._values.rewrites(self._entries_of[group])
        return Timeouts(
            group=group,
            timeout=round(timeout, 3),
            hit_ratio=rounded(now.hit_ratio),
            lookups=round(now.lookups),
            options=[
                self._timeout_option(group, each, workloads, now, fill_error) for each in changes
            ],
            rewrites=round(rewrites.rewrites),
            unchanged=rounded(rewrites.unchanged),
            seconds_to_change=rewrites.seconds_to_change,
            stale_share=rounded(stale_share(workloads, self._values, group)),
        )

    def _timeout_option(
        self,
        group: str,
        change: TimeoutChange,
        workloads: Sequence[Collection[SimulatedCall]],
        now: Prediction,
        fill_error: float | None,
    ) -> TimeoutOption:
        factor = change.factor
        if change.is_fixed:
            workloads, factor = [_lasting(change.timeout, group, each) for each in workloads], 1.0
        found, stale = Prediction(None, None), None
        if self.period.until - self.period.since >= PERIODS * change.timeout:
            found = self.predict(
                self.known.today,
                factor=factor,
                group=group,
                fill_error=fill_error,
                workloads=workloads,
            )
        else:
            self.on_step()
        if found.hit_ratio is not None:
            stale = stale_share(workloads, self._values, group, factor)
        return TimeoutOption(
            factor=change.factor,
            timeout=round(change.timeout, 3),
            stale_share=rounded(stale),
            **self.figures(found, now),
        )

    def _saved(self, found: Prediction, now: Prediction) -> float | None:
        """The seconds of computing that ``found`` saves in an hour more than ``now``; None where it
        is not known what any value takes to compute."""
        gains = [
            (found.hits.get(group, 0.0) - now.hits.get(group, 0.0)) * each
            for group, each in self.known.computed.items()
            if group in found.hits or group in now.hits
        ]
        seconds = self.period.until - self.period.counted_from
        if found.hit_ratio is None or not gains or seconds <= 0:
            return None
        return round(sum(gains) * 3600 / seconds, 3)


MOST_OFF = 0.05
"""How far from the truth the simulation of the cache as it is may be, beside its error."""


def are_alike(simulated: float | None, observed: float | None, error: float | None) -> bool:
    """Whether the simulation of the cache as it is gives about what it really gave. Where it does
    not, what it gives for others is worth nothing."""
    if simulated is None or observed is None:
        return False
    return abs(simulated - observed) <= MOST_OFF + (error or 0.0)


class Predictions:
    """What the dashboard shows, simulated one after the other."""

    def __init__(self, simulations: Simulations) -> None:
        self._simulations = simulations
        self._known = simulations.known
        self._fill_errors: dict[int, float] = {}

    def results(self) -> Iterator[dict[str, object]]:
        """Fields of the answer, until there is no time left."""
        try:
            now = self._simulations.today
            # Without a limit a cache needs as much room as it holds to hit what it hits.
            size = self._known.room or self._held
            yield {
                "hit_ratio": rounded(now.hit_ratio),
                "error": rounded(now.error),
                "size": size,
            }
            # The nearest to today's first.
            sizes = sorted(self._sizes(size), key=lambda each: abs(log(each / size)))
            for entries in _longer(self._own(each) for each in sizes):
                curve = _by_size(entries)
                yield {"entries": curve, "bytes": self._known.in_bytes(curve)}
            for timeouts in _longer(self._timeouts()):
                yield {"timeouts": timeouts}
            for entries in _longer(self._best(each) for each in sizes):
                yield {"optimum": _by_size(entries)}
            names = [name for name in COMPARED if name != self._known.policy]
            for policies in _longer(self._policy(name, size, sizes) for name in names):
                yield {"policies": policies}
        except OutOfTime:
            return

    @cached_property
    def _held(self) -> int:
        return max(1, self._known.held or 0, self._simulations.most_held())

    def _sizes(self, size: int) -> set[int]:
        sizes = {round(factor * size) for factor in SIZES}
        if self._known.room is not None and _FAR_BELOW * self._held < size:
            sizes |= {round(factor * self._held) for factor in OF_WHAT_IT_HOLDS}
        return {max(1, each) for each in sizes}

    def _own(self, size: int) -> Entries:
        found = self._simulations.predict(size)
        self._fill_errors[size] = found.fill_error
        return self._simulations.entries(size, found)

    def _best(self, size: int) -> Entries:
        found = self._simulations.ceiling(size, self._fill_errors[size])
        return self._simulations.entries(size, found)

    def _policy(self, name: str, size: int, sizes: Sequence[int]) -> Policy:
        """A policy with the room of today, and with other ``sizes``."""
        curve = {}
        for each in sizes:
            fill_error = self._fill_errors[each]
            found = self._simulations.predict(each, POLICIES[name], fill_error=fill_error)
            curve[each] = self._simulations.entries(each, found)
        same = structs.asdict(curve[size]) | {"entries": _by_size(curve.values())}
        return Policy(policy=name, **same)

    def _timeouts(self) -> Iterator[Timeouts]:
        usual = self._simulations.usual_timeouts(without=self._known.given)
        for group, timeout in usual.items():
            changes = [TimeoutChange(timeout * factor, factor) for factor in FACTORS]
            found = self._simulations.timeouts(group, timeout, changes, is_quick=True)
            if found is not None:
                yield found


def _longer(found: Iterable[T]) -> Iterator[list[T]]:
    """What was found so far, each time that there is more."""
    so_far: list[T] = []
    for each in found:
        so_far.append(each)
        yield list(so_far)


def _by_size(curve: Iterable[Entries]) -> list[Entries]:
    return sorted(curve, key=lambda each: each.entries)


def _of(group: str, workload: Paced[SimulatedCall]) -> Paced[SimulatedCall]:
    return workload.only(lambda each: each.group == group or each.kind == "clear")


def _lasting(timeout: float, group: str, workload: Iterable[SimulatedCall]) -> list[SimulatedCall]:
    """The same, had all entries of ``group`` been stored for so many seconds."""
    return [
        each._replace(access=each.access._replace(timeout=timeout)) if each.group == group else each
        for each in workload
    ]


def _optimum_for(workload: Collection[SimulatedCall]) -> Make:
    lookups = [each.access for each in workload if each.kind == "get"]
    return lambda size: Optimum(size, lookups)


def rounded(ratio: float | None) -> float | None:
    return None if ratio is None else round(min(max(ratio, 0.0), 1.0), _DIGITS)
