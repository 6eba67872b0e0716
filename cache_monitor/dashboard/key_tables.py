"""What was called, in tables: operations, reasons, keys, groups, views."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from django.utils.translation import gettext as _

from cache_monitor import api
from cache_monitor.dashboard import formats
from cache_monitor.dashboard.query import Links, PageRequest
from cache_monitor.dashboard.report_cache import FRESH_FOR_LONG, KeyLines, key_lines
from cache_monitor.dashboard.table_specs import (
    Caches,
    ColumnSpec,
    Of,
    TableSpec,
    averaged,
    cache_column,
    coded,
    counted,
    estimated,
    shared,
    sized,
    timed,
    traced,
    worded,
)
from cache_monitor.page_cache import sentences
from cache_monitor.reports.pages import whole_groups, whole_keys
from cache_monitor.reports.schema import HotKey, KeyGroup, Lives, MissReasons, Operation, Page, View


class Sample(NamedTuple):
    """A key that was found, or missed; ``group`` is empty where it is not known."""

    hit: bool
    key: str
    group: str


def of_group(caches: Caches, links: Links, group: str) -> TableSpec[Of[Sample]]:
    """Samples of the keys of ``group``."""
    every = [
        Of(alias, sample)
        for alias, cache in caches.items()
        for it in cache.key_groups
        if it.group == group
        for sample in _samples(it, group)
    ]
    return _spec(caches, links, every)


def of_view(caches: Caches, links: Links, view: str) -> TableSpec[Of[Sample]]:
    """Samples of the keys that the requests of ``view`` asked for."""
    every = [
        Of(alias, sample)
        for alias, cache in caches.items()
        for it in cache.views
        if it.view == view
        for sample in _samples(it, "")
    ]
    return _spec(caches, links, every)


def _samples(it: View | KeyGroup, group: str) -> Iterator[Sample]:
    yield from (Sample(True, key, group) for key in it.sample_hits)
    yield from (Sample(False, key, group) for key in it.sample_misses)


def _spec(caches: Caches, links: Links, every: Sequence[Of[Sample]]) -> TableSpec[Of[Sample]]:
    return TableSpec(
        "samples",
        _("Samples of hits and misses"),
        [
            coded(
                "key",
                _("Key"),
                lambda each: each.it.key,
                lambda each: links.entry(each.alias, each.it.key, each.it.group),
            ),
            *cache_column(caches),
            worded("outcome", _("Outcome"), lambda each: _("hit") if each.it.hit else _("miss")),
        ],
        every,
        note=_("Up to five of each, of every cache: some that were asked for, not all."),
        empty=_("No key was looked up in this period."),
        searched=False,
    )


LinesOf = Callable[[str], KeyLines]
"""The lines of the hot keys of a cache, by its alias."""


def lines_of(page_request: PageRequest) -> LinesOf:
    """Reads the lines of a cache when its first key is shown: a page seldom has keys of all."""
    query = page_request.query
    until = None if query.live else query.until

    @cache
    def lines(alias: str) -> KeyLines:
        keys = [each.key for each in page_request.report.caches[alias].hot_keys]

        def read() -> KeyLines:
            return api.key_series(keys, query.since, until, alias)

        # A line's steps are a minute and longer: a refresh seldom has anything to add.
        return key_lines.get((*query.period.values(), alias), read, FRESH_FOR_LONG)

    return lines


class Missed(NamedTuple):
    """A reason for which lookups missed, how often, and of how many misses."""

    word: str
    misses: int
    every: int


def reason_words() -> dict[str, str]:
    """The words for the reasons of misses, by their names in the report."""
    return {
        "never_set": _("never set"),
        "expired": _("expired"),
        "evicted": _("evicted"),
        "lost": _("lost"),
        "deleted": _("deleted"),
        "cleared": _("cleared"),
        "version_changed": _("version changed"),
        "unknown": _("unknown"),
    }


def why_missed(reasons: MissReasons) -> str:
    """The reasons that there were, the most frequent first, such as "80 expired, 20 deleted"."""
    counts = [(getattr(reasons, name) or 0, word) for name, word in reason_words().items()]
    found = sorted((each for each in counts if each[0]), key=lambda each: -each[0])
    return ", ".join(
        f"{formats.about(formats.count(number), exact=reasons.exact)} {word}"
        for number, word in found
    )


def what_ended(lives: Lives) -> str:
    """What ended entries, the most frequent first, such as "80 expired, 20 overwritten (unread:
    15)"."""
    words = {**reason_words(), "overwritten": _("overwritten")}
    unread = {"overwritten": lives.overwritten_unread, "deleted": lives.deleted_unread}
    counts = [(getattr(lives, name, 0), name) for name in words]
    found = sorted((each for each in counts if each[0]), key=lambda each: -each[0])
    return ", ".join(
        f"{formats.count(number)} {words[name]}"
        + (_(" (%(count)s unread)") % {"count": formats.count(few)} if few else "")
        for number, name in found
        for few in [unread.get(name, 0)]
    )


