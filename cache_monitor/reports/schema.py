"""The report: the one document that every face of the monitor reads.

Times are RFC 3339 UTC strings, durations seconds, sizes bytes, ratios 0..1. ``None`` stands for
what a backend cannot answer or what nobody measured; it never stands for zero.

The field names are the export's schema, version 1: renaming one breaks the users' programs.
"""

from typing import Annotated, Literal

from msgspec import Struct

from cache_monitor.keys.naming import KeyKind
from cache_monitor.reports.what_if import CacheWhatIf
from cache_monitor.scan.snapshot import (
    FreedWithin,
    GroupName,
    LargestEntry,
    MemoryGroup,
    Scope,
    StaleEntry,
    StaleReason,
    doc,
)
from cache_monitor.stats.window import ratio

TakenBytes = Annotated[int | None, doc("Bytes that they take.")]
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
Hits = Annotated[int, doc("Lookups that found a value, a stored None too.")]
Misses = Annotated[int, doc("Lookups that found none.")]
ProduceSeconds = Annotated[
    float | None,
    doc("Seconds that a value takes to produce, on average; null where nobody has seen it."),
]
SecondsSaved = Annotated[
    float | None,
    doc(
        "Seconds: for each hit the time that its key's values take to produce, or those of its "
        "group, less the time of the calls. Negative where the cache costs more than it saves; 0 "
        "for what is no copy of anything; null where nobody has seen a value being produced."
    ),
]
SecondsSavedError = Annotated[
    float | None,
    doc(
        "Seconds that seconds_saved may be off by, nineteen times in twenty: the fewer values "
        "were seen being produced, and the more these differ, the more. Of one value little more "
        "is known than that there was one."
    ),
]
Lookups = Annotated[int, doc("Keys that were asked for by get, get_many and get_or_set.")]
HitRatio = Annotated[
    float | None, doc("Hits divided by lookups, 0 to 1; null where nothing was looked up.")
]
Errors = Annotated[
    int, doc("Calls that raised; that a counter's key is absent is an answer of incr, no error.")
]
BytesRead = Annotated[int | None, doc("Bytes of the values that were found.")]
BytesWritten = Annotated[int | None, doc("Bytes of the values that were written.")]
SampleHits = Annotated[
    list[str], doc("Up to five keys that were found, masked where they are secret.")
]
SampleMisses = Annotated[
    list[str], doc("Up to five keys that were missed, masked where they are secret.")
]
MissesPerRequest = Annotated[
    float | None, doc("Misses for each request that called the cache; null without the middleware.")
]


def per_request(number: float, requests: int) -> float | None:
    """So many for each of ``requests``; None without any."""
    return round(number / requests, 4) if requests else None


def relative_change(now: float | None, before: float | None) -> float | None:
    """By what share of ``before`` a figure has grown; None where there is nothing to compare."""
    if now is None or before is None or before <= 0 or now < 0:
        return None
    return (now - before) / before


