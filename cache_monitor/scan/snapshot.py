"""The result of a scan: totals, groups, the largest and the stale entries, added up one by one.

Ages are seconds, sizes bytes; ``None`` is unknown, never zero. MessagePack carries it between
processes; reading from a store checks the ranges.
"""

import time
from collections.abc import Collection
from heapq import nlargest
from itertools import chain, zip_longest
from math import ceil, sqrt
from typing import Annotated, Generic, TypeVar

from msgspec import Meta, Struct, field

from cache_monitor.keys.naming import group_key, name_key
from cache_monitor.scan.base import (
    GREATEST,
    LONGEST,
    LONGEST_POLICY,
    STALE_REASONS,
    Entry,
    ScanLimits,
    Scope,
    StaleReason,
    stale_reasons,
)
from cache_monitor.stats.window import Count, UnixTime

Age = Annotated[float, Meta(ge=0, le=LONGEST)]
TimeLeft = Annotated[float, Meta(ge=-LONGEST, le=LONGEST)]

GROUPS = 50
LARGEST = 20
STALE = 200


def doc(text: str) -> Meta:
    """The meaning of a field, with its unit, for the JSON Schemas. ``null`` is unknown, unless the
    field gives another meaning."""
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
    no_expiry: Annotated[Count | None, doc("Those of them without a timeout.")] = None


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
    ``expired_bytes`` are those of the ``expired`` ones.
    ``idle_error`` and ``never_read_error`` are the errors of figures that rest on the recorded
    calls, which began at ``recorded_since``. ``processes`` are those that have a cache each, the
    50 largest. ``store`` and ``keys`` are digests: of the store, and with it of the
    entries, equal for aliases that share them; empty where unknown. ``backend`` is the alias's in
    the settings of who scanned.

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
    expired_bytes: Count | None = None
    stale: list[StaleEntry] = []
    problem: str | None = None
    freed_within: FreedWithin = FreedWithin()
    processes: list[ProcessTotals] = []
    store: str = ""
    keys: str = ""
    backend: str = ""


Item = TypeVar("Item", StaleEntry, LargestEntry)


class TopN(Generic[Item]):
    """Keeps in ``items`` the ``size`` largest entries of those pushed, for a while with others.
    An entry of no more bytes than ``least`` is not among them."""

    def __init__(self, size: int, items: list[Item]) -> None:
        self._size = size
        self.items: list[Item] = items
        self.least = -1

    def push(self, item: Item) -> None:
        self.items.append(item)
        # Soon, because each one too many was named in vain.
        if len(self.items) >= self._size + self._size // 8:
            self.cut()

    def cut(self) -> list[Item]:
        """The largest, in order; drops the others."""
        self.items[:] = nlargest(self._size, self.items, key=lambda each: each.bytes or 0)
        if len(self.items) == self._size:
            self.least = self.items[-1].bytes or 0
        return list(self.items)


def some_of_each(samples: list[list[StaleEntry]]) -> list[StaleEntry]:
    """At most 200 of ``samples``, in turns from each list; the largest first."""
    in_turns = chain.from_iterable(zip_longest(*samples))
    # An entry of several reasons is the same object in their lists.
    chosen = {id(each): each for each in in_turns if each is not None}
    return sorted(list(chosen.values())[:STALE], key=lambda each: -(each.bytes or 0))


MAX_GROUPS = 2000
"""The most groups of a scan; further ones share one."""
OTHER_GROUPS = "(other groups)"

RECORDED_REASONS: frozenset[StaleReason] = frozenset({"idle", "never_read"})
"""The reasons that the recorded calls show where the backend does not."""
_BACKEND_REASONS: tuple[StaleReason, StaleReason] = ("expired", "no_expiry")

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0


