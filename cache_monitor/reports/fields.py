"""What each field of the report and of a prediction says, with its unit: for the JSON Schemas.

``null`` stands for what is not known; where that has a reason of its own, the field tells it.
"""

from collections.abc import Mapping

from msgspec import Struct

from cache_monitor.reports import schema, what_if
from cache_monitor.reports.schema import (
    FreedWithin,
    LargestEntry,
    Memory,
    MemoryGroup,
    ProcessMemory,
    Stale,
    StaleEntry,
)

_RATIO = "The hit ratio that it would have, 0 to 1; null where the trace cannot tell."
_ERROR = "In 95 of 100 cases the truth is within so much of the ratio; 0 where all keys are traced."
_SAVED_PER_HOUR = (
    "Seconds of computing that this saves in an hour beyond what the cache of today saves, negative"
    " for less; null where nobody saw a value computed."
)

PREDICTED: Mapping[type[Struct], Mapping[str, str]] = {
    what_if.CacheWhatIf: {
        "hit_ratio": "What the simulation gives for the cache as it is, 0 to 1; null where nothing"
        " is predicted.",
        "error": _ERROR,
        "keys": "Keys that are in the trace.",
        "rate": "The share of all keys that is in the trace, but for the hottest, which all are.",
        "policy": "The policy that is simulated, by the name that cache_whatif --policy takes.",
        "policy_is_assumed": "Whether nobody could ask the server for its policy.",
        "room": "The entries that the cache takes today; null without a limit.",
        "entries": "With room for other numbers of entries, the smallest first.",
        "bytes": "Bytes in place of entries: of the server's memory, or of all entries where no"
        " server has a limit.",
        "policies": "With other policies.",
        "timeouts": "With other timeouts, for the groups with the most lookups.",
        "problem": "Why nothing is predicted; null where something is, or too little was traced.",
        "since": "From when on lookups count, RFC 3339, UTC: what was before fills the simulated"
        " cache.",
        "until": "Until when the trace was read: RFC 3339, UTC.",
        "trace_seconds": "Seconds of the trace that this rests on.",
        "lookups": "Lookups in the trace that count.",
        "observed_hit_ratio": "What really hit of them, 0 to 1.",
        "size": "Entries that stand for the size of today: its limit, else what it holds.",
        "optimum": "What no policy can exceed, by the number of entries.",
    },
    what_if.Entries: {
        "entries": "The room of the cache, in entries.",
        "hit_ratio": _RATIO,
        "error": _ERROR,
        "seconds_saved_per_hour": _SAVED_PER_HOUR,
    },
    what_if.Bytes: {
        "bytes": "Bytes that the cache may take, as its server counts them.",
        "entries": "Entries of today's average size for which there is room; null where nobody has"
        " looked at what they take.",
        "hit_ratio": _RATIO,
        "error": _ERROR,
        "seconds_saved_per_hour": _SAVED_PER_HOUR,
    },
    what_if.Policy: {
        "policy": "Its name.",
        "hit_ratio": _RATIO,
        "error": _ERROR,
        "seconds_saved_per_hour": _SAVED_PER_HOUR,
        "entries": "The same with room for other numbers of entries.",
    },
    what_if.Timeouts: {
        "group": "The group of keys, such as user:{int}:profile.",
        "timeout": "Seconds: the median of the timeouts that its entries were given.",
        "hit_ratio": _RATIO,
        "options": "With other timeouts, the shortest first.",
        "lookups": "Lookups of the group.",
        "rewrites": "Values that were written anew after they had expired; null where unknown.",
        "unchanged": "The share of these that brought the value that had been there, 0 to 1.",
        "seconds_to_change": "Seconds that a value lasts before it changes, on average; null where"
        " unknown.",
        "stale_share": "The share of hits that served a value that had changed, 0 to 1.",
    },
    what_if.TimeoutOption: {
        "factor": "Times the timeout of today.",
        "timeout": "The timeout in seconds.",
        "hit_ratio": f"{_RATIO} It takes a trace of twice the timeout.",
        "error": _ERROR,
        "seconds_saved_per_hour": _SAVED_PER_HOUR,
        "stale_share": "The share of hits that would serve a value that has changed, 0 to 1; null"
        " where unknown.",
    },
}
"""By type, then by field."""

DOCUMENT: Mapping[type[Struct], Mapping[str, str]] = {
    what_if.WhatIf: {
        "since": "Where its period begins: RFC 3339, UTC.",
        "until": "Where its period ends: RFC 3339, UTC.",
        "caches": "By alias of CACHES.",
        "schema_version": "1; fields may be added to it, and none is taken away or renamed.",
    },
    **PREDICTED,
}
"""The same for the document of ``cache_whatif``."""


