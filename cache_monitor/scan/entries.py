"""The entries of a live cache, one by one: to look at, to list, to measure and to delete.

For the dashboard. Each call is bounded in entries and seconds and gives a cursor to go on with.
Nothing here raises for the state of a backend: answers have a ``problem``, in words for people and
free of secrets. Looking changes no entry. What is deleted goes through the cache's own operations,
so that it is recorded, and a later miss is known to be no eviction.
"""

import time
from collections.abc import Iterator

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache

from cache_monitor.conf import get_conf
from cache_monitor.recorder import recorder
from cache_monitor.scan.base import BackendScanner, Entry, credible
from cache_monitor.scan.capabilities import Capability, capability_of
from cache_monitor.scan.known import RecordedScanner
from cache_monitor.scan.limits import Bounds, ScanError, ScanLimits, described
from cache_monitor.scan.live_entries import (
    Answer,
    Deleted,
    LiveEntry,
    Measured,
    Selection,
    SelectionPage,
    live_entry,
)
from cache_monitor.scan.recorded import RecordedUses, Teller, uses_of
from cache_monitor.scan.scanner import Part, Scan, kind_of, scope_of, source_of
from cache_monitor.stores.base import StoreError
from cache_monitor.stores.opening import get_store

__all__ = [
    "Answer",
    "Deleted",
    "LiveEntry",
    "Measured",
    "Selection",
    "SelectionPage",
    "can",
    "clear",
    "clear_reach",
    "delete_key",
    "delete_step",
    "is_per_process",
    "list_entries",
    "look_at",
    "measure",
]


def look_at(alias: str, key: str, version: int | None = None) -> Answer:
    """The entry of ``key`` as it is now, without reading its value."""
    try:
        uses = _uses(alias)
        source = _source(alias, Bounds(time.monotonic()), uses)
    except Exception as error:
        return Answer(there=None, problem=described(error))
    try:
        entry = source.entry(key, version)
    except Exception as error:
        return Answer(there=None, problem=described(error))
    finally:
        source.close()
    if entry is None:
        return Answer(there=False, problem=source.problem)
    entry = credible(entry)
    if uses is not None:
        entry = uses.told(entry, None if version is None else str(version))
    live = live_entry(alias, entry, source, get_conf().stale_after)
    return Answer(there=True, entry=live, problem=source.problem)


def list_entries(
    alias: str, selection: Selection, *, cursor: str = "", limit: int = 1000, seconds: float = 1.0
) -> SelectionPage:
    """The entries that ``selection`` takes, from ``cursor`` on."""
    way = _EntryContext(alias, cursor, limit, seconds)
    found = [live for _, live in way.entries() if selection.takes(live)]
    return SelectionPage(
        entries=found,
        cursor=way.cursor,
        looked_at=way.looked_at,
        total=way.total,
        problem=way.problem,
    )


def measure(
    alias: str,
    selection: Selection,
    *,
    cursor: str = "",
    limit: int = 100_000,
    seconds: float = 1.0,
) -> Measured:
    """How many entries ``selection`` takes from ``cursor`` on, and what they weigh."""
    way, sums = _EntryContext(alias, cursor, limit, seconds), _Weight()
    for _, live in way.entries():
        if selection.takes(live):
            sums.add(live)
    return Measured(
        entries=sums.entries,
        bytes=sums.bytes,
        looked_at=way.looked_at,
        cursor=way.cursor,
        total=way.total,
        problem=way.problem,
    )


def delete_step(
    alias: str, selection: Selection, *, cursor: str = "", limit: int = 1000, seconds: float = 1.0
) -> Deleted:
    """Delete the entries that ``selection`` takes among the next ones from ``cursor`` on."""
    way, sums = _EntryContext(alias, cursor, limit, seconds, _LISTING_SECONDS), _Weight()
    try:
        for source, part in way.parts():
            _delete(way, selection, source, part.entries, sums)
    except Exception as error:
        way.failed(error)
    return Deleted(
        entries=sums.entries,
        bytes=sums.bytes,
        looked_at=way.looked_at,
        cursor=way.cursor,
        total=way.total,
        problem=way.problem,
    )


def delete_key(alias: str, key: str, version: int | None = None) -> Deleted:
    """Delete one entry, by the user's key."""
    before = look_at(alias, key, version)
    try:
        gone = caches[alias].delete(key, version=version)
    except Exception as error:
        return Deleted(entries=0, bytes=None, problem=described(error))
    size = before.entry.bytes if before.entry is not None else None
    # A backend that does not answer whether it was there has done what was asked.
    entries = 0 if gone is False or (gone is None and before.there is False) else 1
    return Deleted(entries=entries, bytes=size if entries else 0)


def clear(alias: str) -> Deleted:
    """Delete everything with the cache's own ``clear``. Counts nothing: see :func:`measure`."""
    try:
        caches[alias].clear()
    except Exception as error:
        return Deleted(entries=0, bytes=None, problem=described(error))
    return Deleted(entries=0, bytes=None)


