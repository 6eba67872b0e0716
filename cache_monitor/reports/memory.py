"""What is in the caches, and how much of it is stale, as the last scans found it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Annotated, Any

from msgspec import Struct
from msgspec.structs import replace

from cache_monitor.scan.base import STALE_REASONS, Scope
from cache_monitor.scan.snapshot import (
    GROUPS,
    LARGEST,
    FreedWithin,
    LargestEntry,
    MemoryGroup,
    ProcessTotals,
    Snapshot,
    StaleEntry,
    doc,
    some_of_each,
)
from cache_monitor.stats.window import ratio

TakenBytes = Annotated[int | None, doc("Bytes that they take.")]


class ProcessMemory(Struct, frozen=True, kw_only=True):
    """What one process holds of a cache that lives in each process."""

    measured_at: Annotated[str, doc("When the process looked: RFC 3339, UTC.")]
    entries: Annotated[int | None, doc("Entries that it holds.")]
    bytes: TakenBytes


class Memory(Struct, frozen=True, kw_only=True):
    """What is in a cache and how large it is, read from the live backend. Where the scan stopped at
    its limit, the figures are extrapolated from the entries ``examined``."""

    entries: Annotated[int | None, doc("Entries in the cache.")] = None
    bytes: TakenBytes = None
    limit_bytes: Annotated[
        int | None, doc("Bytes that the cache may take; null without a limit.")
    ] = None
    limit_entries: Annotated[int | None, doc("Entries that it may have; null without a limit.")] = (
        None
    )
    evictions: Annotated[
        int | None,
        doc(
            "Entries evicted for want of room: since the start of its server, or, where the "
            "monitor counts them, since evictions_since."
        ),
    ] = None
    policy: Annotated[
        str | None, doc("What its server evicts, such as allkeys-lru; null where it does not tell.")
    ] = None
    used_bytes: Annotated[
        int | None,
        doc("Bytes that its server takes for everybody's entries; null where it does not tell."),
    ] = None
    empty_bytes: Annotated[int, doc("Bytes of these that the server takes without any entry.")] = 0
    measured_at: Annotated[str | None, doc("When this was read from the cache: RFC 3339, UTC.")] = (
        None
    )
    scope: Annotated[
        Scope | None, doc("Whether the processes share the cache or each has its own.")
    ] = None
    exact: Annotated[
        bool | None, doc("False where the figures are reckoned from a part of the entries.")
    ] = None
    groups: Annotated[list[MemoryGroup], doc("The groups of keys, the heaviest first.")] = []
    largest: Annotated[list[LargestEntry], doc("The heaviest entries.")] = []
    examined: Annotated[int | None, doc("Entries that the scan examined.")] = None
    freed_within: Annotated[FreedWithin, doc("When its bytes come free.")] = FreedWithin()
    problem: Annotated[
        str | None, doc("What could not be read, or where the figures come from instead.")
    ] = None
    processes: Annotated[
        list[ProcessMemory], doc("What each process holds, where each has its own cache.")
    ] = []
    aliases: Annotated[
        list[str],
        doc("The caches that share its store, itself included; empty where it has its own."),
    ] = []
    counted_in: Annotated[
        str | None, doc("The cache of them that has the same entries and stands for both in sums.")
    ] = None
    evictions_since: Annotated[
        str | None,
        doc(
            "Where the period begins in which the processes counted what they evicted: RFC 3339, "
            "UTC; null where the server counts."
        ),
    ] = None

    @property
    def full(self) -> float | None:
        """The share of its limit that it takes; None where either is unknown."""
        if self.bytes is None or self.limit_bytes is None:
            return None
        return ratio(self.bytes, self.limit_bytes)

    def share(self, size: int | None) -> float | None:
        """What share of its bytes ``size`` is; None where either is unknown."""
        return None if size is None or self.bytes is None else ratio(size, self.bytes)


class Stale(Struct, frozen=True, kw_only=True):
    """How many entries are stale, by reason; an entry can have several. What the backend does not
    tell is known from the site's calls."""

    expired: Annotated[int | None, doc("Entries past their timeout that are still stored.")] = None
    idle: Annotated[int | None, doc("Entries that nobody has used for STALE_AFTER.")] = None
    never_read: Annotated[
        int | None, doc("Entries that nobody has read since they were written.")
    ] = None
    no_expiry: Annotated[int | None, doc("Entries without a timeout.")] = None
    bytes: Annotated[int | None, doc("Bytes of all stale entries, each counted once.")] = None
    expired_bytes: Annotated[int | None, doc("Bytes of the expired ones.")] = None
    entries: Annotated[list[StaleEntry], doc("Some of them.")] = []
    idle_error: Annotated[
        int | None, doc("By how many idle may be wrong: 0 where it is exact, null where unknown.")
    ] = None
    never_read_error: Annotated[
        int | None,
        doc("By how many never_read may be wrong: 0 where it is exact, null where unknown."),
    ] = None
    recorded_since: Annotated[
        str | None,
        doc(
            "Since when the site's calls are on record, which tell what the backend does not: RFC"
            " 3339, UTC; null without a record."
        ),
    ] = None


STANDS_FOR = 3600.0
"""Seconds for which the last scan stands where nobody has called the cache since."""


