"""What other sizes, policies and timeouts would hit: all that ``cache_whatif`` is asked for, and
beforehand, in small steps, what the dashboard shows.

Of the latter what is most worth knowing comes first, since the time that it may take can end before
it is done.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import count
from math import log
from typing import TypeVar

from msgspec import structs

from cache_monitor.concurrency import OutOfTime
from cache_monitor.periods import rfc3339
from cache_monitor.what_if.freshness import Values
from cache_monitor.what_if.hit_ratios import POLICIES, Prediction
from cache_monitor.what_if.schema import (
    FACTORS,
    LEAST_LOOKUPS,
    Bytes,
    CacheWhatIf,
    Entries,
    Policy,
    Question,
    Timeouts,
)
from cache_monitor.what_if.simulations import (
    CacheFacts,
    PredictionPeriod,
    Simulations,
    TimeoutChange,
    are_alike,
    rounded,
)
from cache_monitor.what_if.workload import CacheTrace, SimulatedCall, hit_ratio, simulated_calls

SIZES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0)
"""Times the size of today."""
OF_WHAT_IT_HOLDS = (0.125, 0.25, 0.5, 1.0)
"""Times the entries that a cache holds, where that is far below what it has room for."""
_FAR_BELOW = 4
COMPARED = ("allkeys-lru", "allkeys-lfu", "s3-fifo")
"""Policies that are shown beside the cache's own."""


def _not_yet_predicted(parts: Sequence[CacheTrace], known: CacheFacts) -> CacheWhatIf:
    """What is told of a cache of which nothing is predicted."""
    return CacheWhatIf(
        hit_ratio=None,
        error=None,
        keys=len({key for each in parts for key in each.groups}),
        rate=min((each.share for each in parts), default=1.0),
        policy=known.policy,
        policy_is_assumed=known.policy_is_assumed,
        room=known.room,
    )


def _workloads(parts: Sequence[CacheTrace], known: CacheFacts) -> list[list[SimulatedCall]]:
    return known.sized([simulated_calls(each.events, each.groups, each.alias) for each in parts])


def cache_what_if(
    parts: Sequence[CacheTrace],
    known: CacheFacts,
    asked: Question,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> CacheWhatIf:
    """What another size, policy or timeout would have hit, by the trace of one cache's parts.
    ``on_progress`` is told after each simulation how many are done, and of how many at most."""
    found = _not_yet_predicted(parts, known)
    lookups = sum(each.times for part in parts for each in part.lookups())
    if lookups < LEAST_LOOKUPS:
        return structs.replace(
            found,
            problem=(
                f"The trace of this period has {lookups} lookups; a prediction takes "
                f"{LEAST_LOOKUPS:,}. Ask for a longer period, or later."
            ),
        )
    workloads = _workloads(parts, known)
    moments = [each.access.at for part in workloads for each in part]
    period = PredictionPeriod(min(moments), max(moments), warm_up=0.0)
    values = Values(event for each in parts for event in each.events)
    simulations = Simulations(workloads, values, known, period, lambda: None)
    groups = simulations.usual_timeouts() if asked.factors or asked.timeouts else {}
    changes = {group: list(_changes(timeout, asked)) for group, timeout in groups.items()}
    total = 1 + len(asked.entries) + len(asked.bytes) + len(asked.policies)
    total += sum(1 + len(each) for each in changes.values())
    steps = count(1)
    simulations.on_step = lambda: on_progress(next(steps), total)
    on_progress(0, total)
    now = simulations.today
    observed = simulations.observed()
    if observed is not None and not are_alike(now.hit_ratio, observed, now.error):
        return structs.replace(
            found,
            problem=(
                f"The simulation of this cache as it is gives a hit ratio of"
                f" {100 * (now.hit_ratio or 0.0):.1f} %; in truth it was"
                f" {100 * observed:.1f} %. So nothing is predicted."
            ),
        )
    timeouts = (
        simulations.timeouts(group, groups[group], each, is_quick=False)
        for group, each in changes.items()
    )
    return structs.replace(
        found,
        hit_ratio=rounded(now.hit_ratio),
        error=rounded(now.error),
        trace_seconds=round(period.until - period.since, 3),
        entries=[simulations.entries(size, simulations.predict(size)) for size in asked.entries],
        bytes=[_bytes(simulations, size) for size in asked.bytes],
        policies=[_policy(simulations, name) for name in asked.policies],
        timeouts=[each for each in timeouts if each is not None],
    )


def _changes(usual: float, asked: Question) -> Iterator[TimeoutChange]:
    for factor in asked.factors:
        yield TimeoutChange(usual * factor, factor)
    for timeout in asked.timeouts:
        yield TimeoutChange(timeout, round(timeout / usual, 6), is_fixed=True)


def _bytes(simulations: Simulations, size: int) -> Bytes:
    memory = simulations.known.memory
    room = None if memory is None else round(memory.room(size))
    found = Prediction(None, None) if room is None else simulations.predict(room)
    return Bytes(bytes=size, entries=room, **simulations.figures(found))


def _policy(simulations: Simulations, name: str) -> Policy:
    found = simulations.predict(simulations.known.today, POLICIES[name])
    return Policy(policy=name, **simulations.figures(found))


def predicted(
    parts: list[CacheTrace], period: PredictionPeriod, known: CacheFacts, pace: Callable[[], None]
) -> CacheWhatIf:
    """What another size, policy or timeout of a cache would have hit; ``parts`` are empty then.
    ``pace`` is called now and then, and may raise :class:`OutOfTime`; what there is by then is
    told."""
    workloads = _workloads(parts, known)
    lookups = sum(each.times for part in parts for each in part.lookups(period.counted_from))
    found = structs.replace(
        _not_yet_predicted(parts, known),
        since=rfc3339(period.counted_from),
        until=rfc3339(period.until),
        trace_seconds=round(period.until - period.since, 3),
        lookups=lookups,
        observed_hit_ratio=rounded(hit_ratio(parts, period.counted_from)),
    )
    values = Values(event for each in parts for event in each.events)
    # They take as much memory as what was made of them.
    parts.clear()
    if lookups < LEAST_LOOKUPS:
        return found
    simulations = Simulations(workloads, values, known, period, pace)
    for fields in _Predictions(simulations).results():
        found = structs.replace(found, **fields)
        if not are_alike(found.hit_ratio, found.observed_hit_ratio, found.error):
            break
    return found


class _Predictions:
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


T = TypeVar("T")


def _longer(found: Iterable[T]) -> Iterator[list[T]]:
    """What was found so far, each time that there is more."""
    so_far: list[T] = []
    for each in found:
        so_far.append(each)
        yield list(so_far)


def _by_size(curve: Iterable[Entries]) -> list[Entries]:
    return sorted(curve, key=lambda each: each.entries)
