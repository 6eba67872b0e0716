"""The report: the one document that every face of the monitor reads.

Times are RFC 3339 UTC strings, durations seconds, sizes bytes, ratios 0..1. ``None`` stands for
what a backend cannot answer or what nobody measured; it never stands for zero.

The field names are the export's schema, version 1: renaming one breaks the users' programs.
"""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from msgspec import Struct

from cache_monitor.reports.keys import (
    BytesRead,
    BytesWritten,
    Changes,
    Errors,
    HitRatio,
    Hits,
    HotKey,
    KeyGroup,
    Lives,
    Lookups,
    Misses,
    MissReasons,
    ReasonsOfMisses,
    SampleHits,
    SampleMisses,
    SecondsSaved,
    SecondsSavedError,
)
from cache_monitor.reports.memory import Memory, ProcessMemory, Stale
from cache_monitor.scan.base import Scope, StaleReason
from cache_monitor.scan.snapshot import (
    FreedWithin,
    GroupName,
    LargestEntry,
    MemoryGroup,
    StaleEntry,
    doc,
)
from cache_monitor.stats.window import ratio
from cache_monitor.stores.rows import longest
from cache_monitor.trace.miss_reasons import REASONS
from cache_monitor.what_if import CacheWhatIf

__all__ = [
    "REASONS",
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

TotalSeconds = Annotated[float, doc("Seconds of all calls together.")]
P50 = Annotated[
    float | None, doc("Seconds that half of the calls took at most; null without calls.")
]
P90 = Annotated[
    float | None, doc("Seconds that nine calls in ten took at most; null without calls.")
]
P99 = Annotated[
    float | None, doc("Seconds that 99 calls in a hundred took at most; null without calls.")
]
InterruptedCalls = Annotated[
    int,
    doc(
        "Calls that something from outside ended: a cancelled task, a time limit, Ctrl-C. None of"
        " them is among the errors."
    ),
]
MissesPerRequest = Annotated[
    float | None, doc("Misses for each request that called the cache; null without the middleware.")
]


def relative_change(now: float | None, before: float | None) -> float | None:
    """By what share of ``before`` a figure has grown; None where there is nothing to compare."""
    if now is None or before is None or before <= 0 or now < 0:
        return None
    return (now - before) / before


Severity = Literal["info", "warning", "error"]


class Seconds(Struct, frozen=True, kw_only=True):
    """How long the calls of one operation took; percentiles are within 5 % of the true ones."""

    total: TotalSeconds
    p50: P50
    p90: P90
    p99: P99
    max: Annotated[float | None, doc("Seconds of the slowest call; null without calls.")]


class Operation(Struct, frozen=True, kw_only=True):
    """One operation of one cache."""

    calls: Annotated[int, doc("Calls by the project; what a call makes inside does not count.")]
    keys: Annotated[int, doc("Keys that these calls were about.")]
    hits: Annotated[
        int | None,
        doc(
            "Lookups that found a value, a stored None too. Null where the operation looks "
            "nothing up."
        ),
    ]
    misses: Annotated[
        int | None, doc("Lookups that found none. Null where the operation looks nothing up.")
    ]
    errors: Annotated[int, doc("Calls that raised.")]
    interrupted: InterruptedCalls = 0
    absent: Annotated[
        int,
        doc(
            "Of these, those that are no fault of the backend's, and in no sum of errors: the "
            "ValueErrors of incr and decr for a key that is absent, and what the site's own "
            "function raised in a get_or_set."
        ),
    ] = 0
    seconds: Annotated[Seconds, doc("How long the calls took.")]


class GroupOfView(Struct, frozen=True, kw_only=True):
    """What the requests of one view did with the keys of one group."""

    group: GroupName
    keys: Annotated[int, doc("Keys that calls named, each time that one did.")]
    lookups: Lookups
    hits: Hits
    seconds: Annotated[
        float, doc("Seconds of these calls; of one on several keys each has its share.")
    ]


class View(Struct, frozen=True, kw_only=True):
    """What the requests of one view of the site did with a cache."""

    view: Annotated[str, doc("The view's name, as in the project's URLs.")]
    requests: Annotated[int, doc("Requests of the view that called the cache.")]
    lookups: Lookups
    misses: Misses
    misses_per_request: MissesPerRequest
    seconds: Annotated[float, doc("Seconds of its cache calls together.")]
    seconds_saved: SecondsSaved = None
    seconds_saved_error: SecondsSavedError = None
    request_seconds: Annotated[float | None, doc("Seconds of its requests together.")] = None
    share_of_request: Annotated[
        float | None, doc("The share of that time that cache calls took, 0 to 1.")
    ] = None
    calls: Annotated[int, doc("Cache calls of its requests.")] = 0
    groups: Annotated[
        list[GroupOfView],
        doc("The groups of keys that its requests used, the one that took longest first."),
    ] = []
    sample_hits: SampleHits = []
    sample_misses: SampleMisses = []


class Page(Struct, frozen=True, kw_only=True):
    """What Django's page cache did with the requests of one route. Each of ``requests`` was served
    or made; ``bypassed`` are none of them."""

    page: Annotated[str, doc("The page's route, such as /item/<pk>/.")]
    requests: Annotated[int, doc("GET and HEAD requests that Django's page cache was asked for.")]
    served: Annotated[int, doc("Those that were answered from the cache.")]
    stored: Annotated[int, doc("Those whose answer was made and stored.")]
    bypassed: Annotated[int, doc("Requests of other methods, which the page cache lets pass.")]
    served_ratio: Annotated[
        float | None, doc("Served divided by requests, 0 to 1; null without requests.")
    ]
    missed: Annotated[
        dict[str, int],
        doc(
            "Pages not found, by what was not there: header_list, or the page itself; other_key "
            "is a page stored for another language or time zone than it was looked up for."
        ),
    ]
    not_stored: Annotated[
        dict[str, int], doc("Answers that were made and not stored, by the reason.")
    ]
    details: Annotated[
        dict[str, str], doc("By reason: an example, such as a cookie's name or a status.")
    ]
    causes: Annotated[
        dict[str, str],
        doc(
            "By reason, variant or unvaried (personal, and stored for all): what the project's "
            "code did, and the line of it."
        ),
    ]
    varies_by: Annotated[
        list[str], doc("Headers that stored pages vary by, the most frequent first.")
    ]
    distinct_addresses: Annotated[
        int | None, doc("Different addresses; an estimate where there are many.")
    ]
    distinct_paths: Annotated[int | None, doc("The same without query strings.")]
    variants_per_address: Annotated[
        float | None, doc("Pages kept apart for each address, on average; null without any.")
    ]
    made_seconds: Annotated[float, doc("Seconds that it took to make answers, together.")]
    not_stored_seconds: Annotated[
        float, doc("Seconds that it took to make those that were not stored.")
    ]
    is_decorated: Annotated[
        bool, doc("Whether cache_page stands above the view; else the site is cached.")
    ] = False

    @property
    def made_and_not_stored(self) -> int:
        """Answers that were made and not stored, for whatever reason."""
        return sum(self.not_stored.values())

    @property
    def main_reason(self) -> str | None:
        """Why most answers that were made were not stored; None where all were."""
        return min(self.not_stored, key=lambda each: (-self.not_stored[each], each), default=None)

    @property
    def is_mostly_stored_for_others(self) -> bool:
        """Whether most requests found the page stored for another language or time zone only."""
        return 2 * self.missed.get("other_key", 0) > self.requests

    @property
    def by_query(self) -> float | None:
        """The share of the addresses that differ from others by their query strings alone."""
        if not self.distinct_addresses or self.distinct_paths is None:
            return None
        return ratio(self.distinct_addresses - self.distinct_paths, self.distinct_addresses)


class Point(Struct, frozen=True, kw_only=True):
    """One step of the time series. The reason of a miss of the last two seconds may still be
    unknown; ``evictions`` are the server's, whoever's the entries were."""

    at: Annotated[str, doc("Where the step begins: RFC 3339, UTC.")]
    lookups: Lookups
    hits: Hits
    misses: Misses
    errors: Errors
    calls: Annotated[int, doc("Calls of all operations.")] = 0
    seconds: TotalSeconds
    p50: P50 = None
    p90: P90 = None
    p99: P99
    memory_bytes: Annotated[int | None, doc("Bytes that the cache held.")]
    evictions: Annotated[
        int | None,
        doc(
            "Entries that the cache's servers evicted since the step before that knows; null in a"
            " step that does not know, in the first one that does, and where a server was "
            "restarted."
        ),
    ] = None
    miss_reasons: Annotated[
        MissReasons | None, doc("The misses by their reason. Null where nothing was looked up.")
    ] = None

    @property
    def hit_ratio(self) -> float | None:
        """Hits divided by lookups."""
        return ratio(self.hits, self.lookups)


class Cache(Struct, frozen=True, kw_only=True):
    """Everything known of one alias of ``CACHES``. ``seconds_saved`` is of the key groups where it
    is known; ``what_if`` is the last prediction, whatever the report's period."""

    backend: Annotated[str, doc("The dotted path of the backend's class.")]
    lookups: Lookups
    hits: Hits
    misses: Misses
    hit_ratio: HitRatio
    errors: Errors
    interrupted: InterruptedCalls = 0
    operations: Annotated[
        dict[str, Operation],
        doc("By name, such as get and set; the async twins under the same names."),
    ]
    bytes_read: BytesRead
    bytes_written: BytesWritten
    miss_reasons: ReasonsOfMisses
    misses_per_request: MissesPerRequest = None
    seconds_saved: SecondsSaved
    seconds_saved_error: SecondsSavedError = None
    hot_keys: Annotated[list[HotKey], doc("The keys that were looked up most, the hottest first.")]
    key_groups: Annotated[
        list[KeyGroup], doc("The groups of keys, the one with the most lookups first.")
    ]
    views: Annotated[
        list[View], doc("The views that called the cache, the one with the most requests first.")
    ]
    pages: Annotated[
        list[Page], doc("The pages that Django's page cache was asked for, the busiest first.")
    ] = []
    memory: Annotated[Memory, doc("What is in the cache, and how large it is.")]
    stale: Annotated[Stale, doc("Entries that no longer earn their place.")]
    series: Annotated[list[Point], doc("The period in steps, the oldest first.")]
    what_if: Annotated[
        CacheWhatIf | None,
        doc(
            "What was predicted last of other sizes, policies and timeouts; null where nothing was."
        ),
    ] = None

    @property
    def calls(self) -> int:
        """Calls of all operations."""
        return sum(each.calls for each in self.operations.values())

    @property
    def slowest_p99(self) -> float | None:
        """The p99 of the operation with the greatest; None without calls."""
        p99s = [each.seconds.p99 for each in self.operations.values()]
        return max((each for each in p99s if each is not None), default=None)

    @property
    def get_p99(self) -> float | None:
        """The p99 of ``get``; None without such calls."""
        get = self.operations.get("get")
        return None if get is None else get.seconds.p99


class Quality(Struct, frozen=True, kw_only=True):
    """How far the figures can be trusted. What ``cut_off_processes`` called after their last flush,
    and the calls of the apps ``not_recorded``, are in no figure."""

    processes: Annotated[int, doc("Processes that recorded something in the period.")]
    cut_off_processes: Annotated[
        int,
        doc(
            "Of these, those that stopped in the midst of their work without a word, killed or "
            "unable to reach the store."
        ),
    ] = 0
    newest_record_at: Annotated[
        str | None, doc("When the newest record was made: RFC 3339, UTC; null without one.")
    ]
    dropped_calls: Annotated[int, doc("Calls that were made and are in no other figure.")]
    corrupt_windows: Annotated[int, doc("Rows of the store that could not be read.")]
    estimated: Annotated[
        bool, doc("Whether a hot key may have been counted too often: see max_overcount.")
    ]
    store_problem: Annotated[
        str | None,
        doc(
            "Why the store could not be read for this report, which then tells of one process at "
            "most, and what to do; null where it could."
        ),
    ]
    not_recorded: Annotated[
        list[str], doc("Installed apps whose cached values pass CACHES by, such as cacheops.")
    ] = []


class Worth(Struct, frozen=True, kw_only=True):
    """What a mistake costs in an hour of use, and thus what mending it would bring; None where it
    costs nothing of the kind."""

    seconds: Annotated[
        float | None, doc("Seconds of requests and workers that it costs in an hour of use.")
    ] = None
    bytes: Annotated[
        int | None, doc("Bytes that are held, or written in an hour of use, for nothing.")
    ] = None
    failed_calls: Annotated[int | None, doc("Calls that bring nothing in an hour of use.")] = None


class Finding(Struct, frozen=True, kw_only=True):
    """One caching mistake that the figures show."""

    code: Annotated[str, doc("Which mistake it is, such as no-expiry.")]
    severity: Annotated[Severity, doc("How grave it is.")]
    alias: Annotated[str, doc("The cache in CACHES.")]
    group: Annotated[
        str | None, doc("The group of keys; null where the mistake is the whole cache's.")
    ]
    key: Annotated[str | None, doc("The key; null where it is not a single one's.")]
    evidence: Annotated[
        dict[str, int | float | str | None],
        doc(
            "The figures that show it, by name: seconds where this ends in seconds or age, bytes "
            "where it ends in bytes, 0 to 1 where it ends in share or ratio, else counts."
        ),
    ]
    evidence_errors: Annotated[
        dict[str, float | None],
        doc(
            "The figures of the evidence that are estimates, and by how much each may be off; null "
            "where that is unknown. Predicted figures have theirs in predicted_error_points."
        ),
    ] = {}
    worth: Annotated[
        Worth, doc("What it costs in an hour of use, which mending it would bring.")
    ] = Worth()
    advice: Annotated[str, doc("What was seen, why it matters and what to do, in English.")]
    docs: Annotated[
        str, doc("Where it is explained: a URL, or a path on the site that made the report.")
    ]
    id: Annotated[str, doc("The same as long as the mistake and its place are.")] = ""
    first_seen: Annotated[
        str | None, doc("When it was noted first: RFC 3339, UTC; null before that.")
    ] = None
    last_seen: Annotated[
        str | None, doc("When it was noted last: RFC 3339, UTC; null before that.")
    ] = None


class Report(Struct, frozen=True, kw_only=True):
    """The statistics of every cache between ``since`` and ``until``."""

    schema_version: Annotated[
        int, doc("1; fields may be added to it, and none is taken away or renamed.")
    ]
    generated_at: Annotated[str, doc("When the report was made: RFC 3339, UTC.")]
    since: Annotated[str, doc("Where its period begins: RFC 3339, UTC.")]
    until: Annotated[str, doc("Where its period ends: RFC 3339, UTC.")]
    quality: Annotated[Quality, doc("How far the figures can be trusted.")]
    caches: Annotated[dict[str, Cache], doc("By alias of CACHES, those that were not called too.")]
    findings: Annotated[
        list[Finding], doc("The caching mistakes that are not muted, the dearest first.")
    ]

    @property
    def mistakes(self) -> list[Finding]:
        """The findings that are more than a hint."""
        return [each for each in self.findings if each.severity != "info"]

    @property
    def counted_from(self) -> datetime:
        """When its first row begins: rows are counted whole, so that may be before ``since``."""
        since = datetime.fromisoformat(self.since)
        ago = (datetime.fromisoformat(self.generated_at) - since).total_seconds()
        return since - timedelta(seconds=since.timestamp() % longest("window", ago))

    @property
    def counted_seconds(self) -> float:
        """How long its figures were counted for."""
        return (datetime.fromisoformat(self.until) - self.counted_from).total_seconds()
