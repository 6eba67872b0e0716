"""What happened to one cache in one stretch of time: the figures that charts are drawn from."""

from typing import Annotated

from msgspec import Meta, Struct

from cache_monitor.stats import distinct, histogram

# What is read back from a store is held to these.
Count = Annotated[int, Meta(ge=0, le=2**62)]
Bucket = Annotated[int, Meta(ge=0, lt=0x7FF0)]
Hash = Annotated[int, Meta(ge=0)]
UnixTime = Annotated[float, Meta(ge=0, le=253_000_000_000)]
Duration = Annotated[float, Meta(ge=0, le=1e15)]
Start = Annotated[int, Meta(ge=0, le=253_000_000_000)]
Length = Annotated[int, Meta(ge=1, le=366 * 86400)]
Reasons = Annotated[dict[Annotated[str, Meta(max_length=32)], Count], Meta(max_length=32)]
"""How many misses had which reason, those whose reason is known. Any text is a reason, so that a
later version may know more of them."""


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


class Memory:
    """The bytes that a cache holds, gathered from the windows of several processes.

    What a process has in its own memory adds up over processes; a cache that they share is one.
    """

    def __init__(self) -> None:
        self._of_process: dict[str, int] = {}
        self.is_shared = False

    def add(self, process: str, window: "Window") -> None:
        """Take in what ``process`` has seen in ``window``."""
        if window.memory_bytes is not None:
            known = self._of_process.get(process, 0)
            self._of_process[process] = max(known, window.memory_bytes)
            self.is_shared = self.is_shared or window.memory_is_shared

    def bytes(self) -> int | None:
        """The bytes in all; None where nobody has looked."""
        if not self._of_process:
            return None
        return (max if self.is_shared else sum)(self._of_process.values())


class Window(Struct, array_like=True):
    """What one process did with one cache from ``start`` (Unix time) for ``seconds``.

    A window of a longer stretch, or of several processes, is the merge of its parts.
    ``processes`` sketches which processes that were (see :mod:`cache_monitor.stats.distinct`).
    """

    start: Start
    seconds: Length
    newest: UnixTime = 0.0
    dropped: Count = 0
    processes: set[Hash] = set()
    operations: dict[str, OperationStats] = {}
    bytes_read: Count | None = None
    bytes_written: Count | None = None
    memory_bytes: Count | None = None
    memory_is_shared: bool = False
    reasons: Reasons = {}

    final: bool = False
    """Whether its process will not change it any more; only then may it be rolled up."""

    @property
    def calls(self) -> int:
        """All calls that were made, recorded or not."""
        return self.dropped + sum(each.calls for each in self.operations.values())

    @property
    def revision(self) -> tuple[object, ...]:
        """Something that changes whenever the window does."""
        return self.calls, self.memory_bytes, sum(self.reasons.values()), self.final

    def operation(self, name: str) -> OperationStats:
        """The statistics of the operation ``name``, begun now if it is new."""
        stats = self.operations.get(name)
        if stats is None:
            stats = self.operations[name] = OperationStats()
        return stats

    def add_bytes(self, size: int, wrote: bool) -> None:
        """Add the bytes of values that were written or read."""
        if wrote:
            self.bytes_written = (self.bytes_written or 0) + size
        else:
            self.bytes_read = (self.bytes_read or 0) + size

    def merge(self, other: "Window") -> None:
        """Add what ``other`` counted; the stretch stays this window's own.

        Memory does not add up over time: the greater figure stays.
        """
        self.newest = max(self.newest, other.newest)
        self.dropped += other.dropped
        self.processes = distinct.unite(self.processes, other.processes)
        for name, operation in other.operations.items():
            self.operation(name).merge(operation)
        self.bytes_read = total(self.bytes_read, other.bytes_read)
        self.bytes_written = total(self.bytes_written, other.bytes_written)
        self.memory_bytes = _greater(self.memory_bytes, other.memory_bytes)
        self.memory_is_shared = self.memory_is_shared or other.memory_is_shared
        add_reasons(self.reasons, other.reasons)


def add_reasons(reasons: Reasons, more: Reasons) -> None:
    """Count ``more`` into ``reasons``."""
    for reason, misses in more.items():
        reasons[reason] = reasons.get(reason, 0) + misses


def total(one: int | None, other: int | None) -> int | None:
    """The sum of what is known; None where neither is."""
    if one is None or other is None:
        return other if one is None else one
    return one + other


def _greater(one: int | None, other: int | None) -> int | None:
    """The greater of what is known; None where neither is."""
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)
