"""A healthy cache by figures, for tests that plant one fault each."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from cache_monitor.conf import Thresholds
from cache_monitor.findings.context import Environment
from cache_monitor.findings.engine import find
from cache_monitor.reports import (
    Cache,
    Finding,
    HotKey,
    KeyGroup,
    Memory,
    MissReasons,
    Operation,
    Point,
    Seconds,
    Stale,
    StaleEntry,
)

REDIS = "django.core.cache.backends.redis.RedisCache"
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
PRODUCTION = Environment(is_debug=False, processes={"default": 4})


def group(name: str = "user:{int}", **figures: Any) -> KeyGroup:
    """A group of 100 keys: 10,000 lookups, one in a hundred of which misses."""
    healthy = KeyGroup(
        group=name,
        kind="key",
        distinct_keys=100,
        lookups=10_000,
        hits=9_900,
        misses=100,
        hit_ratio=0.99,
        sets=100,
        deletes=0,
        errors=0,
        bytes_read=9_900_000,
        bytes_written=100_000,
        miss_reasons=MissReasons(never_set=100),
        produce_seconds=0.02,
        seconds_saved=195.0,
        age_p50=60.0,
        age_p90=120.0,
        produced=100,
        lookup_seconds=2.0,
        seconds=2.1,
        repeated_seconds=0.0,
        first_set_at="2026-11-22T12:00:00Z",
        repeated_gets=0,
        repeated_gets_requests=0,
        single_gets=0,
        single_gets_requests=0,
    )
    return replace(healthy, **figures)


def hot_key(**figures: Any) -> HotKey:
    healthy = HotKey(
        key="user:1",
        group="user:{int}",
        lookups=1000,
        hits=990,
        misses=10,
        sets=10,
        share=0.1,
        max_overcount=0,
        bytes=1000,
        seconds_saved=19.0,
    )
    return replace(healthy, **figures)


def operation(
    calls: int = 10_000, errors: int = 0, seconds: float = 2.0, absent: int = 0
) -> Operation:
    times = Seconds(total=seconds, p50=2e-4, p90=3e-4, p99=1e-3, max=0.01)
    misses = calls // 100
    return Operation(
        calls=calls,
        keys=calls,
        hits=calls - misses,
        misses=misses,
        errors=errors,
        absent=absent,
        seconds=times,
    )


def stale_entry(why: str, group_name: str = "user:{int}") -> StaleEntry:
    return StaleEntry(
        key="user:7",
        group=group_name,
        why=[why],  # type: ignore[list-item]  # one of the reasons
        age=None,
        idle=None,
        expires_in=None,
        bytes=100,
    )


def cache(**parts: Any) -> Cache:
    """One that was busy for 60 minutes of an hour and has nothing wrong with it."""
    healthy = Cache(
        backend=REDIS,
        lookups=10_000,
        hits=9_900,
        misses=100,
        hit_ratio=0.99,
        errors=0,
        operations={"get": operation(), "set": operation(100)},
        bytes_read=9_900_000,
        bytes_written=100_000,
        miss_reasons=MissReasons(never_set=100),
        seconds_saved=195.0,
        hot_keys=[hot_key()],
        key_groups=[group()],
        views=[],
        memory=Memory(entries=1000, bytes=1_000_000, limit_bytes=100_000_000),
        stale=Stale(expired=0, idle=10, never_read=5, no_expiry=10, bytes=10_000),
        series=[point(minute) for minute in range(60)],
    )
    return replace(healthy, **parts)


def point(minute: int) -> Point:
    return Point(
        at=f"2026-11-22T12:{minute:02}:00Z",
        lookups=166,
        hits=164,
        misses=2,
        errors=0,
        seconds=0.03,
        p99=0.001,
        memory_bytes=1_000_000,
    )


def findings(ill: Cache, environment: Environment = PRODUCTION, **limits: Any) -> list[Finding]:
    return find({"default": ill}, environment, Thresholds(**limits))


def codes(
    ill: Cache, environment: Environment = PRODUCTION, **limits: Any
) -> list[tuple[str, str | None]]:
    """Code and group of each finding."""
    return [(each.code, each.group) for each in findings(ill, environment, **limits)]
