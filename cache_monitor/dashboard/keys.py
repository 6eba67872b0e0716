"""The pages of hot keys, key groups and views: who called the caches, and for what."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from cache_monitor import api, page_cache
from cache_monitor.concurrency import TimedValues, call_in_forked_children
from cache_monitor.conf import SETTING, forget_on_change
from cache_monitor.dashboard import formats
from cache_monitor.dashboard.formats import (
    ColumnSpec,
    code_column,
    estimate_column,
    figure_column,
    ratio_column,
    sparkline_column,
    text_column,
)
from cache_monitor.dashboard.query import FRESH_FOR_LONG, MOST, Links, PageRequest
from cache_monitor.dashboard.tables import (
    CacheItem,
    Caches,
    Content,
    TableSpec,
    cache_column,
    group_column,
    key_column,
)
from cache_monitor.reports import HotKey, KeyGroup, Lives, MissReasons, Page, View
from cache_monitor.reports.build import KeyPoint
from cache_monitor.reports.keys import whole_groups, whole_keys
from cache_monitor.trace.miss_reasons import REASON_WORDS

KeyLines = Mapping[str, Sequence[KeyPoint]]
"""The use of keys over time, by key."""
key_lines: Final[TimedValues[KeyLines]] = TimedValues(MOST)
call_in_forked_children(key_lines.clear)
forget_on_change((SETTING, "CACHES"), key_lines.clear)
LinesOf = Callable[[str], KeyLines]
"""The lines of the hot keys of a cache, by its alias."""


def build_keys(page_request: PageRequest) -> Content:
    """The hot keys; those of one ``group`` of the URL with samples."""
    caches, links = page_request.report.caches, page_request.links
    group = page_request.query.own.get("group", "")
    hottest = hot_keys(caches, links, group, lines_of(page_request))
    return Content(
        tables=[hottest, *([samples(caches, links, group=group)] if group else [])],
        context={"group": group, "every_url": links.page("keys")},
    )


def build_groups(page_request: PageRequest) -> Content:
    return Content(tables=[key_groups(page_request.report.caches, page_request.links)])


def build_views(page_request: PageRequest) -> Content:
    """The site's views and cached pages; one ``view`` of the URL with samples."""
    caches, links = page_request.report.caches, page_request.links
    view = page_request.query.own.get("view", "")
    cached = pages(caches)
    return Content(
        tables=[
            views(caches, links, view),
            *([samples(caches, links, view=view)] if view else []),
            *([cached] if cached.items and not view else []),
        ],
        context={"view": view, "every_url": links.page("views")},
    )


def hot_keys(
    caches: Caches, links: Links, group: str = "", lines: LinesOf | None = None
) -> TableSpec[CacheItem[HotKey]]:
    """The keys with the most lookups, only those of ``group`` if given; ``lines`` reads their use
    over time."""
    every = [CacheItem(a, it) for a, c in caches.items() for it in whole_keys(c.hot_keys)]
    kept = [each for each in every if group in {"", each.item.group}]
    over = max((each.item.max_overcount for each in kept), default=0)
    note = _("~ at most %(count)s too high: only the busiest keys are counted one by one.")

    def is_exact(each: CacheItem[HotKey]) -> bool:
        return each.item.max_overcount == 0

    def over_time(each: CacheItem[HotKey]) -> Sequence[int]:
        points = lines(each.alias).get(each.item.key, ()) if lines else ()
        return [point.lookups for point in points]

    line = sparkline_column("lookups_over_time", _("Over time"), over_time)
    return TableSpec(
        "hot_keys",
        _("Hot keys"),
        [
            key_column(links),
            *cache_column(caches),
            *([] if group else [group_column(links)]),
            figure_column("lookups", _("Lookups"), "lookups", is_exact),
            *([line] if lines else []),
            ratio_column("share", _("Share")),
            figure_column("hits", _("Hits")),
            figure_column("misses", _("Misses")),
            _why_missed_column(),
            figure_column("sets", _("Sets")),
            figure_column("bytes", _("Size"), text=formats.size),
            estimate_column("seconds_saved", _("Saved"), "seconds_saved_error"),
        ],
        kept,
        order="-lookups",
        note=note % {"count": formats.count(over)} if over else "",
        empty=_("No key was looked up in this period."),
    )


def key_groups(caches: Caches, links: Links) -> TableSpec[CacheItem[KeyGroup]]:
    every = [CacheItem(a, it) for a, c in caches.items() for it in whole_groups(c.key_groups)]
    return TableSpec(
        "key_groups",
        _("Key groups"),
        [
            group_column(links),
            *cache_column(caches),
            figure_column("distinct_keys", _("Keys")),
            figure_column("lookups", _("Lookups")),
            ratio_column("hit_ratio", _("Hit ratio")),
            figure_column("misses", _("Misses")),
            _why_missed_column(),
            figure_column("lifetime", _("Lasted"), "lives.lifetime_p50", text=formats.duration),
            text_column("ended_by", _("Ended by"), lambda each: what_ended(each.item.lives)),
            figure_column(
                "first_read", _("First read"), "lives.first_read_p50", text=formats.duration
            ),
            figure_column("produce_seconds", _("To produce"), text=formats.duration),
            estimate_column("seconds_saved", _("Saved"), "seconds_saved_error"),
            figure_column("sets", _("Sets")),
            figure_column("deletes", _("Deletes")),
            figure_column("errors", _("Errors")),
            figure_column("bytes_read", _("Read"), text=formats.size),
            figure_column("bytes_written", _("Written"), text=formats.size),
        ],
        every,
        order="-lookups",
        empty=_("No key was used in this period."),
        hidden=frozenset({"ended_by", "first_read", "deletes", "errors"}),
    )