def operations(caches: Caches) -> TableSpec[Of[tuple[str, Operation]]]:
    every = [Of(a, each) for a, c in caches.items() for each in c.operations.items()]
    return TableSpec(
        "operations",
        _("Operations"),
        [
            *cache_column(caches),
            coded("operation", _("Operation"), lambda each: each.it[0]),
            counted("calls", _("Calls"), lambda each: each.it[1].calls),
            counted("keys", _("Keys"), lambda each: each.it[1].keys),
            counted("hits", _("Hits"), lambda each: each.it[1].hits),
            counted("misses", _("Misses"), lambda each: each.it[1].misses),
            counted("errors", _("Errors"), lambda each: each.it[1].errors),
            counted("interrupted", _("Interrupted"), lambda each: each.it[1].interrupted),
            timed("p50", _("p50"), lambda each: each.it[1].seconds.p50),
            timed("p90", _("p90"), lambda each: each.it[1].seconds.p90),
            timed("p99", _("p99"), lambda each: each.it[1].seconds.p99),
            timed("max", _("Max"), lambda each: each.it[1].seconds.max),
            timed("total", _("Total"), lambda each: each.it[1].seconds.total),
        ],
        every,
        order="-calls",
    )


def miss_reasons(caches: Caches) -> TableSpec[Of[Missed]]:
    every = [
        Of(alias, Missed(word, getattr(cache.miss_reasons, name), cache.misses))
        for alias, cache in caches.items()
        for name, word in reason_words().items()
        if getattr(cache.miss_reasons, name)
    ]
    return TableSpec(
        "miss_reasons",
        _("Misses by reason"),
        [
            *cache_column(caches),
            worded("reason", _("Reason"), lambda each: each.it.word),
            counted("misses", _("Misses"), lambda each: each.it.misses),
            shared("share", _("Share"), lambda each: each.it.misses / each.it.every),
        ],
        every,
        order="-misses",
    )


def hot_keys(
    caches: Caches, links: Links, group: str = "", lines: LinesOf | None = None
) -> TableSpec[Of[HotKey]]:
    """The keys that are looked up most, those of ``group`` alone where one is given, with their
    use over time where ``lines`` tells it."""
    every = [Of(a, it) for a, c in caches.items() for it in whole_keys(c.hot_keys)]
    kept = [each for each in every if group in {"", each.it.group}]
    over = max((each.it.max_overcount for each in kept), default=0)
    note = _("~ at most %(count)s too high: only the busiest keys are counted one by one.")
    return TableSpec(
        "hot_keys",
        _("Hot keys"),
        [
            coded(
                "key",
                _("Key"),
                lambda each: each.it.key,
                lambda each: links.entry(each.alias, each.it.key, each.it.group),
            ),
            *cache_column(caches),
            *([] if group else [_group_column(links)]),
            counted("lookups", _("Lookups"), lambda each: each.it.lookups, _is_exact),
            *([_line_column(lines)] if lines else []),
            shared("share", _("Share"), lambda each: each.it.share),
            counted("hits", _("Hits"), lambda each: each.it.hits),
            counted("misses", _("Misses"), lambda each: each.it.misses),
            worded("why_missed", _("Why missed"), lambda each: why_missed(each.it.miss_reasons)),
            counted("sets", _("Sets"), lambda each: each.it.sets),
            sized("bytes", _("Size"), lambda each: each.it.bytes),
            _saved_column(),
        ],
        kept,
        order="-lookups",
        note=note % {"count": formats.count(over)} if over else "",
        empty=_("No key was looked up in this period."),
    )


def key_groups(caches: Caches, links: Links) -> TableSpec[Of[KeyGroup]]:
    every = [Of(a, it) for a, c in caches.items() for it in whole_groups(c.key_groups)]
    return TableSpec(
        "key_groups",
        _("Key groups"),
        [
            _group_column(links),
            *cache_column(caches),
            counted("distinct_keys", _("Keys"), lambda each: each.it.distinct_keys),
            counted("lookups", _("Lookups"), lambda each: each.it.lookups),
            shared("hit_ratio", _("Hit ratio"), lambda each: each.it.hit_ratio),
            counted("misses", _("Misses"), lambda each: each.it.misses),
            worded("why_missed", _("Why missed"), lambda each: why_missed(each.it.miss_reasons)),
            timed("lifetime", _("Lasted"), lambda each: each.it.lives.lifetime_p50),
            worded("ended_by", _("Ended by"), lambda each: what_ended(each.it.lives)),
            timed("first_read", _("First read"), lambda each: each.it.lives.first_read_p50),
            timed("produce_seconds", _("To produce"), lambda each: each.it.produce_seconds),
            _saved_column(),
            counted("sets", _("Sets"), lambda each: each.it.sets),
            counted("deletes", _("Deletes"), lambda each: each.it.deletes),
            counted("errors", _("Errors"), lambda each: each.it.errors),
            sized("bytes_read", _("Read"), lambda each: each.it.bytes_read),
            sized("bytes_written", _("Written"), lambda each: each.it.bytes_written),
        ],
        every,
        order="-lookups",
        empty=_("No key was used in this period."),
        left_out=frozenset({"ended_by", "first_read", "deletes", "errors"}),
    )


