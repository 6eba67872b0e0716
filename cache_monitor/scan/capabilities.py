"""What a scan of each backend can show, and why not: the table of the README and the dashboard.

The scanners' tests check it.
"""

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from msgspec import Struct

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
    " while a replica that is read from does not answer.",
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
