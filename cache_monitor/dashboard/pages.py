"""The pages of the dashboard: where each is, what it is called, what it shows of the report."""

from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cache_monitor.conf import get_conf
from cache_monitor.dashboard import entry, formats, keysheets, live, livesheets, samples, whatif
from cache_monitor.dashboard.abilities import abilities, ability_notes
from cache_monitor.dashboard.findings import finding_rows, findings_sheet, muted_rows
from cache_monitor.dashboard.keylines import lines_of
from cache_monitor.dashboard.present import cache_rows, charts, worst_first
from cache_monitor.dashboard.query import BadParameterError
from cache_monitor.dashboard.series import begins_at, series
from cache_monitor.dashboard.visit import Content, Page, Visit
from cache_monitor.findings.documentation import explained

OVERVIEW_CHARTS = ("hit_ratio", "rate", "latency", "memory", "latency_map")
MOST_STRIPS = 4
"""Caches that the overview has room for with all of their figures; of more each has a line."""
MOST_FINDINGS = 3
"""Findings that the overview shows; they have a page of their own."""


def _overview(visit: Visit) -> Content:
    caches = visit.report.caches
    before = visit.before.caches if visit.before else {}
    rows = cache_rows(caches, before, visit.links)
    here = visit.links.page("dashboard")
    called = [cache for cache in rows if cache.called]
    many = len(called) > MOST_STRIPS
    return Content(
        stored=[
            keysheets.operations(caches),
            keysheets.miss_reasons(caches),
            *series(visit.report),
        ],
        context={
            "caches": worst_first(called, visit.report) if many else called,
            "many_caches": many,
            "not_called": [cache.alias for cache in rows if not cache.called],
            "charts": charts(visit.report, here, OVERVIEW_CHARTS),
            "begins_at": _begins_at(visit),
            "flush_interval": formats.age(max(1.0, get_conf().flush_interval)),
            "findings": finding_rows(visit.report, visit.links)[:MOST_FINDINGS],
            "findings_url": visit.links.page("findings"),
            "more_findings": formats.some_of(MOST_FINDINGS, len(visit.report.findings)),
        },
    )


def _findings(visit: Visit) -> Content:
    download = f"{visit.links.page('findings')}&table=findings&format"
    may_mute = visit.may("mute_finding")
    return Content(
        stored=[findings_sheet(visit.report)],
        context={
            "findings": finding_rows(visit.report, visit.links, may_mute=may_mute),
            "explained": explained(),
            "muted": muted_rows(visit.links, visit.query.alias, may_mute=may_mute),
            "csv_url": f"{download}=csv",
            "finding_json_url": f"{download}=json",
        },
    )


def _keys(visit: Visit) -> Content:
    group, caches, links = visit.query.own.get("group", ""), visit.report.caches, visit.links
    hot_keys = keysheets.hot_keys(caches, links, group, lines_of(visit))
    return Content(
        sheets=[hot_keys, *([samples.of_group(caches, links, group)] if group else [])],
        context={"group": group, "every_url": links.page("keys")},
    )


def _groups(visit: Visit) -> Content:
    return Content(sheets=[keysheets.key_groups(visit.report.caches, visit.links)])


def _views(visit: Visit) -> Content:
    view, caches, links = visit.query.own.get("view", ""), visit.report.caches, visit.links
    views, pages = keysheets.views(caches, links, view), keysheets.pages(caches)
    return Content(
        sheets=[
            views,
            *([samples.of_view(caches, links, view)] if view else []),
            *([pages] if pages.items and not view else []),
        ],
        context={"view": view, "every_url": links.page("views")},
    )


