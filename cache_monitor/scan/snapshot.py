"""What a scan of a live cache found: plain data that MessagePack carries between processes.

Ages are seconds, sizes bytes. ``None`` stands for what the backend cannot answer, never for zero.
What is read back from a store is held to the ranges that stand here.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, zip_longest
from operator import attrgetter
from typing import Annotated, Generic, Literal, TypeVar

from msgspec import Meta, Struct
from msgspec.structs import replace

from cache_monitor.scan.limits import LONGEST
from cache_monitor.stats.window import Count, UnixTime

Scope = Literal["shared", "per process"]
StaleReason = Literal["expired", "idle", "never_read", "no_expiry"]

STALE_REASONS: tuple[StaleReason, ...] = ("expired", "idle", "never_read", "no_expiry")

Age = Annotated[float, Meta(ge=0, le=LONGEST)]
TimeLeft = Annotated[float, Meta(ge=-LONGEST, le=LONGEST)]

GROUPS = 50
LARGEST = 20
STALE = 200
PARTS = 50
LONGEST_POLICY = 32
"""Characters of the name of a policy."""


class EntrySample(Struct, frozen=True, kw_only=True):
    """An entry that no longer earns its place. ``expires_in`` is negative once it has expired."""

    key: str
    group: str
    why: list[StaleReason]
    age: Age | None
    idle: Age | None
    expires_in: TimeLeft | None
    bytes: Count | None


class GroupBytes(Struct, frozen=True, kw_only=True):
    """The entries of one key group and what they weigh together."""

    group: str
    entries: Count
    bytes: Count | None


class LargeEntry(Struct, frozen=True, kw_only=True):
    """One of the heaviest entries."""

    key: str
    group: str
    bytes: Count


class FreedBytes(Struct, frozen=True, kw_only=True):
    """Bytes of the entries that expire within the next minute, hour and day (each with those
    before it), and ``never``. What has expired and is still there is in none of them."""

    minute: Count | None = None
    hour: Count | None = None
    day: Count | None = None
    never: Count | None = None


class ProcessPart(Struct, frozen=True, kw_only=True):
    """What one process holds of a cache that lives in each process; measured in Unix time."""

    measured_at: UnixTime
    entries: Count | None
    bytes: Count | None


class Snapshot(Struct, frozen=True, kw_only=True):
    """One alias as it was found at ``measured_at`` (Unix time).

    ``looked_at`` entries were examined. ``exact`` says that these were all; otherwise the counts
    and sizes, those of ``groups`` too, are what the examined part lets expect of the whole, while
    ``largest`` and ``stale`` name only what was seen. An entry may be stale for several reasons;
    ``stale_bytes`` weighs it once. ``limit_bytes`` and ``evictions`` are those of the server, which
    may hold more than this cache; ``boot`` names the start that these are counted from, ``policy``
    what the server evicts, ``used_bytes`` what it takes for everybody, of which ``empty_bytes``
    without any entry. ``problem`` tells, in words free of secrets, what could not be asked, or
    where figures come from that were not read from the backend. ``idle_error`` and
    ``never_read_error`` say by how much these figures may be wrong where they rest on the record
    of the site's calls, which began at ``recorded_since``: for the keys that are not in it, and
    those used before it. ``parts`` are the processes that a cache in their memory was put together
    from, the heaviest 50. ``store`` and ``keys`` are digests: equal ``store``s are one place, and
    with equal ``keys`` too the aliases' entries are the same ones; empty where that is not known.

    ``groups`` are the 50 heaviest, ``largest`` the 20 heaviest entries, ``stale`` at most 200
    entries with some of every reason found; heaviest first, each.
    """

    alias: str
    measured_at: UnixTime
    scope: Scope
    looked_at: Count = 0
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
    groups: list[GroupBytes] = []
    largest: list[LargeEntry] = []
    expired: Count | None = None
    idle: Count | None = None
    never_read: Count | None = None
    no_expiry: Count | None = None
    idle_error: Count | None = None
    never_read_error: Count | None = None
    recorded_since: UnixTime | None = None
    stale_bytes: Count | None = None
    stale: list[EntrySample] = []
    problem: str | None = None
    freed_within: FreedBytes = FreedBytes()
    parts: list[ProcessPart] = []
    store: str = ""
    keys: str = ""


Item = TypeVar("Item")


class TopN(Generic[Item]):
    """The ``size`` heaviest of the items pushed."""

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
        """The items, heaviest first."""
        return (item for _, _, item in sorted(self._heap, key=lambda each: -each[0]))


def some_of_each(samples: list[list[EntrySample]]) -> list[EntrySample]:
    """At most 200 of ``samples``, in turns from each list, heaviest first."""
    in_turns = chain.from_iterable(zip_longest(*samples))
    # One entry is in the lists of all its reasons, as the same object.
    chosen = {id(each): each for each in in_turns if each is not None}
    return sorted(list(chosen.values())[:STALE], key=lambda each: -(each.bytes or 0))


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


def _freed(parts: Sequence[Snapshot]) -> FreedBytes:
    each = [part.freed_within for part in parts]
    return FreedBytes(
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
