"""The document of ``manage.py cache_whatif``: what other sizes, policies and timeouts would hit."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import count
from math import inf
from statistics import median
from types import MappingProxyType
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct, structs

from cache_monitor.scan.snapshot import doc
from cache_monitor.trace.freshness import Values, entries_by_group, stale_share
from cache_monitor.trace.reading import CacheTrace
from cache_monitor.trace.simulated.base import Model
from cache_monitor.trace.simulated.django import BY_THIRDS, Cull
from cache_monitor.trace.what_if import (
    CULLING,
    POLICIES,
    MeasuredContents,
    Prediction,
    combined,
    model_of,
    predict,
    sized,
)
from cache_monitor.trace.workload import SimulatedCall, simulated_calls

LEAST_LOOKUPS = 1000
"""Lookups in the trace below which nothing is predicted."""
GROUPS = 10
"""Groups whose timeouts are varied: those with the most lookups."""
PERIODS = 2
"""Times a timeout that the trace has to be as long as, to tell what that would hit."""
MOST_POINTS = 1000
"""Sizes, policies or timeouts that may be asked for at once."""


Ratio = Annotated[float, Meta(ge=0, le=1)]
_Name = Annotated[str, Meta(max_length=512)]
_Count = Annotated[int, Meta(ge=0, le=2**53)]
_Seconds = Annotated[float, Meta(ge=0, le=1e12)]
_Gain = Annotated[float, Meta(ge=-1e12, le=1e12)]


PredictedRatio = Annotated[
    Ratio | None, doc("The hit ratio that it would have, 0 to 1; null where the trace cannot tell.")
]
RatioError = Annotated[
    Ratio | None,
    doc(
        "In 95 of 100 cases the truth is within so much of the ratio; 0 where all keys are traced."
    ),
]
SavedPerHour = Annotated[
    _Gain | None,
    doc(
        "Seconds of computing that this saves in an hour beyond what the cache of today saves, "
        "negative for less; null where nobody saw a value computed."
    ),
]


class Entries(Struct, frozen=True, kw_only=True):
    """The hit ratio, 0 to 1, of a cache with room for so many entries; in 95 of 100 cases the truth
    is within ``error`` of it. ``seconds_saved_per_hour`` is what this saves
    more than the cache of today, in an hour as in the period: what values take to compute that are
    found then and missed now. It is negative for less, and None where nobody saw one computed."""

    entries: Annotated[_Count, doc("The room of the cache, in entries.")]
    hit_ratio: PredictedRatio
    error: RatioError
    seconds_saved_per_hour: SavedPerHour = None


_Curve = Annotated[list[Entries], Meta(max_length=MOST_POINTS)]


class Bytes(Struct, frozen=True, kw_only=True):
    """The hit ratio of a cache whose server may take so many bytes, in which there is room for
    ``entries`` of today's average size. None where nobody has told what the entries take."""

    bytes: Annotated[_Count, doc("Bytes that the cache may take, as its server counts them.")]
    entries: Annotated[
        _Count | None,
        doc(
            "Entries of today's average size for which there is room; null where nobody has "
            "looked at what they take."
        ),
    ]
    hit_ratio: PredictedRatio
    error: RatioError
    seconds_saved_per_hour: SavedPerHour = None


class Policy(Struct, frozen=True, kw_only=True):
    """The hit ratio with another policy and the same room; ``entries`` with others."""

    policy: Annotated[_Name, doc("Its name.")]
    hit_ratio: PredictedRatio
    error: RatioError
    seconds_saved_per_hour: SavedPerHour = None
    entries: Annotated[_Curve, doc("The same with room for other numbers of entries.")] = []


