"""What a look into a live cache found: plain data that MessagePack carries between processes.

Ages are seconds, sizes bytes. ``None`` stands for what the backend cannot answer, never for zero.
What is read back from a store is held to the ranges that stand here.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from cache_monitor.inspectors.bounds import LONGEST
from cache_monitor.stats.window import Count, UnixTime

Scope = Literal["shared", "per process"]
StaleReason = Literal["expired", "idle", "never_read", "no_expiry"]

STALE_REASONS: tuple[StaleReason, ...] = ("expired", "idle", "never_read", "no_expiry")

Age = Annotated[float, Meta(ge=0, le=LONGEST)]
TimeLeft = Annotated[float, Meta(ge=-LONGEST, le=LONGEST)]

GROUPS = 50
LARGEST = 20
STALE = 200
PARTS = 50
LONGEST_POLICY = 32
"""Characters of the name of a policy."""


class EntrySample(Struct, frozen=True, kw_only=True):
    """An entry that no longer earns its place. ``expires_in`` is negative once it has expired."""

    key: str
    group: str
    why: list[StaleReason]
    age: Age | None
    idle: Age | None
    expires_in: TimeLeft | None
    bytes: Count | None


class GroupBytes(Struct, frozen=True, kw_only=True):
    """The entries of one key group and what they weigh together."""

    group: str
    entries: Count
    bytes: Count | None


class LargeEntry(Struct, frozen=True, kw_only=True):
    """One of the heaviest entries."""

    key: str
    group: str
    bytes: Count


class FreedWithin(Struct, frozen=True, kw_only=True):
    """Bytes of the entries that expire within the next minute, hour and day (each with those
    before it), and ``never``. What has expired and is still there is in none of them."""

    minute: Count | None = None
    hour: Count | None = None
    day: Count | None = None
    never: Count | None = None


class ProcessPart(Struct, frozen=True, kw_only=True):
    """What one process holds of a cache that lives in each process; measured in Unix time."""

    measured_at: UnixTime
    entries: Count | None
    bytes: Count | None


class Snapshot(Struct, frozen=True, kw_only=True):
    """One alias as it was found at ``measured_at`` (Unix time).

    ``looked_at`` entries were examined. ``exact`` says that these were all; otherwise the counts
    and sizes, those of ``groups`` too, are what the examined part lets expect of the whole, while
    ``largest`` and ``stale`` name only what was seen. An entry may be stale for several reasons;
    ``stale_bytes`` weighs it once. ``limit_bytes`` and ``evictions`` are those of the server, which
    may hold more than this cache; ``boot`` names the start that these are counted from, ``policy``
    what the server evicts, ``used_bytes`` what it takes for everybody, of which ``empty_bytes``
    without any entry. ``problem`` tells, in words free of secrets, what could not be asked, or
    where figures come from that were not read from the backend. ``idle_error`` and
    ``never_read_error`` say by how much these figures may be wrong where they rest on the record
    of the site's calls, which began at ``recorded_since``: for the keys that are not in it, and
    those used before it. ``parts`` are the processes that a cache in their memory was put together
    from, the heaviest 50. ``store`` and ``keys`` are digests: equal ``store``s are one place, and
    with equal ``keys`` too the aliases' entries are the same ones; empty where that is not known.

    ``groups`` are the 50 heaviest, ``largest`` the 20 heaviest entries, ``stale`` at most 200
    entries with some of every reason found; heaviest first, each.
    """

    alias: str
    measured_at: UnixTime
    scope: Scope
    looked_at: Count = 0
    exact: bool = False
    entries: Count | None = None
    bytes: Count | None = None
    limit_bytes: Count | None = None
    limit_entries: Count | None = None
    evictions: Count | None = None
    boot: Annotated[str, Meta(max_length=64)] = ""
    policy: Annotated[str, Meta(max_length=LONGEST_POLICY)] | None = None
    used_bytes: Count | None = None
    empty_bytes: Count = 0
    groups: list[GroupBytes] = []
    largest: list[LargeEntry] = []
    expired: Count | None = None
    idle: Count | None = None
    never_read: Count | None = None
    no_expiry: Count | None = None
    idle_error: Count | None = None
    never_read_error: Count | None = None
    recorded_since: UnixTime | None = None
    stale_bytes: Count | None = None
    stale: list[EntrySample] = []
    problem: str | None = None
    freed_within: FreedWithin = FreedWithin()
    parts: list[ProcessPart] = []
    store: str = ""
    keys: str = ""
