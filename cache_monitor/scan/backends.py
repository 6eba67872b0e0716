"""The kinds of backend: how each is recognized, which scanner it has, and what its scan can show.

The table of the README and the dashboard says the last; the scanners' tests check it.
"""

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from typing import Any

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from msgspec import Struct

from cache_monitor.errors import let_pass
from cache_monitor.scan import redis_servers
from cache_monitor.scan.base import (
    STALE_REASONS,
    BackendLimits,
    BackendScanner,
    Bounds,
    Entry,
    EntryPage,
    Scope,
)
from cache_monitor.scan.database import DatabaseScanner
from cache_monitor.scan.identity import own_cache
from cache_monitor.scan.local import FileScanner, LocMemScanner
from cache_monitor.scan.memcached import MemcachedScanner
from cache_monitor.scan.redis import RedisScanner
from cache_monitor.scan.redis_servers import Servers
from cache_monitor.scan.snapshot import Snapshot
from cache_monitor.trace import SECOND, EvictionReading


class EmptyScanner(BackendScanner):
    """A cache without entries."""

    def __init__(self, cache: DummyCache) -> None:
        super().__init__(cache, STALE_REASONS)

    def total(self) -> int:
        return 0

    def pages(self, cursor: str, most: int) -> Generator[EntryPage, None, None]:
        yield EntryPage((), 0, None)

    def entry(self, key: str, version: int | None) -> Entry | None:
        return None


OTHERS = "others"
_FILES: Any = FileBasedCache


def kind_of(class_: Any) -> str:
    """The name of the kind of backend that ``class_`` derives from; "others" for the rest."""
    for base in class_.__mro__:
        kind = _KINDS.get(f"{base.__module__}.{base.__qualname__}")
        # The clients of its asynchronous cache work in an event loop only.
        if kind == "django-valkey" and getattr(class_, "is_async", False):
            return OTHERS
        # Its other clients have no connections of redis-py's kind.
        adapter = getattr(class_, "_adapter_class", None)
        if base.__name__ == "RespCache" and not hasattr(adapter, "_pool_class"):
            return OTHERS
        # It may have files elsewhere, or by names that others' have as well.
        if kind == "FileBasedCache" and class_._key_to_file is not _FILES._key_to_file:
            return OTHERS
        if kind is not None:
            return kind
    return OTHERS


def scanner_for(alias: str, cache: BaseCache, bounds: Bounds) -> BackendScanner | None:
    """The scanner of ``cache``, known as ``alias``; None where its kind of backend has none.

    Raises what the backend's driver raises.
    """
    make = _SCANNERS.get(kind_of(type(cache)))
    return None if make is None else make(alias, cache, bounds)


def scope_of(cache: BaseCache | None) -> Scope:
    """Whether each process has entries of its own."""
    return "per process" if isinstance(cache, LocMemCache) else "shared"


_KINDS = {
    "django.core.cache.backends.locmem.LocMemCache": "LocMemCache",
    "django.core.cache.backends.filebased.FileBasedCache": "FileBasedCache",
    "django.core.cache.backends.db.BaseDatabaseCache": "DatabaseCache",
    "django.core.cache.backends.redis.RedisCache": "RedisCache (Django's)",
    "django_redis.cache.RedisCache": "RedisCache (django-redis)",
    "django_valkey.base.BaseValkeyCache": "django-valkey",
    "django_cachex.client.cache.KeyValueCache": "django-cachex",  # until 0.3
    "django_cachex.cache.resp.RespCache": "django-cachex",
    "django.core.cache.backends.memcached.BaseMemcachedCache": "memcached",
    "django.core.cache.backends.dummy.DummyCache": "DummyCache",
}
"""By the path of a base class: an optional package must not be imported for it."""

_MakeScanner = Callable[[str, Any, Bounds], BackendScanner]
"""By the alias, the cache, and the bounds."""


def _on(servers: Callable[[Any, Bounds], Servers]) -> _MakeScanner:
    return lambda _, cache, bounds: RedisScanner(cache, servers(cache, bounds), bounds)


_SCANNERS: dict[str, _MakeScanner] = {
    "LocMemCache": lambda _, cache, bounds: LocMemScanner(cache),
    "FileBasedCache": lambda alias, cache, _: FileScanner(alias, cache),
    "DatabaseCache": lambda _, cache, bounds: DatabaseScanner(cache, bounds),
    "RedisCache (Django's)": _on(redis_servers.of_django),
    "RedisCache (django-redis)": _on(redis_servers.of_django_redis),
    "django-valkey": _on(redis_servers.of_django_redis),
    "django-cachex": _on(redis_servers.of_cachex),
    "memcached": lambda _, cache, bounds: MemcachedScanner(cache, bounds),
    "DummyCache": lambda _, cache, bounds: EmptyScanner(cache),
}