class ProcessMemory(Struct, frozen=True, kw_only=True):
    """What one process holds of a cache that lives in each process."""

    measured_at: Annotated[str, doc("When the process looked: RFC 3339, UTC.")]
    entries: Annotated[int | None, doc("Entries that it holds.")]
    bytes: TakenBytes


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

    entries: Annotated[int | None, doc("Entries in the cache.")] = None
    bytes: TakenBytes = None
    limit_bytes: Annotated[
        int | None, doc("Bytes that the cache may take; null without a limit.")
    ] = None
    limit_entries: Annotated[int | None, doc("Entries that it may have; null without a limit.")] = (
        None
    )
    evictions: Annotated[
        int | None,
        doc(
            "Entries evicted for want of room: since the start of its server, or, where the "
            "monitor counts them, since evictions_since."
        ),
    ] = None
    policy: Annotated[
        str | None, doc("What its server evicts, such as allkeys-lru; null where it does not tell.")
    ] = None
    used_bytes: Annotated[
        int | None,
        doc("Bytes that its server takes for everybody's entries; null where it does not tell."),
    ] = None
    empty_bytes: Annotated[int, doc("Bytes of these that the server takes without any entry.")] = 0
    measured_at: Annotated[str | None, doc("When this was read from the cache: RFC 3339, UTC.")] = (
        None
    )
    scope: Annotated[
        Scope | None, doc("Whether the processes share the cache or each has its own.")
    ] = None
    exact: Annotated[
        bool | None, doc("False where the figures are reckoned from a part of the entries.")
    ] = None
    groups: Annotated[list[MemoryGroup], doc("The groups of keys, the heaviest first.")] = []
    largest: Annotated[list[LargestEntry], doc("The heaviest entries.")] = []
    examined: Annotated[int | None, doc("Entries that the scan examined.")] = None
    freed_within: Annotated[FreedWithin, doc("When its bytes come free.")] = FreedWithin()
    problem: Annotated[
        str | None, doc("What could not be read, or where the figures come from instead.")
    ] = None
    processes: Annotated[
        list[ProcessMemory], doc("What each process holds, where each has its own cache.")
    ] = []
    aliases: Annotated[
        list[str],
        doc("The caches that share its store, itself included; empty where it has its own."),
    ] = []
    counted_in: Annotated[
        str | None, doc("The cache of them that has the same entries and stands for both in sums.")
    ] = None
    evictions_since: Annotated[
        str | None,
        doc(
            "Where the period begins in which the processes counted what they evicted: RFC 3339, "
            "UTC; null where the server counts."
        ),
    ] = None

    @property
    def full(self) -> float | None:
        """The share of its limit that it takes; None where either is unknown."""
        if self.bytes is None or self.limit_bytes is None:
            return None
        return ratio(self.bytes, self.limit_bytes)

    def share(self, size: int | None) -> float | None:
        """What share of its bytes ``size`` is; None where either is unknown."""
        return None if size is None or self.bytes is None else ratio(size, self.bytes)


class Stale(Struct, frozen=True, kw_only=True):
    """How many entries are stale, by reason; an entry can have several. What the backend does not
    tell is known from the site's calls, ``recorded_since`` when it is; the errors say by how much a
    figure may be wrong, 0 for not at all."""

    expired: Annotated[int | None, doc("Entries past their timeout that are still stored.")] = None
    idle: Annotated[int | None, doc("Entries that nobody has used for STALE_AFTER.")] = None
    never_read: Annotated[
        int | None, doc("Entries that nobody has read since they were written.")
    ] = None
    no_expiry: Annotated[int | None, doc("Entries without a timeout.")] = None
    bytes: Annotated[int | None, doc("Bytes of all stale entries, each counted once.")] = None
    entries: Annotated[list[StaleEntry], doc("Some of them.")] = []
    idle_error: Annotated[
        int | None, doc("By how many idle may be wrong: 0 where it is exact, null where unknown.")
    ] = None
    never_read_error: Annotated[
        int | None,
        doc("By how many never_read may be wrong: 0 where it is exact, null where unknown."),
    ] = None
    recorded_since: Annotated[
        str | None,
        doc(
            "Since when the site's calls are on record, which tell what the backend does not: RFC"
            " 3339, UTC; null without a record."
        ),
    ] = None


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

    total: TotalSeconds
    p50: P50
    p90: P90
    p99: P99
    max: Annotated[float | None, doc("Seconds of the slowest call; null without calls.")]


class Operation(Struct, frozen=True, kw_only=True):
    """One operation of one cache. ``hits`` and ``misses`` are None where nothing is looked up.

    Of the ``errors``, ``absent`` say of a counter that its key is not there, which is an ordinary
    answer of ``incr``: those are in no sum of errors.
    """

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
        int, doc("Of these, the ValueErrors of incr and decr for a key that is absent.")
    ] = 0
    seconds: Annotated[Seconds, doc("How long the calls took.")]


REASONS = (
    "never_set",
    "expired",
    "evicted",
    "lost",
    "deleted",
    "cleared",
    "version_changed",
)


