"""The report: the one document that every face of the monitor reads.

Times are RFC 3339 UTC strings, durations seconds, sizes bytes, ratios 0..1. ``None`` stands for
what a backend cannot answer or what nobody measured; it never stands for zero.

The field names are the export's schema, version 1: renaming one breaks the users' programs.
"""

from typing import Literal

from msgspec import Struct

from cache_monitor.keys.naming import KeyKind

SCHEMA_VERSION = 1

Scope = Literal["shared", "per process"]
StaleReason = Literal["expired", "idle", "never_read", "no_expiry"]
Severity = Literal["info", "warning", "error"]


class Seconds(Struct, frozen=True, kw_only=True):
    """How long the calls of one operation took; percentiles are within 5 % of the true ones."""

    total: float
    p50: float | None
    p90: float | None
    p99: float | None
    max: float | None


class Operation(Struct, frozen=True, kw_only=True):
    """One operation of one cache. ``hits`` and ``misses`` are None where nothing is looked up."""

    calls: int
    keys: int
    hits: int | None
    misses: int | None
    errors: int
    seconds: Seconds


class MissReasons(Struct, frozen=True, kw_only=True):
    """Why lookups missed; the reasons add up to the cache's misses where they are known."""

    never_set: int | None = None
    expired: int | None = None
    evicted: int | None = None
    deleted: int | None = None
    cleared: int | None = None
    version_changed: int | None = None
    unknown: int | None = None


class HotKey(Struct, frozen=True, kw_only=True):
    """A key that is looked up often. ``lookups`` is at most ``max_overcount`` too high."""

    key: str
    group: str
    lookups: int
    hits: int
    misses: int
    sets: int
    share: float | None
    max_overcount: int
    bytes: int | None
    seconds_saved: float | None


class KeyGroup(Struct, frozen=True, kw_only=True):
    """Keys that differ only in their variable parts, such as ``user:{int}:profile``."""

    group: str
    kind: KeyKind
    distinct_keys: int | None
    lookups: int
    hits: int
    misses: int
    hit_ratio: float | None
    sets: int
    deletes: int
    errors: int
    bytes_read: int | None
    bytes_written: int | None
    seconds_saved: float | None


class View(Struct, frozen=True, kw_only=True):
    """What one view of the site does with a cache."""

    view: str
    requests: int
    lookups: int
    misses: int
    misses_per_request: float | None
    seconds: float


class MemoryGroup(Struct, frozen=True, kw_only=True):
    """The entries of one key group and what they weigh."""

    group: str
    entries: int
    bytes: int | None


class LargestEntry(Struct, frozen=True, kw_only=True):
    """One of the heaviest entries."""

    key: str
    bytes: int


class Memory(Struct, frozen=True, kw_only=True):
    """What is in a cache and how large it is, read from the live backend.

    ``exact`` is False where the look stopped at its limit and the figures were extrapolated.
    """

    entries: int | None = None
    bytes: int | None = None
    limit_bytes: int | None = None
    limit_entries: int | None = None
    evictions: int | None = None
    measured_at: str | None = None
    scope: Scope | None = None
    exact: bool | None = None
    groups: list[MemoryGroup] = []
    largest: list[LargestEntry] = []


class StaleEntry(Struct, frozen=True, kw_only=True):
    """An entry that no longer earns its place, and why. Ages in seconds."""

    key: str
    why: list[StaleReason]
    age: float | None
    idle: float | None
    expires_in: float | None
    bytes: int | None


class Stale(Struct, frozen=True, kw_only=True):
    """How many entries are stale, by reason; an entry can have several."""

    expired: int | None = None
    idle: int | None = None
    never_read: int | None = None
    no_expiry: int | None = None
    bytes: int | None = None
    entries: list[StaleEntry] = []


class Point(Struct, frozen=True, kw_only=True):
    """One step of the time series; ``at`` is its beginning."""

    at: str
    lookups: int
    hits: int
    misses: int
    errors: int
    seconds: float
    p99: float | None
    memory_bytes: int | None


class Cache(Struct, frozen=True, kw_only=True):
    """Everything known of one alias of ``CACHES``."""

    backend: str
    lookups: int
    hits: int
    misses: int
    hit_ratio: float | None
    errors: int
    operations: dict[str, Operation]
    bytes_read: int | None
    bytes_written: int | None
    miss_reasons: MissReasons
    seconds_saved: float | None
    hot_keys: list[HotKey]
    key_groups: list[KeyGroup]
    views: list[View]
    memory: Memory
    stale: Stale
    series: list[Point]


class Quality(Struct, frozen=True, kw_only=True):
    """How far the figures can be trusted.

    ``dropped_calls`` were made but not recorded (the buffer was full or the store refused);
    ``corrupt_windows`` were in the store and could not be read.
    """

    processes: int
    newest_record_at: str | None
    dropped_calls: int
    corrupt_windows: int
    estimated: bool


class Finding(Struct, frozen=True, kw_only=True):
    """One caching mistake that the figures show."""

    code: str
    severity: Severity
    alias: str
    group: str | None
    key: str | None
    evidence: dict[str, int | float | str | None]
    advice: str
    docs: str


class Report(Struct, frozen=True, kw_only=True):
    """The statistics of every cache between ``since`` and ``until``."""

    schema_version: int
    generated_at: str
    since: str
    until: str
    quality: Quality
    caches: dict[str, Cache]
    findings: list[Finding]