def total_of(scanner: BackendScanner) -> int | None:
    """About how many entries the whole store holds; None where that fails."""
    try:
        return scanner.total()
    except Exception:
        return None


# Their eviction counters

_ENTRIES_CULLED = 1.5
"""Most caches remove a third of their entries when they are full: so a cache with ``limit / 1.5``
entries may have been full."""

ASK_SECONDS = 1.0
"""How long a server may take to return its eviction counter."""


def read_evictions(alias: str) -> EvictionReading | None:
    """The eviction counter of a cache now, by one query. Without a counter, whether the cache is as
    full as one that evicts. None where neither is known."""
    try:
        scanner = scanner_for(alias, own_cache(alias), Bounds(time.monotonic() + ASK_SECONDS))
        if scanner is None:
            return None
        with closing(scanner):
            limits = scanner.limits()
            needs_entries = limits.evictions is None and limits.limit_entries is not None
            entries = total_of(scanner) if needs_entries else None
    except Exception as error:
        let_pass(error)
        return None
    return _reading(limits, entries, time.time(), limits.is_behind)


def eviction_reading(snapshot: Snapshot) -> EvictionReading | None:
    """The same from the snapshot of a shared cache."""
    return _reading(snapshot, snapshot.entries, snapshot.measured_at)


def _reading(
    found: BackendLimits | Snapshot, entries: int | None, at: float, is_behind: bool = False
) -> EvictionReading | None:
    is_full = None
    if found.evictions is None:
        limit = found.limit_entries
        if entries is None or limit is None:
            return None
        # With so many that it may have been full before, that is unknown.
        is_full = entries >= limit or (None if _ENTRIES_CULLED * entries >= limit else False)
    return EvictionReading(int(at * SECOND), found.evictions, found.boot, is_full, is_behind)


# What a scan of each can show

HEADINGS: Mapping[str, Promise] = {
    "entries": _("Entries"),
    "bytes": _("Bytes"),
    "limit": _("Limit"),
    "evictions": _("Evictions"),
    "expired": _("Expired"),
    "idle": _("Idle"),
    "never_read": _("Never read"),
    "no_expiry": _("No expiry"),
    "age": _("Age"),
    "keys": _("Keys"),
    "value_sizes": _("Size of each value"),
}
COLUMNS = tuple(HEADINGS)
YES, RECORDED, ESTIMATED, NO = "yes", "recorded", "estimated", "–"
"""``RECORDED``: known from the recorded calls. ``ESTIMATED``: from these alone."""


class Capability(Struct, frozen=True, kw_only=True):
    """A row: for each of ``COLUMNS`` "yes", a few words or "–", with sentences in ``notes``."""

    backend: str
    cells: dict[str, str]
    notes: dict[str, str]


_PLAIN = dict.fromkeys(COLUMNS, YES)
_RECORDED_USES = dict.fromkeys(("idle", "never_read", "age"), RECORDED)

_RECORD = (
    "Known from the recorded calls of all processes: exact since the monitor saw the entry; above"
    " TRACE_KEYS keys an estimate, with its error."
)
_NO_READS = f"It keeps no time of the last read. {_RECORD}"
_NO_WRITES = f"It keeps no time of the write. {_RECORD}"
_CULLS = (
    "The processes count what they remove to keep to MAX_ENTRIES. Not of a subclass with a _cull of"
    " its own."
)
_HIDES = "The server hides what has expired."
_OWN_KEYS = "Only the alias's own keys, by its prefix, version and key function."

_OWN_ONLY = {**_PLAIN, "entries": "its own", "bytes": "its own", "expired": NO, "age": RECORDED}
_REDIS_CELLS = {**_OWN_ONLY, "never_read": RECORDED}
_REDIS_NOTES = {
    "entries": _OWN_KEYS,
    "bytes": "The MEMORY USAGE of its own keys.",
    "limit": "The server's maxmemory; other programs may use it too.",
    "evictions": "The server's, of all programs' keys.",
    "expired": _HIDES,
    "idle": "From the recorded calls under an LFU policy, where the server counts uses instead, and"
    " where a replica that is read from is not asked: it does not answer, is of a cluster, or"
    " shares its name with others.",
    "never_read": f"A write counts as a use like a read. {_RECORD}",
    "age": _NO_WRITES,
}