def views(caches: Caches, links: Links, view: str = "") -> TableSpec[CacheItem[View]]:
    """The site's views, or only ``view``."""

    def url(each: CacheItem[View]) -> str:
        return "" if view else links.view(each.item.view)

    every = [CacheItem(a, it) for a, c in caches.items() for it in c.views if view in {"", it.view}]
    return TableSpec(
        "views",
        _("Views"),
        [
            code_column(
                "view",
                pgettext("of the site", "View"),
                url=lambda each: "" if view else links.view(each.item.view),
            ),
            *cache_column(caches),
            figure_column("requests", _("Requests")),
            figure_column("lookups", _("Lookups")),
            figure_column("misses", _("Misses")),
            figure_column("misses_per_request", _("Misses per request"), text=formats.decimal),
            figure_column("seconds", _("In the cache"), text=formats.duration),
            figure_column("request_seconds", _("In requests"), text=formats.duration),
            ratio_column("share_of_request", _("Share of requests")),
            estimate_column("seconds_saved", _("Saved"), "seconds_saved_error"),
        ],
        every,
        order="-misses",
        empty=_("No view is known to have called a cache in this period."),
    )


def pages(caches: Caches) -> TableSpec[CacheItem[Page]]:
    """The pages in Django's page cache."""
    every = [CacheItem(a, it) for a, c in caches.items() for it in c.pages]
    return TableSpec(
        "pages",
        _("Cached pages"),
        [
            code_column("page", _("Page")),
            *cache_column(caches),
            figure_column("requests", _("Requests")),
            ratio_column("served_ratio", _("Served")),
            figure_column("not_stored", _("Not stored"), "made_and_not_stored"),
            text_column("why_not_stored", _("Why not"), lambda each: why_not_stored(each.item)),
            figure_column("variants_per_address", _("Variants per address"), text=formats.decimal),
            text_column("varies_by", _("Varies by"), lambda each: why_varied(each.item)),
            ratio_column("by_query", _("Only by query string")),
        ],
        every,
        order="-requests",
    )


def lines_of(page_request: PageRequest) -> LinesOf:
    """Reads the lines of a cache when its first key is shown: few pages have keys of all caches."""
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


class Sample(NamedTuple):
    """A key that was found, or missed; ``group`` is empty where it is not known."""

    hit: bool
    key: str
    group: str


def samples(
    caches: Caches, links: Links, *, group: str = "", view: str = ""
) -> TableSpec[CacheItem[Sample]]:
    """Samples of the keys of ``group``, or of those that requests of ``view`` looked up."""
    found: list[tuple[str, KeyGroup | View]] = (
        [(a, it) for a, c in caches.items() for it in c.key_groups if it.group == group]
        if group
        else [(a, it) for a, c in caches.items() for it in c.views if it.view == view]
    )
    every = [
        CacheItem(alias, Sample(hit, key, group))
        for alias, it in found
        for hit, keys in ((True, it.sample_hits), (False, it.sample_misses))
        for key in keys
    ]
    return TableSpec(
        "samples",
        _("Samples of hits and misses"),
        [
            key_column(links),
            *cache_column(caches),
            text_column(
                "outcome", _("Outcome"), lambda each: _("hit") if each.item.hit else _("miss")
            ),
        ],
        every,
        note=_("Up to five of each, of every cache: some that were asked for, not all."),
        empty=_("No key was looked up in this period."),
        is_searchable=False,
    )


def why_missed(reasons: MissReasons) -> str:
    """The reasons, the most frequent first, such as "80 expired, 20 deleted"."""
    counts = [(getattr(reasons, name) or 0, word) for name, word in REASON_WORDS.items()]
    found = sorted((each for each in counts if each[0]), key=lambda each: -each[0])
    return ", ".join(
        f"{formats.about(formats.count(number), exact=reasons.exact)} {word}"
        for number, word in found
    )


def what_ended(lives: Lives) -> str:
    """What ended entries, the most frequent first, such as "80 expired, 20 overwritten (unread:
    15)"."""
    words = {**REASON_WORDS, "overwritten": _("overwritten")}
    unread = {"overwritten": lives.overwritten_unread, "deleted": lives.deleted_unread}
    counts = [(getattr(lives, name, 0), name) for name in words]
    found = sorted((each for each in counts if each[0]), key=lambda each: -each[0])
    return ", ".join(
        f"{formats.count(number)} {words[name]}"
        + (_(" (%(count)s unread)") % {"count": formats.count(few)} if few else "")
        for number, name in found
        for few in [unread.get(name, 0)]
    )


def why_not_stored(page: Page) -> str:
    """The most frequent reason in a sentence, with the line of code where that is known."""
    reason = page.main_reason
    if reason is None:
        if not page.is_mostly_stored_for_others:
            return ""
        return page_cache.missed("other_key", detail=page.details.get("other_key", ""))
    sentence = page_cache.not_stored(reason, page.details.get(reason, ""))
    cause = page.causes.get(reason)
    return f"{sentence} {page_cache.cause(cause)}" if cause else sentence


def why_varied(page: Page) -> str:
    """The headers that the page is kept apart by, with the line of code where that is known; or
    the line that makes it personal though nothing keeps it apart."""
    if unvaried := page.causes.get("unvaried"):
        return page_cache.unvaried(unvaried)
    if not page.varies_by:
        return ""
    headers, cause = ", ".join(map(str.title, page.varies_by)), page.causes.get("variant")
    return f"{headers}. {page_cache.cause(cause)}" if cause else headers


def _why_missed_column() -> ColumnSpec[CacheItem[Any]]:
    return text_column(
        "why_missed", _("Why missed"), lambda each: why_missed(each.item.miss_reasons)
    )
