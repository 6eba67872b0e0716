"""What a look into a live cache found: plain data that MessagePack carries between processes.

Ages are seconds, sizes bytes. ``None`` stands for what the backend cannot answer, never for zero.
"""

from typing import Literal

from msgspec import Struct

Scope = Literal["shared", "per process"]
StaleReason = Literal["expired", "idle", "never_read", "no_expiry"]

STALE_REASONS: tuple[StaleReason, ...] = ("expired", "idle", "never_read", "no_expiry")

GROUPS = 50
LARGEST = 20
STALE = 200
PARTS = 50


class EntrySample(Struct, frozen=True, kw_only=True):
    """An entry that no longer earns its place. ``expires_in`` is negative once it has expired."""

    key: str
    group: str
    why: list[StaleReason]
    age: float | None
    idle: float | None
    expires_in: float | None
    bytes: int | None


class GroupBytes(Struct, frozen=True, kw_only=True):
    """The entries of one key group and what they weigh together."""

    group: str
    entries: int
    bytes: int | None


class LargeEntry(Struct, frozen=True, kw_only=True):
    """One of the heaviest entries."""

    key: str
    group: str
    bytes: int


class FreedWithin(Struct, frozen=True, kw_only=True):
    """Bytes of the entries that expire within the next minute, hour and day (each with those
    before it), and ``never``. What has expired and is still there is in none of them."""

    minute: int | None = None
    hour: int | None = None
    day: int | None = None
    never: int | None = None


class ProcessPart(Struct, frozen=True, kw_only=True):
    """What one process holds of a cache that lives in each process; measured in Unix time."""

    measured_at: float
    entries: int | None
    bytes: int | None


class Snapshot(Struct, frozen=True, kw_only=True):
    """One alias as it was found at ``measured_at`` (Unix time).

    ``looked_at`` entries were examined. ``exact`` says that these were all; otherwise the counts
    and sizes, those of ``groups`` too, are what the examined part lets expect of the whole, while
    ``largest`` and ``stale`` name only what was seen. An entry may be stale for several reasons;
    ``stale_bytes`` weighs it once. ``limit_bytes`` and ``evictions`` are those of the server, which
    may hold more than this cache. ``problem`` tells, in words free of secrets, what could not be
    asked, or where figures come from that were not read from the backend. ``parts`` are the
    processes that a cache in their memory was put together from, the heaviest 50. ``store`` and
    ``keys`` are digests: equal ``store``s are one place, and with equal ``keys`` too the aliases'
    entries are the same ones; empty where that is not known.

    ``groups`` are the 50 heaviest, ``largest`` the 20 heaviest entries, ``stale`` at most 200
    entries with some of every reason found; heaviest first, each.
    """

    alias: str
    measured_at: float
    scope: Scope
    looked_at: int = 0
    exact: bool = False
    entries: int | None = None
    bytes: int | None = None
    limit_bytes: int | None = None
    limit_entries: int | None = None
    evictions: int | None = None
    groups: list[GroupBytes] = []
    largest: list[LargeEntry] = []
    expired: int | None = None
    idle: int | None = None
    never_read: int | None = None
    no_expiry: int | None = None
    stale_bytes: int | None = None
    stale: list[EntrySample] = []
    problem: str | None = None
    freed_within: FreedWithin = FreedWithin()
    parts: list[ProcessPart] = []
    store: str = ""
    keys: str = ""