class MissReasons(Struct, frozen=True, kw_only=True):
    """Why lookups missed; the reasons add up to the misses that they stand beside.

    ``judged`` of them were judged one by one. Where these are a sample the others are taken to be
    like them, and each reason's share is right to about ``error``, which is else 0, or None where
    none was judged.
    """

    never_set: Annotated[int | None, doc("Misses of keys that nobody was seen to write.")] = None
    expired: Annotated[int | None, doc("Misses of entries whose timeout had passed.")] = None
    evicted: Annotated[
        int | None,
        doc("Misses of entries that were gone before their time, where the cache evicted."),
    ] = None
    lost: Annotated[
        int | None,
        doc("Misses of entries that were gone before their time, where it evicted nothing."),
    ] = None
    deleted: Annotated[int | None, doc("Misses of entries that somebody had deleted.")] = None
    cleared: Annotated[int | None, doc("Misses of entries that a clear() had taken away.")] = None
    version_changed: Annotated[
        int | None, doc("Misses of entries that are there under another version.")
    ] = None
    unknown: Annotated[int | None, doc("Misses whose reason no record tells.")] = None
    judged: Annotated[
        int | None, doc("Misses that were judged one by one; the others are taken to be like them.")
    ] = None
    error: Annotated[
        float | None, doc("How far off a reason's share may be; null where no miss was judged.")
    ] = None

    @property
    def exact(self) -> bool:
        """Whether each reason is of a miss that was judged."""
        return not self.error

    def share(self, reason: str) -> float | None:
        """The share of the misses that have ``reason``; None without misses."""
        return ratio(
            getattr(self, reason) or 0,
            sum(getattr(self, each) or 0 for each in (*REASONS, "unknown")),
        )


ReasonsOfMisses = Annotated[MissReasons, doc("The misses by their reason.")]


