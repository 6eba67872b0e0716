"""Add up the entries of a look: totals, groups, the heaviest and the stale ones."""

import time
from collections.abc import Collection
from typing import NamedTuple

from cache_monitor.inspectors.heaviest import Heaviest, some_of_each
from cache_monitor.inspectors.snapshot import (
    GROUPS,
    LARGEST,
    STALE,
    STALE_REASONS,
    EntrySample,
    GroupBytes,
    LargeEntry,
    Scope,
    Snapshot,
    StaleReason,
)
from cache_monitor.inspectors.terms import Terms
from cache_monitor.keys.naming import KeyName, name_key


class Entry(NamedTuple):
    """An entry as a backend tells of it; ages in seconds, None where it does not tell.

    ``expires_in`` is negative once the entry has expired.
    """

    key: str
    bytes: int | None
    expires_in: float | None = None
    no_expiry: bool = False
    idle: float | None = None
    age: float | None = None
    never_read: bool = False


class Found(NamedTuple):
    """How much there is. ``entries`` may be an estimate unless ``exact``; None: nobody knows."""

    entries: int | None
    exact: bool


def share(own: int, seen: int, total: int) -> Found:
    """The entries of an alias that had ``own`` of the ``seen`` among the ``total`` in a place."""
    if seen >= total:
        return Found(own, True)
    return Found(round(total * own / seen) if own else None, False)


class Tally:
    """The sums of one look. ``tells`` names the reasons that the backend can know of."""

    def __init__(self, terms: Terms, tells: Collection[StaleReason]) -> None:
        self.looked_at = 0
        self._terms = terms
        self._tells = set(tells)
        self._sized = 0
        self._bytes = 0
        self._stale_bytes = 0
        self._groups: dict[str, list[int]] = {}
        self._counts = dict.fromkeys(STALE_REASONS, 0)
        self._largest: Heaviest[LargeEntry] = Heaviest(LARGEST)
        self._stale: dict[StaleReason, Heaviest[EntrySample]] = {
            reason: Heaviest(STALE) for reason in STALE_REASONS
        }

    def cannot_tell(self, reason: StaleReason) -> None:
        """The backend turned out not to know of ``reason``."""
        self._tells.discard(reason)

    def add(self, entry: Entry) -> None:
        name = name_key(entry.key)
        weight = entry.bytes or 0
        self.looked_at += 1
        self._bytes += weight
        group = self._groups.setdefault(name.group, [0, 0])
        group[0] += 1
        group[1] += weight
        if entry.bytes is not None:
            self._sized += 1
            if self._largest.takes(weight):
                large = LargeEntry(key=name.shown, group=name.group, bytes=weight)
                self._largest.push(weight, large)
        if why := self._why(entry):
            self._add_stale(entry, name, why)

    def _why(self, entry: Entry) -> list[StaleReason]:
        why: list[StaleReason] = []
        if entry.expires_in is not None and entry.expires_in <= 0:
            why.append("expired")
        if entry.idle is not None and entry.idle > self._terms.stale_after:
            why.append("idle")
        if entry.never_read:
            why.append("never_read")
        if entry.no_expiry:
            why.append("no_expiry")
        return why

    def _add_stale(self, entry: Entry, name: KeyName, why: list[StaleReason]) -> None:
        weight = entry.bytes or 0
        self._stale_bytes += weight
        sample = EntrySample(
            key=name.shown,
            group=name.group,
            why=why,
            age=entry.age,
            idle=entry.idle,
            expires_in=entry.expires_in,
            bytes=entry.bytes,
        )
        for reason in why:
            self._counts[reason] += 1
            self._stale[reason].push(weight, sample)

    def snapshot(self, scope: Scope, found: Found) -> Snapshot:
        """The sums, brought from what was looked at to all that was found."""
        scale = self._scale(found)
        counts = {
            reason: _scaled(self._counts[reason], scale) if reason in self._tells else None
            for reason in STALE_REASONS
        }
        weighs = self._sized > 0 or self.looked_at == 0
        return Snapshot(
            alias=self._terms.alias,
            measured_at=time.time(),
            scope=scope,
            looked_at=self.looked_at,
            exact=found.exact,
            entries=found.entries,
            bytes=_scaled(self._bytes, scale) if weighs else None,
            groups=self._heaviest_groups(scale or 1.0, weighs),
            largest=list(self._largest),
            expired=counts["expired"],
            idle=counts["idle"],
            never_read=counts["never_read"],
            no_expiry=counts["no_expiry"],
            stale_bytes=_scaled(self._stale_bytes, scale) if weighs else None,
            stale=some_of_each([list(each) for each in self._stale.values()]),
        )

    def _scale(self, found: Found) -> float | None:
        """By what to multiply the sums; None where nothing can be said of the whole."""
        if found.exact:
            return 1.0
        if found.entries is None or self.looked_at == 0:
            return None
        return found.entries / self.looked_at

    def _heaviest_groups(self, scale: float, weighs: bool) -> list[GroupBytes]:
        heaviest: Heaviest[GroupBytes] = Heaviest(GROUPS)
        for group, (entries, size) in self._groups.items():
            heaviest.push(
                size if weighs else entries,
                GroupBytes(
                    group=group,
                    entries=round(entries * scale),
                    bytes=round(size * scale) if weighs else None,
                ),
            )
        return list(heaviest)


def _scaled(number: int, scale: float | None) -> int | None:
    return None if scale is None else round(number * scale)