def views(caches: Caches, links: Links, view: str = "") -> TableSpec[Of[View]]:
    """What the site's views do with the caches, ``view`` alone where one is given."""
    every = [Of(a, it) for a, c in caches.items() for it in c.views if view in {"", it.view}]
    return TableSpec(
        "views",
        _("Views"),
        [
            coded(
                "view",
                _("View"),
                lambda each: each.it.view,
                lambda each: "" if view else links.view(each.it.view),
            ),
            *cache_column(caches),
            counted("requests", _("Requests"), lambda each: each.it.requests),
            counted("lookups", _("Lookups"), lambda each: each.it.lookups),
            counted("misses", _("Misses"), lambda each: each.it.misses),
            averaged(
                "misses_per_request",
                _("Misses per request"),
                lambda each: each.it.misses_per_request,
            ),
            timed("seconds", _("In the cache"), lambda each: each.it.seconds),
            timed("request_seconds", _("In requests"), lambda each: each.it.request_seconds),
            shared(
                "share_of_request", _("Share of requests"), lambda each: each.it.share_of_request
            ),
            _saved_column(),
        ],
        every,
        order="-misses",
        empty=_("No view is known to have called a cache in this period."),
    )


def pages(caches: Caches) -> TableSpec[Of[Page]]:
    """What Django's page cache did with the site's pages."""
    every = [Of(a, it) for a, c in caches.items() for it in c.pages]
    return TableSpec(
        "pages",
        _("Cached pages"),
        [
            coded("page", _("Page"), lambda each: each.it.page),
            *cache_column(caches),
            counted("requests", _("Requests"), lambda each: each.it.requests),
            shared("served_ratio", _("Served"), lambda each: each.it.served_ratio),
            counted("not_stored", _("Not stored"), lambda each: sum(each.it.not_stored.values())),
            worded("why_not_stored", _("Why not"), lambda each: why_not_stored(each.it)),
            averaged(
                "variants_per_address",
                _("Variants per address"),
                lambda each: each.it.variants_per_address,
            ),
            worded("varies_by", _("Varies by"), lambda each: why_varied(each.it)),
            shared("by_query", _("Only by query string"), lambda each: by_query(each.it)),
        ],
        every,
        order="-requests",
    )


def why_not_stored(page: Page) -> str:
    """The most frequent reason in a sentence, with the line of code where that is known."""
    if not page.not_stored:
        if 2 * page.missed.get("other_key", 0) <= page.requests:
            return ""
        return sentences.missed("other_key", detail=page.details.get("other_key", ""))
    reason = min(page.not_stored, key=lambda each: (-page.not_stored[each], each))
    sentence = sentences.not_stored(reason, page.details.get(reason, ""))
    cause = page.causes.get(reason)
    return f"{sentence} {sentences.cause(cause)}" if cause else sentence


def why_varied(page: Page) -> str:
    """The headers that the page is kept apart by, with the line of code where that is known; or
    the line that makes it personal though nothing keeps it apart."""
    if unvaried := page.causes.get("unvaried"):
        return sentences.unvaried(unvaried)
    if not page.varies_by:
        return ""
    headers, cause = ", ".join(map(str.title, page.varies_by)), page.causes.get("variant")
    return f"{headers}. {sentences.cause(cause)}" if cause else headers


def by_query(page: Page) -> float | None:
    """The share of the addresses that differ from others by their query strings alone."""
    if not page.distinct_addresses or page.distinct_paths is None:
        return None
    return max(0.0, 1 - page.distinct_paths / page.distinct_addresses)


def _line_column(lines: LinesOf) -> ColumnSpec[Of[HotKey]]:
    return traced(
        "lookups_over_time",
        _("Over time"),
        lambda each: [point.lookups for point in lines(each.alias).get(each.it.key, ())],
    )


def _saved_column() -> ColumnSpec[Of[Any]]:
    return estimated(
        "seconds_saved",
        _("Saved"),
        lambda each: each.it.seconds_saved,
        lambda each: each.it.seconds_saved_error,
    )


def _is_exact(each: Of[HotKey]) -> bool:
    return each.it.max_overcount == 0


def _group_column(links: Links) -> ColumnSpec[Of[Any]]:
    return coded(
        "group",
        _("Group"),
        lambda each: each.it.group,
        lambda each: links.group(each.alias, each.it.group),
    )