class TimeoutOption(Struct, frozen=True, kw_only=True):
    """The group's hit ratio where its timeouts are ``factor`` times as long; ``timeout`` is in
    seconds. The ratio is None where the trace is too short to tell: shorter than twice the timeout.
    ``seconds_saved_per_hour`` is what it saves more than the timeout of today. ``stale_share`` of
    the hits would serve a value that has changed since; None where nobody knows."""

    factor: Annotated[_Seconds, doc("Times the timeout of today.")]
    timeout: Annotated[_Seconds, doc("The timeout in seconds.")]
    hit_ratio: Annotated[
        Ratio | None,
        doc(
            "The hit ratio that it would have, 0 to 1; null where the trace cannot tell. It takes"
            " a trace of twice the timeout."
        ),
    ]
    error: RatioError
    seconds_saved_per_hour: SavedPerHour = None
    stale_share: Annotated[
        Ratio | None,
        doc(
            "The share of hits that would serve a value that has changed, 0 to 1; null where "
            "unknown."
        ),
    ] = None


class Timeouts(Struct, frozen=True, kw_only=True):
    """A group of keys, its usual timeout in seconds, and what others would hit. Of ``rewrites``,
    values written anew when they had expired, the ``unchanged`` share brought what had been there;
    a value lasts for ``seconds_to_change`` on the average. Each is None where nobody knows."""

    group: Annotated[_Name, doc("The group of keys, such as user:{int}:profile.")]
    timeout: Annotated[
        _Seconds, doc("Seconds: the median of the timeouts that its entries were given.")
    ]
    hit_ratio: PredictedRatio
    options: Annotated[
        Annotated[list[TimeoutOption], Meta(max_length=MOST_POINTS)],
        doc("With other timeouts, the shortest first."),
    ]
    lookups: Annotated[_Count | None, doc("Lookups of the group.")] = None
    rewrites: Annotated[
        _Count | None,
        doc("Values that were written anew after they had expired; null where unknown."),
    ] = None
    unchanged: Annotated[
        Ratio | None, doc("The share of these that brought the value that had been there, 0 to 1.")
    ] = None
    seconds_to_change: Annotated[
        _Seconds | None,
        doc("Seconds that a value lasts before it changes, on average; null where unknown."),
    ] = None
    stale_share: Annotated[
        Ratio | None, doc("The share of hits that served a value that had changed, 0 to 1.")
    ] = None

    @property
    def gaining(self) -> list[TimeoutOption]:
        """The options that hit more than the timeout of today by more than their error."""
        now = self.hit_ratio
        return [
            each
            for each in self.options
            if now is not None
            and each.hit_ratio is not None
            and each.hit_ratio - now > (each.error or 0.0)
        ]

    def best(self, most_stale: float | None) -> TimeoutOption | None:
        """The gaining option with the highest hit ratio; with ``most_stale`` of those that are
        known to serve no greater share of stale hits."""
        fresh = [
            each
            for each in self.gaining
            if most_stale is None
            or (each.stale_share is not None and each.stale_share <= most_stale)
        ]
        return max(fresh, key=lambda each: each.hit_ratio or 0.0, default=None)


