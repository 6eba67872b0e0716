"""What the dashboard shows of other sizes, policies and timeouts, computed beforehand.

Whoever rolls up does it now and then, in small steps and within bounds. What is most worth knowing
comes first, since the time that it may take can end before it is done.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property, partial
from itertools import islice
from math import inf, log
from typing import NamedTuple, TypeVar

from msgspec import Struct, structs

from cache_monitor.concurrency import OutOfTime, Paced
from cache_monitor.periods import rfc3339
from cache_monitor.reports.what_if import (
    LEAST_LOOKUPS,
    CacheFacts,
    CacheWhatIf,
    Entries,
    Policy,
    TimeoutOption,
    Timeouts,
    is_seen,
    not_yet_predicted,
    saved_per_hour,
    usual_timeouts,
)
from cache_monitor.stats.window import Duration, UnixTime
from cache_monitor.trace.freshness import Values, entries_by_group, stale_share
from cache_monitor.trace.reading import CacheTrace, hit_ratio
from cache_monitor.trace.simulated.base import Model
from cache_monitor.trace.simulated.policies import Optimum
from cache_monitor.trace.what_if import POLICIES, Prediction, ceiling, combined, predict, simulate
from cache_monitor.trace.workload import SimulatedCall, simulated_calls

SIZES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0)
"""Times the size of today."""
OF_WHAT_IT_HOLDS = (0.125, 0.25, 0.5, 1.0)
"""Times the entries that a cache holds, where that is far below what it has room for."""
_FAR_BELOW = 4
FACTORS = (0.25, 0.5, 2.0, 4.0, 8.0)
"""Times the timeout of today."""
COMPARED = ("allkeys-lru", "allkeys-lfu", "s3-fifo")
"""Policies that are shown beside the cache's own."""
WARM_UP = 0.25
"""The share of the trace that fills the simulated cache before anything counts."""
_LOOKS = 50
"""How often it is looked how many entries a simulated cache has."""
_DIGITS = 5
MOST_OFF = 0.05
"""How far from the truth the simulation of the cache as it is may be, beside its error."""


class StoredPrediction(Struct, frozen=True, kw_only=True):
    """A prediction as a store keeps it, and the seconds that it took to compute."""

    computed_at: UnixTime
    cpu_seconds: Duration
    predicted: CacheWhatIf


class PredictionPeriod(NamedTuple):
    """The trace that there is, in Unix time."""

    since: float
    until: float

    @property
    def counted_from(self) -> float:
        """From when on lookups count."""
        return self.since + WARM_UP * (self.until - self.since)


def predicted(
    parts: list[CacheTrace], period: PredictionPeriod, known: CacheFacts, pace: Callable[[], None]
) -> CacheWhatIf:
    """What another size, policy or timeout of a cache would have hit; ``parts`` are empty then.
    ``pace`` is called now and then, and may raise :class:`OutOfTime`; what there is by then is
    told."""
    demanded = known.sized(
        [simulated_calls(each.events, each.groups, each.alias) for each in parts]
    )
    lookups = sum(each.times for part in parts for each in part.lookups(period.counted_from))
    found = structs.replace(
        not_yet_predicted(parts, known),
        since=rfc3339(period.counted_from),
        until=rfc3339(period.until),
        trace_seconds=round(period.until - period.since, 3),
        lookups=lookups,
        observed_hit_ratio=_rounded(hit_ratio(parts, period.counted_from)),
    )
    values = Values(event for each in parts for event in each.events)
    # They take as much memory as what was made of them.
    parts.clear()
    if lookups < LEAST_LOOKUPS:
        return found
    for known_by_now in _Simulations(demanded, values, period, known, pace).results():
        found = structs.replace(found, **known_by_now)
        if not is_like_the_truth(found):
            break
    return found


def is_like_the_truth(found: CacheWhatIf) -> bool:
    """Whether the simulation of the cache as it is gives about what it really gave. Where it does
    not, what it gives for others is worth nothing."""
    simulated, observed = found.hit_ratio, found.observed_hit_ratio
    if simulated is None or observed is None:
        return False
    return abs(simulated - observed) <= MOST_OFF + (found.error or 0.0)


