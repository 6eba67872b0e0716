"""The pages of the dashboard: their names, titles and contents."""

from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cache_monitor.conf import get_conf
from cache_monitor.dashboard import entry, formats, key_tables, memory_tables, what_if
from cache_monitor.dashboard.findings import finding_rows, findings_spec, muted_rows
from cache_monitor.dashboard.key_tables import lines_of
from cache_monitor.dashboard.memory_tables import capabilities, capability_notes
from cache_monitor.dashboard.overview import cache_rows, charts, worst_first
from cache_monitor.dashboard.query import (
    BadParameterError,
    Content,
    DashboardPage,
    PageRequest,
    check_choice,
)
from cache_monitor.dashboard.series import begins_at, series
from cache_monitor.findings.engine import explanations

OVERVIEW_CHARTS = ("hit_ratio", "rate", "latency", "memory", "latency_map")
MAX_STRIPS = 4
"""Caches that the overview has room for with all of their figures; of more each has a line."""
MAX_FINDINGS = 3
"""Findings that the overview shows; they have a page of their own."""


def _overview(page_request: PageRequest) -> Content:
    caches = page_request.report.caches
    before = page_request.before.caches if page_request.before else {}
    rows = cache_rows(caches, before, page_request.links)
    here = page_request.links.page("dashboard")
    called = [cache for cache in rows if cache.called]
    many = len(called) > MAX_STRIPS
    return Content(
        downloads=[
            key_tables.operations(caches),
            key_tables.miss_reasons(caches),
            *series(page_request.report),
        ],
        context={
            "caches": worst_first(called, page_request.report) if many else called,
            "many_caches": many,
            "not_called": [cache.alias for cache in rows if not cache.called],
            "charts": charts(page_request.report, here, OVERVIEW_CHARTS),
            "begins_at": _begins_at(page_request),
            "flush_interval": formats.age(max(1.0, get_conf().flush_interval)),
            "findings": finding_rows(page_request.report, page_request.links)[:MAX_FINDINGS],
            "findings_url": page_request.links.page("findings"),
            "more_findings": formats.some_of(MAX_FINDINGS, len(page_request.report.findings)),
        },
    )


def _findings(page_request: PageRequest) -> Content:
    download = f"{page_request.links.page('findings')}&table=findings&format"
    may_mute = page_request.may("mute_finding")
    return Content(
        downloads=[findings_spec(page_request.report)],
        context={
            "findings": finding_rows(page_request.report, page_request.links, may_mute=may_mute),
            "explained": explanations(),
            "muted": muted_rows(page_request.links, page_request.query.alias, may_mute=may_mute),
            "csv_url": f"{download}=csv",
            "finding_json_url": f"{download}=json",
        },
    )


def _keys(page_request: PageRequest) -> Content:
    group, caches, links = (
        page_request.query.own.get("group", ""),
        page_request.report.caches,
        page_request.links,
    )
    hot_keys = key_tables.hot_keys(caches, links, group, lines_of(page_request))
    return Content(
        tables=[hot_keys, *([key_tables.of_group(caches, links, group)] if group else [])],
        context={"group": group, "every_url": links.page("keys")},
    )


def _groups(page_request: PageRequest) -> Content:
    return Content(tables=[key_tables.key_groups(page_request.report.caches, page_request.links)])


def _views(page_request: PageRequest) -> Content:
    view, caches, links = (
        page_request.query.own.get("view", ""),
        page_request.report.caches,
        page_request.links,
    )
    views, pages = key_tables.views(caches, links, view), key_tables.pages(caches)
    return Content(
        tables=[
            views,
            *([key_tables.of_view(caches, links, view)] if view else []),
            *([pages] if pages.items and not view else []),
        ],
        context={"view": view, "every_url": links.page("views")},
    )


