"""The dashboard's pages by their names, and its figures as JSON."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus

import msgspec
from django.conf import settings
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from cache_monitor import api
from cache_monitor.conf import get_conf
from cache_monitor.dashboard import (
    deleting,
    entry,
    findings,
    formats,
    keys,
    memory,
    overview,
    tables,
    what_if,
)
from cache_monitor.dashboard.page import (
    ENTRY,
    TEMPLATES,
    TITLES,
    CachedReport,
    Content,
    DashboardPage,
    PageRequest,
    cached_report,
    frame,
    page_context,
    report_before,
    respond,
)
from cache_monitor.dashboard.query import (
    OF_PAGES,
    OF_REPORTS,
    RANGES,
    BadParameterError,
    Links,
    Query,
    check_alias,
    check_choice,
    parse_query,
)
from cache_monitor.dashboard.tables import FORMATS, AnySpec, download
from cache_monitor.exporters import json

_PAGES = (
    DashboardPage("dashboard", overview.build),
    DashboardPage("findings", findings.build),
    DashboardPage(
        "keys",
        keys.build_keys,
        tables=("hot_keys", "samples"),
        own=("group",),
        needs_calls=True,
    ),
    DashboardPage("groups", keys.build_groups, tables=("key_groups",), needs_calls=True),
    DashboardPage(
        "views",
        keys.build_views,
        tables=("views", "samples", "pages"),
        own=("view",),
        needs_calls=True,
    ),
    DashboardPage(
        "memory", memory.build_memory, tables=("groups", "largest", "processes", "abilities")
    ),
    DashboardPage("stale", memory.build_stale, tables=("entries", "caches"), own=("why",)),
    DashboardPage("what_if", what_if.build, tables=("timeouts", "sizes"), own=("stale",)),
    DashboardPage(ENTRY, entry.build, own=("key", "value")),
)
PAGES = {page.name: page for page in _PAGES}
# ``table`` and ``format`` ask for the rows of a table in place of the page.
DOWNLOAD = ("table", "format")


def page(request: HttpRequest, site: AdminSite, name: str) -> HttpResponse:
    """The page ``name``; with ``partial=1`` the part of it that changes, with ``format`` a table's
    rows."""
    page = PAGES[name]
    query, reading = _read_report(
        request, (*page.own, *tables.parameters(page.tables), *DOWNLOAD), OF_PAGES
    )
    before = report_before(query) if query.compare else None
    page_request = PageRequest(
        query, reading.report, Links(site, query), before, request.user.has_perm
    )
    content = page.build(page_request)
    prefixes = tables.prefixes(page.tables)
    table_queries = {
        spec.name: tables.parse_table_query(query.own, prefixes[spec.name], spec)
        for spec in content.tables
    }
    if any(query.own.get(name) for name in DOWNLOAD):
        return _download(page_request, content, table_queries)
    here = page_request.links.path(page.name)
    rendered = {
        spec.name: tables.render_table(spec, table_queries[spec.name], here, query)
        for spec in content.tables
    }
    context = {**_context(page, page_request, reading), **content.context, "tables": rendered}
    if query.partial:
        context |= page_context(page_request.links, page.name)
        return TemplateResponse(request, f"{TEMPLATES}/fragment.html", context)
    return respond(request, page_request.links, page.name, "page", context)


def stats(request: HttpRequest, _site: AdminSite) -> HttpResponse:
    try:
        __, reading = _read_report(request, (), OF_REPORTS)
    except BadParameterError as error:
        problem = {"error": {"parameter": error.parameter, "message": error.message}}
        return _json(msgspec.json.encode(problem), HTTPStatus.BAD_REQUEST)
    return _json(json.encode(reading.report))


_VIEWS: Mapping[str, Callable[[HttpRequest, AdminSite], HttpResponse]] = {
    **{name: partial(page, name=name) for name in PAGES},
    "dashboard_changelist": partial(page, name="dashboard"),
    "stats_json": stats,
    **{name: partial(deleting.action, name=name) for name in deleting.ACTIONS},
    "mute_finding": findings.mute,
    "unmute_finding": findings.unmute,
}


def answer(request: HttpRequest, site: AdminSite, name: str) -> HttpResponse:
    """What is at the admin's URL ``cache_monitor_<name>``; for a parameter that cannot be used, a
    page that says so."""
    try:
        return _VIEWS[name](request, site)
    except BadParameterError as error:
        links = Links(site, parse_query(QueryDict(), datetime.now(UTC)))
        context = {"title": _("Cache dashboard"), "problem": error}
        return respond(request, links, "refused", "refused", context, HTTPStatus.BAD_REQUEST)


def _read_report(
    request: HttpRequest, own: Sequence[str], shared: Sequence[str]
) -> tuple[Query, CachedReport]:
    query = parse_query(request.GET, datetime.now(UTC), own, shared)
    if query.alias is not None:
        check_alias(query.alias)
    return query, cached_report(query)


def _download(
    page_request: PageRequest, content: Content, table_queries: Mapping[str, tables.TableQuery]
) -> HttpResponse:
    every: dict[str, AnySpec] = {
        spec.name: tables.apply_query(spec, table_queries[spec.name]) for spec in content.tables
    }
    every |= {spec.name: spec for spec in content.downloads}
    name, form = (page_request.query.own.get(parameter, "") for parameter in DOWNLOAD)
    check_choice("table", name, every)
    check_choice("format", form, FORMATS)
    if problem := page_request.report.quality.store_problem:
        # A file must not say that there is nothing, where nothing is known.
        return HttpResponse(
            problem, content_type="text/plain; charset=utf-8", status=HTTPStatus.SERVICE_UNAVAILABLE
        )
    return download(every[name], form)


def _json(body: bytes, status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
    return HttpResponse(body, content_type="application/json", status=status)


def _context(
    page: DashboardPage, page_request: PageRequest, reading: CachedReport
) -> dict[str, object]:
    conf, query, links = get_conf(), page_request.query, page_request.links
    here = links.path(page.name)
    encoded = query.encode(table="", format="")
    return {
        "title": _("Cache dashboard") if page.name == "dashboard" else TITLES[page.name],
        "page_template": f"{TEMPLATES}/{_template(page, reading)}.html",
        "frame": frame(reading),
        "query": query,
        "ranges": RANGES,
        "aliases": list(settings.CACHES),
        "enabled": conf.enabled,
        "store_problem": reading.store_problem,
        "store_note": api.store_note(),
        "flush_interval": formats.age(max(1.0, conf.flush_interval)),
        "refresh_seconds": conf.refresh_seconds if query.live and page.name != ENTRY else 0,
        "page_url": here,
        # What the period's form keeps of the page's own question.
        "kept": {name: text for name, text in query.own.items() if not name.endswith("page")},
        "partial_url": f"{here}?{encoded}&partial=1",
        "other_period_url": f"{here}?{query.encode(range='', since=query.range or '1h', until='')}",
        "default_url": f"{here}?{query.encode(range='1h', since='', until='')}",
        "longer_url": f"{here}?{query.encode(range='7d', since='', until='')}",
        "every_cache_url": f"{here}?{query.encode(alias='')}",
        "json_url": links.page("stats_json", compare=""),
    }


def _template(page: DashboardPage, reading: CachedReport) -> str:
    if reading.is_unread and page.name != ENTRY:
        return "unread"
    return "empty" if page.needs_calls and not reading.has_calls else page.name