def _memory(visit: Visit) -> Content:
    caches, links = visit.report.caches, visit.links

    def clear_url(alias: str) -> str:
        return links.action("clear", alias=alias) if visit.may("clear_cache") else ""

    processes = livesheets.processes(caches)
    return Content(
        sheets=[
            livesheets.memory_groups(caches, links, may_delete=visit.may("delete_group")),
            livesheets.largest(caches, links),
            *([processes] if processes.items else []),
            abilities(),
        ],
        stored=[sheet for sheet in series(visit.report) if sheet.name == "memory"],
        context={
            "caches": live.memory_rows(caches, clear_url),
            "empty_caches": live.empty_caches(caches),
            "unseen_caches": live.unseen_caches(caches),
            "ability_notes": ability_notes(),
            "charts": charts(visit.report, links.page("memory"), ("memory",)),
            "begins_at": _begins_at(visit),
        },
    )


def _stale(visit: Visit) -> Content:
    caches, links = visit.report.caches, visit.links
    why = visit.query.own.get("why", "")
    if why not in {"", *livesheets.STALE_REASONS}:
        names = ", ".join(livesheets.STALE_REASONS)
        raise BadParameterError("why", _("Write one of: %(names)s.") % {"names": names})

    def delete_url(alias: str) -> str:
        may = visit.may("delete_stale")
        return links.action("delete_stale", alias=alias, why=why or "any") if may else ""

    return Content(
        sheets=[
            livesheets.stale_entries(caches, links, why),
            live.stale_caches(caches, delete_url),
        ],
        context={
            "stale_after": formats.age(get_conf().stale_after),
            "empty_caches": live.empty_caches(caches),
            "choices": live.stale_choices(caches, links, visit.query, why),
        },
    )


def _what_if(visit: Visit) -> Content:
    caches, links = visit.report.caches, visit.links
    stale = _stale_share(visit.query.own.get("stale", ""))
    rows = whatif.whatif_rows(caches)
    return Content(
        sheets=[whatif.sizes(caches), whatif.timeouts(caches, links, stale)],
        context={
            "predicted": [each for each in rows if not each.problem],
            "unpredicted": [each for each in rows if each.problem],
            "findings_url": links.page("findings"),
            "knows_stale": whatif.knows_stale_shares(caches),
            "most_stale": whatif.MOST_STALE,
            "stale": visit.query.own.get("stale", whatif.MOST_STALE),
            "other_parameters": {
                name: text
                for name, text in {**visit.query.shared, **visit.query.own}.items()
                if text and name != "stale"
            },
        },
    )


def _stale_share(text: str) -> float | None:
    """The share of stale hits that the reader would take; None where none was chosen."""
    if not text:
        return None
    try:
        percent = float(text)
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 100:
        raise BadParameterError("stale", _("Write a number of per cent from 0 to 100, such as 1."))
    return percent / 100


def _begins_at(visit: Visit) -> datetime | None:
    """From when on something is known, where that is well after the period's beginning."""
    begins = formats.moment(begins_at(visit.report.caches))
    length = visit.query.until - visit.query.since
    return begins if begins and begins > visit.query.since + length / 10 else None


# Every page of the navigation.
LISTED = (
    Page("dashboard", gettext_lazy("Overview"), _overview),
    Page("findings", gettext_lazy("Findings"), _findings),
    Page(
        "keys",
        gettext_lazy("Hot keys"),
        _keys,
        tables=("hot_keys", "samples"),
        own=("group",),
    ),
    Page("groups", gettext_lazy("Key groups"), _groups, tables=("key_groups",)),
    Page(
        "views",
        gettext_lazy("Views"),
        _views,
        tables=("views", "samples", "pages"),
        own=("view",),
    ),
    Page(
        "memory",
        gettext_lazy("Memory"),
        _memory,
        tables=("groups", "largest", "processes", "abilities"),
    ),
    Page(
        "stale",
        gettext_lazy("Stale entries"),
        _stale,
        tables=("entries", "caches"),
        own=("why",),
    ),
    Page(
        "whatif",
        gettext_lazy("What if"),
        _what_if,
        tables=("timeouts", "sizes"),
        own=("stale",),
    ),
)
# Reached by links alone. It looks into the cache, and so does not refresh itself.
ENTRY = Page("entry", gettext_lazy("Entry"), entry.build, own=("key", "value"))
PAGES = {page.name: page for page in (*LISTED, ENTRY)}