def _memory(page_request: PageRequest) -> Content:
    caches, links = page_request.report.caches, page_request.links

    def clear_url(alias: str) -> str:
        return links.action("clear", alias=alias) if page_request.may("clear_cache") else ""

    processes = memory_tables.processes(caches)
    return Content(
        tables=[
            memory_tables.memory_groups(caches, links, may_delete=page_request.may("delete_group")),
            memory_tables.largest(caches, links),
            *([processes] if processes.items else []),
            capabilities(),
        ],
        downloads=[spec for spec in series(page_request.report) if spec.name == "memory"],
        context={
            "caches": memory_tables.memory_rows(caches, clear_url),
            "empty_caches": memory_tables.empty_caches(caches),
            "unscanned_caches": memory_tables.unscanned_caches(caches),
            "ability_notes": capability_notes(),
            "charts": charts(page_request.report, links.page("memory"), ("memory",)),
            "begins_at": _begins_at(page_request),
        },
    )


def _stale(page_request: PageRequest) -> Content:
    caches, links = page_request.report.caches, page_request.links
    why = page_request.query.own.get("why", "")
    if why:
        check_choice("why", why, memory_tables.STALE_REASONS)

    def delete_url(alias: str) -> str:
        may = page_request.may("delete_stale")
        return links.action("delete_stale", alias=alias, why=why or "any") if may else ""

    return Content(
        tables=[
            memory_tables.stale_entries(caches, links, why),
            memory_tables.stale_caches(caches, delete_url),
        ],
        context={
            "stale_after": formats.age(get_conf().stale_after),
            "empty_caches": memory_tables.empty_caches(caches),
            "choices": memory_tables.stale_choices(caches, links, page_request.query, why),
        },
    )


def _what_if(page_request: PageRequest) -> Content:
    caches, links = page_request.report.caches, page_request.links
    stale = _stale_share(page_request.query.own.get("stale", ""))
    rows = what_if.whatif_rows(caches)
    return Content(
        tables=[what_if.sizes(caches), what_if.timeouts(caches, links, stale)],
        context={
            "predicted": [each for each in rows if not each.problem],
            "unpredicted": [each for each in rows if each.problem],
            "findings_url": links.page("findings"),
            "knows_stale": what_if.knows_stale_shares(caches),
            "most_stale": what_if.MOST_STALE,
            "stale": page_request.query.own.get("stale", what_if.MOST_STALE),
            "other_parameters": {
                name: text
                for name, text in {**page_request.query.shared, **page_request.query.own}.items()
                if text and name != "stale"
            },
        },
    )


def _stale_share(text: str) -> float | None:
    """The share of stale hits that the user accepts; None where none was chosen."""
    if not text:
        return None
    try:
        percent = float(text)
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 100:
        raise BadParameterError("stale", _("Write a number of per cent from 0 to 100, such as 1."))
    return percent / 100


def _begins_at(page_request: PageRequest) -> datetime | None:
    """When the figures begin, if that is well after the period's beginning."""
    begins = formats.moment(begins_at(page_request.report.caches))
    length = page_request.query.until - page_request.query.since
    return begins if begins and begins > page_request.query.since + length / 10 else None


# Every page of the navigation.
LISTED = (
    DashboardPage("dashboard", gettext_lazy("Overview"), _overview),
    DashboardPage("findings", gettext_lazy("Findings"), _findings),
    DashboardPage(
        "keys",
        gettext_lazy("Hot keys"),
        _keys,
        tables=("hot_keys", "samples"),
        own=("group",),
    ),
    DashboardPage("groups", gettext_lazy("Key groups"), _groups, tables=("key_groups",)),
    DashboardPage(
        "views",
        gettext_lazy("Views"),
        _views,
        tables=("views", "samples", "pages"),
        own=("view",),
    ),
    DashboardPage(
        "memory",
        gettext_lazy("Memory"),
        _memory,
        tables=("groups", "largest", "processes", "abilities"),
    ),
    DashboardPage(
        "stale",
        gettext_lazy("Stale entries"),
        _stale,
        tables=("entries", "caches"),
        own=("why",),
    ),
    DashboardPage(
        "whatif",
        gettext_lazy("What if"),
        _what_if,
        tables=("timeouts", "sizes"),
        own=("stale",),
    ),
)
# Reached by links alone. It reads the live cache, so it does not refresh itself.
ENTRY = DashboardPage("entry", gettext_lazy("Entry"), entry.build, own=("key", "value"))
PAGES = {page.name: page for page in (*LISTED, ENTRY)}
