"""What happened to one cache in one time bucket: the figures that charts are drawn from.

Every window has the memory that its process held at its last scan; the last window of a process
that ends has 0. So at each moment the latest figure of each process counts. Of the sums at several
moments the greatest is kept.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta, Struct, field

from cache_monitor.stats import sketches
from cache_monitor.stats.codec import MAX_COUNT
from cache_monitor.stats.sketches import Histogram, add_counts, buckets_of, counts_of

# What is read back from a store is held to these.
Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
Bucket = Annotated[int, Meta(ge=0, lt=0x7FF0)]
Hash = Annotated[int, Meta(ge=0)]
UnixTime = Annotated[float, Meta(ge=0, le=253_000_000_000)]
Duration = Annotated[float, Meta(ge=0, le=1e15)]
Start = Annotated[int, Meta(ge=0, le=253_000_000_000)]
Length = Annotated[int, Meta(ge=1, le=366 * 86400)]
Reasons = Annotated[dict[Annotated[str, Meta(max_length=32)], Count], Meta(max_length=32)]
"""How many misses had which reason, those whose reason is known. Any text is a reason, so that a
later version may know more of them."""


class OperationStats(Struct, array_like=True, gc=False):
    """The calls of one operation. ``seconds`` is their sum, ``times`` their histogram."""

    calls: Count = 0
    keys: Count = 0
    hits: Count = 0
    misses: Count = 0
    errors: Count = 0
    seconds: Duration = 0.0
    slowest: Duration = 0.0
    times: Histogram = field(default_factory=Histogram)
    interrupted: Count = 0
    """Calls that something from outside ended; none of the ``errors``."""
    absent: Count = 0
    """Of the errors, those that are no fault of the backend's: they say of a counter that its key
    is absent, or were raised by the site's own function in a ``get_or_set``."""

    @property
    def faults(self) -> int:
        """The errors that are no ordinary answer."""
        return max(self.errors - self.absent, 0)

    def count(self, seconds: Sequence[float]) -> None:
        """Count calls by what each of them took."""
        counts = counts_of(seconds)
        self.calls += len(seconds)
        self.seconds += sum(seconds)
        self.times.add(counts)
        if max(counts, default=0) >= buckets_of([self.slowest])[0]:
            self.slowest = max(self.slowest, *seconds)

    def merge(self, other: "OperationStats") -> None:
        """Add the calls that ``other`` counted."""
        self.calls += other.calls
        self.keys += other.keys
        self.hits += other.hits
        self.misses += other.misses
        self.errors += other.errors
        self.seconds += other.seconds
        self.slowest = max(self.slowest, other.slowest)
        self.times.merge(other.times)
        self.interrupted += other.interrupted
        self.absent += other.absent


class Window(Struct, array_like=True, gc=False):
    """What one process did with one cache from ``start`` (Unix time) for ``seconds``.

    A window of a longer bucket, or of several processes, is the merge of its parts.
    ``processes`` sketches which processes that were (see :mod:`cache_monitor.stats.sketches`).
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
    """What the cache holds: one that processes share, or, in windows of more than a minute, those
    of all processes together."""
    memory_is_shared: bool = False
    reasons: Reasons = {}

    final: bool = False
    """Whether its process will not change it any more; only then may it be rolled up."""

    evictions: Count | None = None
    """What the server's counter of evictions stood at, where processes share the cache."""
    own_memory: Annotated[dict[Hash, Count], Meta(max_length=1000)] = {}
    """The bytes that each process holds of a cache of its own, by the process's hash, 0 where it
    has ended; in windows of up to a minute (see :class:`MemoryByProcess`)."""

    traced_misses: Count = 0
    """The misses of which ``reasons`` tell. If a sample of the keys is traced, each stands for
    several."""
    classified_misses: Count = 0
    """Those of them whose reason is known."""
    culled: Count | None = None
    """How many entries processes threw out to make room, where the backend has no counter."""
    variance: Annotated[float, Meta(ge=0, le=1e300)] = 0.0
    """The variance of the misses if a sample of the keys is traced: the sum of each hour's."""
    unfinished: set[Hash] = set()
    """Sketches the processes that may still change a part of it, or have stopped reporting."""

    @property
    def calls(self) -> int:
        """All calls that were made, recorded or not."""
        return self.dropped + sum(each.calls for each in self.operations.values())

    @property
    def revision(self) -> tuple[object, ...]:
        """Something that changes whenever the window does."""
        memory = self.memory_bytes, tuple(self.own_memory.items()), self.evictions, self.culled
        return self.calls, memory, sum(self.reasons.values()), self.final

    def operation(self, name: str) -> OperationStats:
        """The statistics of the operation ``name``, begun now if it is new."""
        stats = self.operations.get(name)
        if stats is None:
            stats = self.operations[name] = OperationStats()
        return stats

    def add_bytes(self, size: int, wrote: bool) -> None:
        if wrote:
            self.bytes_written = (self.bytes_written or 0) + size
        else:
            self.bytes_read = (self.bytes_read or 0) + size

    def merge(self, other: "Window") -> None:
        """Add what ``other`` counted; the bucket stays this window's own.

        Neither memory nor a counter adds up over time: the greater figure stays. What processes
        hold of their own is gathered apart (:class:`MemoryByProcess`).
        """
        self.newest = max(self.newest, other.newest)
        self.dropped += other.dropped
        self.processes = sketches.unite(self.processes, other.processes)
        for name, operation in other.operations.items():
            self.operation(name).merge(operation)
        self.bytes_read = total(self.bytes_read, other.bytes_read)
        self.bytes_written = total(self.bytes_written, other.bytes_written)
        self.memory_bytes = greater(self.memory_bytes, other.memory_bytes)
        self.memory_is_shared = self.memory_is_shared or other.memory_is_shared
        add_counts(self.reasons, other.reasons)
        self.evictions = greater(self.evictions, other.evictions)
        self.traced_misses += other.traced_misses
        self.classified_misses += other.classified_misses
        self.variance += other.variance
        self.culled = total(self.culled, other.culled)
        self.unfinished = sketches.unite(self.unfinished, other.unfinished)