class HotKey(Struct, frozen=True, kw_only=True):
    """A key that is looked up often. ``lookups`` is at most ``max_overcount`` too high.

    ``produce_seconds`` is the mean time that its value takes to produce, as far as that was seen;
    ``seconds_saved`` takes its group's where it was not, and may be off by
    ``seconds_saved_error``.
    """

    key: Annotated[
        str, doc("The key as the project wrote it, cut, printable, and masked where it is secret.")
    ]
    group: GroupName
    lookups: Annotated[
        int,
        doc(
            "Keys that were asked for by get, get_many and get_or_set. At most max_overcount too "
            "many."
        ),
    ]
    hits: Hits
    misses: Misses
    sets: Annotated[int, doc("Writes of the key.")]
    share: Annotated[float | None, doc("Its share of the cache's lookups, 0 to 1.")]
    max_overcount: Annotated[int, doc("How many lookups may be counted too many.")]
    bytes: Annotated[int | None, doc("Bytes of its value, the most that were seen.")]
    miss_reasons: ReasonsOfMisses = MissReasons()
    produce_seconds: ProduceSeconds = None
    seconds_saved: SecondsSaved
    seconds_saved_error: SecondsSavedError = None

    @property
    def hit_ratio(self) -> float | None:
        """Hits divided by hits and misses; ``lookups`` may be too high."""
        return ratio(self.hits, self.hits + self.misses)


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

    expired: Annotated[int, doc("Entries whose timeout passed.")] = 0
    deleted: Annotated[int, doc("Entries that somebody deleted.")] = 0
    cleared: Annotated[int, doc("Entries that a clear() took away.")] = 0
    evicted: Annotated[
        int, doc("Entries that a lookup found gone before their time, where the cache evicted.")
    ] = 0
    lost: Annotated[
        int, doc("Entries that a lookup found gone before their time, where it evicted nothing.")
    ] = 0
    overwritten: Annotated[int, doc("Entries whose value was written anew.")] = 0
    version_changed: Annotated[int, doc("Entries that went to another version.")] = 0
    unread: Annotated[int, doc("Of all these, the ones that surely nobody had read.")] = 0
    overwritten_unread: Annotated[
        int, doc("Of the overwritten ones, those that surely nobody had read.")
    ] = 0
    deleted_unread: Annotated[
        int, doc("Of the deleted ones, those that surely nobody had read.")
    ] = 0
    lifetime_p50: Annotated[
        float | None, doc("Seconds from their write to their end of half of them, at most.")
    ] = None
    lifetime_p90: Annotated[
        float | None, doc("Seconds from their write to their end of nine in ten of them, at most.")
    ] = None
    first_read_p50: Annotated[
        float | None, doc("Seconds from a write to its first read for half of those, at most.")
    ] = None
    first_read_p90: Annotated[
        float | None, doc("Seconds from a write to its first read for nine in ten, at most.")
    ] = None
    evicted_age_p50: Annotated[
        float | None, doc("Seconds from the write of evicted ones to their miss, half at most.")
    ] = None
    lost_by_restart: Annotated[
        int, doc("Misses of entries that went as their server, or directory, began anew.")
    ] = 0
    restarted_at: Annotated[
        str | None, doc("When that was last seen to have been: RFC 3339, UTC; null without.")
    ] = None
    lost_by_replica: Annotated[
        int, doc("Misses of lost entries while reads went to a replica that lagged.")
    ] = 0
    lost_by_refusal: Annotated[
        int, doc("Misses of entries that the server had refused to store.")
    ] = 0

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

    rewrites: Annotated[int, doc("Values that were written anew when they had expired.")] = 0
    unchanged: Annotated[
        float | None, doc("The share of these that brought what had been there, of those known.")
    ] = None
    seconds_to_change: Annotated[
        float | None, doc("Seconds for which a value lasts on the average; null where unknown.")
    ] = None
    stale_share: Annotated[
        float | None, doc("The share of the hits whose value had changed by then; an estimate.")
    ] = None


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

    group: GroupName
    kind: Annotated[
        KeyKind, doc("What the keys are: the project's own, or those that Django makes.")
    ]
    distinct_keys: Annotated[
        int | None, doc("Different keys that were used; an estimate where there are many.")
    ]
    lookups: Lookups
    hits: Hits
    misses: Misses
    hit_ratio: HitRatio
    sets: Annotated[int, doc("Keys that were written.")]
    deletes: Annotated[int, doc("Keys that were deleted.")]
    errors: Errors
    bytes_read: BytesRead
    bytes_written: BytesWritten
    miss_reasons: ReasonsOfMisses = MissReasons()
    produce_seconds: ProduceSeconds = None
    seconds_saved: SecondsSaved
    seconds_saved_error: SecondsSavedError = None
    age_p50: Annotated[
        float | None,
        doc("Seconds since their write of half of the values that were found, at most."),
    ] = None
    age_p90: Annotated[
        float | None,
        doc("Seconds since their write of nine in ten values that were found, at most."),
    ] = None
    other_uses: Annotated[
        int, doc("Calls that used an entry without a lookup: has_key, add, incr.")
    ] = 0
    produced: Annotated[int, doc("Values that were seen being produced.")] = 0
    stampedes: Annotated[
        int,
        doc(
            "Of the produced values, those that somebody else, on any host, produced at the same "
            "time; of several at once all but one."
        ),
    ] = 0
    repeated_gets: Annotated[
        int | None,
        doc("Gets of an entry that the same request had got before; null without the middleware."),
    ] = None
    repeated_gets_requests: Annotated[int | None, doc("Requests that made them.")] = None
    single_gets: Annotated[
        int | None,
        doc("Keys that requests got one by one, five and more each; null without the middleware."),
    ] = None
    single_gets_requests: Annotated[int | None, doc("Requests that did so.")] = None
    is_state: Annotated[
        bool, doc("Whether its values are no copies, as those of counters, locks and flags.")
    ] = False
    called_from: Annotated[
        str | None,
        doc(
            "A line of code that asks for its keys, such as shop/tasks.py:12, where their names "
            "do not tell what they are for and it was seen outside of requests."
        ),
    ] = None
    lookup_seconds: Annotated[
        float, doc("Seconds of its lookups; of a get_many each key has its share.")
    ] = 0.0
    seconds: Annotated[float, doc("Seconds of all calls on its keys.")] = 0.0
    rewrites: Annotated[
        int | None,
        doc("Hits whose value the same request wrote anew; null without the middleware."),
    ] = None
    repeated_seconds: Annotated[
        float | None, doc("Seconds that such gets usually take; null without the middleware.")
    ] = None
    first_set_at: Annotated[
        str | None, doc("When a key was first written in the period: RFC 3339, UTC; null before.")
    ] = None
    mean_set_at: Annotated[
        str | None, doc("When its keys were written on average; null as above.")
    ] = None
    timeout: Annotated[
        float | None,
        doc("Seconds of the longest timeout that a write gave; null where none gave one."),
    ] = None
    lives: Annotated[Lives, doc("How long its entries lasted, and what ended them.")] = Lives()
    changes: Annotated[
        Changes, doc("Whether its values had changed when they were written anew.")
    ] = Changes()
    sample_hits: SampleHits = []
    sample_misses: SampleMisses = []


