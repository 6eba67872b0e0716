"""Reports made by hand for the tests of what shows them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec.structs import replace

from cache_monitor.reports import (
    Cache,
    FreedWithin,
    HotKey,
    KeyGroup,
    LargestEntry,
    Memory,
    MemoryGroup,
    MissReasons,
    Operation,
    Point,
    Quality,
    Report,
    Seconds,
    Stale,
    StaleEntry,
    View,
)
from cache_monitor.reports.build import KeyPoint
from cache_monitor.what_if import CacheWhatIf, Entries, Policy, TimeoutOption, Timeouts

NOW: Final = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOSTILE: Final = "<script>alert(1)</script>\"'&\u202egnp.exe\n" + "x" * 5000


def at(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def quiet_cache() -> Cache:
    """A cache that nobody called and nobody looked into."""
    return Cache(
        backend="django.core.cache.backends.locmem.LocMemCache",
        lookups=0,
        hits=0,
        misses=0,
        hit_ratio=None,
        errors=0,
        operations={},
        bytes_read=None,
        bytes_written=None,
        miss_reasons=MissReasons(),
        seconds_saved=None,
        hot_keys=[],
        key_groups=[],
        views=[],
        memory=Memory(),
        stale=Stale(),
        series=[],
    )


def busy_cache(key: str = "user:1:profile") -> Cache:
    """A cache with something in every one of its tables."""
    return replace(
        quiet_cache(),
        lookups=1200,
        hits=1100,
        misses=100,
        hit_ratio=1100 / 1200,
        operations={"get": operation(1200, 1100, 100), "set": operation(100, None, None)},
        miss_reasons=MissReasons(never_set=70, expired=30),
        misses_per_request=0.25,
        seconds_saved=12.5,
        hot_keys=[hot_key(key)],
        key_groups=[key_group(key)],
        views=[view()],
        memory=memory(key),
        stale=Stale(idle=1, entries=[stale_entry(key)]),
        series=[point(place) for place in range(120)],
    )


def report_of(**caches: Cache) -> Report:
    return Report(
        schema_version=1,
        generated_at=at(NOW),
        since=at(NOW - timedelta(hours=1)),
        until=at(NOW),
        quality=Quality(
            store_problem=None,
            processes=4,
            newest_record_at=at(NOW - timedelta(seconds=3)),
            dropped_calls=0,
            corrupt_windows=0,
            estimated=False,
        ),
        caches=caches,
        findings=[],
    )


def operation(calls: int, hits: int | None, misses: int | None) -> Operation:
    seconds = Seconds(total=1.5, p50=0.000238, p90=0.0006, p99=0.0021, max=0.013)
    return Operation(calls=calls, keys=calls, hits=hits, misses=misses, errors=0, seconds=seconds)


def hot_key(key: str, max_overcount: int = 0) -> HotKey:
    return HotKey(
        key=key,
        group=key,
        lookups=900,
        hits=890,
        misses=10,
        sets=10,
        share=0.75,
        max_overcount=max_overcount,
        bytes=2048,
        miss_reasons=MissReasons(never_set=7, expired=3),
        produce_seconds=0.02,
        seconds_saved=17.8,
    )


def key_line() -> list[KeyPoint]:
    """The use of a key over an hour: nothing at first, most in the middle."""
    return [
        KeyPoint(at=at(NOW - timedelta(minutes=60 - 5 * place)), lookups=number, hits=number)
        for place, number in enumerate([0, 0, 3, 9, 40, 120, 400, 200, 80, 30, 10, 8])
    ]


def key_group(group: str) -> KeyGroup:
    return KeyGroup(
        group=group,
        kind="key",
        distinct_keys=30,
        lookups=1200,
        hits=1100,
        misses=100,
        hit_ratio=1100 / 1200,
        sets=100,
        deletes=0,
        errors=0,
        bytes_read=None,
        bytes_written=None,
        miss_reasons=MissReasons(never_set=70, expired=30),
        seconds_saved=12.5,
        sample_hits=[f"{group}:hit{number}" for number in range(5)],
        sample_misses=[f"{group}:miss{number}" for number in range(5)],
    )


def view(name: str = "shop:product") -> View:
    return View(
        view=name,
        requests=400,
        lookups=1200,
        misses=100,
        misses_per_request=0.25,
        seconds=0.5,
        seconds_saved=12.5,
        request_seconds=20.0,
        share_of_request=0.025,
        sample_hits=["product:1", "product:2"],
        sample_misses=["product:9"],
    )


def memory(key: str) -> Memory:
    return Memory(
        entries=30,
        bytes=4 * 2**20,
        limit_bytes=16 * 2**20,
        measured_at=at(NOW),
        scope="shared",
        exact=True,
        groups=[MemoryGroup(group=key, entries=30, bytes=4 * 2**20)],
        largest=[LargestEntry(key=key, bytes=2**20)],
        examined=30,
        freed_within=FreedWithin(minute=0, hour=2**20, day=3 * 2**20, never=2**20),
    )


def stale_entry(key: str) -> StaleEntry:
    return StaleEntry(
        key=key,
        group=key,
        why=["idle", "never_read"],
        age=7200.0,
        idle=7200.0,
        expires_in=60.0,
        bytes=2048,
    )


def point(place: int) -> Point:
    return Point(
        at=at(NOW - timedelta(hours=1) + timedelta(seconds=30 * place)),
        lookups=10,
        hits=9,
        misses=1,
        errors=0,
        calls=12,
        seconds=0.01,
        p50=0.0002,
        p90=0.001,
        p99=0.002,
        miss_reasons=MissReasons(
            never_set=0, expired=1, evicted=0, deleted=0, cleared=0, version_changed=0, unknown=0
        ),
        memory_bytes=4 * 2**20,
    )


def prediction() -> CacheWhatIf:
    """Of a cache that would hit more with more room, and longer timeouts."""
    return CacheWhatIf(
        hit_ratio=0.71,
        error=0.01,
        keys=2048,
        rate=0.25,
        policy="locmem",
        room=1000,
        size=1000,
        since=at(NOW - timedelta(minutes=45)),
        until=at(NOW),
        trace_seconds=3600.0,
        lookups=18_000,
        observed_hit_ratio=0.712,
        entries=[
            predicted_size(500, 0.6, -40.0),
            predicted_size(1000, 0.71, 0.0),
            predicted_size(2000, 0.8, 41.0),
        ],
        optimum=[predicted_size(500, 0.7, 5.0), predicted_size(1000, 0.8, 41.0)],
        policies=[
            Policy(
                policy="allkeys-lfu",
                hit_ratio=0.72,
                error=0.01,
                entries=[predicted_size(500, 0.62, -35.0), predicted_size(1000, 0.72, 4.0)],
            )
        ],
        timeouts=[
            Timeouts(
                group="product:{int}",
                timeout=300.0,
                hit_ratio=0.71,
                lookups=9000,
                options=[
                    predicted_timeout(0.25, 0.5, -90.0),
                    predicted_timeout(0.5, 0.62, -40.0),
                    predicted_timeout(2.0, 0.8, 41.0),
                    predicted_timeout(4.0, 0.81, 45.0),
                    predicted_timeout(8.0, None, None),
                ],
            )
        ],
    )


def predicted_size(entries: int, ratio: float, saved: float) -> Entries:
    return Entries(entries=entries, hit_ratio=ratio, error=0.01, seconds_saved_per_hour=saved)


def predicted_timeout(factor: float, ratio: float | None, saved: float | None) -> TimeoutOption:
    return TimeoutOption(
        factor=factor,
        timeout=300.0 * factor,
        hit_ratio=ratio,
        error=None if ratio is None else 0.01,
        seconds_saved_per_hour=saved,
    )


def predicted_cache() -> Cache:
    """A busy cache of which something is predicted."""
    return replace(busy_cache(), what_if=prediction())
