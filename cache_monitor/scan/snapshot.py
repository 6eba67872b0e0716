"""The result of a scan, as MessagePack carries it between processes.

Ages are seconds, sizes bytes; ``None`` is unknown, never zero. Reading from a store checks the
ranges.
"""

import heapq
from collections.abc import Iterator
from itertools import chain, zip_longest
from typing import Annotated, Generic, TypeVar

from msgspec import Meta, Struct

from cache_monitor.scan.base import LONGEST, LONGEST_POLICY, Scope, StaleReason
from cache_monitor.stats.window import Count, UnixTime

Age = Annotated[float, Meta(ge=0, le=LONGEST)]
TimeLeft = Annotated[float, Meta(ge=-LONGEST, le=LONGEST)]

GROUPS = 50
LARGEST = 20
STALE = 200


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