_LOOKUPS = "Keys that were asked for by get, get_many and get_or_set."
_HITS = "Lookups that found a value, a stored None too."
_MISSES = "Lookups that found none."
_ERRORS = "Calls that raised; that a counter's key is absent is an answer of incr, no error."
_INTERRUPTED = (
    "Calls that something from outside ended: a cancelled task, a time limit, Ctrl-C. None of them "
    "is among the errors."
)
_REASONS = "The misses by their reason."
_SAVED = (
    "Seconds: for each hit the time that its key's values take to produce, or those of its group, "
    "less the time of the calls. Negative where the cache costs more than it saves; 0 for what is "
    "no copy of anything; null where nobody has seen a value being produced."
)
_SAVED_ERROR = (
    "Seconds that seconds_saved may be off by, nineteen times in twenty: the fewer values were "
    "seen being produced, and the more these differ, the more. Of one value little more is "
    "known than that there was one."
)
_PER_REQUEST = "Misses for each request that called the cache; null without the middleware."
_SAMPLE_HITS = "Up to five keys that were found, masked where they are secret."
_SAMPLE_MISSES = "Up to five keys that were missed, masked where they are secret."
_BYTES_READ = "Bytes of the values that were found."
_BYTES_WRITTEN = "Bytes of the values that were written."
_PRODUCE = "Seconds that a value takes to produce, on average; null where nobody has seen it."
_KEY = "The key as the project wrote it, cut, printable, and masked where it is secret."
_GROUP = "The group of keys, such as user:{int}:profile."

