"""The history of findings in the store: when each was first and last seen, and who muted it.

Both are rows of the kind "finding" whose ``process`` is the finding's identity. They differ in
their length, so that neither overwrites the other. Each mute is a row of its own that begins when
it was made: to keep it overwrites no later one and restores none that was removed.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple, TypeVar

from msgspec import Struct, structs

from cache_monitor.reports import Finding
from cache_monitor.stats.codec import CorruptPayload, decode, encode
from cache_monitor.stats.window import UnixTime, rfc3339
from cache_monitor.stores.base import Row, Store

GONE_AFTER = 86400
"""Seconds after which a finding that comes back is a new one."""


_SEEN, _MUTED = 0, 1
ALWAYS = 2**40
"""Unix time after the start of every row."""


class Sighting(Struct, frozen=True, array_like=True):
    """When a finding was first and last seen."""

    first_seen: UnixTime
    last_seen: UnixTime


class Mute(Struct, frozen=True, array_like=True):
    """A muted finding: ``by`` whom, when and why."""

    code: str
    alias: str
    group: str | None
    key: str | None
    by: str
    reason: str
    at: UnixTime


class FindingHistory(NamedTuple):
    """The sightings and mutes of findings, by their identity."""

    seen: Mapping[str, Sighting]
    muted: Mapping[str, Mute]


T = TypeVar("T")


def identity(finding: Finding) -> str:
    """The identity of ``finding``: the same for the same mistake in the same place."""
    place = "\0".join([finding.code, finding.alias, finding.group or "", finding.key or ""])
    # The largest value of a group may be another one tomorrow.
    if finding.group is not None:
        place = "\0".join([finding.code, finding.alias, finding.group])
    return blake2b(place.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def history(rows: Iterable[Row]) -> FindingHistory:
    """The history in ``rows`` of the kind "finding"; unreadable ones are skipped."""
    rows = list(rows)
    return FindingHistory(_decoded(rows, _SEEN, Sighting), _decoded(rows, _MUTED, Mute))


def read(store: Store) -> FindingHistory:
    """The history in ``store``. Raises :class:`StoreError`."""
    return history(_rows(store))


def note(store: Store, findings: Sequence[Finding], now: float) -> list[Finding]:
    """Record that ``findings`` are there ``now``; returns the new ones that are not muted.

    Raises :class:`StoreError`.
    """
    known = read(store)
    fresh: list[Finding] = []
    rows: list[Row] = []
    for finding in findings:
        name = identity(finding)
        before = known.seen.get(name)
        if before is None or _is_gone(before, now):
            rows.append(_row(name, Sighting(now, now)))
            if name not in known.muted:
                fresh.append(finding)
        else:
            # Later than now where the clock was set back.
            rows.append(_row(name, Sighting(min(before.first_seen, now), now)))
    if rows:
        store.put(rows, int(now))
    for name in map(identity, findings):
        if (muted := known.muted.get(name)) is not None:
            # Kept while its finding is there, unless it was removed meanwhile.
            row = _row(name, muted)
            store.replace([row], [row], int(now))
    return with_history(fresh, read(store), now) if fresh else []


def mute(store: Store, finding: Finding, by: str, reason: str, now: float) -> None:
    """Mute ``finding``. Raises :class:`StoreError`."""
    muted = Mute(finding.code, finding.alias, finding.group, finding.key, by, reason, now)
    store.put([_row(identity(finding), muted)], int(now))


def unmute(store: Store, name: str, now: float) -> Mute | None:
    """Unmute the finding with this identity; returns the mute, if any. Raises
    :class:`StoreError`."""
    rows = [row for row in _rows(store) if row.process == name and row.seconds == _MUTED]
    muted = history(rows).muted.get(name)
    for row in rows:
        store.replace([row], [], int(now))
    return muted


def with_history(findings: Iterable[Finding], known: FindingHistory, now: float) -> list[Finding]:
    """Those of ``findings`` that are not muted, with their identity and history."""
    shown = []
    for finding in findings:
        name = identity(finding)
        if name in known.muted:
            continue
        seen = known.seen.get(name)
        if seen is not None and _is_gone(seen, now):
            seen = None
        shown.append(
            structs.replace(
                finding,
                id=name,
                first_seen=rfc3339(seen.first_seen) if seen else None,
                last_seen=rfc3339(seen.last_seen) if seen else None,
            )
        )
    return shown


def _is_gone(seen: Sighting, now: float) -> bool:
    return seen.last_seen < now - GONE_AFTER


def _rows(store: Store) -> list[Row]:
    return list(store.read("finding", 0, ALWAYS, None))


def _decoded(rows: Iterable[Row], length: int, type_: type[T]) -> dict[str, T]:
    found = {}
    # The latest counts.
    for row in sorted(rows, key=lambda row: row.start):
        if row.seconds == length:
            try:
                found[row.process] = decode(row.payload, type_)
            except CorruptPayload:
                continue
    return found


def _row(name: str, record: Sighting | Mute) -> Row:
    if isinstance(record, Sighting):
        return Row("finding", name, "", 0, _SEEN, encode(record))
    return Row("finding", name, "", int(record.at), _MUTED, encode(record))