class GroupOfView(Struct, frozen=True, kw_only=True):
    """What the requests of one view did with the keys of one group; a call on several keys is
    several of ``keys``, each with its share of the call's ``seconds``."""

    group: GroupName
    keys: Annotated[int, doc("Keys that calls named, each time that one did.")]
    lookups: Lookups
    hits: Hits
    seconds: Annotated[
        float, doc("Seconds of these calls; of one on several keys each has its share.")
    ]


class View(Struct, frozen=True, kw_only=True):
    """What one view of the site does with a cache.

    ``seconds`` is the time of its requests' ``calls``, ``request_seconds`` that of the requests
    themselves, ``share_of_request`` the one divided by the other, 0..1. ``groups`` are the
    groups of keys that its requests used, the one that took longest first. ``sample_hits`` and
    ``sample_misses`` are up to five of the keys that its requests found and missed.
    """

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
    """What Django's page cache did with the requests of one route.

    ``requests`` are those that it was asked for: ``served`` from the cache, or made, which took
    ``made_seconds`` together. Of what was made ``stored`` were stored and the others not, by
    reason. ``bypassed`` were neither GET nor HEAD, and are no part of ``requests``. ``details``
    has an example of a reason (a cookie's name, a status), ``causes`` the line of the project's
    code that led to it, or, under ``variant``, that made a stored page vary.
    """

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
    """One step of the time series; ``at`` is its beginning, ``seconds`` the time of its calls
    together. ``miss_reasons`` add up to ``misses``, and are None where nothing was looked up; a
    miss of the last two seconds may still be unknown. ``evictions`` is what the cache's server
    evicted, whoever's the entries were, since the step before that knows; None where nobody looked,
    in the first step that knows, and where a server was restarted."""

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
    """Everything known of one alias of ``CACHES``. ``seconds_saved`` is that of its key groups
    together, of those where it is known. ``misses_per_request`` is of the requests that called
    the cache, as the middleware saw them; None where it saw none. ``what_if`` is what was predicted
    last of other sizes, policies and timeouts, whatever the report's period; None where nothing
    was."""

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
    """How far the figures can be trusted.

    ``cut_off_processes`` stopped in the midst of their work without a word: killed, or without a
    way to the store; what each called after it told last is not in the figures.
    ``dropped_calls`` were made but not recorded (the buffer was full or the store refused);
    ``corrupt_windows`` were in the store and could not be read. ``store_problem`` says why the
    store's rows are missing, where it could not be read at all.
    ``not_recorded`` names the installed apps that keep cached values past ``CACHES``, over
    connections of their own: these are in no figure.
    """

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
    """What a mistake costs in an hour of use as it was seen, and thus what mending it would bring.

    ``seconds`` are of requests' or workers' time, ``bytes`` are held or written for nothing,
    ``failed_calls`` brought nothing; None where the mistake costs nothing of the kind."""

    seconds: Annotated[
        float | None, doc("Seconds of requests and workers that it costs in an hour of use.")
    ] = None
    bytes: Annotated[
        int | None, doc("Bytes that are held, or written in an hour of use, for nothing.")
    ] = None
    failed_calls: Annotated[int | None, doc("Calls that bring nothing in an hour of use.")] = None


class Finding(Struct, frozen=True, kw_only=True):
    """One caching mistake that the figures show.

    ``id`` is the same as long as the mistake and its place are; ``first_seen`` and ``last_seen``
    are None until the monitor has noted it.
    """

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