MATRIX = (
    Capability(
        backend="LocMemCache",
        cells={
            **_PLAIN,
            "entries": "per process",
            "bytes": "per process",
            "limit": "entries",
            "evictions": RECORDED,
            **_RECORDED_USES,
        },
        notes={
            "entries": "Each process has its own; the figures are added up and shown apart.",
            "bytes": "The lengths of the pickled values.",
            "limit": "MAX_ENTRIES, in each process.",
            "evictions": _CULLS,
            "idle": _NO_READS,
            "never_read": _NO_READS,
            "age": _NO_WRITES,
        },
    ),
    Capability(
        backend="FileBasedCache",
        cells={
            **_PLAIN,
            "limit": "entries, disk",
            "evictions": RECORDED,
            "idle": RECORDED,
            "keys": "recorded ones",
        },
        notes={
            "limit": "MAX_ENTRIES, and what the disk has room for.",
            "evictions": _CULLS,
            "idle": f"{_RECORD} Of other files roughly, from access times, of which Linux writes"
            " one a day (relatime), and none with noatime or on a network.",
            "never_read": "From the recorded calls; of other files from access times, unless the"
            " file system is mounted with noatime or is on a network.",
            "keys": "A file's name is a digest: its key is known if its use was recorded.",
        },
    ),
    Capability(
        backend="DatabaseCache",
        cells={
            **_PLAIN,
            "limit": "entries",
            "evictions": RECORDED,
            **_RECORDED_USES,
            "value_sizes": NO,
        },
        notes={
            "bytes": "The lengths of the values as the table stores them.",
            "limit": "MAX_ENTRIES.",
            "evictions": _CULLS,
            "idle": _NO_READS,
            "never_read": _NO_READS,
            "age": _NO_WRITES,
            "value_sizes": "The SQL is Django's; a scan shows the stored size.",
        },
    ),
    *(
        Capability(
            backend=backend, cells=_REDIS_CELLS, notes={**_REDIS_NOTES, "entries": _OWN_KEYS + more}
        )
        for backend, more in (
            ("RedisCache (Django's)", ""),
            ("RedisCache (django-redis)", ""),
            ("django-valkey", " Its AsyncValkeyCache is one of the others."),
            (
                "django-cachex",
                " Its ValkeyGlideCache is one of the others, and its LocMemCache and DatabaseCache"
                " are like Django's.",
            ),
        )
    ),
    Capability(
        backend="memcached",
        cells={**_OWN_ONLY, "idle": RECORDED, "value_sizes": "PyMemcacheCache"},
        notes={
            "entries": f"{_OWN_KEYS} Needs the server's LRU crawler. Of a server with more"
            " entries than it can list in the time, a part stands for the rest.",
            "bytes": "What the server uses for its own keys.",
            "limit": "The servers' limit_maxbytes, added up.",
            "evictions": "The servers', of all programs' keys.",
            "expired": _HIDES,
            "idle": f"The server notes the time of a read only now and then. {_RECORD}",
            "never_read": "From the recorded calls; of other entries by the server, for which a"
            " get_or_set reads what it writes.",
            "age": _NO_WRITES,
            "value_sizes": "pylibmc does not show the pickled value.",
        },
    ),
    Capability(
        backend="DummyCache",
        cells={**dict.fromkeys(COLUMNS, NO), "entries": "none", "bytes": "none"},
        notes={"entries": "It keeps nothing."},
    ),
    Capability(
        backend="others",
        cells={
            **dict.fromkeys(COLUMNS, NO),
            **dict.fromkeys(
                ("entries", "bytes", "idle", "never_read", "no_expiry", "age"), ESTIMATED
            ),
            "keys": "recorded ones",
        },
        notes={
            "entries": "Such as diskcache's, or a class of your own. What should be in it by the"
            " recorded calls of all processes: written, and neither deleted nor expired since."
            " Its own evictions are unknown.",
            "bytes": "Where the sizes of written values are known.",
        },
    ),
)


def documentation() -> str:
    """The table for the README in Markdown, with its notes; equal rows are one, equal notes too."""
    rows: dict[tuple[str, ...], list[str]] = {}
    notes: dict[str, list[str]] = {}
    for each in MATRIX:
        rows.setdefault(tuple(each.cells[column] for column in COLUMNS), []).append(each.backend)
        text = " ".join(
            f"*{str(HEADINGS[column]).lower()}*: {note}" for column, note in each.notes.items()
        )
        notes.setdefault(text, []).append(each.backend)
    lines = [
        f"| backend | {' | '.join(str(text).lower() for text in HEADINGS.values())} |",
        "| --- " * (len(COLUMNS) + 1) + "|",
        *(f"| {', '.join(names)} | {' | '.join(cells)} |" for cells, names in rows.items()),
        "",
        *(f"- **{', '.join(names)}**: {text}" for text, names in notes.items()),
    ]
    return "\n".join(lines)
