"""The dashboard's pages, and its figures as JSON."""

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import chain

import msgspec
from django.conf import settings
from django.contrib.admin import AdminSite
from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import avoid_wrapping
from django.utils.translation import get_language, get_language_bidi, gettext
from django.utils.translation import gettext as _

from cache_monitor import api
from cache_monitor.conf import get_conf
from cache_monitor.dashboard import layout
from cache_monitor.dashboard.layout import FORMATS, download
from cache_monitor.dashboard.overview import frame
from cache_monitor.dashboard.pages import ENTRY, LISTED, PAGES
from cache_monitor.dashboard.query import (
    RANGES,
    BadParameterError,
    Content,
    DashboardPage,
    Links,
    PageRequest,
    Query,
    check_alias,
    check_choice,
    parse_query,
)
from cache_monitor.dashboard.report_cache import CachedReport, cached_report, report_before
from cache_monitor.dashboard.tables import AnySpec
from cache_monitor.exporters import json

CHART_JS = "cache_monitor/vendor/chart.umd.min.js"
# They add themselves to the library, and so come after it.
PLUGINS = (
    "cache_monitor/vendor/chartjs-chart-matrix.min.js",
    "cache_monitor/vendor/chartjs-chart-treemap.min.js",
)
# Django's own texts, as its filesizeformat has them.
_LARGER_SIZES = ("%s KB", "%s MB", "%s GB", "%s TB", "%s PB")


def page_context(links: Links, page_name: str) -> dict[str, object]:
    """What every page has: its name, the navigation, and what the templates hand to the scripts."""
    urls = [_url(path) for path in (CHART_JS, *PLUGINS)]
    return {
        "page_name": page_name,
        "navigation": [(each.name, each.title, links.page(each.name)) for each in LISTED],
        "dashboard_url": links.page("dashboard"),
        # Without the library the plugins would only fail.
        "chart_urls": [url for url in urls if url] if urls[0] else [],
        "time_zone": timezone.get_current_timezone_name(),
        "language": get_language() or settings.LANGUAGE_CODE,
        "sizes": "|".join(_sizes()),
        "rtl": get_language_bidi(),
    }


def _sizes() -> list[str]:
    """How sizes are written, with %s for the number: one byte, bytes, and by each unit."""
    bytes_texts = [filesizeformat(number).replace(str(number), "%s") for number in (1, 2)]
    return [*bytes_texts, *(avoid_wrapping(gettext(text)) for text in _LARGER_SIZES)]


def _url(path: str) -> str | None:
    """The URL of a static file; None where this installation lacks it.

    Static files with hashed names raise for a file that was never collected.
    """
    try:
        url = static(path)
    except ValueError:
        return None
    return url if _found(path) else None


def _found(path: str) -> bool:
    if not settings.DEBUG or "django.contrib.staticfiles" not in settings.INSTALLED_APPS:
        return True
    return finders.find(path) is not None


TEMPLATES = "cache_monitor/dashboard"
# ``table`` and ``format`` ask for the rows of a table in place of the page.
DOWNLOAD = ("table", "format")


def page(request: HttpRequest, site: AdminSite, name: str) -> HttpResponse:
    """The page ``name``; with ``partial=1`` the part of it that changes, with ``format`` a table's
    rows."""
    page = PAGES[name]
    try:
        asked_of_tables = layout.parameters(page.tables), layout.column_parameters(page.tables)
        own = (*page.own, *chain(*asked_of_tables), *DOWNLOAD)
        query, reading = _asked(request, own)
        before = report_before(query) if query.compare else None
        page_request = PageRequest(
            query, reading.report, Links(site, query), before, request.user.has_perm
        )
        content = page.build(page_request)
        asked = _asked_tables(page, content, query)
        if query.own.get("format"):
            return _download(query, content, asked)
    except BadParameterError as error:
        return refused(request, site, error)
    here = page_request.links.path(page.name)
    tables = {
        spec.name: layout.render_table(spec, asked[spec.name], here, query)
        for spec in content.tables
    }
    context = {**_context(page, page_request, reading), **content.context, "tables": tables}
    if query.partial:
        return TemplateResponse(request, f"{TEMPLATES}/fragment.html", context)
    context = {**site.each_context(request), **context}
    return TemplateResponse(request, f"{TEMPLATES}/page.html", context)