def clear_reach(alias: str) -> str | None:
    """What else than the alias's own entries its ``clear`` takes away; None for nothing."""
    cache = caches[alias]
    # django-cachex has that under a name of its own since 0.4.
    return None if hasattr(cache, "flush_db") else _REACH.get(kind_of(cache))


def is_per_process(alias: str) -> bool:
    """Whether only the answering process's own entries are listed and deleted."""
    return scope_of(caches[alias]) == "per process"


def can(alias: str) -> Capability:
    """What the alias's backend can tell, and why not."""
    return capability_of(caches[alias])


_LISTING_SECONDS = 10.0
"""How long a step of a deletion may take to find what to delete, where a backend has to list
everything for it: what is not found stays."""
_CANNOT_REMOVE = "KEY_FUNCTION cannot be undone, so the keys that the cache would take are unknown."
_REACH = {
    "LocMemCache": "It clears this process alone, with every alias of the same LOCATION.",
    "FileBasedCache": "It clears the directory, with every alias of the same LOCATION.",
    "DatabaseCache": "It clears the table, with every alias of the same LOCATION.",
    **dict.fromkeys(
        ("RedisCache (Django's)", "RedisCache (django-redis)", "django-valkey", "django-cachex"),
        "It flushes the whole database of the server, with the keys of every other program there.",
    ),
    "memcached": "It flushes the whole server, with the keys of every other program there.",
}


class _Weight:
    """Entries and their bytes, as far as these are known."""

    def __init__(self) -> None:
        self.entries = 0
        self.bytes: int | None = 0

    def add(self, live: LiveEntry) -> None:
        self.entries += 1
        if live.bytes is None or self.bytes is None:
            self.bytes = None
        else:
            self.bytes += live.bytes


def _delete(
    way: "_EntryContext",
    selection: Selection,
    source: BackendScanner,
    entries: list[Entry],
    sums: _Weight,
) -> None:
    found = [(entry, way.live(entry, source)) for entry in entries]
    chosen = [(entry, live) for entry, live in found if selection.takes(live)]
    removable = [(entry, live) for entry, live in chosen if source.can_remove(entry)]
    if len(removable) < len(chosen):
        way.problem = _CANNOT_REMOVE
    if removable:
        source.remove([entry for entry, _ in removable])
    for _, live in removable:
        sums.add(live)


class _EntryContext:
    """One bounded step through the entries of an alias, that ends in a problem at worst."""

    def __init__(
        self, alias: str, cursor: str, limit: int, seconds: float, listing: float = 0.0
    ) -> None:
        now = time.monotonic()
        self._alias = alias
        self._terms = ScanLimits(alias, limit, now + seconds, get_conf().stale_after)
        self._listing_ends = now + max(seconds, listing)
        self._uses: RecordedUses | None = None
        self.cursor: str | None = cursor
        self.looked_at = 0
        self.total: int | None = None
        self.problem: str | None = None

    def parts(self) -> Iterator[tuple[BackendScanner, Part]]:
        """The entries, page by page, with what they come from."""
        try:
            self._uses = _uses(self._alias)
            source = _source(self._alias, Bounds(self._listing_ends), self._uses)
        except Exception as error:
            self.failed(error)
            return
        scan = Scan(source, self._terms, self.cursor or "")
        try:
            self.total = source.total()
            for part in scan:
                self.looked_at += len(part.entries)
                yield source, part
        except Exception as error:
            self.failed(error)
        else:
            self.cursor = scan.cursor
            self.problem = self.problem or source.problem
        finally:
            source.close()

    def entries(self) -> Iterator[tuple[Entry, LiveEntry]]:
        """The entries one by one."""
        for source, part in self.parts():
            for entry in part.entries:
                yield entry, self.live(entry, source)

    def live(self, entry: Entry, source: BackendScanner) -> LiveEntry:
        """``entry`` for people."""
        told = entry if self._uses is None else self._uses.told(entry)
        return live_entry(self._alias, told, source, self._terms.stale_after)

    def failed(self, error: Exception) -> None:
        """End here: what was not reached is not gone on with by itself."""
        self.cursor = None
        self.problem = described(error)


def _uses(alias: str) -> RecordedUses | None:
    """What the trace knows by what the processes have told, this one too."""
    try:
        store = get_store()
    except StoreError:
        return None
    return uses_of(alias, caches[alias], store, Teller(recorder.process, recorder.told_at))


def _source(alias: str, bounds: Bounds, uses: RecordedUses | None) -> BackendScanner:
    cache: BaseCache = caches[alias]
    source = source_of(alias, cache, bounds)
    if source is not None:
        return source
    if uses is None:
        raise ScanError("The entries of this backend cannot be listed.")
    return RecordedScanner(cache, uses)
