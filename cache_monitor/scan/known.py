"""What the recorded calls show of a cache: the keys behind digests, and the expected entries.

The statistics in the store are those of all processes. They hold the most used keys, but no
session's.
"""

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from math import ceil, sqrt
from typing import Any

from msgspec.structs import replace

from cache_monitor.concurrency import TimedValue
from cache_monitor.keys.naming import group_key
from cache_monitor.scan.base import BackendScanner, BadCursor, Entry, EntryPage
from cache_monitor.scan.files import file_name
from cache_monitor.scan.limits import ScanError
from cache_monitor.scan.recorded import RecordedUses
from cache_monitor.scan.snapshot import Snapshot
from cache_monitor.stats.codec import CorruptPayload, decode
from cache_monitor.stats.details import Details
from cache_monitor.stores.opening import get_store

PERIOD = 86400.0
"""Seconds of recorded calls that are read."""
_ROWS = 200
_KEYS = 20_000
_GOOD_FOR = 60.0
_ROLLED_UP = 86400
"""Seconds of the longest bucket of rolled-up statistics."""

_MOST_REMEMBERED = 100
_PAGE = 1000
CANNOT = "This backend cannot be looked into: the figures are what the recorded calls let expect."
NOTHING = "This backend cannot be looked into, and no call of it is on record."

_file_names: dict[tuple[str, str, str], TimedValue[Mapping[str, str]]] = {}


def keys_of_files(alias: str, cache: Any) -> Mapping[str, str]:
    """The recorded keys of the FileBasedCache ``alias`` by file name, kept for a minute."""
    # The file name of "" tells apart settings that name files differently.
    place = alias, str(cache._dir), file_name(cache, "")
    kept = _file_names.get(place)
    if kept is None:
        if len(_file_names) >= _MOST_REMEMBERED:
            forget()
        kept = _file_names[place] = TimedValue(
            lambda: {file_name(cache, key): key for key in _recorded_keys(alias)}, _GOOD_FOR
        )
    return kept.get()


def forget() -> None:
    """Read the keys again at the next use."""
    _file_names.clear()


class RecordedScanner(BackendScanner):
    """The entries that recorded calls show should be in a cache that cannot be scanned.

    The cache may evict entries on its own, and may have others. ``sizes`` are average value sizes
    by key group, meaningful only for many entries together.
    """

    def __init__(
        self, cache: Any, uses: RecordedUses, sizes: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(cache, ("idle", "never_read", "no_expiry"))
        self.sampled = True
        self.problems[CANNOT] = None
        if uses.share > 1:
            self.problems["Only a sample of the entries can be listed."] = None
        self._uses = uses
        self._sizes = sizes or {}
        self._expected = sorted(uses.expected(), key=lambda each: each[0])

    def total(self) -> int:
        return len(self._expected) * self._uses.share

    def pages(self, cursor: str, most: int) -> Generator[EntryPage, None, None]:
        """The entries in the order of the hashes of their keys; a cursor is the last hash."""
        if cursor and not (cursor.isascii() and cursor.isdigit()):
            raise BadCursor
        left = [each for each in self._expected if each[0] > int(cursor or 0)]
        for first in range(0, len(left), _PAGE) or (0,):
            page = left[first : first + _PAGE]
            following = str(page[-1][0]) if first + _PAGE < len(left) else None
            yield EntryPage([self._with_size(entry) for _, entry in page], len(page), following)

    def _with_size(self, entry: Entry) -> Entry:
        group = group_key(entry.key) if self._sizes else ""
        return entry._replace(bytes=self._sizes.get(group))

    def entry(self, key: str, version: int | None) -> Entry | None:
        """The expected entry. Raises :class:`ScanError` where none is expected."""
        make_key = getattr(self._cache, "make_key", None)
        stored = key if make_key is None else str(make_key(key, version=version))
        found = self._uses.expected_of(key, stored, version)
        if found is None:
            raise ScanError(CANNOT)
        return found._replace(key=key, known=True)

    def remove(self, entries: Sequence[Entry]) -> None:
        """Remove ``entries`` one by one: such a backend may have no ``delete_many``."""
        for each in entries:
            self._cache.delete(each.key)


def estimated(snapshot: Snapshot) -> Snapshot:
    """``snapshot`` of a :class:`RecordedScanner` with the error of a sample, without figures that
    hold for many entries only. No live entry was examined."""
    error, sample = 0, snapshot.looked_at
    if snapshot.entries is not None and sample:
        left_out = snapshot.entries - sample
        error = min(left_out, ceil(left_out / sqrt(sample)))
    idle, never_read = snapshot.idle_error, snapshot.never_read_error
    return replace(
        snapshot,
        looked_at=0,
        largest=[],
        stale=[replace(each, bytes=None) for each in snapshot.stale],
        idle_error=None if idle is None else idle + error,
        never_read_error=None if never_read is None else never_read + error,
    )


def sizes_of(alias: str) -> dict[str, int]:
    """The average size of the values written in the last day, by key group."""
    sums: dict[str, tuple[int, int]] = {}
    for details in _recorded(alias):
        for name, group in details.groups.items():
            if group.sets and group.bytes_written is not None:
                sets, size = sums.get(name, (0, 0))
                sums[name] = sets + group.sets, size + group.bytes_written
    return {name: round(size / sets) for name, (sets, size) in sums.items()}


def _recorded_keys(alias: str) -> list[str]:
    keys: dict[str, None] = {}
    for details in _recorded(alias):
        for key in details.hot_keys.table:
            if len(keys) >= _KEYS:
                return list(keys)
            keys[key] = None
    return list(keys)


def _recorded(alias: str) -> Iterator[Details]:
    """The recorded details of ``alias``, the newest first; none without a store."""
    now = int(time.time())
    try:
        since = now - int(PERIOD) - _ROLLED_UP
        rows = list(get_store().read("details", since, now + 1, alias))
    except Exception:
        # The store reports its faults elsewhere.
        return
    rows.sort(key=lambda row: -(row.start + row.seconds))
    for row in rows[:_ROWS]:
        if row.start + row.seconds > now - PERIOD:
            try:
                yield decode(row.payload, Details)
            except CorruptPayload:
                continue