class StaleKnowledge(Struct, kw_only=True):
    """How many entries are stale for a reason that the backend may not know.

    Of ``known`` entries it is certain. ``positive`` of the ``sample`` are stale; the sample stands
    for the ``left_out`` ones. Of ``unsure`` entries nothing is known.
    """

    known: Count = 0
    sample: Count = 0
    positive: Count = 0
    left_out: Count = 0
    unsure: Count = 0

    def add(self, entry: Entry, *, is_known: bool, is_stale: bool) -> None:
        if not is_known:
            self.left_out += entry.traced == "out"
            self.unsure += entry.traced != "out"
        elif entry.traced == "sample":
            self.sample += 1
            self.positive += is_stale
        else:
            self.known += 1

    def of_left_out(self) -> tuple[int, int] | None:
        """The estimated stale ones of those left out, and the error; None where unknown."""
        if not self.known and not self.sample and (self.left_out or self.unsure):
            return None
        if not self.left_out:
            return 0, self.unsure
        if not self.sample:
            return None
        expected = round(self.positive / self.sample * self.left_out)
        error = ceil(self.left_out / sqrt(self.sample))
        return expected, min(error, self.left_out) + self.unsure


_Freed = Annotated[list[Count], Meta(min_length=4, max_length=4)]


class Sums(Struct, kw_only=True):
    """The sums of a scan so far, as plain data: another process can continue it."""

    examined: Count = 0
    scanned: Count = 0
    sized: Count = 0
    bytes: Count = 0
    stale_bytes: Count = 0
    expired_bytes: Count = 0
    groups: dict[str, Annotated[list[Count], Meta(min_length=2, max_length=2)]] = {}
    """Entries and bytes of each group."""
    no_expiry: dict[str, Count] = {}
    """The entries without a timeout of each group that has any."""
    counts: dict[str, Count] = {}
    idle: StaleKnowledge = field(default_factory=StaleKnowledge)
    never_read: StaleKnowledge = field(default_factory=StaleKnowledge)
    sampled_bytes: Count = 0
    """Bytes of the sample's stale entries that the backend does not know to be stale."""
    freed: _Freed = field(default_factory=lambda: [0, 0, 0, 0])
    """Bytes that expire within a minute, after it within an hour, after that within a day; and
    those that never do."""
    largest: list[LargestEntry] = []
    stale: dict[str, list[StaleEntry]] = {}


