"""The document of ``manage.py cache_whatif``: what other sizes, policies and timeouts would hit."""

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from statistics import median
from typing import NamedTuple

from msgspec import Struct

from cache_monitor.trace.demand import LOOK_UP, PUT, Demand, demands
from cache_monitor.trace.reading import Traced
from cache_monitor.trace.what_if import POLICIES, Prediction, combined, predict

LEAST_LOOKUPS = 1000
"""Lookups in the trace below which nothing is predicted."""
GROUPS = 10
"""Groups whose timeouts are varied: those with the most lookups."""


class Entries(Struct, frozen=True, kw_only=True):
    """The hit ratio, 0 to 1, of a cache with room for so many entries; ``error`` as in
    :class:`cache_monitor.trace.what_if.Prediction`."""

    entries: int
    hit_ratio: float | None
    error: float | None


class Policy(Struct, frozen=True, kw_only=True):
    """The hit ratio with another policy and the same room."""

    policy: str
    hit_ratio: float | None
    error: float | None


class TimeoutOption(Struct, frozen=True, kw_only=True):
    """The group's hit ratio where its timeouts are ``factor`` times as long; ``timeout`` is in
    seconds."""

    factor: float
    timeout: float
    hit_ratio: float | None
    error: float | None


class Timeouts(Struct, frozen=True, kw_only=True):
    """A group of keys, its usual timeout in seconds, and what others would hit."""

    group: str
    timeout: float
    hit_ratio: float | None
    options: list[TimeoutOption]


class CacheWhatIf(Struct, frozen=True, kw_only=True):
    """One cache. ``hit_ratio`` is what the model of ``policy`` gives for today's room, which is
    ``room`` entries, None for no limit; ``keys`` are in the trace, ``rate`` of all."""

    hit_ratio: float | None
    error: float | None
    keys: int
    rate: float
    policy: str
    room: int | None
    entries: list[Entries] = []
    policies: list[Policy] = []
    timeouts: list[Timeouts] = []
    problem: str | None = None
    """Why nothing is predicted."""
    policy_is_assumed: bool = False
    """Whether nobody has asked the server for its policy."""


class WhatIf(Struct, frozen=True, kw_only=True):
    """The whole document; times are RFC 3339, UTC."""

    since: str
    until: str
    caches: dict[str, CacheWhatIf]
    schema_version: int = 1


class Question(NamedTuple):
    """What is asked: sizes in entries, names of policies, and factors of timeouts."""

    entries: Sequence[int] = ()
    policies: Sequence[str] = ()
    factors: Sequence[float] = ()


class _Part(NamedTuple):
    """What a cache was asked for: one part, or one for each process that has one for itself."""

    demanded: list[list[Demand]]
    policy: str

    def predict(
        self, room: float, policy: str = "", factor: float = 1.0, group: str | None = None
    ) -> Prediction:
        """What is hit with ``room``; of ``group``'s lookups alone where its timeouts change."""
        make = POLICIES[policy or self.policy]
        return combined(
            [predict(each, make, room, factor=factor, group=group) for each in self.demanded]
        )


def cache_what_if(
    parts: Iterable[Traced], policy: str, room: int | None, asked: Question
) -> CacheWhatIf:
    """What another size, policy or timeout would have hit, by the trace of one cache's parts.

    ``policy`` is that of its backend, ``room`` the entries that it takes.
    """
    known = list(parts)
    demanded = [demands(each.events, each.groups) for each in known]
    lookups = sum(each.kind == LOOK_UP for part in demanded for each in part)
    keys = len({key for each in known for key in each.groups})
    rate = min((each.share for each in known), default=1.0)
    if lookups < LEAST_LOOKUPS:
        return CacheWhatIf(
            hit_ratio=None,
            error=None,
            keys=keys,
            rate=rate,
            policy=policy,
            room=room,
            problem=(
                f"The trace of this period has {lookups} lookups; a prediction takes "
                f"{LEAST_LOOKUPS:,}. Ask for a longer period, or later."
            ),
        )
    part = _Part(demanded, policy)
    today = inf if room is None else float(room)
    now = part.predict(today)
    return CacheWhatIf(
        hit_ratio=now.hit_ratio,
        error=now.error,
        keys=keys,
        rate=rate,
        policy=policy,
        room=room,
        entries=[_entries(part, size) for size in asked.entries],
        policies=[_policy(part, today, name) for name in asked.policies],
        timeouts=list(_timeouts(part, today, asked.factors)) if asked.factors else [],
    )


def _entries(part: _Part, size: int) -> Entries:
    found = part.predict(size)
    return Entries(entries=size, hit_ratio=found.hit_ratio, error=found.error)


def _policy(part: _Part, room: float, name: str) -> Policy:
    found = part.predict(room, name)
    return Policy(policy=name, hit_ratio=found.hit_ratio, error=found.error)


def _timeouts(part: _Part, room: float, factors: Sequence[float]) -> Iterable[Timeouts]:
    for group, timeout in _usual_timeouts(part.demanded).items():
        now = part.predict(room, group=group)
        yield Timeouts(
            group=group,
            timeout=timeout,
            hit_ratio=now.hit_ratio,
            options=[
                TimeoutOption(
                    factor=factor,
                    timeout=timeout * factor,
                    hit_ratio=(found := part.predict(room, factor=factor, group=group)).hit_ratio,
                    error=found.error,
                )
                for factor in factors
            ],
        )


def _usual_timeouts(demanded: Sequence[Sequence[Demand]]) -> Mapping[str, float]:
    """The median timeout of the groups that have one, those with the most lookups."""
    lasts: dict[str, list[float]] = {}
    lookups: dict[str, float] = {}
    for kind, access, _, group in (each for part in demanded for each in part):
        if kind == LOOK_UP:
            lookups[group] = lookups.get(group, 0.0) + access.weight
        if kind in {LOOK_UP, PUT} and access.lasts < inf:
            lasts.setdefault(group, []).append(access.lasts)
    busiest = sorted(lasts, key=lambda group: (-lookups.get(group, 0.0), group))
    return {group: median(lasts[group]) for group in busiest[:GROUPS] if group in lookups}
