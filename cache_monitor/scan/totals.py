"""Add up the entries of a scan: totals, groups, the largest and the stale ones."""

import time
from collections.abc import Collection
from math import ceil, sqrt
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct, field

from cache_monitor.keys.naming import group_key, name_key
from cache_monitor.scan.base import GREATEST, STALE_REASONS, Entry, ScanLimits, Scope, StaleReason
from cache_monitor.scan.snapshot import (
    GROUPS,
    LARGEST,
    STALE,
    FreedWithin,
    LargestEntry,
    MemoryGroup,
    Snapshot,
    StaleEntry,
    TopN,
    some_of_each,
)
from cache_monitor.stats.window import Count

MAX_GROUPS = 2000
"""The most groups of a scan; further ones share one."""
OTHER_GROUPS = "(other groups)"

RECORDED_REASONS: frozenset[StaleReason] = frozenset({"idle", "never_read"})
"""The reasons that the recorded calls show where the backend does not."""
_BACKEND_REASONS: tuple[StaleReason, StaleReason] = ("expired", "no_expiry")

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0


class TotalEntries(NamedTuple):
    """The number of ``entries`` in the cache, an estimate unless ``exact``; None where unknown."""

    entries: int | None
    exact: bool


def estimate_total(own: int, scanned: int, total: int | None) -> TotalEntries:
    """The entries of an alias that has ``own`` of the ``scanned`` ones, of ``total`` in the
    store."""
    if total is None or not own:
        return TotalEntries(None, False)
    return TotalEntries(round(own * max(1.0, total / max(scanned, 1))), False)


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
    groups: dict[str, Annotated[list[Count], Meta(min_length=2, max_length=2)]] = {}
    """Entries and bytes of each group."""
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
        self._counts = {reason: self.sums.counts.get(reason, 0) for reason in STALE_REASONS}
        self._largest: TopN[LargestEntry] = TopN(LARGEST)
        for large in self.sums.largest:
            self._largest.push(large.bytes, large)
        self._stale: dict[StaleReason, TopN[StaleEntry]] = {}
        for reason in STALE_REASONS:
            self._stale[reason] = TopN(STALE)
            for sample in self.sums.stale.get(reason, ()):
                self._stale[reason].push(sample.bytes or 0, sample)

    @property
    def examined(self) -> int:
        """The entries added, with those of earlier scans."""
        return self.sums.examined

    def add(self, entry: Entry) -> None:
        sums, weight = self.sums, entry.bytes or 0
        name = group_key(entry.key, self._limits.alias)
        sums.examined += 1
        sums.bytes += weight
        group = sums.groups.get(name) or self._new_group(name)
        group[0] += 1
        group[1] += weight
        if entry.bytes is not None:
            sums.sized += 1
            if self._largest.takes(weight):
                shown = name_key(entry.key, self._limits.alias).shown
                self._largest.push(weight, LargestEntry(key=shown, bytes=weight))
        self._add_freed(entry, weight)
        why = stale_reasons(entry, self._limits.stale_after)
        sums.idle.add(entry, is_known=entry.idle is not None, is_stale="idle" in why)
        is_known = entry.never_read is not None
        sums.never_read.add(entry, is_known=is_known, is_stale="never_read" in why)
        if why:
            self._add_stale(entry, weight, why)

    def _new_group(self, name: str) -> list[int]:
        groups = self.sums.groups
        return groups.setdefault(name if len(groups) < MAX_GROUPS else OTHER_GROUPS, [0, 0])

    def _add_freed(self, entry: Entry, weight: int) -> None:
        freed, expires_in = self.sums.freed, entry.expires_in
        if entry.no_expiry:
            freed[3] += weight
        elif expires_in is not None and 0 < expires_in <= _DAY:
            freed[(expires_in > _MINUTE) + (expires_in > _HOUR)] += weight

    def _add_stale(self, entry: Entry, weight: int, why: list[StaleReason]) -> None:
        self.sums.stale_bytes += weight
        if entry.traced == "sample" and RECORDED_REASONS.issuperset(why):
            self.sums.sampled_bytes += weight
        taking = []
        for reason in why:
            self._counts[reason] += 1
            if self._stale[reason].takes(weight):
                taking.append(self._stale[reason])
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
            each.push(weight, sample)

    def to_resume(self) -> Sums:
        """The sums, for the scan that continues this one."""
        self.sums.counts = {str(reason): count for reason, count in self._counts.items()}
        self.sums.largest = list(self._largest)
        self.sums.stale = {reason: list(each) for reason, each in self._stale.items()}
        return self.sums

    def snapshot(self, scope: Scope, total: TotalEntries) -> Snapshot:
        """The sums, scaled from the examined entries to ``total``."""
        scale = self._scale(total)
        sums = self.sums
        expired, no_expiry = (
            None if reason in self._unsupported else _scaled(self._counts[reason], scale)
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
            exact=total.exact,
            entries=total.entries,
            bytes=_scaled(sums.bytes, scale) if has_sizes else None,
            groups=self._top_groups(scale or 1.0, has_sizes),
            largest=list(self._largest),
            expired=expired,
            idle=idle,
            never_read=never_read,
            no_expiry=no_expiry,
            idle_error=idle_error,
            never_read_error=never_read_error,
            stale_bytes=_scaled(self._stale_bytes(), scale) if has_sizes else None,
            stale=some_of_each([list(each) for each in self._stale.values()]),
            freed_within=self._freed(
                scale if has_sizes and "no_expiry" not in self._unsupported else None
            ),
        )

    def _of_record(
        self, reason: StaleReason, knowledge: StaleKnowledge, scale: float | None
    ) -> tuple[int | None, int | None]:
        """The entries that are stale for ``reason``, and the error."""
        others = knowledge.of_left_out()
        if others is None or (reason in self._unsupported and not self.examined):
            return None, None
        expected, error = others
        return _scaled(self._counts[reason] + expected, scale), _scaled(error, scale)

    def _stale_bytes(self) -> int:
        """With the estimated ones that the sample stands for."""
        most = max(
            each.left_out / each.sample if each.sample else 0.0
            for each in (self.sums.idle, self.sums.never_read)
        )
        return self.sums.stale_bytes + round(self.sums.sampled_bytes * most)

    def _scale(self, total: TotalEntries) -> float | None:
        """The factor of the sums; None where the whole is unknown."""
        if total.exact:
            return 1.0
        if total.entries is None or self.examined == 0:
            return None
        return total.entries / self.examined

    def _freed(self, scale: float | None) -> FreedWithin:
        minute, hour, day, never = self.sums.freed
        return FreedWithin(
            minute=_scaled(minute, scale),
            hour=_scaled(minute + hour, scale),
            day=_scaled(minute + hour + day, scale),
            never=_scaled(never, scale),
        )

    def _top_groups(self, scale: float, has_sizes: bool) -> list[MemoryGroup]:
        top: TopN[MemoryGroup] = TopN(GROUPS)
        for group, (entries, size) in self.sums.groups.items():
            top.push(
                size if has_sizes else entries,
                MemoryGroup(
                    group=group,
                    entries=round(entries * scale),
                    bytes=_scaled(size, scale) if has_sizes else None,
                ),
            )
        return list(top)


def stale_reasons(entry: Entry, stale_after: float) -> list[StaleReason]:
    """Why ``entry`` is stale; ``stale_after`` in seconds. Empty where it is not."""
    why: list[StaleReason] = []
    if entry.expires_in is not None and entry.expires_in <= 0:
        why.append("expired")
    if entry.idle is not None and entry.idle > stale_after:
        why.append("idle")
    if entry.never_read:
        why.append("never_read")
    if entry.no_expiry:
        why.append("no_expiry")
    return why


def _scaled(number: int, scale: float | None) -> int | None:
    """``number`` times ``scale``; None where that is implausible."""
    scaled = None if scale is None else round(number * scale)
    return None if scaled is None or scaled > GREATEST else scaled
