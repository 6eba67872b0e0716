"""When a finding was seen first and last, and whether somebody has muted it: kept in the store.

Both are rows of the kind "finding" whose ``process`` is the finding's identity; they differ in
their length, so that who mutes and who notes do not undo each other's work. Each mute is a row of
its own, which begins when it was made: who keeps it writes over no later one, and brings none back.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple, TypeVar

from msgspec import Struct, structs

from cache_monitor.reports.schema import Finding
from cache_monitor.reports.series import moment
from cache_monitor.stats.codec import CorruptPayload, decode, encode
from cache_monitor.stats.window import UnixTime
from cache_monitor.stores.base import Row, Store

GONE_AFTER = 86400
"""Seconds after which a finding that comes back is a new one."""


_SEEN, _MUTED = 0, 1
ALWAYS = 2**40
"""Seconds since 1970 that no row begins at."""


class Sighting(Struct, frozen=True, array_like=True):
    """When a finding was seen first and last."""

    first_seen: UnixTime
    last_seen: UnixTime


class Mute(Struct, frozen=True, array_like=True):
    """A finding that nobody wants to see, who said so, when and why."""

    code: str
    alias: str
    group: str | None
    key: str | None
    by: str
    reason: str
    at: UnixTime


class FindingHistory(NamedTuple):
    """What is known of findings, by their identity."""

    seen: Mapping[str, Sighting]
    muted: Mapping[str, Mute]


T = TypeVar("T")


def identity(finding: Finding) -> str:
    """The stable name of ``finding``: the same mistake in the same place has the same one."""
    place = "\0".join([finding.code, finding.alias, finding.group or "", finding.key or ""])
    # The largest value of a group may be another one tomorrow.
    if finding.group is not None:
        place = "\0".join([finding.code, finding.alias, finding.group])
    return blake2b(place.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def history(rows: Iterable[Row]) -> FindingHistory:
    """What the store's ``rows`` of the kind "finding" say; one that cannot be read says nothing."""
    rows = list(rows)
    return FindingHistory(_decoded(rows, _SEEN, Sighting), _decoded(rows, _MUTED, Mute))


def read(store: Store) -> FindingHistory:
    """What ``store`` knows. Raises :class:`StoreError`."""
    return history(_rows(store))


def note(store: Store, findings: Sequence[Finding], now: float) -> list[Finding]:
    """Remember that ``findings`` are there ``now``; those of them that are new and not muted.

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
            rows.append(_row(name, structs.replace(before, last_seen=now)))
    if rows:
        store.put(rows, int(now))
    for finding in findings:
        _keep_muted(store, identity(finding), known, now)
    return with_history(fresh, read(store), now) if fresh else []


def mute(store: Store, finding: Finding, by: str, reason: str, now: float) -> None:
    """Show ``finding`` no more. Raises :class:`StoreError`."""
    muted = Mute(finding.code, finding.alias, finding.group, finding.key, by, reason, now)
    store.put([_row(identity(finding), muted)], int(now))


def unmute(store: Store, name: str, now: float) -> Mute | None:
    """Show the finding ``name`` again; what was muted. Raises :class:`StoreError`."""
    rows = [row for row in _rows(store) if row.process == name and row.seconds == _MUTED]
    muted = history(rows).muted.get(name)
    for row in rows:
        store.replace([row], [], int(now))
    return muted


def _keep_muted(store: Store, name: str, known: FindingHistory, now: float) -> None:
    """Keep a mute for as long as its finding is there, unless somebody has taken it back."""
    if (muted := known.muted.get(name)) is not None:
        row = _row(name, muted)
        store.replace([row], [row], int(now))


def with_history(findings: Iterable[Finding], known: FindingHistory, now: float) -> list[Finding]:
    """``findings`` that are not muted, each with its identity and when it was seen."""
    told = []
    for finding in findings:
        name = identity(finding)
        if name in known.muted:
            continue
        seen = known.seen.get(name)
        if seen is not None and _is_gone(seen, now):
            seen = None
        told.append(
            structs.replace(
                finding,
                id=name,
                first_seen=moment(seen.first_seen) if seen else None,
                last_seen=moment(seen.last_seen) if seen else None,
            )
        )
    return told


def _is_gone(seen: Sighting, now: float) -> bool:
    return seen.last_seen < now - GONE_AFTER


def _rows(store: Store) -> list[Row]:
    return list(store.read("finding", 0, ALWAYS, None))


def _decoded(rows: Iterable[Row], length: int, type_: type[T]) -> dict[str, T]:
    found = {}
    # The last one that was made counts.
    for row in sorted(rows, key=lambda row: row.start):
        if row.seconds == length:
            try:
                found[row.process] = decode(row.payload, type_)
            except CorruptPayload:
                continue
    return found


def _row(name: str, what: Sighting | Mute) -> Row:
    if isinstance(what, Sighting):
        return Row("finding", name, "", 0, _SEEN, encode(what))
    return Row("finding", name, "", int(what.at), _MUTED, encode(what))