def stats(request: HttpRequest) -> HttpResponse:
    """The report as JSON."""
    try:
        __, reading = _asked(request)
    except BadParameterError as error:
        problem = {"error": {"parameter": error.parameter, "message": error.message}}
        return _json(msgspec.json.encode(problem), HTTPStatus.BAD_REQUEST)
    return _json(json.encode(reading.report))


def refused(request: HttpRequest, site: AdminSite, error: BadParameterError) -> HttpResponse:
    """The page about a parameter that cannot be used."""
    start = parse_query(type(request.GET)(), datetime.now(UTC))
    context = {
        **site.each_context(request),
        "title": _("Cache dashboard"),
        "problem": error,
        "page_url": Links(site, start).path("dashboard"),
    }
    return TemplateResponse(
        request, f"{TEMPLATES}/refused.html", context, status=HTTPStatus.BAD_REQUEST
    )


def _asked(request: HttpRequest, own: tuple[str, ...] = ()) -> tuple[Query, CachedReport]:
    query = parse_query(request.GET, datetime.now(UTC), own)
    if query.alias is not None:
        check_alias(query.alias)
    return query, cached_report(query)


def _asked_tables(
    page: DashboardPage, content: Content, query: Query
) -> Mapping[str, layout.TableQuery]:
    prefixes = layout.prefixes(page.tables)
    return {
        spec.name: layout.parse_table_query(query.own, prefixes[spec.name], spec)
        for spec in content.tables
    }


def _download(
    query: Query, content: Content, asked: Mapping[str, layout.TableQuery]
) -> HttpResponse:
    every: dict[str, AnySpec] = {
        spec.name: layout.apply_query(spec, asked[spec.name]) for spec in content.tables
    }
    every |= {spec.name: spec for spec in content.downloads}
    name, wanted = query.own.get("table", ""), query.own["format"]
    check_choice("table", name, every)
    check_choice("format", wanted, FORMATS)
    return download(every[name], wanted)


def _json(body: bytes, status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
    return HttpResponse(body, content_type="application/json", status=status)


def _context(
    page: DashboardPage, page_request: PageRequest, reading: CachedReport
) -> dict[str, object]:
    conf, query, links = get_conf(), page_request.query, page_request.links
    here = links.path(page.name)
    asked = query.encode(table="", format="")
    return {
        **page_context(links, page.name),
        "title": _("Cache dashboard") if page is LISTED[0] else page.title,
        "page_template": f"{TEMPLATES}/{page.name}.html",
        "frame": frame(page_request.report),
        "query": query,
        "ranges": _ranges(),
        "aliases": list(settings.CACHES),
        "enabled": conf.enabled,
        "store_problem": reading.store_problem,
        "store_note": api.store_note(),
        "refresh_seconds": conf.refresh_seconds if query.live and page is not ENTRY else 0,
        "page_url": here,
        # What the period's form keeps of the page's own question.
        "kept": {name: text for name, text in query.own.items() if not name.endswith("page")},
        "partial_url": f"{here}?{asked}&partial=1",
        "other_period_url": f"{here}?{query.encode(range='', since=query.range or '1h', until='')}",
        "default_url": f"{here}?{query.encode(range='1h', since='', until='')}",
        "longer_url": f"{here}?{query.encode(range='7d', since='', until='')}",
        "json_url": links.page("stats_json", compare=""),
    }


def _ranges() -> list[tuple[str, str]]:
    labels = (
        _("last 15 minutes"),
        _("last hour"),
        _("last 6 hours"),
        _("last 24 hours"),
        _("last 7 days"),
        _("last 30 days"),
    )
    return list(zip(RANGES, labels, strict=True))
