"""What is inside a cache, as the report tells it: memory and stale entries."""

from typing import Literal

from msgspec import Struct

Scope = Literal["shared", "per process"]
StaleReason = Literal["expired", "idle", "never_read", "no_expiry"]


class MemoryGroup(Struct, frozen=True, kw_only=True):
    """The entries of one key group and what they weigh."""

    group: str
    entries: int
    bytes: int | None


class LargestEntry(Struct, frozen=True, kw_only=True):
    """One of the heaviest entries."""

    key: str
    bytes: int


class FreedWithin(Struct, frozen=True, kw_only=True):
    """Bytes of the entries that expire within the next minute, hour and day (each with those
    before it), and ``never``. What has expired and is still there is in none of them."""

    minute: int | None = None
    hour: int | None = None
    day: int | None = None
    never: int | None = None


class ProcessMemory(Struct, frozen=True, kw_only=True):
    """What one process holds of a cache that lives in each process."""

    measured_at: str
    entries: int | None
    bytes: int | None


class Memory(Struct, frozen=True, kw_only=True):
    """What is in a cache and how large it is, read from the live backend.

    ``exact`` is False where the look stopped at its limit and the figures were extrapolated from
    the ``looked_at`` entries that it examined. ``problem`` tells what the backend could not be
    asked, or where the figures come from instead. ``processes`` are those whose own memories were
    added up, where the cache lives in each process. ``aliases`` are those that share its store,
    ``counted_in`` the one of them that has the same entries and stands for them all.
    ``evictions`` are those since ``evictions_since`` where the monitor counts them itself.
    ``policy`` is what its server evicts where its limit is reached, as the server names it;
    ``used_bytes`` are what it takes for everybody, ``empty_bytes`` of them without any entry.
    """

    entries: int | None = None
    bytes: int | None = None
    limit_bytes: int | None = None
    limit_entries: int | None = None
    evictions: int | None = None
    policy: str | None = None
    used_bytes: int | None = None
    empty_bytes: int = 0
    measured_at: str | None = None
    scope: Scope | None = None
    exact: bool | None = None
    groups: list[MemoryGroup] = []
    largest: list[LargestEntry] = []
    looked_at: int | None = None
    freed_within: FreedWithin = FreedWithin()
    problem: str | None = None
    processes: list[ProcessMemory] = []
    aliases: list[str] = []
    counted_in: str | None = None
    evictions_since: str | None = None


class StaleEntry(Struct, frozen=True, kw_only=True):
    """An entry that no longer earns its place, and why. Ages in seconds."""

    key: str
    group: str = ""
    why: list[StaleReason]
    age: float | None
    idle: float | None
    expires_in: float | None
    bytes: int | None


class Stale(Struct, frozen=True, kw_only=True):
    """How many entries are stale, by reason; an entry can have several. What the backend does not
    tell is known from the site's calls, ``recorded_since`` when it is; the errors say by how much a
    figure may be wrong, 0 for not at all."""

    expired: int | None = None
    idle: int | None = None
    never_read: int | None = None
    no_expiry: int | None = None
    bytes: int | None = None
    entries: list[StaleEntry] = []
    idle_error: int | None = None
    never_read_error: int | None = None
    recorded_since: str | None = None
