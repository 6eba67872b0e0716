"""What another size, policy or timeout of a cache would bring, simulated on the trace.

Here are the types of the answer, in the report and in the document of ``manage.py cache_whatif``.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, NamedTuple, TypeVar

from msgspec import Meta, Struct

from cache_monitor.scan.snapshot import doc
from cache_monitor.stats.window import Duration, UnixTime

LEAST_LOOKUPS = 1000
"""Lookups in the trace below which nothing is predicted."""
GROUPS = 10
"""Groups whose timeouts are varied: those with the most lookups."""
PERIODS = 2
"""Times a timeout that the trace has to be as long as, to tell what that would hit."""
FACTORS = (0.25, 0.5, 2.0, 4.0, 8.0)
"""Times the timeout of today: those that are predicted for the dashboard."""
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
    """The hit ratio of a cache with room for so many entries."""

    entries: Annotated[_Count, doc("The room of the cache, in entries.")]
    hit_ratio: PredictedRatio
    error: RatioError
    seconds_saved_per_hour: SavedPerHour = None


_Curve = Annotated[list[Entries], Meta(max_length=MOST_POINTS)]


class Bytes(Struct, frozen=True, kw_only=True):
    """The hit ratio of a cache whose server may take so many bytes."""

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
    """The group's hit ratio with another timeout."""

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


Option = TypeVar("Option", Entries, TimeoutOption)


def gaining(options: Iterable[Option], now: float | None) -> list[Option]:
    """The options that hit more than today's, which is ``now``, by more than their error."""
    return [
        each
        for each in options
        if now is not None
        and each.hit_ratio is not None
        and each.hit_ratio - now > (each.error or 0.0)
    ]


class Timeouts(Struct, frozen=True, kw_only=True):
    """A group of keys with its usual timeout, and what others would hit."""

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
        """The options that surely hit more than the timeout of today."""
        return gaining(self.options, self.hit_ratio)

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
    """One cache. What is predicted for the dashboard has more: ``since``, ``until``, ``lookups``,
    ``observed_hit_ratio``, ``size`` and ``optimum``."""

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


class StoredPrediction(Struct, frozen=True, kw_only=True):
    """A prediction as a store keeps it, and the seconds that it took to compute."""

    computed_at: UnixTime
    cpu_seconds: Duration
    predicted: CacheWhatIf


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
