"""Add up the entries of a look: totals, groups, the heaviest and the stale ones."""

import time
from collections.abc import Collection
from math import ceil, sqrt
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct, field

from cache_monitor.keys.naming import group_key, name_key
from cache_monitor.scan.base import Entry
from cache_monitor.scan.limits import MOST, ScanLimits
from cache_monitor.scan.snapshot import (
    GROUPS,
    LARGEST,
    STALE,
    STALE_REASONS,
    EntrySample,
    FreedBytes,
    GroupBytes,
    LargeEntry,
    Scope,
    Snapshot,
    StaleReason,
    TopN,
    some_of_each,
)
from cache_monitor.stats.window import Count

GROUPS_HELD = 2000
"""Groups that a look tells apart; further ones share one."""
OTHER_GROUPS = "(other groups)"

OF_RECORD: frozenset[StaleReason] = frozenset({"idle", "never_read"})
"""The reasons that the record of the site's calls tells where the backend does not."""
_OF_BACKEND: tuple[StaleReason, StaleReason] = ("expired", "no_expiry")

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0


class Found(NamedTuple):
    """How much there is. ``entries`` may be an estimate unless ``exact``; None: nobody knows."""

    entries: int | None
    exact: bool


def share(own: int, seen: int, total: int | None) -> Found:
    """The entries of an alias that had ``own`` of the ``seen`` among the ``total`` in a place."""
    if total is None or not own:
        return Found(None, False)
    return Found(round(own * max(1.0, total / max(seen, 1))), False)


class StaleKnowledge(Struct, kw_only=True):
    """Of how many entries it is known whether they are stale for a reason that the backend may not
    tell: ``known`` each by itself; a ``sample``, of which ``positive`` are, that stands for those
    ``left_out`` of it; and those ``unsure``."""

    known: Count = 0
    sample: Count = 0
    positive: Count = 0
    left_out: Count = 0
    unsure: Count = 0

    def add(self, entry: Entry, *, is_known: bool, is_stale: bool) -> None:
        """Count ``entry``."""
        if not is_known:
            self.left_out += entry.traced == "out"
            self.unsure += entry.traced != "out"
        elif entry.traced == "sample":
            self.sample += 1
            self.positive += is_stale
        else:
            self.known += 1

    def of_left_out(self) -> tuple[int, int] | None:
        """How many of those left out are stale, and by how many that may be wrong; None where there
        is nothing to tell it from."""
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
    """What a look has added up so far: plain data, so that another process can go on with it."""

    looked_at: Count = 0
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
    """Of the stale entries that stand for others, those that the backend itself does not tell."""
    freed: _Freed = field(default_factory=lambda: [0, 0, 0, 0])
    """Bytes that expire within a minute, after it within an hour, after that within a day; and
    those that never do."""
    largest: list[LargeEntry] = []
    stale: dict[str, list[EntrySample]] = {}


