"""What each field of a prediction says, with its unit: for the JSON Schemas."""

from collections.abc import Mapping

from msgspec import Struct

from cache_monitor.reports import what_if

_RATIO = "The hit ratio that it would have, 0 to 1; null where the trace cannot tell."
_ERROR = "In 95 of 100 cases the truth is within so much of the ratio; 0 where all keys are traced."
_SAVED = (
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
        "seconds_saved_per_hour": _SAVED,
    },
    what_if.Bytes: {
        "bytes": "Bytes that the cache may take, as its server counts them.",
        "entries": "Entries of today's average size for which there is room; null where nobody has"
        " looked at what they take.",
        "hit_ratio": _RATIO,
        "error": _ERROR,
        "seconds_saved_per_hour": _SAVED,
    },
    what_if.Policy: {
        "policy": "Its name.",
        "hit_ratio": _RATIO,
        "error": _ERROR,
        "seconds_saved_per_hour": _SAVED,
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
        "seconds_saved_per_hour": _SAVED,
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
