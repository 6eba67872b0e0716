"""The report: the one document that every face of the monitor reads.

Times are RFC 3339 UTC strings, durations seconds, sizes bytes, ratios 0..1. ``None`` stands for
what a backend cannot answer or what nobody measured; it never stands for zero.

The field names are the export's schema, version 1: renaming one breaks the users' programs.
"""

from typing import Literal

from msgspec import Struct

from cache_monitor.keys.naming import KeyKind
from cache_monitor.reports.what_if import CacheWhatIf
from cache_monitor.scan.snapshot import (
    FreedWithin,
    LargestEntry,
    MemoryGroup,
    Scope,
    StaleEntry,
    StaleReason,
)


class ProcessMemory(Struct, frozen=True, kw_only=True):
    """What one process holds of a cache that lives in each process."""

    measured_at: str
    entries: int | None
    bytes: int | None


class Memory(Struct, frozen=True, kw_only=True):
    """What is in a cache and how large it is, read from the live backend.

    ``exact`` is False where the scan stopped at its limit and the figures were extrapolated from
    the ``examined`` entries that it examined. ``problem`` tells what the backend could not be
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
    examined: int | None = None
    freed_within: FreedWithin = FreedWithin()
    problem: str | None = None
    processes: list[ProcessMemory] = []
    aliases: list[str] = []
    counted_in: str | None = None
    evictions_since: str | None = None


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


__all__ = [
    "SCHEMA_VERSION",
    "Cache",
    "CacheWhatIf",
    "Changes",
    "Finding",
    "FreedWithin",
    "GroupOfView",
    "HotKey",
    "KeyGroup",
    "LargestEntry",
    "Lives",
    "Memory",
    "MemoryGroup",
    "MissReasons",
    "Operation",
    "Page",
    "Point",
    "ProcessMemory",
    "Quality",
    "Report",
    "Scope",
    "Seconds",
    "Severity",
    "Stale",
    "StaleEntry",
    "StaleReason",
    "View",
    "Worth",
]

SCHEMA_VERSION = 1

Severity = Literal["info", "warning", "error"]


class Seconds(Struct, frozen=True, kw_only=True):
    """How long the calls of one operation took; percentiles are within 5 % of the true ones."""

    total: float
    p50: float | None
    p90: float | None
    p99: float | None
    max: float | None


class Operation(Struct, frozen=True, kw_only=True):
    """One operation of one cache. ``hits`` and ``misses`` are None where nothing is looked up.

    Of the ``errors``, ``absent`` say of a counter that its key is not there, which is an ordinary
    answer of ``incr``: those are in no sum of errors.
    """

    calls: int
    keys: int
    hits: int | None
    misses: int | None
    errors: int
    interrupted: int = 0
    absent: int = 0
    seconds: Seconds


class MissReasons(Struct, frozen=True, kw_only=True):
    """Why lookups missed; the reasons add up to the misses that they stand beside.

    ``judged`` of them were judged one by one. Where these are a sample the others are taken to be
    like them, and each reason's share is right to about ``error``, which is else 0, or None where
    none was judged.
    """

    never_set: int | None = None
    expired: int | None = None
    evicted: int | None = None
    lost: int | None = None
    deleted: int | None = None
    cleared: int | None = None
    version_changed: int | None = None
    unknown: int | None = None
    judged: int | None = None
    error: float | None = None

    @property
    def exact(self) -> bool:
        """Whether each reason is of a miss that was judged."""
        return not self.error


class HotKey(Struct, frozen=True, kw_only=True):
    """A key that is looked up often. ``lookups`` is at most ``max_overcount`` too high.

    ``produce_seconds`` is the mean time that its value takes to produce, as far as that was seen;
    ``seconds_saved`` takes its group's where it was not, and may be off by
    ``seconds_saved_error``.
    """

    key: str
    group: str
    lookups: int
    hits: int
    misses: int
    sets: int
    share: float | None
    max_overcount: int
    bytes: int | None
    miss_reasons: MissReasons = MissReasons()
    produce_seconds: float | None = None
    seconds_saved: float | None
    seconds_saved_error: float | None = None


class Lives(Struct, frozen=True, kw_only=True):
    """What ended entries that were written, and how long they had been there: told from the trace,
    over all processes, of those for which that is sure.

    An entry was ``overwritten`` where its value was written anew before anything else ended it. One
    that the backend evicted or lost ends with the lookup that misses it; what was written anew, or
    expired, before anybody looked counts as that. ``unread`` are those that surely nobody read, of
    all that ended. Of the misses of lost entries ``lost_by_restart`` came of a restart of the
    server, or of a directory made anew, which was last seen ``restarted_at``; ``lost_by_replica``
    of reads from a replica that lagged, and ``lost_by_refusal`` of writes that the server refused.
    """

    expired: int = 0
    deleted: int = 0
    cleared: int = 0
    evicted: int = 0
    lost: int = 0
    overwritten: int = 0
    version_changed: int = 0
    unread: int = 0
    overwritten_unread: int = 0
    deleted_unread: int = 0
    lifetime_p50: float | None = None
    lifetime_p90: float | None = None
    first_read_p50: float | None = None
    first_read_p90: float | None = None
    evicted_age_p50: float | None = None
    lost_by_restart: int = 0
    restarted_at: str | None = None
    lost_by_replica: int = 0
    lost_by_refusal: int = 0

    @property
    def ended(self) -> int:
        """How many there were."""
        gone = self.expired, self.deleted, self.cleared, self.evicted, self.lost
        return sum(gone) + self.overwritten + self.version_changed


class Changes(Struct, frozen=True, kw_only=True):
    """Whether values had changed when they were written anew because they had expired: told from
    the trace, by fingerprints of what was written.

    ``unchanged`` is the share of ``rewrites`` that brought what had been there,
    ``seconds_to_change`` how long a value lasts on the average, ``stale_share`` the share of the
    hits whose value had changed by then. Each is None where too little is known.
    """

    rewrites: int = 0
    unchanged: float | None = None
    seconds_to_change: float | None = None
    stale_share: float | None = None


class KeyGroup(Struct, frozen=True, kw_only=True):
    """Keys that differ only in their variable parts, such as ``user:{int}:profile``.

    ``seconds_saved`` is what producing would have taken, which ``produce_seconds`` is the mean of,
    for each hit of each key, less ``seconds``, the time of all calls on its keys;
    ``lookup_seconds`` is that of lookups alone. It may be off by ``seconds_saved_error``, the more
    the fewer values were ``produced``. It is 0 where ``is_state``: the use of its keys shows that
    its values are no copies of anything, such as counters and locks. ``rewrites`` are hits whose
    value the same request wrote anew, which saved nothing; None where no request was seen.
    ``first_set_at`` is when one of its keys was written first in the period, ``mean_set_at`` when
    they were on average, to the length of a row; ``timeout`` the longest that a call gave in
    seconds. ``age_p50`` and ``age_p90`` are the ages in seconds, since their write, of the values
    that hits found, within 5 % of the true ones.

    ``other_uses`` are calls that had the use of an entry without a lookup (``has_key``, ``add``,
    ``incr``). Of the ``produced`` values, those that were seen being produced, ``stampedes`` were
    produced while somebody else produced the same one. Requests, as many as
    ``…_requests`` say, could have spared ``repeated_gets`` of an entry that they had got before,
    and got ``single_gets`` different keys one by one; None where no request was seen.
    ``sample_hits`` and ``sample_misses`` are up to five of the keys that were found and missed.
    """

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
    miss_reasons: MissReasons = MissReasons()
    produce_seconds: float | None = None
    seconds_saved: float | None
    seconds_saved_error: float | None = None
    age_p50: float | None = None
    age_p90: float | None = None
    other_uses: int = 0
    produced: int = 0
    stampedes: int = 0
    repeated_gets: int | None = None
    repeated_gets_requests: int | None = None
    single_gets: int | None = None
    single_gets_requests: int | None = None
    is_state: bool = False
    called_from: str | None = None
    lookup_seconds: float = 0.0
    seconds: float = 0.0
    rewrites: int | None = None
    repeated_seconds: float | None = None
    first_set_at: str | None = None
    mean_set_at: str | None = None
    timeout: float | None = None
    lives: Lives = Lives()
    changes: Changes = Changes()
    sample_hits: list[str] = []
    sample_misses: list[str] = []


class GroupOfView(Struct, frozen=True, kw_only=True):
    """What the requests of one view did with the keys of one group; a call on several keys is
    several of ``keys``, each with its share of the call's ``seconds``."""

    group: str
    keys: int
    lookups: int
    hits: int
    seconds: float