class ScanTotals:
    """Adds up a scan, new or continued. ``unsupported`` are the stale reasons that the backend does
    not know; it may grow during the scan."""

    def __init__(
        self, limits: ScanLimits, unsupported: Collection[StaleReason], sums: Sums | None = None
    ) -> None:
        self.sums = Sums() if sums is None else sums
        self._limits = limits
        self._unsupported = unsupported
        self._largest = TopN(LARGEST, self.sums.largest)
        self._stale = {
            reason: TopN(STALE, self.sums.stale.setdefault(reason, [])) for reason in STALE_REASONS
        }

    def add(self, entry: Entry) -> None:
        sums, weight = self.sums, entry.bytes or 0
        name = group_key(entry.key, self._limits.alias)
        sums.examined += 1
        sums.bytes += weight
        if name not in sums.groups and len(sums.groups) >= MAX_GROUPS:
            name = OTHER_GROUPS
        group = sums.groups.setdefault(name, [0, 0])
        group[0] += 1
        group[1] += weight
        if entry.no_expiry:
            sums.no_expiry[name] = sums.no_expiry.get(name, 0) + 1
        if entry.bytes is not None:
            sums.sized += 1
            if weight > self._largest.least:
                shown = name_key(entry.key, self._limits.alias).shown
                self._largest.push(LargestEntry(key=shown, bytes=weight))
        self._add_freed(entry, weight)
        why = stale_reasons(entry, self._limits.stale_after)
        sums.idle.add(entry, is_known=entry.idle is not None, is_stale="idle" in why)
        is_known = entry.never_read is not None
        sums.never_read.add(entry, is_known=is_known, is_stale="never_read" in why)
        if why:
            self._add_stale(entry, weight, why)

    def _add_freed(self, entry: Entry, weight: int) -> None:
        freed, expires_in = self.sums.freed, entry.expires_in
        if entry.no_expiry:
            freed[3] += weight
        elif expires_in is not None and 0 < expires_in <= _DAY:
            freed[(expires_in > _MINUTE) + (expires_in > _HOUR)] += weight

    def _add_stale(self, entry: Entry, weight: int, why: list[StaleReason]) -> None:
        self.sums.stale_bytes += weight
        self.sums.expired_bytes += weight if "expired" in why else 0
        if entry.traced == "sample" and RECORDED_REASONS.issuperset(why):
            self.sums.sampled_bytes += weight
        counts = self.sums.counts
        for reason in why:
            counts[reason] = counts.get(reason, 0) + 1
        taking = [self._stale[reason] for reason in why if weight > self._stale[reason].least]
        if not taking:
            return
        name = name_key(entry.key, self._limits.alias)
        # One object for all its reasons: see some_of_each.
        sample = StaleEntry(
            key=name.shown,
            group=name.group,
            why=why,
            age=entry.age,
            idle=entry.idle,
            expires_in=entry.expires_in,
            bytes=entry.bytes,
        )
        for each in taking:
            each.push(sample)

    def snapshot(self, scope: Scope, entries: int | None, *, exact: bool) -> Snapshot:
        """The sums, scaled from the examined entries to all ``entries``, whose number is an
        estimate unless ``exact``."""
        sums = self.sums
        scale = 1.0 if exact else None
        if not exact and entries is not None and sums.examined:
            scale = entries / sums.examined
        expired, no_expiry = (
            None if reason in self._unsupported else _scaled(sums.counts.get(reason, 0), scale)
            for reason in _BACKEND_REASONS
        )
        idle, idle_error = self._of_record("idle", sums.idle, scale)
        never_read, never_read_error = self._of_record("never_read", sums.never_read, scale)
        has_sizes = sums.sized > 0 or sums.examined == 0
        return Snapshot(
            alias=self._limits.alias,
            measured_at=time.time(),
            scope=scope,
            examined=sums.examined,
            exact=exact,
            entries=entries,
            bytes=_scaled(sums.bytes, scale) if has_sizes else None,
            groups=self._top_groups(scale or 1.0, has_sizes),
            largest=self._largest.cut(),
            expired=expired,
            idle=idle,
            never_read=never_read,
            no_expiry=no_expiry,
            idle_error=idle_error,
            never_read_error=never_read_error,
            stale_bytes=_scaled(self._stale_bytes(), scale) if has_sizes else None,
            expired_bytes=(
                _scaled(sums.expired_bytes, scale)
                if has_sizes and "expired" not in self._unsupported
                else None
            ),
            stale=some_of_each([each.cut() for each in self._stale.values()]),
            freed_within=self._freed(
                scale if has_sizes and "no_expiry" not in self._unsupported else None
            ),
        )

    def _of_record(
        self, reason: StaleReason, knowledge: StaleKnowledge, scale: float | None
    ) -> tuple[int | None, int | None]:
        """The entries that are stale for ``reason``, and the error."""
        others = knowledge.of_left_out()
        if others is None or (reason in self._unsupported and not self.sums.examined):
            return None, None
        expected, error = others
        count = self.sums.counts.get(reason, 0) + expected
        return _scaled(count, scale), _scaled(error, scale)

    def _stale_bytes(self) -> int:
        """With the estimated ones that the sample stands for."""
        most = max(
            each.left_out / each.sample if each.sample else 0.0
            for each in (self.sums.idle, self.sums.never_read)
        )
        return self.sums.stale_bytes + round(self.sums.sampled_bytes * most)

    def _freed(self, scale: float | None) -> FreedWithin:
        minute, hour, day, never = self.sums.freed
        return FreedWithin(
            minute=_scaled(minute, scale),
            hour=_scaled(minute + hour, scale),
            day=_scaled(minute + hour + day, scale),
            never=_scaled(never, scale),
        )

    def _top_groups(self, scale: float, has_sizes: bool) -> list[MemoryGroup]:
        by = 1 if has_sizes else 0
        top = nlargest(GROUPS, self.sums.groups.items(), key=lambda each: each[1][by])
        return [
            MemoryGroup(
                group=group,
                entries=round(entries * scale),
                bytes=_scaled(size, scale) if has_sizes else None,
                no_expiry=(
                    None
                    if "no_expiry" in self._unsupported
                    else round(self.sums.no_expiry.get(group, 0) * scale)
                ),
            )
            for group, (entries, size) in top
        ]


def _scaled(number: int, scale: float | None) -> int | None:
    """``number`` times ``scale``; None where that is implausible."""
    scaled = None if scale is None else round(number * scale)
    return None if scaled is None or scaled > GREATEST else scaled
