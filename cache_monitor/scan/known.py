"""What the recorded calls tell of a cache: the keys behind digests, and what should be in it.

For what a backend does not tell by itself. The statistics in the store are those of all processes;
they hold the most used keys, and no session's.
"""

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from math import ceil, sqrt
from typing import Any

from msgspec.structs import replace

from cache_monitor.concurrency import new_lock
from cache_monitor.keys.naming import group_key
from cache_monitor.scan.base import BadCursor, CacheScanner, Entry, EntryPage
from cache_monitor.scan.files import file_name
from cache_monitor.scan.limits import ScanError
from cache_monitor.scan.recorded import RecordedUses
from cache_monitor.scan.snapshot import Snapshot
from cache_monitor.stats.codec import CorruptPayload, decode
from cache_monitor.stats.details import Details
from cache_monitor.stores.opening import get_store

PERIOD = 86400.0
"""Seconds that are looked back."""
_ROWS = 200
_KEYS = 20_000
_GOOD_FOR = 60.0
_ROLLED_UP = 86400
"""Seconds of the longest stretch that the store rolls statistics up into."""

_MOST_REMEMBERED = 100
_PAGE = 1000
CANNOT = "This backend cannot be looked into: the figures are what the recorded calls let expect."
NOTHING = "This backend cannot be looked into, and no call of it is on record."

_known: dict[tuple[str, str, str], tuple[float, Mapping[str, str]]] = {}
_lock = new_lock()


def keys_of_files(alias: str, cache: Any) -> Mapping[str, str]:
    """File names of the FileBasedCache ``alias`` with the keys that they stand for, of the keys
    that the recorded calls tell. Remembered for a minute."""
    # Aliases and settings with the same names for all keys are the same.
    place = alias, str(cache._dir), file_name(cache, "")
    with _lock:
        read_at, names = _known.get(place, (0.0, {}))
        if place not in _known or not 0 <= time.monotonic() - read_at < _GOOD_FOR:
            names = {file_name(cache, key): key for key in _recorded_keys(alias)}
            if len(_known) >= _MOST_REMEMBERED:
                _known.clear()
            _known[place] = time.monotonic(), names
        return names


def forget() -> None:
    """Read the keys anew when they are next asked for."""
    with _lock:
        _known.clear()


class RecordedScanner(CacheScanner):
    """What the record of the site's calls lets expect in a cache that cannot be looked into: more
    may be in it, and less, for nobody tells what it drops by itself.

    ``sizes`` are what the values of a group commonly weigh: true of many together, and of none
    alone.
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
        self._own: Any = cache
        self._expected = sorted(uses.expected(), key=lambda each: each[0])

    def total(self) -> int:
        """As many as the sample stands for."""
        return len(self._expected) * self._uses.share

    def pages(self, cursor: str, most: int) -> Generator[EntryPage, None, None]:
        """The entries in the order of the hashes of their keys; a cursor is the last of these."""
        if cursor and not (cursor.isascii() and cursor.isdigit()):
            raise BadCursor("This is no place to go on from.")
        left = [each for each in self._expected if each[0] > int(cursor or 0)]
        for first in range(0, len(left), _PAGE) or (0,):
            page = left[first : first + _PAGE]
            following = str(page[-1][0]) if first + _PAGE < len(left) else None
            yield EntryPage([self._weighed(entry) for _, entry in page], len(page), following)

    def _weighed(self, entry: Entry) -> Entry:
        group = group_key(entry.key) if self._sizes else ""
        return entry._replace(bytes=self._sizes.get(group))

    def entry(self, key: str, version: int | None) -> Entry | None:
        """One entry, if it is expected to be there."""
        found = self._uses.expected_of(key, self._stored(key, version), version)
        if found is None:
            raise ScanError(CANNOT)
        return found._replace(key=key, known=True)

    def _stored(self, key: str, version: int | None) -> str:
        make_key = getattr(self._own, "make_key", None)
        return key if make_key is None else str(make_key(key, version=version))

    def remove(self, entries: Sequence[Entry]) -> None:
        """Remove ``entries`` one by one: not every such backend can do more."""
        for each in entries:
            self._own.delete(each.key)


def estimated(snapshot: Snapshot) -> Snapshot:
    """``snapshot`` of a :class:`RecordedScanner` with the error of a sample, and without what is
    true of many entries alone. None of them was looked at."""
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
    """What the values that were written to each group of ``alias`` in the last day weigh, on
    average."""
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
    """The statistics of the keys of ``alias``, the newest first; none without a store."""
    now = int(time.time())
    try:
        since = now - int(PERIOD) - _ROLLED_UP
        rows = list(get_store().read("details", since, now + 1, alias))
    except Exception:
        # Whatever is wrong with the store, it says so elsewhere; here it is only asked for names.
        return
    rows.sort(key=lambda row: -(row.start + row.seconds))
    for row in rows[:_ROWS]:
        if row.start + row.seconds > now - PERIOD:
            try:
                yield decode(row.payload, Details)
            except CorruptPayload:
                continue
