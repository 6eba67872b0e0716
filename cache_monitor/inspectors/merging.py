"""Put together what several processes found in the same alias."""

from collections.abc import Iterable, Sequence
from operator import attrgetter

from msgspec.structs import replace

from cache_monitor.inspectors.heaviest import some_of_each
from cache_monitor.inspectors.snapshot import (
    GROUPS,
    LARGEST,
    PARTS,
    STALE_REASONS,
    EntrySample,
    FreedWithin,
    GroupBytes,
    LargeEntry,
    ProcessPart,
    Snapshot,
)


def merge(snapshots: Sequence[Snapshot]) -> Snapshot:
    """One snapshot for those, at least one, that processes took of the same alias.

    Of a shared cache all of them show the same entries: the newest that answered stands. What each
    process holds for itself is added up, as old as its oldest part; a key that several processes
    hold is named once, with its heaviest copy. A figure is None where no process knows it, and the
    sum of those that do otherwise; it is exact only if every process told it exactly.
    """
    if any(each.scope == "shared" for each in snapshots):
        return max(snapshots, key=lambda each: (each.entries is not None, each.measured_at))
    if len(snapshots) == 1:
        return replace(snapshots[0], parts=_parts(snapshots))
    return _added_up(snapshots)


def _added_up(parts: Sequence[Snapshot]) -> Snapshot:
    return Snapshot(
        alias=parts[0].alias,
        measured_at=min(each.measured_at for each in parts),
        scope="per process",
        looked_at=sum(each.looked_at for each in parts),
        exact=all(each.exact for each in parts),
        entries=_sum(each.entries for each in parts),
        bytes=_sum(each.bytes for each in parts),
        limit_bytes=_sum(each.limit_bytes for each in parts),
        limit_entries=_sum(each.limit_entries for each in parts),
        evictions=_sum(each.evictions for each in parts),
        groups=_groups(parts),
        largest=_largest(parts),
        expired=_sum(each.expired for each in parts),
        idle=_sum(each.idle for each in parts),
        never_read=_sum(each.never_read for each in parts),
        no_expiry=_sum(each.no_expiry for each in parts),
        idle_error=_sum(each.idle_error for each in parts),
        never_read_error=_sum(each.never_read_error for each in parts),
        recorded_since=max(
            (each.recorded_since for each in parts if each.recorded_since is not None),
            default=None,
        ),
        stale_bytes=_sum(each.stale_bytes for each in parts),
        stale=_stale(parts),
        problem=next((each.problem for each in parts if each.problem), None),
        freed_within=_freed(parts),
        parts=_parts(parts),
        store=parts[0].store,
        keys=parts[0].keys,
    )


def _freed(parts: Sequence[Snapshot]) -> FreedWithin:
    each = [part.freed_within for part in parts]
    return FreedWithin(
        minute=_sum(one.minute for one in each),
        hour=_sum(one.hour for one in each),
        day=_sum(one.day for one in each),
        never=_sum(one.never for one in each),
    )


def _parts(snapshots: Sequence[Snapshot]) -> list[ProcessPart]:
    parts = [
        ProcessPart(measured_at=each.measured_at, entries=each.entries, bytes=each.bytes)
        for each in snapshots
    ]
    return sorted(parts, key=lambda each: -(each.bytes or 0))[:PARTS]


def _sum(figures: Iterable[int | None]) -> int | None:
    known = [each for each in figures if each is not None]
    return sum(known) if known else None


def _groups(parts: Sequence[Snapshot]) -> list[GroupBytes]:
    alike: dict[str, list[GroupBytes]] = {}
    for part in parts:
        for each in part.groups:
            alike.setdefault(each.group, []).append(each)
    groups = [
        GroupBytes(
            group=name,
            entries=sum(each.entries for each in same),
            bytes=_sum(each.bytes for each in same),
        )
        for name, same in alike.items()
    ]
    return sorted(groups, key=lambda each: (-(each.bytes or 0), -each.entries))[:GROUPS]


def _largest(parts: Sequence[Snapshot]) -> list[LargeEntry]:
    ascending = sorted((each for part in parts for each in part.largest), key=attrgetter("bytes"))
    heaviest = {each.key: each for each in ascending}
    return sorted(heaviest.values(), key=lambda each: -each.bytes)[:LARGEST]


def _stale(parts: Sequence[Snapshot]) -> list[EntrySample]:
    ascending = sorted(
        (each for part in parts for each in part.stale), key=lambda each: each.bytes or 0
    )
    heaviest = {(each.key, *each.why): each for each in ascending}
    samples = sorted(heaviest.values(), key=lambda each: -(each.bytes or 0))
    return some_of_each(
        [[each for each in samples if reason in each.why] for reason in STALE_REASONS]
    )