def total(one: int | None, other: int | None) -> int | None:
    """The sum of what is known; None where neither is."""
    if one is None or other is None:
        return other if one is None else one
    return one + other


def greater(one: int | None, other: int | None) -> int | None:
    """The greater of what is known; None where neither is."""
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def ratio(part: float, whole: float) -> float | None:
    """A share to four digits, at most 1; only a true 0 or 1 is one. None of nothing."""
    if not whole:
        return None
    if part <= 0 or part >= whole:
        return 1.0 if part > 0 else 0.0
    return min(max(round(part / whole, 4), 0.0001), 0.9999)


def percent(part: float, whole: float) -> int | None:
    """A share as whole per cent, likewise."""
    share = ratio(part, whole)
    if share is None or share in {0.0, 1.0}:
        return None if share is None else round(100 * share)
    return min(max(round(100 * share), 1), 99)


def rfc3339(moment: datetime | float) -> str:
    """``moment``, of which a number is Unix time, in UTC, to the second."""
    at = (
        moment.astimezone(UTC)
        if isinstance(moment, datetime)
        else datetime.fromtimestamp(moment, UTC)
    )
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


MINUTE = 60
KNOWN_FOR = 5 * MINUTE
"""Seconds for which the memory of a process counts as known where nobody knows how often it is
scanned. That of a killed process counts for so long beside its successor's."""


def in_all(by_process: Mapping[int, int]) -> int | None:
    """The bytes of all processes, which are named by their hashes; None where there are none. Exact
    for fewer than ``distinct.SIZE`` processes; of more, some stand for the others."""
    if not by_process:
        return None
    known = sketches.smallest(by_process)
    return sum(by_process[process] for process in known) * sketches.estimate(known) // len(known)


class MemoryByProcess:
    """The bytes that a cache holds, gathered from windows of several processes and times.

    A process that has reported nothing for ``known_for`` seconds has ended.
    """

    def __init__(self, known_for: float = KNOWN_FOR) -> None:
        self._known_for = known_for
        self._own: dict[int, dict[int, int]] = {}
        """The bytes of each process, by the beginning of the window that reported them."""
        self._greatest: int | None = None

    def add(self, window: Window) -> None:
        """Take in ``window``, which stays as it is."""
        if window.own_memory:
            reported = self._own.setdefault(window.start, {})
            for process, size in window.own_memory.items():
                reported[process] = max(size, reported.get(process, 0))
        self._greatest = greater(self._greatest, window.memory_bytes)

    def note_in(self, window: Window) -> None:
        """Put what the cache holds into ``window``, the merge of those that were added."""
        window.own_memory, window.memory_bytes = {}, self._greatest
        for _, by_process in self._moments():
            if window.seconds <= MINUTE:
                window.own_memory = by_process
            else:
                window.memory_bytes = greater(window.memory_bytes, in_all(by_process))

    def sums(self) -> Iterator[tuple[int, int | None]]:
        """The moments at which processes reported their memory, and the bytes of all together."""
        for start, by_process in self._moments():
            yield start, in_all(by_process)

    def _moments(self) -> Iterator[tuple[int, dict[int, int]]]:
        latest: dict[int, tuple[int, int]] = {}
        for start, reported in sorted(self._own.items()):
            latest.update((process, (size, start)) for process, size in reported.items())
            latest = {
                process: each
                for process, each in latest.items()
                if start - each[1] <= self._known_for
            }
            if len(latest) > 2 * sketches.SIZE:
                latest = {process: latest[process] for process in sketches.smallest(latest)}
            yield start, {process: size for process, (size, _) in latest.items()}