class _Simulations:
    """The simulations of one cache, and what they are compared with."""

    def __init__(
        self,
        demanded: Sequence[Sequence[SimulatedCall]],
        values: Values,
        period: PredictionPeriod,
        known: CacheFacts,
        pace: Callable[[], None],
    ) -> None:
        self._demanded = [Paced(each, pace) for each in demanded]
        self._values = values
        self._entries_of = entries_by_group(demanded)
        self._period = period
        self._known = known
        self._since = period.counted_from
        self._make = known.make
        self._now = Prediction(None, None)
        self._by_room: dict[int, float] = {}

    def results(self) -> Iterator[dict[str, object]]:
        """Fields of the answer, one after the other until there is no time left."""
        try:
            room = inf if self._known.room is None else float(self._known.room)
            self._now = self._predict(self._make, room)
            size = self._size()
            yield {
                "hit_ratio": _rounded(self._now.hit_ratio),
                "error": _rounded(self._now.error),
                "size": size,
            }
            # The nearest to today's first.
            sizes = sorted(self._sizes(size), key=lambda each: abs(log(each / size)))
            for entries in _longer(self._own(each) for each in sizes):
                curve = _by_size(entries)
                yield {"entries": curve, "bytes": self._known.in_bytes(curve)}
            for timeouts in _longer(self._timeouts(room)):
                yield {"timeouts": timeouts}
            for entries in _longer(self._best(each) for each in sizes):
                yield {"optimum": _by_size(entries)}
            names = [name for name in COMPARED if name != self._known.policy]
            for policies in _longer(self._policy(name, size, sizes) for name in names):
                yield {"policies": policies}
        except OutOfTime:
            return

    def _size(self) -> int:
        """The entries that stand for the size of today."""
        return self._known.room or self._held()

    def _held(self) -> int:
        """At most: without a limit a cache needs that much room to hit what it hits."""
        most = round(_most_held(self._demanded, self._make))
        return max(1, self._known.held or 0, most)

    def _sizes(self, size: int) -> set[int]:
        sizes = {round(factor * size) for factor in SIZES}
        if self._known.room is not None and _FAR_BELOW * (held := self._held()) < size:
            sizes |= {round(factor * held) for factor in OF_WHAT_IT_HOLDS}
        return {max(1, each) for each in sizes}

    def _own(self, size: int) -> Entries:
        found = self._predict(self._make, size)
        self._by_room[size] = found.fill_error
        return self._entries(size, found)

    def _best(self, size: int) -> Entries:
        fill_error = self._by_room.get(size, 0.0)
        if self._known.has_sizes:
            most = [
                ceiling(each, size, self._since).predicted(fill_error) for each in self._demanded
            ]
            found = min(combined(most), self._unlimited, key=lambda each: each.hit_ratio or 0.0)
        else:
            found = combined(
                [
                    predict(
                        each, _optimum_for(each), size, since=self._since, fill_error=fill_error
                    )
                    for each in self._demanded
                ]
            )
        return self._entries(size, found)

    @cached_property
    def _unlimited(self) -> Prediction:
        """What is hit where nothing ever goes."""
        return self._predict(self._make, inf)

    def _policy(self, name: str, size: int, sizes: Sequence[int]) -> Policy:
        curve = [
            self._entries(
                each, self._predict(POLICIES[name], each, fill_error=self._by_room.get(each, 0.0))
            )
            for each in sizes
        ]
        same = next(each for each in curve if each.entries == size)
        return Policy(
            policy=name,
            hit_ratio=same.hit_ratio,
            error=same.error,
            seconds_saved_per_hour=same.seconds_saved_per_hour,
            entries=_by_size(curve),
        )

    def _timeouts(self, room: float) -> Iterator[Timeouts]:
        usual = usual_timeouts(self._demanded, without=self._known.given)
        for group, timeout in usual.items():
            # Without a limit no other group has a say in what this one hits.
            demanded = (
                self._demanded if room < inf else [_of(group, each) for each in self._demanded]
            )
            group_now = self._predict(self._make, room, group=group, demanded=demanded)
            if group_now.hit_ratio is None:
                continue
            another = partial(
                self._predict,
                self._make,
                room,
                group=group,
                demanded=demanded,
                fill_error=group_now.fill_error,
            )
            rewrites = self._values.rewrites(self._entries_of[group])
            yield Timeouts(
                group=group,
                timeout=round(timeout, 3),
                hit_ratio=_rounded(group_now.hit_ratio),
                lookups=round(group_now.lookups),
                options=[
                    self._option((group, timeout, each), another, group_now) for each in FACTORS
                ],
                rewrites=round(rewrites.rewrites),
                unchanged=_rounded(rewrites.unchanged),
                seconds_to_change=rewrites.seconds_to_change,
                stale_share=self._stale(group, 1.0),
            )

    def _option(
        self,
        changed: tuple[str, float, float],
        another: Callable[..., Prediction],
        now: Prediction,
    ) -> TimeoutOption:
        group, timeout, factor = changed
        found = Prediction(None, None)
        if is_seen(timeout * factor, self._period.until - self._period.since):
            found = another(factor=factor)
        return TimeoutOption(
            factor=factor,
            timeout=round(timeout * factor, 3),
            hit_ratio=_rounded(found.hit_ratio),
            error=_rounded(found.error),
            seconds_saved_per_hour=self._saved(found, now),
            stale_share=None if found.hit_ratio is None else self._stale(group, factor),
        )

    def _stale(self, group: str, factor: float) -> float | None:
        return _rounded(stale_share(self._demanded, self._values, group, factor))

    def _entries(self, size: int, found: Prediction) -> Entries:
        return Entries(
            entries=size,
            hit_ratio=_rounded(found.hit_ratio),
            error=_rounded(found.error),
            seconds_saved_per_hour=self._saved(found, self._now),
        )

    def _saved(self, found: Prediction, now: Prediction) -> float | None:
        """What is saved an hour more than ``now``."""
        seconds = self._period.until - self._since
        return saved_per_hour(found, now, self._known.computed, seconds)

    def _predict(
        self,
        make: Callable[[float], Model],
        size: float,
        *,
        factor: float = 1.0,
        group: str | None = None,
        fill_error: float | None = None,
        demanded: Sequence[Collection[SimulatedCall]] | None = None,
    ) -> Prediction:
        changed = partial(
            predict, factor=factor, group=group, since=self._since, fill_error=fill_error
        )
        parts = self._demanded if demanded is None else demanded
        return combined([changed(each, make, size) for each in parts])