class View(Struct, frozen=True, kw_only=True):
    """What one view of the site does with a cache.

    ``seconds`` is the time of its requests' ``calls``, ``request_seconds`` that of the requests
    themselves, ``share_of_request`` the one divided by the other, 0..1. ``groups`` are the
    groups of keys that its requests used, the one that took longest first. ``sample_hits`` and
    ``sample_misses`` are up to five of the keys that its requests found and missed.
    """

    view: str
    requests: int
    lookups: int
    misses: int
    misses_per_request: float | None
    seconds: float
    seconds_saved: float | None = None
    seconds_saved_error: float | None = None
    request_seconds: float | None = None
    share_of_request: float | None = None
    calls: int = 0
    groups: list[GroupOfView] = []
    sample_hits: list[str] = []
    sample_misses: list[str] = []


class Page(Struct, frozen=True, kw_only=True):
    """What Django's page cache did with the requests of one route.

    ``requests`` are those that it was asked for: ``served`` from the cache, or made, which took
    ``made_seconds`` together. Of what was made ``stored`` were stored and the others not, by
    reason. ``bypassed`` were neither GET nor HEAD, and are no part of ``requests``. ``details``
    has an example of a reason (a cookie's name, a status), ``causes`` the line of the project's
    code that led to it, or, under ``variant``, that made a stored page vary.
    """

    page: str
    requests: int
    served: int
    stored: int
    bypassed: int
    served_ratio: float | None
    missed: dict[str, int]
    not_stored: dict[str, int]
    details: dict[str, str]
    causes: dict[str, str]
    varies_by: list[str]
    distinct_addresses: int | None
    distinct_paths: int | None
    variants_per_address: float | None
    made_seconds: float
    not_stored_seconds: float
    is_decorated: bool = False


