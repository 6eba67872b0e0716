"""The report's account of cached pages."""

from cache_monitor.reports import schema
from cache_monitor.stats import distinct
from cache_monitor.stats.details import Details
from cache_monitor.stats.pages import PageStats

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
        served_ratio=round(stats.served / requests, 4) if requests else None,
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