class ScanTotals:
    """The sums of a look, begun or gone on with. ``untold`` names the reasons that the backend
    cannot know of; it may grow while the entries come in."""

    def __init__(
        self, terms: ScanLimits, untold: Collection[StaleReason], sums: Sums | None = None
    ) -> None:
        self.sums = Sums() if sums is None else sums
        self._terms = terms
        self._untold = untold
        self._counts = {reason: self.sums.counts.get(reason, 0) for reason in STALE_REASONS}
        self._largest: TopN[LargeEntry] = TopN(LARGEST)
        for large in self.sums.largest:
            self._largest.push(large.bytes, large)
        self._stale: dict[StaleReason, TopN[EntrySample]] = {}
        for reason in STALE_REASONS:
            self._stale[reason] = TopN(STALE)
            for sample in self.sums.stale.get(reason, ()):
                self._stale[reason].push(sample.bytes or 0, sample)

    @property
    def looked_at(self) -> int:
        """How many entries were added, those of earlier looks too."""
        return self.sums.looked_at

    def add(self, entry: Entry) -> None:
        """Count ``entry``."""
        sums, weight = self.sums, entry.bytes or 0
        name = group_key(entry.key, self._terms.alias)
        sums.looked_at += 1
        sums.bytes += weight
        group = sums.groups.get(name) or self._new_group(name)
        group[0] += 1
        group[1] += weight
        if entry.bytes is not None:
            sums.sized += 1
            if self._largest.takes(weight):
                self._add_large(entry.key, weight)
        self._add_freed(entry, weight)
        why = stale_reasons(entry, self._terms.stale_after)
        sums.idle.add(entry, is_known=entry.idle is not None, is_stale="idle" in why)
        is_known = entry.never_read is not None
        sums.never_read.add(entry, is_known=is_known, is_stale="never_read" in why)
        if why:
            self._add_stale(entry, weight, why)

    def _new_group(self, name: str) -> list[int]:
        groups = self.sums.groups
        return groups.setdefault(name if len(groups) < GROUPS_HELD else OTHER_GROUPS, [0, 0])

    def _add_freed(self, entry: Entry, weight: int) -> None:
        freed, expires_in = self.sums.freed, entry.expires_in
        if entry.no_expiry:
            freed[3] += weight
        elif expires_in is not None and 0 < expires_in <= _DAY:
            freed[(expires_in > _MINUTE) + (expires_in > _HOUR)] += weight

    def _add_large(self, key: str, weight: int) -> None:
        name = name_key(key, self._terms.alias)
        self._largest.push(weight, LargeEntry(key=name.shown, group=name.group, bytes=weight))

    def _add_stale(self, entry: Entry, weight: int, why: list[StaleReason]) -> None:
        self.sums.stale_bytes += weight
        if entry.traced == "sample" and OF_RECORD.issuperset(why):
            self.sums.sampled_bytes += weight
        taking = []
        for reason in why:
            self._counts[reason] += 1
            if self._stale[reason].takes(weight):
                taking.append(self._stale[reason])
        if not taking:
            return
        name = name_key(entry.key, self._terms.alias)
        # One for all: an entry that is stale for several reasons is told once.
        sample = EntrySample(
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

    def kept(self) -> Sums:
        """The sums, as another look may go on with them."""
        self.sums.counts = {str(reason): count for reason, count in self._counts.items()}
        self.sums.largest = list(self._largest)
        self.sums.stale = {reason: list(each) for reason, each in self._stale.items()}
        return self.sums

    def snapshot(self, scope: Scope, found: Found) -> Snapshot:
        """The sums, brought from what was looked at to all that was found."""
        scale = self._scale(found)
        sums = self.sums
        expired, no_expiry = (
            None if reason in self._untold else _scaled(self._counts[reason], scale)
            for reason in _OF_BACKEND
        )
        idle, idle_error = self._of_record("idle", sums.idle, scale)
        never_read, never_read_error = self._of_record("never_read", sums.never_read, scale)
        weighs = sums.sized > 0 or sums.looked_at == 0
        return Snapshot(
            alias=self._terms.alias,
            measured_at=time.time(),
            scope=scope,
            looked_at=sums.looked_at,
            exact=found.exact,
            entries=found.entries,
            bytes=_scaled(sums.bytes, scale) if weighs else None,
            groups=self._heaviest_groups(scale or 1.0, weighs),
            largest=list(self._largest),
            expired=expired,
            idle=idle,
            never_read=never_read,
            no_expiry=no_expiry,
            idle_error=idle_error,
            never_read_error=never_read_error,
            stale_bytes=_scaled(self._stale_bytes(), scale) if weighs else None,
            stale=some_of_each([list(each) for each in self._stale.values()]),
            freed_within=self._freed(scale if weighs and "no_expiry" not in self._untold else None),
        )

    def _of_record(
        self, reason: StaleReason, judged: StaleKnowledge, scale: float | None
    ) -> tuple[int | None, int | None]:
        """How many entries are stale for ``reason``, and by how many that may be wrong."""
        others = judged.of_left_out()
        if others is None or (reason in self._untold and not self.looked_at):
            return None, None
        expected, error = others
        return _scaled(self._counts[reason] + expected, scale), _scaled(error, scale)

    def _stale_bytes(self) -> int:
        """With what those stand for that are the sample."""
        most = max(
            each.left_out / each.sample if each.sample else 0.0
            for each in (self.sums.idle, self.sums.never_read)
        )
        return self.sums.stale_bytes + round(self.sums.sampled_bytes * most)

    def _scale(self, found: Found) -> float | None:
        """By what to multiply the sums; None where nothing can be said of the whole."""
        if found.exact:
            return 1.0
        if found.entries is None or self.looked_at == 0:
            return None
        return found.entries / self.looked_at

    def _freed(self, scale: float | None) -> FreedBytes:
        minute, hour, day, never = self.sums.freed
        return FreedBytes(
            minute=_scaled(minute, scale),
            hour=_scaled(minute + hour, scale),
            day=_scaled(minute + hour + day, scale),
            never=_scaled(never, scale),
        )

    def _heaviest_groups(self, scale: float, weighs: bool) -> list[GroupBytes]:
        heaviest: TopN[GroupBytes] = TopN(GROUPS)
        for group, (entries, size) in self.sums.groups.items():
            heaviest.push(
                size if weighs else entries,
                GroupBytes(
                    group=group,
                    entries=round(entries * scale),
                    bytes=_scaled(size, scale) if weighs else None,
                ),
            )
        return list(heaviest)


def stale_reasons(entry: Entry, stale_after: float) -> list[StaleReason]:
    """Why ``entry`` no longer earns its place; ``stale_after`` in seconds."""
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
    """None also for what is brought up to more than can be."""
    scaled = None if scale is None else round(number * scale)
    return None if scaled is None or scaled > MOST else scaled
