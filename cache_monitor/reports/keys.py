"""What a report says of keys and of their groups, and why their lookups missed.

Django keeps two entries for a cached page: the list of headers that it varies by, which is looked
up first, and the page itself, which is looked up only where the list was found. So a request misses
the one or the other, and what is looked up as often as the page is the list. ``whole_groups`` and
``whole_keys`` make one of both.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from math import sqrt
from typing import Annotated

from msgspec import Struct, structs

from cache_monitor.keys.naming import KeyKind, headers_of_page
from cache_monitor.scan.snapshot import GroupName, doc
from cache_monitor.stats.groups import GroupStats
from cache_monitor.stats.window import Reasons, Window, ratio
from cache_monitor.trace.miss_reasons import REASONS

Lookups = Annotated[int, doc("Keys that were asked for by get, get_many and get_or_set.")]
Hits = Annotated[int, doc("Lookups that found a value, a stored None too.")]
Misses = Annotated[int, doc("Lookups that found none.")]
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


class MissReasons(Struct, frozen=True, kw_only=True):
    """Why lookups missed; the reasons add up to the misses that they stand beside. Where only a
    sample of these was judged, the others are taken to be like it."""

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


def miss_reasons(misses: int, traced: Window | GroupStats, hours: float) -> MissReasons:
    """The reasons of ``misses`` from those of the ``traced`` ones.

    If all keys are traced each miss counts for itself; those without a reason yet are unknown. If a
    sample is traced, all misses have its shares, with an error of about one by the square root of
    the classified ones. The error is larger if some keys are missed again and again, since a key is
    traced with all its misses: ``variance`` says by how much, for each of the ``hours`` of the
    period. How these correlate is unknown, so that more hours do not make it smaller.
    """
    weight = sum(traced.reasons.values())
    if weight <= traced.traced_misses:
        return exact_reasons(misses, traced.reasons)
    # An hour of the period need not begin with one of the clock.
    least_error = sqrt((1 + hours) * traced.variance) / weight
    classified = min(traced.classified_misses, misses)
    error = round(min(1.0, max(1 / sqrt(classified), least_error)), 4) if classified else None
    counts = _divided(misses, traced.reasons, weight)
    return MissReasons(**counts, judged=classified, error=error)


def exact_reasons(misses: int, known: Reasons) -> MissReasons:
    """The reasons of ``misses``, each of which counts for itself."""
    left = misses
    counts = {}
    for reason in REASONS:
        # A reason that was found late may be counted in a later bucket than its miss.
        counts[reason] = min(known.get(reason, 0), left)
        left -= counts[reason]
    judged = misses - left
    return MissReasons(**counts, unknown=left, judged=judged, error=0.0 if judged else None)


def _divided(misses: int, known: Reasons, weight: int) -> dict[str, int]:
    """``misses`` by reason, divided as ``known`` is, to the last one."""
    counts = {reason: misses * known.get(reason, 0) // weight for reason in (*REASONS, "unknown")}
    # Those that are left over go to the reasons that lost most by the rounding down.
    rests = sorted(counts, key=lambda reason: -(misses * known.get(reason, 0) % weight))
    for reason in rests[: misses - sum(counts.values())]:
        counts[reason] += 1
    return counts


ReasonsOfMisses = Annotated[MissReasons, doc("The misses by their reason.")]


class HotKey(Struct, frozen=True, kw_only=True):
    """A key that is looked up often."""

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
    """What ended entries, and how long they had been there: from the trace, over all processes, of
    those for which that is sure.

    An entry that the backend evicted or lost ends with the lookup that misses it; if it expired or
    was written anew before that, it counts as such.
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
    """Whether values had changed when they were written anew after they had expired: from the
    trace, by fingerprints of what was written. None where too little is known."""

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
    """Keys that differ only in their variable parts, such as ``user:{int}:profile``. Its ages are
    within 5 % of the true ones."""

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
        doc(
            "Hits whose value the same request wrote anew, which saved nothing; null without the "
            "middleware."
        ),
    ] = None
    repeated_seconds: Annotated[
        float | None, doc("Seconds that such gets usually take; null without the middleware.")
    ] = None
    first_set_at: Annotated[
        str | None, doc("When a key was first written in the period: RFC 3339, UTC; null before.")
    ] = None
    mean_set_at: Annotated[
        str | None,
        doc("When its keys were written on average, to the length of a row; null as above."),
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


def whole_groups(groups: Iterable[KeyGroup]) -> Iterator[KeyGroup]:
    """``groups`` with those of header lists in those of their pages."""
    every = list(groups)
    headers = {each.group: each for each in every if each.kind == "page_headers"}
    pages = [each for each in every if each.kind == "page"]
    taken = {headers_of_page(each.group) for each in pages}
    for group in every:
        own = headers.get(headers_of_page(group.group) or "") if group.kind == "page" else None
        if own is not None:
            yield _whole(group, own)
        elif group.kind != "page_headers" or group.group not in taken:
            yield group


def whole_keys(keys: Iterable[HotKey]) -> Iterator[HotKey]:
    """``keys`` with those of header lists in those of their pages: of several pages that share a
    list, its misses count for the one that is asked for most."""
    every = list(keys)
    pages: defaultdict[str, list[HotKey]] = defaultdict(list)
    for key in every:
        if (name := _headers_of(key.key)) is not None:
            pages[name].append(key)
    headers = {each.key: each for each in every if each.key in pages}
    first = {max(own, key=lambda each: each.lookups).key: name for name, own in pages.items()}
    for key in every:
        own = headers.get(first.get(key.key, ""))
        if own is not None:
            yield _whole_key(key, own)
        elif key.key not in headers:
            yield key


def _headers_of(key: str) -> str | None:
    """What the list of headers of a page is shown as: by the address, without the variant."""
    name, mark, digest = key.partition(" #")
    headers = headers_of_page(name)
    if not mark or headers is None:
        return None
    address, space, suffix = digest.partition(" ")
    return f"{headers} #{address.partition('-')[0]}{space}{suffix}"


def _whole_key(page: HotKey, headers: HotKey) -> HotKey:
    lookups = page.lookups + headers.misses
    return structs.replace(
        page,
        lookups=lookups,
        misses=page.misses + headers.misses,
        miss_reasons=_added(page.miss_reasons, headers.miss_reasons),
        share=ratio(page.share * lookups, page.lookups) if page.share else None,
    )


def _whole(page: KeyGroup, headers: KeyGroup) -> KeyGroup:
    lookups = max(headers.lookups, page.lookups)
    misses = min(headers.misses + page.misses, lookups - min(page.hits, lookups))
    return structs.replace(
        page,
        lookups=lookups,
        misses=misses,
        hit_ratio=ratio(page.hits, lookups),
        distinct_keys=max(page.distinct_keys or 0, headers.distinct_keys or 0),
        miss_reasons=_added(page.miss_reasons, headers.miss_reasons),
        lookup_seconds=page.lookup_seconds + headers.lookup_seconds,
        seconds=page.seconds + headers.seconds,
        bytes_written=(page.bytes_written or 0) + (headers.bytes_written or 0) or None,
    )


def _added(one: MissReasons, other: MissReasons) -> MissReasons:
    sums = {
        name: (getattr(one, name) or 0) + (getattr(other, name) or 0)
        for name in MissReasons.__struct_fields__
    }
    return MissReasons(**sums)