class CacheWhatIf(Struct, frozen=True, kw_only=True):
    """One cache. ``hit_ratio`` is what the model of ``policy`` gives for today's room, which is
    ``room`` entries, None for no limit; ``keys`` are in the trace, ``rate`` of all. ``problem``
    says why nothing is predicted, ``policy_is_assumed`` that nobody has asked the server for its
    policy.

    What is computed beforehand for the dashboard has more: ``since`` and ``until``, between which
    ``lookups`` of the trace were counted, of which in truth ``observed_hit_ratio`` hit;
    ``trace_seconds``, how long the trace is that this rests on; ``size``, the number of entries
    that stands for today's, which where there is no limit are those it holds; the ``optimum``,
    which no policy exceeds that does not know what comes."""

    hit_ratio: Annotated[
        Ratio | None,
        doc(
            "What the simulation gives for the cache as it is, 0 to 1; null where nothing is "
            "predicted."
        ),
    ]
    error: RatioError
    keys: Annotated[_Count, doc("Keys that are in the trace.")]
    rate: Annotated[
        Ratio,
        doc("The share of all keys that is in the trace, but for the hottest, which all are."),
    ]
    policy: Annotated[
        _Name, doc("The policy that is simulated, by the name that cache_whatif --policy takes.")
    ]
    room: Annotated[
        _Count | None, doc("The entries that the cache takes today; null without a limit.")
    ]
    entries: Annotated[
        _Curve, doc("With room for other numbers of entries, the smallest first.")
    ] = []
    bytes: Annotated[
        Annotated[list[Bytes], Meta(max_length=MOST_POINTS)],
        doc(
            "Bytes in place of entries: of the server's memory, or of all entries where no server"
            " has a limit."
        ),
    ] = []
    policies: Annotated[
        Annotated[list[Policy], Meta(max_length=MOST_POINTS)], doc("With other policies.")
    ] = []
    timeouts: Annotated[
        Annotated[list[Timeouts], Meta(max_length=GROUPS)],
        doc("With other timeouts, for the groups with the most lookups."),
    ] = []
    problem: Annotated[
        Annotated[str, Meta(max_length=1000)] | None,
        doc("Why nothing is predicted; null where something is, or too little was traced."),
    ] = None
    policy_is_assumed: Annotated[
        bool, doc("Whether nobody could ask the server for its policy.")
    ] = False
    since: Annotated[
        _Name | None,
        doc(
            "From when on lookups count, RFC 3339, UTC: what was before fills the simulated cache."
        ),
    ] = None
    until: Annotated[_Name | None, doc("Until when the trace was read: RFC 3339, UTC.")] = None
    trace_seconds: Annotated[_Seconds | None, doc("Seconds of the trace that this rests on.")] = (
        None
    )
    lookups: Annotated[_Count | None, doc("Lookups in the trace that count.")] = None
    observed_hit_ratio: Annotated[Ratio | None, doc("What really hit of them, 0 to 1.")] = None
    size: Annotated[
        _Count | None,
        doc("Entries that stand for the size of today: its limit, else what it holds."),
    ] = None
    optimum: Annotated[_Curve, doc("What no policy can exceed, by the number of entries.")] = []

    def factor(self, entries: int) -> float:
        """How many times the size of today room for ``entries`` is."""
        return entries / (self.size or entries)


class WhatIf(Struct, frozen=True, kw_only=True):
    """The whole document; times are RFC 3339, UTC."""

    since: Annotated[str, doc("Where its period begins: RFC 3339, UTC.")]
    until: Annotated[str, doc("Where its period ends: RFC 3339, UTC.")]
    caches: Annotated[dict[str, CacheWhatIf], doc("By alias of CACHES.")]
    schema_version: Annotated[
        int, doc("1; fields may be added to it, and none is taken away or renamed.")
    ] = 1


class Question(NamedTuple):
    """What is asked: sizes in entries and in bytes, names of policies, factors of timeouts, and
    timeouts in seconds."""

    entries: Sequence[int] = ()
    bytes: Sequence[int] = ()
    policies: Sequence[str] = ()
    factors: Sequence[float] = ()
    timeouts: Sequence[float] = ()


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

    def sized(self, demanded: list[list[SimulatedCall]]) -> list[list[SimulatedCall]]:
        """``demanded``, with what each entry takes where the cache has room for bytes."""
        if self.memory is None or not self.has_sizes:
            return demanded
        return sized(demanded, self.memory)

    @property
    def has_sizes(self) -> bool:
        """Whether it matters how large each entry is."""
        return self.memory is not None and self.policy not in CULLING

    def in_bytes(self, curve: Iterable[Entries]) -> list[Bytes]:
        """The same for the memory that those entries take; nothing where that is not known."""
        if self.memory is None:
            return []
        return [
            Bytes(
                bytes=self.memory.bytes_for(each.entries),
                entries=each.entries,
                hit_ratio=each.hit_ratio,
                error=each.error,
                seconds_saved_per_hour=each.seconds_saved_per_hour,
            )
            for each in curve
        ]

    @property
    def make(self) -> Callable[[float], Model]:
        """What makes the model of the cache as it is."""
        return model_of(self.policy, self.cull, self.memory.slabs if self.memory else None)


