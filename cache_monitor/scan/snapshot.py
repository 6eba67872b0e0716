"""The result of a scan, as MessagePack carries it between processes.

Ages are seconds, sizes bytes; ``None`` is unknown, never zero. Reading from a store checks the
ranges.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, zip_longest
from operator import attrgetter
from typing import Annotated, Any, Generic, Literal, TypeVar

from msgspec import Meta, Struct
from msgspec.structs import replace

from cache_monitor.stats.window import Count, UnixTime

Scope = Literal["shared", "per process"]
StaleReason = Literal["expired", "idle", "never_read", "no_expiry"]

STALE_REASONS: tuple[StaleReason, ...] = ("expired", "idle", "never_read", "no_expiry")

LONGEST = 1e11
"""Seconds, some 3000 years: what expires later never does."""

Age = Annotated[float, Meta(ge=0, le=LONGEST)]
TimeLeft = Annotated[float, Meta(ge=-LONGEST, le=LONGEST)]

GROUPS = 50
LARGEST = 20
STALE = 200
PROCESSES = 50
LONGEST_POLICY = 32
"""Characters of the name of a policy."""


def doc(text: str) -> Meta:
    """What a field says, with its unit, for the JSON Schemas. ``null`` stands for what is not
    known; where that has a reason of its own, the field tells it."""
    return Meta(description=text)


ShownKey = Annotated[
    str, doc("The key as the project wrote it, cut, printable, and masked where it is secret.")
]
GroupName = Annotated[str, doc("The group of keys, such as user:{int}:profile.")]


class StaleEntry(Struct, frozen=True, kw_only=True):
    """A stale entry, and why it is stale. Ages in seconds."""

    key: ShownKey
    group: GroupName = ""
    why: Annotated[list[StaleReason], doc("In which ways it is stale.")]
    age: Annotated[Age | None, doc("Seconds since it was written.")]
    idle: Annotated[Age | None, doc("Seconds since it was last read.")]
    expires_in: Annotated[
        TimeLeft | None,
        doc("Seconds until it expires, negative where it has; null without a timeout."),
    ]
    bytes: Annotated[Count | None, doc("Bytes that it takes.")]


class MemoryGroup(Struct, frozen=True, kw_only=True):
    """The entries of one key group and their bytes."""

    group: GroupName
    entries: Annotated[Count, doc("Its entries.")]
    bytes: Annotated[Count | None, doc("Bytes that they take.")]


class LargestEntry(Struct, frozen=True, kw_only=True):
    """One of the largest entries."""

    key: ShownKey
    bytes: Annotated[Count, doc("Bytes that it takes.")]


class FreedWithin(Struct, frozen=True, kw_only=True):
    """Bytes of the entries that expire within the next minute, hour and day (each with those
    before it), and ``never``. What has expired and is still there is in none of them."""

    minute: Annotated[Count | None, doc("Bytes of entries that expire within a minute.")] = None
    hour: Annotated[
        Count | None, doc("Bytes of entries that expire within an hour, those of the minute too.")
    ] = None
    day: Annotated[
        Count | None, doc("Bytes of entries that expire within a day, those of the hour too.")
    ] = None
    never: Annotated[Count | None, doc("Bytes of entries that do not expire.")] = None


class ProcessTotals(Struct, frozen=True, kw_only=True):
    """The entries of one process in a cache that each process has for itself; ``measured_at`` in
    Unix time."""

    measured_at: UnixTime
    entries: Count | None
    bytes: Count | None


class Snapshot(Struct, frozen=True, kw_only=True):
    """One alias at ``measured_at`` (Unix time), from ``examined`` of its entries.

    ``exact``: these were all. Otherwise counts and sizes, with those of ``groups``, are estimates,
    while ``largest`` and ``stale`` name examined entries only. ``stale_bytes`` has an entry of
    several reasons once. ``limit_bytes``, ``evictions``, ``used_bytes`` and ``empty_bytes`` (the
    bytes without any entry) are the server's; ``boot`` names the start that evictions count from,
    ``policy`` the eviction policy. ``problem`` says, without secrets, what is unknown and why.
    ``idle_error`` and ``never_read_error`` are the errors of figures that rest on the recorded
    calls, which began at ``recorded_since``. ``processes`` are those that have a cache each, the
    50 largest. ``store`` and ``keys`` are digests: of the store, and with it of the
    entries, equal for aliases that share them; empty where unknown.

    ``groups`` are the 50 largest, ``largest`` the 20 largest entries, ``stale`` at most 200 entries
    with some of each reason; each by size.
    """

    alias: str
    measured_at: UnixTime
    scope: Scope
    examined: Count = 0
    exact: bool = False
    entries: Count | None = None
    bytes: Count | None = None
    limit_bytes: Count | None = None
    limit_entries: Count | None = None
    evictions: Count | None = None
    boot: Annotated[str, Meta(max_length=64)] = ""
    policy: Annotated[str, Meta(max_length=LONGEST_POLICY)] | None = None
    used_bytes: Count | None = None
    empty_bytes: Count = 0
    groups: list[MemoryGroup] = []
    largest: list[LargestEntry] = []
    expired: Count | None = None
    idle: Count | None = None
    never_read: Count | None = None
    no_expiry: Count | None = None
    idle_error: Count | None = None
    never_read_error: Count | None = None
    recorded_since: UnixTime | None = None
    stale_bytes: Count | None = None
    stale: list[StaleEntry] = []
    problem: str | None = None
    freed_within: FreedWithin = FreedWithin()
    processes: list[ProcessTotals] = []
    store: str = ""
    keys: str = ""


Item = TypeVar("Item")


class TopN(Generic[Item]):
    """The ``size`` items of the greatest weight among those pushed."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[tuple[int, int, Item]] = []
        self._pushed = 0

    def takes(self, weight: int) -> bool:
        """Whether an item of ``weight`` would be kept."""
        return len(self._heap) < self._size or weight > self._heap[0][0]

    def push(self, weight: int, item: Item) -> None:
        if not self.takes(weight):
            return
        self._pushed += 1  # makes the tuples differ before two items are compared
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, (weight, self._pushed, item))
        else:
            heapq.heapreplace(self._heap, (weight, self._pushed, item))

    def __iter__(self) -> Iterator[Item]:
        """The items, those of the greatest weight first."""
        return (item for _, _, item in sorted(self._heap, key=lambda each: -each[0]))


