"""Cached pages: a page and the list of its headers as one thing.

Django keeps two entries for a page: the list of headers that it varies by, which is asked for
first, and the page itself, which is asked for only where the list was found. So a request misses
the one or the other; and what is asked for as often as the page is the list.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from msgspec import structs

from cache_monitor.keys.naming import headers_of_page
from cache_monitor.reports import schema
from cache_monitor.reports.schema import HotKey, KeyGroup, MissReasons
from cache_monitor.stats import distinct
from cache_monitor.stats.details import Details
from cache_monitor.stats.pages import PageStats
from cache_monitor.stats.window import ratio

PAGES_SHOWN = 200


def pages(details: Details) -> list[schema.Page]:
    """The pages, those with the most requests first."""
    every = [_page(route, stats) for route, stats in details.pages.items()]
    busiest = sorted(every, key=lambda each: (-each.requests, -each.bypassed, each.page))
    return busiest[:PAGES_SHOWN]


def _page(route: str, stats: PageStats) -> schema.Page:
    requests = stats.served + stats.made
    addresses = distinct.estimate(stats.addresses)
    variants = distinct.estimate(stats.variants)
    return schema.Page(
        page=route,
        requests=requests,
        served=stats.served,
        stored=stats.stored,
        bypassed=stats.bypassed,
        served_ratio=ratio(stats.served, requests),
        missed=dict(stats.missed),
        not_stored=dict(stats.not_stored),
        details=dict(stats.details),
        causes=dict(stats.causes),
        varies_by=sorted(stats.varies, key=lambda each: (-stats.varies[each], each)),
        distinct_addresses=addresses or None,
        distinct_paths=distinct.estimate(stats.paths) or None,
        variants_per_address=round(variants / addresses, 2) if addresses and variants else None,
        made_seconds=stats.made_seconds,
        not_stored_seconds=stats.not_stored_seconds,
        is_decorated=not stats.site_wide,
    )


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