class _TracedPart(NamedTuple):
    """What a cache was asked for, in one part, or one for each process that has one for itself, in
    so many ``seconds``; and what the values of its groups take to compute."""

    demanded: list[list[SimulatedCall]]
    known: CacheFacts
    seconds: float
    values: Values
    on_step: Callable[[], None]

    def predict(
        self, room: float, policy: str = "", factor: float = 1.0, group: str | None = None
    ) -> Prediction:
        """What is hit with ``room``; of ``group``'s lookups alone where its timeouts change."""
        make = POLICIES[policy] if policy else self.known.make
        found = combined(
            [predict(each, make, room, factor=factor, group=group) for each in self.demanded]
        )
        self.on_step()
        return found

    def lasting(self, group: str, timeout: float) -> "_TracedPart":
        """The same, had all entries of ``group`` been stored for so many seconds."""
        return self._replace(
            demanded=[
                [
                    each._replace(access=each.access._replace(timeout=timeout))
                    if each.group == group
                    else each
                    for each in some
                ]
                for some in self.demanded
            ]
        )

    def saved(self, found: Prediction, now: Prediction) -> float | None:
        """What is saved an hour more than ``now``."""
        return saved_per_hour(found, now, self.known.computed, self.seconds)


def not_yet_predicted(parts: Sequence[CacheTrace], known: CacheFacts) -> CacheWhatIf:
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