def some_of_each(samples: list[list[StaleEntry]]) -> list[StaleEntry]:
    """At most 200 of ``samples``, in turns from each list; the largest first."""
    in_turns = chain.from_iterable(zip_longest(*samples))
    # An entry of several reasons is the same object in their lists.
    chosen = {id(each): each for each in in_turns if each is not None}
    return sorted(list(chosen.values())[:STALE], key=lambda each: -(each.bytes or 0))


def merge(snapshots: Sequence[Snapshot]) -> Snapshot:
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
    *("entries", "bytes", "limit_bytes", "limit_entries", "evictions", "stale_bytes"),
    *("expired", "idle", "never_read", "no_expiry", "idle_error", "never_read_error"),
)


def _sums(snapshots: Sequence[Struct], fields: Iterable[str]) -> dict[str, Any]:
    return {name: _sum(getattr(each, name) for each in snapshots) for name in fields}


def _added_up(snapshots: Sequence[Snapshot]) -> Snapshot:
    return Snapshot(
        alias=snapshots[0].alias,
        measured_at=min(each.measured_at for each in snapshots),
        scope="per process",
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
        store=snapshots[0].store,
        keys=snapshots[0].keys,
    )


def _processes(snapshots: Sequence[Snapshot]) -> list[ProcessTotals]:
    processes = [
        ProcessTotals(measured_at=each.measured_at, entries=each.entries, bytes=each.bytes)
        for each in snapshots
    ]
    return sorted(processes, key=lambda each: -(each.bytes or 0))[:PROCESSES]


def _sum(figures: Iterable[int | None]) -> int | None:
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
            entries=sum(each.entries for each in same),
            bytes=_sum(each.bytes for each in same),
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
