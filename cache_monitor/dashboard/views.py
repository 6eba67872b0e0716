"""The dashboard's two addresses: the page and its figures as JSON."""

from datetime import UTC, datetime
from http import HTTPStatus

import msgspec
from django.conf import settings
from django.contrib.admin import AdminSite
from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import get_language, get_language_bidi
from django.utils.translation import gettext as _

from cache_monitor import api
from cache_monitor.conf import get_conf
from cache_monitor.dashboard import formats
from cache_monitor.dashboard.present import present
from cache_monitor.dashboard.query import RANGES, BadParameterError, Query, parse_query
from cache_monitor.exporters import json
from cache_monitor.reports.schema import Report

CHART_JS = "cache_monitor/vendor/chart.umd.min.js"
TEMPLATES = "cache_monitor/dashboard"


def page(request: HttpRequest, site: AdminSite) -> HttpResponse:
    """The dashboard, or with ``partial=1`` the part of it that changes."""
    try:
        query, report = _asked(request)
    except BadParameterError as error:
        return _refused(request, site, error)
    context = _context(site, query, report)
    if query.partial:
        return TemplateResponse(request, f"{TEMPLATES}/fragment.html", context)
    context = {**site.each_context(request), **context}
    return TemplateResponse(request, f"{TEMPLATES}/page.html", context)


def stats(request: HttpRequest) -> HttpResponse:
    """The report as JSON."""
    try:
        __, report = _asked(request)
    except BadParameterError as error:
        problem = {"error": {"parameter": error.parameter, "message": error.message}}
        return _json(msgspec.json.encode(problem), HTTPStatus.BAD_REQUEST)
    return _json(json.encode(report))


def _asked(request: HttpRequest) -> tuple[Query, Report]:
    query = parse_query(request.GET, datetime.now(UTC))
    try:
        # A period that ends now is left open: calls are recorded while the report is made.
        until = None if query.live else query.until
        return query, api.report(since=query.since, until=until, alias=query.alias)
    except api.UnknownAlias:
        message = _("There is no such cache. Write one of: %(names)s.")
        raise BadParameterError("alias", message % {"names": ", ".join(settings.CACHES)}) from None


def _json(body: bytes, status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
    return HttpResponse(body, content_type="application/json", status=status)


def _refused(request: HttpRequest, site: AdminSite, error: BadParameterError) -> HttpResponse:
    context = {
        **site.each_context(request),
        "title": _("Cache dashboard"),
        "problem": error,
        "page_url": _url(site, "dashboard"),
    }
    return TemplateResponse(
        request, f"{TEMPLATES}/refused.html", context, status=HTTPStatus.BAD_REQUEST
    )


def _context(site: AdminSite, query: Query, report: Report) -> dict[str, object]:
    conf = get_conf()
    asked = query.encode()
    here = _url(site, "dashboard")
    return {
        "title": _("Cache dashboard"),
        "page": present(report),
        "query": query,
        "ranges": _ranges(),
        "aliases": list(settings.CACHES),
        "enabled": conf.enabled,
        "flush_interval": formats.age(max(1.0, conf.flush_interval)),
        "store_problem": api.store_problem(),
        "refresh_seconds": conf.refresh_seconds if query.live else 0,
        "page_url": here,
        "partial_url": f"{here}?{asked}&partial=1",
        "other_period_url": f"{here}?{query.encode(range='', since=query.range or '1h', until='')}",
        "default_url": f"{here}?{query.encode(range='1h', since='', until='')}",
        "longer_url": f"{here}?{query.encode(range='7d', since='', until='')}",
        "json_url": f"{_url(site, 'stats_json')}?{asked}",
        "chart_js_url": _chart_js_url(),
        "time_zone": timezone.get_current_timezone_name(),
        "language": get_language() or settings.LANGUAGE_CODE,
        "rtl": get_language_bidi(),
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


def _url(site: AdminSite, name: str) -> str:
    return reverse(f"admin:cache_monitor_{name}", current_app=site.name)


def _chart_js_url() -> str | None:
    """Where Chart.js is served, or None where this installation lacks it.

    Static files with hashed names raise for a file that was never collected.
    """
    try:
        url = static(CHART_JS)
    except ValueError:
        return None
    return url if _chart_js_found() else None


def _chart_js_found() -> bool:
    if not settings.DEBUG or "django.contrib.staticfiles" not in settings.INSTALLED_APPS:
        return True
    return finders.find(CHART_JS) is not None