def latest(snapshots: Sequence[Snapshot], now: float, fresh_for: float) -> Snapshot | None:
    """What is in a cache: the latest of ``snapshots``, or those of all processes that still run.

    A process whose scan is ``fresh_for`` seconds older than the latest has ended, and its memory
    with it. Where nobody calls a cache nobody scans it either, and the last scan stands, but no
    longer than an hour. A scan of the time to come is from before the clock was set back: it stands
    only until there is a later one.
    """
    snapshots = [each for each in snapshots if each.measured_at <= now + fresh_for] or snapshots
    found = [each for each in snapshots if each.scope == "shared"]
    newest = max((each.measured_at for each in snapshots), default=0.0)
    oldest = min(newest, now) - fresh_for
    if not found and newest > now - STANDS_FOR:
        found = [each for each in snapshots if each.measured_at > oldest]
    return merged_snapshots(found) if found else None


def with_sharing(
    memories: Mapping[str, Memory], snapshots: Mapping[str, Snapshot | None]
) -> dict[str, Memory]:
    """``memories`` with the names of the aliases that share a store, as ``snapshots`` tell.

    Of aliases whose keys have the same prefix, version and function, the entries are the same: they
    count in the first of them. What one of several aliases evicts may be another's: where they
    count it themselves, it is the store's, as it is a server's.
    """
    known = {alias: each for alias, each in snapshots.items() if each is not None and each.store}
    stores: defaultdict[str, list[str]] = defaultdict(list)
    first: dict[tuple[str, str], str] = {}
    for alias, each in known.items():
        stores[each.store].append(alias)
        first.setdefault((each.store, each.keys), alias)
    found = dict(memories)
    for alias, each in known.items():
        aliases, counted_in = stores[each.store], first[each.store, each.keys]
        if len(aliases) > 1:
            memory = memories[alias]
            evicted = memory.evictions
            if memory.evictions_since is not None:
                evicted = sum(memories[one].evictions or 0 for one in aliases)
            found[alias] = replace(
                memory,
                aliases=aliases,
                counted_in=None if counted_in == alias else counted_in,
                evictions=evicted,
            )
    return found


PROCESSES = 50


def merged_snapshots(snapshots: Sequence[Snapshot]) -> Snapshot:
    """One snapshot of those, at least one, that processes took of the same alias.

    Of a shared cache that is the newest with figures. Caches that each process has for itself are
    added up, as old as the oldest; a key of several processes is named once, with its largest copy.
    A figure is None where no process knows it; it is exact only if each process's is.
    """
    if any(each.scope == "shared" for each in snapshots):
        return max(snapshots, key=lambda each: (each.entries is not None, each.measured_at))
    if len(snapshots) == 1:
        return replace(snapshots[0], processes=_processes(snapshots))
    return _added_up(snapshots)


_ADDED = (
    *("entries", "bytes", "limit_bytes", "limit_entries", "evictions"),
    *("stale_bytes", "expired_bytes", "expired", "idle", "never_read", "no_expiry"),
    *("idle_error", "never_read_error"),
)


def _sums(snapshots: Sequence[Struct], fields: Iterable[str]) -> dict[str, Any]:
    return {name: known_sum(getattr(each, name) for each in snapshots) for name in fields}


def _added_up(snapshots: Sequence[Snapshot]) -> Snapshot:
    return replace(
        snapshots[0],
        measured_at=min(each.measured_at for each in snapshots),
        examined=sum(each.examined for each in snapshots),
        exact=all(each.exact for each in snapshots),
        **_sums(snapshots, _ADDED),
        groups=_groups(snapshots),
        largest=_largest(snapshots),
        recorded_since=max(
            (each.recorded_since for each in snapshots if each.recorded_since is not None),
            default=None,
        ),
        stale=_stale(snapshots),
        problem=next((each.problem for each in snapshots if each.problem), None),
        freed_within=FreedWithin(
            **_sums([each.freed_within for each in snapshots], FreedWithin.__struct_fields__)
        ),
        processes=_processes(snapshots),
    )


def _processes(snapshots: Sequence[Snapshot]) -> list[ProcessTotals]:
    processes = [
        ProcessTotals(measured_at=each.measured_at, entries=each.entries, bytes=each.bytes)
        for each in snapshots
    ]
    return sorted(processes, key=lambda each: -(each.bytes or 0))[:PROCESSES]


def known_sum(figures: Iterable[int | None]) -> int | None:
    """The sum of the known ones of ``figures``; None where none is known."""
    known = [each for each in figures if each is not None]
    return sum(known) if known else None


def _groups(snapshots: Sequence[Snapshot]) -> list[MemoryGroup]:
    alike: dict[str, list[MemoryGroup]] = {}
    for snapshot in snapshots:
        for each in snapshot.groups:
            alike.setdefault(each.group, []).append(each)
    groups = [
        MemoryGroup(
            group=name,
            **_sums(same, ("entries", "bytes", "no_expiry")),
        )
        for name, same in alike.items()
    ]
    return sorted(groups, key=lambda each: (-(each.bytes or 0), -each.entries))[:GROUPS]


def _largest(snapshots: Sequence[Snapshot]) -> list[LargestEntry]:
    found = (each for snapshot in snapshots for each in snapshot.largest)
    ascending = sorted(found, key=attrgetter("bytes"))
    by_key = {each.key: each for each in ascending}
    return sorted(by_key.values(), key=lambda each: -each.bytes)[:LARGEST]


def _stale(snapshots: Sequence[Snapshot]) -> list[StaleEntry]:
    found = (each for snapshot in snapshots for each in snapshot.stale)
    ascending = sorted(found, key=lambda each: each.bytes or 0)
    by_key = {(each.key, *each.why): each for each in ascending}
    samples = sorted(by_key.values(), key=lambda each: -(each.bytes or 0))
    return some_of_each(
        [[each for each in samples if reason in each.why] for reason in STALE_REASONS]
    )
