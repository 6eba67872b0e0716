"""What several processes found in the same alias, put together."""

from __future__ import annotations

from typing import Any

import msgspec

from cache_monitor.reports.memory import merged_snapshots
from cache_monitor.scan.base import STALE_REASONS, StaleReason
from cache_monitor.scan.snapshot import FreedWithin, LargestEntry, MemoryGroup, Snapshot, StaleEntry


def snapshot(**figures: Any) -> Snapshot:
    defaults: dict[str, Any] = {"alias": "default", "measured_at": 5.0, "scope": "per process"}
    return Snapshot(**{**defaults, "exact": True, **figures})


def sample(key: str, size: int, *why: StaleReason) -> StaleEntry:
    return StaleEntry(
        key=key, group="g", why=list(why), age=None, idle=None, expires_in=None, bytes=size
    )


def test_what_each_process_holds_is_added_up() -> None:
    merged = merged_snapshots(
        [
            snapshot(measured_at=7, examined=2, entries=2, bytes=20, limit_entries=300, expired=1),
            snapshot(measured_at=6, examined=3, entries=3, bytes=10, limit_entries=300, expired=0),
        ]
    )
    assert (merged.examined, merged.entries, merged.bytes, merged.expired) == (5, 5, 30, 1)
    assert (merged.limit_entries, merged.measured_at, merged.exact) == (600, 6, True)


def test_a_figure_that_no_process_knows_stays_unknown() -> None:
    assert merged_snapshots([snapshot(), snapshot()]).idle is None


def test_a_process_that_knows_nothing_makes_the_sum_inexact() -> None:
    merged = merged_snapshots([snapshot(entries=3), snapshot(exact=False, problem="MemoryError")])
    assert (merged.entries, merged.exact, merged.problem) == (3, False, "MemoryError")


def test_groups_of_the_same_name_are_one() -> None:
    groups = [
        MemoryGroup(group="a", entries=1, bytes=5),
        MemoryGroup(group="b", entries=1, bytes=9),
    ]
    merged = merged_snapshots([snapshot(groups=groups), snapshot(groups=groups[:1])])
    assert merged.groups == [
        MemoryGroup(group="a", entries=2, bytes=10),
        MemoryGroup(group="b", entries=1, bytes=9),
    ]


def test_a_key_that_several_processes_hold_is_named_once_with_its_heaviest_copy() -> None:
    parts = [
        snapshot(
            largest=[LargestEntry(key="a", bytes=size)],
            stale=[sample("a", size, "no_expiry")],
        )
        for size in (3, 9, 5)
    ]
    merged = merged_snapshots(parts)
    assert [each.bytes for each in merged.largest] == [9]
    assert [each.bytes for each in merged.stale] == [9]


def test_a_few_samples_of_every_reason_remain_of_many() -> None:
    parts = [
        snapshot(stale=[sample(f"{reason}{n}", 10**weight + n, reason) for n in range(200)])
        for weight, reason in enumerate(STALE_REASONS)
    ]
    merged = merged_snapshots(parts)
    assert len(merged.stale) == 200
    assert {reason for each in merged.stale for reason in each.why} == set(STALE_REASONS)


def test_of_a_shared_cache_the_newest_look_that_saw_something_stands() -> None:
    looks = [
        snapshot(scope="shared", measured_at=1, entries=1),
        snapshot(scope="shared", measured_at=2, entries=2),
        snapshot(scope="shared", measured_at=3, problem="ConnectionError"),
    ]
    assert merged_snapshots(looks) == looks[1]


def test_one_look_at_a_shared_cache_stands_as_it_is() -> None:
    assert merged_snapshots([only := snapshot(scope="shared", entries=1)]) is only


def test_each_process_is_told_apart_beside_the_sum() -> None:
    parts = [snapshot(entries=1, bytes=5), snapshot(entries=3, bytes=9), snapshot(entries=None)]
    merged = merged_snapshots(parts)
    assert [(each.entries, each.bytes) for each in merged.processes] == [
        (3, 9),
        (1, 5),
        (None, None),
    ]
    assert merged.entries == 4
    assert [each.entries for each in merged_snapshots(parts[:1]).processes] == [1]


def test_bytes_that_expiry_frees_are_added_up() -> None:
    freed = FreedWithin(minute=1, hour=2, day=3, never=4)
    merged = merged_snapshots(
        [snapshot(freed_within=freed), snapshot(freed_within=freed), snapshot()]
    )
    assert merged.freed_within == FreedWithin(minute=2, hour=4, day=6, never=8)


def test_a_snapshot_travels_as_messagepack() -> None:
    sent = snapshot(
        entries=1,
        groups=[MemoryGroup(group="a", entries=1, bytes=5)],
        largest=[LargestEntry(key="a", bytes=3)],
        stale=[sample("a", 1, "idle")],
    )
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=Snapshot) == sent