def _most_held(
    demanded: Sequence[Collection[SimulatedCall]], make: Callable[[float], Model]
) -> float:
    """How many entries there are at most where nothing is evicted, by weight, as far as some looks
    tell."""
    held = 0.0
    for part in demanded:
        model, simulated_calls = make(inf), iter(part)
        while some := [*islice(simulated_calls, len(part) // _LOOKS + 1)]:
            simulate(some, model)
            held = max(held, model.held_at(max(each.access.at for each in some)))
    return held


def _of(group: str, demanded: Paced[SimulatedCall]) -> Paced[SimulatedCall]:
    return demanded.only(lambda each: each.group == group or each.kind == "clear")


def _optimum_for(demanded: Collection[SimulatedCall]) -> Callable[[float], Model]:
    lookups = [each.access for each in demanded if each.kind == "get"]
    return lambda size: Optimum(size, lookups)


T = TypeVar("T")


def _longer(found: Iterable[T]) -> Iterator[list[T]]:
    """What was found so far, each time that there is more."""
    so_far: list[T] = []
    for each in found:
        so_far.append(each)
        yield list(so_far)


def _by_size(curve: Iterable[Entries]) -> list[Entries]:
    return sorted(curve, key=lambda each: each.entries)


def _rounded(ratio: float | None) -> float | None:
    return None if ratio is None else round(min(max(ratio, 0.0), 1.0), _DIGITS)