class Point(Struct, frozen=True, kw_only=True):
    """One step of the time series; ``at`` is its beginning, ``seconds`` the time of its calls
    together. ``miss_reasons`` add up to ``misses``, and are None where nothing was looked up; a
    miss of the last two seconds may still be unknown. ``evictions`` is what the cache's server
    evicted, whoever's the entries were, since the step before that knows; None where nobody looked,
    in the first step that knows, and where a server was restarted."""

    at: str
    lookups: int
    hits: int
    misses: int
    errors: int
    calls: int = 0
    seconds: float
    p50: float | None = None
    p90: float | None = None
    p99: float | None
    memory_bytes: int | None
    evictions: int | None = None
    miss_reasons: MissReasons | None = None


class Cache(Struct, frozen=True, kw_only=True):
    """Everything known of one alias of ``CACHES``. ``seconds_saved`` is that of its key groups
    together, of those where it is known. ``misses_per_request`` is of the requests that called
    the cache, as the middleware saw them; None where it saw none. ``what_if`` is what was predicted
    last of other sizes, policies and timeouts, whatever the report's period; None where nothing
    was."""

    backend: str
    lookups: int
    hits: int
    misses: int
    hit_ratio: float | None
    errors: int
    interrupted: int = 0
    operations: dict[str, Operation]
    bytes_read: int | None
    bytes_written: int | None
    miss_reasons: MissReasons
    misses_per_request: float | None = None
    seconds_saved: float | None
    seconds_saved_error: float | None = None
    hot_keys: list[HotKey]
    key_groups: list[KeyGroup]
    views: list[View]
    pages: list[Page] = []
    memory: Memory
    stale: Stale
    series: list[Point]
    what_if: CacheWhatIf | None = None


class Quality(Struct, frozen=True, kw_only=True):
    """How far the figures can be trusted.

    ``cut_off_processes`` stopped in the midst of their work without a word: killed, or without a
    way to the store; what each called after it told last is not in the figures.
    ``dropped_calls`` were made but not recorded (the buffer was full or the store refused);
    ``corrupt_windows`` were in the store and could not be read. ``store_problem`` says why the
    store's rows are missing, where it could not be read at all.
    ``not_recorded`` names the installed apps that keep cached values past ``CACHES``, over
    connections of their own: these are in no figure.
    """

    processes: int
    cut_off_processes: int = 0
    newest_record_at: str | None
    dropped_calls: int
    corrupt_windows: int
    estimated: bool
    store_problem: str | None
    not_recorded: list[str] = []


class Worth(Struct, frozen=True, kw_only=True):
    """What a mistake costs in an hour of use as it was seen, and thus what mending it would bring.

    ``seconds`` are of requests' or workers' time, ``bytes`` are held or written for nothing,
    ``failed_calls`` brought nothing; None where the mistake costs nothing of the kind."""

    seconds: float | None = None
    bytes: int | None = None
    failed_calls: int | None = None


class Finding(Struct, frozen=True, kw_only=True):
    """One caching mistake that the figures show.

    ``id`` is the same as long as the mistake and its place are; ``first_seen`` and ``last_seen``
    are None until the monitor has noted it.
    """

    code: str
    severity: Severity
    alias: str
    group: str | None
    key: str | None
    evidence: dict[str, int | float | str | None]
    worth: Worth = Worth()
    advice: str
    docs: str
    id: str = ""
    first_seen: str | None = None
    last_seen: str | None = None


class Report(Struct, frozen=True, kw_only=True):
    """The statistics of every cache between ``since`` and ``until``."""

    schema_version: int
    generated_at: str
    since: str
    until: str
    quality: Quality
    caches: dict[str, Cache]
    findings: list[Finding]
