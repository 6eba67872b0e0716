"""What the recorded calls tell of a cache: the keys behind digests, and what was written.

For what a backend does not tell by itself. The statistics in the store are those of all processes;
they hold the most used keys, and no session's.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from cache_monitor.forks import new_lock
from cache_monitor.inspectors.files import file_name
from cache_monitor.inspectors.snapshot import GROUPS, GroupBytes, Scope, Snapshot
from cache_monitor.stats import distinct
from cache_monitor.stats.details import Details, GroupStats
from cache_monitor.stats.encoding import CorruptPayload, decode
from cache_monitor.stores.opening import get_store

PERIOD = 86400.0
"""Seconds that are looked back."""
_ROWS = 200
_KEYS = 20_000
_GOOD_FOR = 60.0
_ROLLED_UP = 86400
"""Seconds of the longest stretch that the store rolls statistics up into."""

_MOST_REMEMBERED = 100

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


def recorded(alias: str, scope: Scope, problem: str) -> Snapshot:
    """What the recorded writes of the last day let expect in a cache that cannot be looked into;
    more may be in it, and less, for what has expired or made room is counted too."""
    groups: dict[str, list[GroupStats]] = {}
    for details in _recorded(alias):
        for name, group in details.groups.items():
            if group.sets:
                groups.setdefault(name, []).append(group)
    found = [_expected(name, each) for name, each in groups.items()]
    found.sort(key=lambda each: (-(each.bytes or 0), -each.entries))
    sizes = [each.bytes for each in found if each.bytes is not None]
    return Snapshot(
        alias=alias,
        measured_at=time.time(),
        scope=scope,
        entries=sum(each.entries for each in found) if found else None,
        bytes=sum(sizes) if sizes else None,
        groups=found[:GROUPS],
        problem=problem,
    )


def _expected(name: str, stats: list[GroupStats]) -> GroupBytes:
    keys: set[int] = set()
    for each in stats:
        keys = distinct.unite(keys, each.keys)
    sets = sum(each.sets for each in stats)
    entries = min(distinct.estimate(keys), sets)
    written = [each.bytes_written for each in stats if each.bytes_written is not None]
    return GroupBytes(
        group=name,
        entries=entries,
        bytes=round(sum(written) / sets * entries) if written else None,
    )


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