FIELDS: Mapping[type[Struct], Mapping[str, str]] = {
    schema.Report: {
        "schema_version": "1; fields may be added to it, and none is taken away or renamed.",
        "generated_at": "When the report was made: RFC 3339, UTC.",
        "since": "Where its period begins: RFC 3339, UTC.",
        "until": "Where its period ends: RFC 3339, UTC.",
        "quality": "How far the figures can be trusted.",
        "caches": "By alias of CACHES, those that were not called too.",
        "findings": "The caching mistakes that are not muted, the dearest first.",
    },
    schema.Quality: {
        "processes": "Processes that recorded something in the period.",
        "cut_off_processes": "Of these, those that stopped in the midst of their work without a "
        "word, killed or unable to reach the store.",
        "newest_record_at": "When the newest record was made: RFC 3339, UTC; null without one.",
        "dropped_calls": "Calls that were made and are in no other figure.",
        "corrupt_windows": "Rows of the store that could not be read.",
        "store_problem": "Why the store could not be read for this report, which then tells of one "
        "process at most, and what to do; null where it could.",
        "not_recorded": "Installed apps whose cached values pass CACHES by, such as cacheops.",
        "estimated": "Whether a hot key may have been counted too often: see max_overcount.",
    },
    schema.Cache: {
        "backend": "The dotted path of the backend's class.",
        "lookups": _LOOKUPS,
        "hits": _HITS,
        "misses": _MISSES,
        "hit_ratio": "Hits divided by lookups, 0 to 1; null where nothing was looked up.",
        "errors": _ERRORS,
        "interrupted": _INTERRUPTED,
        "operations": "By name, such as get and set; the async twins under the same names.",
        "bytes_read": _BYTES_READ,
        "bytes_written": _BYTES_WRITTEN,
        "miss_reasons": _REASONS,
        "misses_per_request": _PER_REQUEST,
        "seconds_saved": _SAVED,
        "seconds_saved_error": _SAVED_ERROR,
        "hot_keys": "The keys that were looked up most, the hottest first.",
        "key_groups": "The groups of keys, the one with the most lookups first.",
        "views": "The views that called the cache, the one with the most requests first.",
        "pages": "The pages that Django's page cache was asked for, the busiest first.",
        "memory": "What is in the cache, and how large it is.",
        "stale": "Entries that no longer earn their place.",
        "series": "The period in steps, the oldest first.",
        "what_if": "What was predicted last of other sizes, policies and timeouts; null where"
        " nothing was.",
    },
    schema.Operation: {
        "calls": "Calls by the project; what a call makes inside does not count.",
        "keys": "Keys that these calls were about.",
        "hits": f"{_HITS} Null where the operation looks nothing up.",
        "misses": f"{_MISSES} Null where the operation looks nothing up.",
        "errors": "Calls that raised.",
        "absent": "Of these, the ValueErrors of incr and decr for a key that is absent.",
        "interrupted": _INTERRUPTED,
        "seconds": "How long the calls took.",
    },
    schema.Seconds: {
        "total": "Seconds of all calls together.",
        "p50": "Seconds that half of the calls took at most; null without calls.",
        "p90": "Seconds that nine calls in ten took at most; null without calls.",
        "p99": "Seconds that 99 calls in a hundred took at most; null without calls.",
        "max": "Seconds of the slowest call; null without calls.",
    },
    schema.MissReasons: {
        "never_set": "Misses of keys that nobody was seen to write.",
        "expired": "Misses of entries whose timeout had passed.",
        "evicted": "Misses of entries that were gone before their time, where the cache evicted.",
        "lost": "Misses of entries that were gone before their time, where it evicted nothing.",
        "deleted": "Misses of entries that somebody had deleted.",
        "cleared": "Misses of entries that a clear() had taken away.",
        "version_changed": "Misses of entries that are there under another version.",
        "unknown": "Misses whose reason no record tells.",
        "judged": "Misses that were judged one by one; the others are taken to be like them.",
        "error": "How far off a reason's share may be; null where no miss was judged.",
    },
    schema.HotKey: {
        "key": _KEY,
        "group": _GROUP,
        "lookups": f"{_LOOKUPS} At most max_overcount too many.",
        "hits": _HITS,
        "misses": _MISSES,
        "sets": "Writes of the key.",
        "share": "Its share of the cache's lookups, 0 to 1.",
        "max_overcount": "How many lookups may be counted too many.",
        "bytes": "Bytes of its value, the most that were seen.",
        "miss_reasons": _REASONS,
        "produce_seconds": _PRODUCE,
        "seconds_saved": _SAVED,
        "seconds_saved_error": _SAVED_ERROR,
    },
    schema.Lives: {
        "expired": "Entries whose timeout passed.",
        "deleted": "Entries that somebody deleted.",
        "cleared": "Entries that a clear() took away.",
        "evicted": "Entries that a lookup found gone before their time, where the cache evicted.",
        "lost": "Entries that a lookup found gone before their time, where it evicted nothing.",
        "overwritten": "Entries whose value was written anew.",
        "version_changed": "Entries that went to another version.",
        "unread": "Of all these, the ones that surely nobody had read.",
        "overwritten_unread": "Of the overwritten ones, those that surely nobody had read.",
        "deleted_unread": "Of the deleted ones, those that surely nobody had read.",
        "lifetime_p50": "Seconds from their write to their end of half of them, at most.",
        "lifetime_p90": "Seconds from their write to their end of nine in ten of them, at most.",
        "first_read_p50": "Seconds from a write to its first read for half of those, at most.",
        "first_read_p90": "Seconds from a write to its first read for nine in ten, at most.",
        "evicted_age_p50": "Seconds from the write of evicted ones to their miss, half at most.",
        "lost_by_restart": "Misses of entries that went as their server, or directory, began anew.",
        "restarted_at": "When that was last seen to have been: RFC 3339, UTC; null without.",
        "lost_by_replica": "Misses of lost entries while reads went to a replica that lagged.",
        "lost_by_refusal": "Misses of entries that the server had refused to store.",
    },
    schema.Changes: {
        "rewrites": "Values that were written anew when they had expired.",
        "unchanged": "The share of these that brought what had been there, of those known.",
        "seconds_to_change": "Seconds for which a value lasts on the average; null where unknown.",
        "stale_share": "The share of the hits whose value had changed by then; an estimate.",
    },
    schema.KeyGroup: {
        "group": _GROUP,
        "kind": "What the keys are: the project's own, or those that Django makes.",
        "distinct_keys": "Different keys that were used; an estimate where there are many.",
        "lookups": _LOOKUPS,
        "hits": _HITS,
        "misses": _MISSES,
        "hit_ratio": "Hits divided by lookups, 0 to 1; null where nothing was looked up.",
        "sets": "Keys that were written.",
        "deletes": "Keys that were deleted.",
        "errors": _ERRORS,
        "bytes_read": _BYTES_READ,
        "bytes_written": _BYTES_WRITTEN,
        "miss_reasons": _REASONS,
        "produce_seconds": _PRODUCE,
        "seconds_saved": _SAVED,
        "seconds_saved_error": _SAVED_ERROR,
        "age_p50": "Seconds since their write of half of the values that were found, at most.",
        "age_p90": "Seconds since their write of nine in ten values that were found, at most.",
        "other_uses": "Calls that used an entry without a lookup: has_key, add, incr.",
        "produced": "Values that were seen being produced.",
        "stampedes": (
            "Of the produced values, those that somebody else, on any host, produced at the same "
            "time; of several at once all but one."
        ),
        "repeated_gets": (
            "Gets of an entry that the same request had got before; null without the middleware."
        ),
        "repeated_gets_requests": "Requests that made them.",
        "repeated_seconds": "Seconds that such gets usually take; null without the middleware.",
        "first_set_at": "When a key was first written in the period: RFC 3339, UTC; null before.",
        "mean_set_at": "When its keys were written on average; null as above.",
        "timeout": "Seconds of the longest timeout that a write gave; null where none gave one.",
        "lives": "How long its entries lasted, and what ended them.",
        "changes": "Whether its values had changed when they were written anew.",
        "single_gets": (
            "Keys that requests got one by one, five and more each; null without the middleware."
        ),
        "single_gets_requests": "Requests that did so.",
        "is_state": "Whether its values are no copies, as those of counters, locks and flags.",
        "called_from": "A line of code that asks for its keys, such as shop/tasks.py:12, where "
        "their names do not tell what they are for and it was seen outside of requests.",
        "lookup_seconds": "Seconds of its lookups; of a get_many each key has its share.",
        "seconds": "Seconds of all calls on its keys.",
        "rewrites": ("Hits whose value the same request wrote anew; null without the middleware."),
        "sample_hits": _SAMPLE_HITS,
        "sample_misses": _SAMPLE_MISSES,
    },
    schema.Page: {
        "page": "The page's route, such as /item/<pk>/.",
        "requests": "GET and HEAD requests that Django's page cache was asked for.",
        "served": "Those that were answered from the cache.",
        "stored": "Those whose answer was made and stored.",
        "bypassed": "Requests of other methods, which the page cache lets pass.",
        "served_ratio": "Served divided by requests, 0 to 1; null without requests.",
        "missed": (
            "Pages not found, by what was not there: header_list, or the page itself; other_key is "
            "a page stored for another language or time zone than it was looked up for."
        ),
        "not_stored": "Answers that were made and not stored, by the reason.",
        "details": "By reason: an example, such as a cookie's name or a status.",
        "causes": (
            "By reason, variant or unvaried (personal, and stored for all): what the project's "
            "code did, and the line of it."
        ),
        "varies_by": "Headers that stored pages vary by, the most frequent first.",
        "distinct_addresses": "Different addresses; an estimate where there are many.",
        "distinct_paths": "The same without query strings.",
        "variants_per_address": "Pages kept apart for each address, on average; null without any.",
        "made_seconds": "Seconds that it took to make answers, together.",
        "not_stored_seconds": "Seconds that it took to make those that were not stored.",
        "is_decorated": "Whether cache_page stands above the view; else the site is cached.",
    },
    schema.GroupOfView: {
        "group": _GROUP,
        "keys": "Keys that calls named, each time that one did.",
        "lookups": _LOOKUPS,
        "hits": _HITS,
        "seconds": "Seconds of these calls; of one on several keys each has its share.",
    },
    schema.View: {
        "view": "The view's name, as in the project's URLs.",
        "requests": "Requests of the view that called the cache.",
        "lookups": _LOOKUPS,
        "misses": _MISSES,
        "misses_per_request": _PER_REQUEST,
        "seconds": "Seconds of its cache calls together.",
        "seconds_saved": _SAVED,
        "seconds_saved_error": _SAVED_ERROR,
        "request_seconds": "Seconds of its requests together.",
        "share_of_request": "The share of that time that cache calls took, 0 to 1.",
        "calls": "Cache calls of its requests.",
        "groups": "The groups of keys that its requests used, the one that took longest first.",
        "sample_hits": _SAMPLE_HITS,
        "sample_misses": _SAMPLE_MISSES,
    },
    schema.Point: {
        "at": "Where the step begins: RFC 3339, UTC.",
        "lookups": _LOOKUPS,
        "hits": _HITS,
        "misses": _MISSES,
        "errors": _ERRORS,
        "calls": "Calls of all operations.",
        "seconds": "Seconds of all calls together.",
        "p50": "Seconds that half of the calls took at most; null without calls.",
        "p90": "Seconds that nine calls in ten took at most; null without calls.",
        "p99": "Seconds that 99 calls in a hundred took at most; null without calls.",
        "memory_bytes": "Bytes that the cache held.",
        "evictions": (
            "Entries that the cache's servers evicted since the step before that knows; null in a "
            "step that does not know, in the first one that does, and where a server was restarted."
        ),
        "miss_reasons": f"{_REASONS} Null where nothing was looked up.",
    },
    schema.Finding: {
        "code": "Which mistake it is, such as no-expiry.",
        "severity": "How grave it is.",
        "alias": "The cache in CACHES.",
        "group": "The group of keys; null where the mistake is the whole cache's.",
        "key": "The key; null where it is not a single one's.",
        "evidence": (
            "The figures that show it, by name: seconds where this ends in seconds or age, bytes "
            "where it ends in bytes, 0 to 1 where it ends in share or ratio, else counts."
        ),
        "worth": "What it costs in an hour of use, which mending it would bring.",
        "advice": "What was seen, why it matters and what to do, in English.",
        "docs": "Where it is explained: a URL, or a path on the site that made the report.",
        "id": "The same as long as the mistake and its place are.",
        "first_seen": "When it was noted first: RFC 3339, UTC; null before that.",
        "last_seen": "When it was noted last: RFC 3339, UTC; null before that.",
    },
    schema.Worth: {
        "seconds": "Seconds of requests and workers that it costs in an hour of use.",
        "bytes": "Bytes that are held, or written in an hour of use, for nothing.",
        "failed_calls": "Calls that bring nothing in an hour of use.",
    },
    Memory: {
        "entries": "Entries in the cache.",
        "bytes": "Bytes that they take.",
        "limit_bytes": "Bytes that the cache may take; null without a limit.",
        "limit_entries": "Entries that it may have; null without a limit.",
        "evictions": (
            "Entries evicted for want of room: since the start of its server, or, where the "
            "monitor counts them, since evictions_since."
        ),
        "evictions_since": (
            "Where the period begins in which the processes counted what they evicted: RFC 3339, "
            "UTC; null where the server counts."
        ),
        "measured_at": "When this was read from the cache: RFC 3339, UTC.",
        "scope": "Whether the processes share the cache or each has its own.",
        "exact": "False where the figures are reckoned from a part of the entries.",
        "groups": "The groups of keys, the heaviest first.",
        "largest": "The heaviest entries.",
        "examined": "Entries that the scan examined.",
        "freed_within": "When its bytes come free.",
        "used_bytes": "Bytes that its server takes for everybody's entries; null where it does not"
        " tell.",
        "empty_bytes": "Bytes of these that the server takes without any entry.",
        "policy": "What its server evicts, such as allkeys-lru; null where it does not tell.",
        "problem": "What could not be read, or where the figures come from instead.",
        "processes": "What each process holds, where each has its own cache.",
        "aliases": "The caches that share its store, itself included; empty where it has its own.",
        "counted_in": "The cache of them that has the same entries and stands for both in sums.",
    },
    MemoryGroup: {
        "group": _GROUP,
        "entries": "Its entries.",
        "bytes": "Bytes that they take.",
    },
    LargestEntry: {"key": _KEY, "bytes": "Bytes that it takes."},
    FreedWithin: {
        "minute": "Bytes of entries that expire within a minute.",
        "hour": "Bytes of entries that expire within an hour, those of the minute too.",
        "day": "Bytes of entries that expire within a day, those of the hour too.",
        "never": "Bytes of entries that do not expire.",
    },
    ProcessMemory: {
        "measured_at": "When the process looked: RFC 3339, UTC.",
        "entries": "Entries that it holds.",
        "bytes": "Bytes that they take.",
    },
    Stale: {
        "expired": "Entries past their timeout that are still stored.",
        "idle": "Entries that nobody has used for STALE_AFTER.",
        "never_read": "Entries that nobody has read since they were written.",
        "no_expiry": "Entries without a timeout.",
        "bytes": "Bytes of all stale entries, each counted once.",
        "entries": "Some of them.",
        "idle_error": "By how many idle may be wrong: 0 where it is exact, null where unknown.",
        "never_read_error": (
            "By how many never_read may be wrong: 0 where it is exact, null where unknown."
        ),
        "recorded_since": (
            "Since when the site's calls are on record, which tell what the backend does not: RFC "
            "3339, UTC; null without a record."
        ),
    },
    StaleEntry: {
        "key": _KEY,
        "group": _GROUP,
        "why": "In which ways it is stale.",
        "age": "Seconds since it was written.",
        "idle": "Seconds since it was last read.",
        "expires_in": "Seconds until it expires, negative where it has; null without a timeout.",
        "bytes": "Bytes that it takes.",
    },
    **PREDICTED,
}
"""By type, then by field."""