def cache_what_if(
    parts: Sequence[CacheTrace],
    known: CacheFacts,
    asked: Question,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> CacheWhatIf:
    """What another size, policy or timeout would have hit, by the trace of one cache's parts.
    ``on_progress`` is told after each simulation how many are done, and of how many at most."""
    demanded = [simulated_calls(each.events, each.groups, each.alias) for each in parts]
    lookups = sum(each.times for part in parts for each in part.lookups())
    found = not_yet_predicted(parts, known)
    if lookups < LEAST_LOOKUPS:
        return structs.replace(
            found,
            problem=(
                f"The trace of this period has {lookups} lookups; a prediction takes "
                f"{LEAST_LOOKUPS:,}. Ask for a longer period, or later."
            ),
        )
    values = Values(event for each in parts for event in each.events)
    moments = [each.access.at for part in demanded for each in part]
    seconds = max(moments) - min(moments)
    groups = usual_timeouts(demanded) if asked.factors or asked.timeouts else {}
    total = 1 + len(asked.entries) + len(asked.bytes) + len(asked.policies)
    total += len(groups) * (1 + len(asked.factors) + len(asked.timeouts))
    steps = count(1)
    part = _TracedPart(
        known.sized(demanded), known, seconds, values, lambda: on_progress(next(steps), total)
    )
    on_progress(0, total)
    today = inf if known.room is None else float(known.room)
    now = part.predict(today)
    return structs.replace(
        found,
        hit_ratio=now.hit_ratio,
        error=now.error,
        trace_seconds=round(part.seconds, 3),
        entries=[_entries(part, now, size) for size in asked.entries],
        bytes=[_bytes(part, now, size) for size in asked.bytes],
        policies=[_policy(part, now, today, name) for name in asked.policies],
        timeouts=list(_timeouts(part, today, asked, groups)),
    )


def saved_per_hour(
    found: Prediction, now: Prediction, computed: Mapping[str, float], seconds: float
) -> float | None:
    """The seconds of computing that ``found`` saves in an hour more than ``now``, if both are of
    so many ``seconds``; None where it is not known what any value takes to compute."""
    gains = [
        (found.hits.get(group, 0.0) - now.hits.get(group, 0.0)) * each
        for group, each in computed.items()
        if group in found.hits or group in now.hits
    ]
    if found.hit_ratio is None or not gains or seconds <= 0:
        return None
    return round(sum(gains) * 3600 / seconds, 3)


def is_seen(timeout: float, seconds: float) -> bool:
    """Whether a trace of so many ``seconds`` tells what a timeout would hit."""
    return seconds >= PERIODS * timeout


def _entries(part: _TracedPart, now: Prediction, size: int) -> Entries:
    found = part.predict(size)
    return Entries(
        entries=size,
        hit_ratio=found.hit_ratio,
        error=found.error,
        seconds_saved_per_hour=part.saved(found, now),
    )


def _bytes(part: _TracedPart, now: Prediction, size: int) -> Bytes:
    memory = part.known.memory
    room = None if memory is None else round(memory.room(size))
    found = Prediction(None, None) if room is None else part.predict(room)
    return Bytes(
        bytes=size,
        entries=room,
        hit_ratio=found.hit_ratio,
        error=found.error,
        seconds_saved_per_hour=part.saved(found, now),
    )


def _policy(part: _TracedPart, now: Prediction, room: float, name: str) -> Policy:
    found = part.predict(room, name)
    return Policy(
        policy=name,
        hit_ratio=found.hit_ratio,
        error=found.error,
        seconds_saved_per_hour=part.saved(found, now),
    )


def _timeouts(
    part: _TracedPart, room: float, asked: Question, groups: Mapping[str, float]
) -> Iterable[Timeouts]:
    entries = entries_by_group(part.demanded)
    for group, timeout in groups.items():
        now = part.predict(room, group=group)
        rewrites = part.values.rewrites(entries[group])
        yield Timeouts(
            group=group,
            timeout=timeout,
            hit_ratio=now.hit_ratio,
            lookups=round(now.lookups),
            options=[
                _option(part, now, room, group, change) for change in _changes(timeout, asked)
            ],
            rewrites=round(rewrites.rewrites),
            unchanged=rewrites.unchanged,
            seconds_to_change=rewrites.seconds_to_change,
            stale_share=stale_share(part.demanded, part.values, group),
        )


class _TimeoutChange(NamedTuple):
    """A timeout in seconds, how many times as long as the usual one it is, and whether all entries
    are given it, or each so many times its own."""

    timeout: float
    factor: float
    is_fixed: bool


def _changes(usual: float, asked: Question) -> Iterable[_TimeoutChange]:
    for factor in asked.factors:
        yield _TimeoutChange(usual * factor, factor, is_fixed=False)
    for timeout in asked.timeouts:
        yield _TimeoutChange(timeout, round(timeout / usual, 6), is_fixed=True)


def _option(
    part: _TracedPart, now: Prediction, room: float, group: str, change: _TimeoutChange
) -> TimeoutOption:
    factor = change.factor
    if change.is_fixed:
        part, factor = part.lasting(group, change.timeout), 1.0
    found = Prediction(None, None)
    if is_seen(change.timeout, part.seconds):
        found = part.predict(room, factor=factor, group=group)
    else:
        part.on_step()
    return TimeoutOption(
        factor=change.factor,
        timeout=change.timeout,
        hit_ratio=found.hit_ratio,
        error=found.error,
        seconds_saved_per_hour=part.saved(found, now),
        stale_share=stale_share(part.demanded, part.values, group, factor),
    )


def usual_timeouts(
    demanded: Iterable[Iterable[SimulatedCall]], without: Collection[str] = ()
) -> Mapping[str, float]:
    """The median timeout of the groups that have one, those with the most lookups."""
    lasts: dict[str, list[float]] = {}
    lookups: dict[str, float] = {}
    for kind, access, _, group, times, *_ in (each for part in demanded for each in part):
        if group in without:
            continue
        if kind == "get":
            lookups[group] = lookups.get(group, 0.0) + times * access.weight
        if kind in {"get", "set"} and access.timeout < inf:
            lasts.setdefault(group, []).append(access.timeout)
    busiest = sorted(lasts, key=lambda group: (-lookups.get(group, 0.0), group))
    return {group: median(lasts[group]) for group in busiest[:GROUPS] if group in lookups}
