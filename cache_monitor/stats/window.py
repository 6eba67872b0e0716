"""The statistics of one process, one cache and one stretch of time."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from cache_monitor.stats import distinct, histogram
from cache_monitor.stats.hotkeys import HotKeys

GroupKind = Literal["key", "page", "page_headers", "fragment", "session"]

OTHER_GROUPS = "(other groups)"

# What is read back from a store is held to these.
Count = Annotated[int, Meta(ge=0, le=2**62)]
Bucket = Annotated[int, Meta(ge=0, lt=0x7FF0)]
Hash = Annotated[int, Meta(ge=0)]
UnixTime = Annotated[float, Meta(ge=0, le=253_000_000_000)]
Duration = Annotated[float, Meta(ge=0, le=1e15)]


class OperationStats(Struct, array_like=True):
    """The calls of one operation. ``seconds`` is their sum, ``buckets`` their histogram."""

    calls: Count = 0
    keys: Count = 0
    hits: Count = 0
    misses: Count = 0
    errors: Count = 0
    seconds: Duration = 0.0
    slowest: Duration = 0.0
    buckets: dict[Bucket, Count] = {}

    def merge(self, other: "OperationStats") -> None:
        """Add the calls that ``other`` counted."""
        self.calls += other.calls
        self.keys += other.keys
        self.hits += other.hits
        self.misses += other.misses
        self.errors += other.errors
        self.seconds += other.seconds
        self.slowest = max(self.slowest, other.slowest)
        histogram.add(self.buckets, other.buckets)


class GroupStats(Struct, array_like=True):
    """The calls on the keys of one group; ``keys`` sketches how many different ones there are."""

    kind: GroupKind
    lookups: Count = 0
    hits: Count = 0
    misses: Count = 0
    sets: Count = 0
    deletes: Count = 0
    errors: Count = 0
    bytes_read: Count | None = None
    bytes_written: Count | None = None
    keys: set[Hash] = set()

    def count(self, hit: bool | None, wrote: bool, times: int) -> None:
        """Count ``times`` uses of a key; ``hit`` is None where nothing was looked up."""
        if hit is not None:
            self.lookups += times
            self.hits += times if hit else 0
            self.misses += 0 if hit else times
        self.sets += times if wrote else 0

    def add_bytes(self, size: int, wrote: bool) -> None:
        """Add the bytes of values that were written or read."""
        if wrote:
            self.bytes_written = (self.bytes_written or 0) + size
        else:
            self.bytes_read = (self.bytes_read or 0) + size

    def add_key(self, key_hash: int) -> None:
        """Add a key to the sketch."""
        self.keys.add(key_hash)
        if len(self.keys) > 2 * distinct.SIZE:
            self.keys = distinct.smallest(self.keys)

    def merge(self, other: "GroupStats") -> None:
        """Add the calls that ``other`` counted."""
        self.lookups += other.lookups
        self.hits += other.hits
        self.misses += other.misses
        self.sets += other.sets
        self.deletes += other.deletes
        self.errors += other.errors
        self.bytes_read = total(self.bytes_read, other.bytes_read)
        self.bytes_written = total(self.bytes_written, other.bytes_written)
        self.keys = distinct.smallest(self.keys | other.keys)


class Window(Struct, array_like=True):
    """What one process did with one cache from ``start`` (Unix time) for ``seconds``.

    A window of a longer stretch, or of several processes, is the merge of its parts.
    """

    start: int
    seconds: int
    hot_keys: HotKeys
    group_limit: int
    newest: UnixTime = 0.0
    dropped: Count = 0
    operations: dict[str, OperationStats] = {}
    groups: dict[str, GroupStats] = field(default_factory=dict)
    bytes_read: Count | None = None
    bytes_written: Count | None = None
    memory_bytes: Count | None = None

    @property
    def calls(self) -> int:
        """All calls in the window."""
        return sum(each.calls for each in self.operations.values())

    def operation(self, name: str) -> OperationStats:
        """The statistics of the operation ``name``, begun now if it is new."""
        stats = self.operations.get(name)
        if stats is None:
            stats = self.operations[name] = OperationStats()
        return stats

    def group(self, name: str, kind: GroupKind) -> GroupStats:
        """The statistics of the group ``name``; one shared group takes what is over the limit."""
        stats = self.groups.get(name)
        if stats is None:
            if len(self.groups) >= self.group_limit:
                name, kind = OTHER_GROUPS, "key"
            stats = self.groups.setdefault(name, GroupStats(kind))
        return stats

    def add_bytes(self, size: int, wrote: bool) -> None:
        """Add the bytes of values that were written or read."""
        if wrote:
            self.bytes_written = (self.bytes_written or 0) + size
        else:
            self.bytes_read = (self.bytes_read or 0) + size

    def merge(self, other: "Window") -> None:
        """Add what ``other`` counted; afterwards ``other`` may share parts with this window.

        The stretch and the memory stay this window's own: what they mean for several processes
        is the reader's business.
        """
        self.newest = max(self.newest, other.newest)
        self.dropped += other.dropped
        for name, operation in other.operations.items():
            self.operation(name).merge(operation)
        for name, group in other.groups.items():
            self.group(name, group.kind).merge(group)
        self.hot_keys.merge(other.hot_keys)
        self.bytes_read = total(self.bytes_read, other.bytes_read)
        self.bytes_written = total(self.bytes_written, other.bytes_written)


def total(one: int | None, other: int | None) -> int | None:
    """The sum of what is known; None where neither is."""
    if one is None or other is None:
        return other if one is None else one
    return one + other
