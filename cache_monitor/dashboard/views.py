"""The dashboard's pages by their names, the frame around their content, and the figures as JSON."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus

import msgspec
from django.conf import settings
from django.contrib.admin import AdminSite
from django.contrib.staticfiles import finders
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.templatetags.static import static
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.html import avoid_wrapping
from django.utils.translation import get_language, get_language_bidi, gettext, gettext_lazy
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
from cache_monitor.dashboard.deleting import ActionForm
from cache_monitor.dashboard.formats import Figure
from cache_monitor.dashboard.query import (
    OF_PAGES,
    OF_REPORTS,
    RANGES,
    BadParameterError,
    CachedReport,
    Links,
    PageRequest,
    Query,
    cached_report,
    check_alias,
    check_choice,
    parse_query,
    previous_query,
    report_before,
)
from cache_monitor.dashboard.tables import FORMATS, AnySpec, Content, download
from cache_monitor.exporters import json
from cache_monitor.keys.known_keys import has_tenants
from cache_monitor.reports import Quality

TEMPLATES = "cache_monitor/dashboard"

ENTRY = "entry"
"""The page of one key, which is reached by links alone. It reads the live cache, so it does not
refresh itself."""
TITLES: Mapping[str, str | Promise] = {
    "dashboard": gettext_lazy("Overview"),
    "findings": gettext_lazy("Findings"),
    "keys": gettext_lazy("Hot keys"),
    "groups": gettext_lazy("Key groups"),
    "views": gettext_lazy("Views"),
    "memory": gettext_lazy("Memory"),
    "stale": gettext_lazy("Stale entries"),
    "what_if": gettext_lazy("What if"),
    ENTRY: gettext_lazy("Entry"),
}
"""The pages in the order of the navigation."""


@dataclass(frozen=True, slots=True)
class DashboardPage:
    """One page. ``name`` is that of its URL and of its template, ``tables`` are those that the URL
    sorts and searches, ``own`` its other parameters."""

    name: str
    build: Callable[[PageRequest], Content]
    tables: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    needs_calls: bool = False
    """Whether it has nothing to show of a period in which no cache was called."""


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


Act = Callable[[HttpRequest, Links], HttpResponse | ActionForm]
_ACTIONS: Mapping[str, tuple[str, Act]] = {
    **{
        name: (each.permission, partial(deleting.act, each))
        for name, each in deleting.ACTIONS.items()
    },
    "mute_finding": ("mute_finding", findings.mute),
    "unmute_finding": ("mute_finding", findings.unmute),
}
"""What does the actions, and the permission for each, by their names."""


def action(request: HttpRequest, site: AdminSite, name: str) -> HttpResponse:
    """The action ``name``, with the period of the page that the user came from."""
    permission, act = _ACTIONS[name]
    if not request.user.has_perm(f"cache_monitor.{permission}"):
        raise PermissionDenied
    data = request.POST if request.method == "POST" else request.GET
    links = Links(site, previous_query(data))
    answer = act(request, links)
    if isinstance(answer, HttpResponse):
        return answer
    form = {"action_url": links.path(name), "hidden": {**answer.hidden, "back": links.carried}}
    return respond(request, links, name, answer.template, {**form, **answer.context})


_VIEWS: Mapping[str, Callable[[HttpRequest, AdminSite], HttpResponse]] = {
    **{name: partial(page, name=name) for name in PAGES},
    "dashboard_changelist": partial(page, name="dashboard"),
    "stats_json": stats,
    **{name: partial(action, name=name) for name in _ACTIONS},
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


def frame(reading: CachedReport) -> dict[str, object]:
    """What every page shows besides its own content: the period, and how far the figures can be
    trusted."""
    report, quality, is_read = reading.report, reading.report.quality, not reading.is_unread
    now, newest = formats.moment(report.generated_at), formats.moment(quality.newest_record_at)
    counts = _("~estimated") if quality.estimated else _("exact")
    return {
        "since": formats.moment(report.since),
        "until": formats.moment(report.until),
        "generated_at": now,
        "processes": _known(quality.processes, is_read),
        "newest_at": newest,
        "newest_age": formats.age((now - newest).total_seconds() if now and newest else None),
        "quality": list(_quality(quality, is_read=is_read)),
        "counts": counts if is_read else formats.UNKNOWN,
        "of_all_tenants": has_tenants(),
        "has_calls": reading.has_calls,
        "is_unread": reading.is_unread,
    }


def _quality(quality: Quality, *, is_read: bool) -> Iterator[Figure]:
    dropped, corrupt = quality.dropped_calls, quality.corrupt_windows
    # Those of this process are known, whatever the store does.
    yield Figure(_("Dropped calls"), _known(dropped, dropped or is_read), dropped > 0)
    if quality.cut_off_processes:
        yield Figure(_("Stopped reporting"), formats.count(quality.cut_off_processes), True)
    yield Figure(_("Corrupt windows"), _known(corrupt, is_read), corrupt > 0)
    if quality.not_recorded:
        yield Figure(_("Not recorded: past CACHES"), ", ".join(quality.not_recorded), True)
    if has_tenants():
        # A user who may see one tenant's keys sees those of all.
        yield Figure(_("Keys shown"), _("those of all tenants"), True)


def _known(number: int, is_known: object) -> str:
    return formats.count(number) if is_known else formats.UNKNOWN


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
        "navigation": [
            (name, title, links.page(name)) for name, title in TITLES.items() if name != ENTRY
        ],
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
    """The URL of a static file; None where this installation lacks it."""
    try:
        url = static(path)
    except ValueError:
        return None  # names with hashes: the file was never collected
    is_looked_up = settings.DEBUG and "django.contrib.staticfiles" in settings.INSTALLED_APPS
    return None if is_looked_up and finders.find(path) is None else url


def respond(
    request: HttpRequest,
    links: Links,
    name: str,
    template: str,
    context: Mapping[str, object],
    status: int = HTTPStatus.OK,
) -> HttpResponse:
    """The page or action ``name``, as the ``template`` lays it out inside the admin."""
    whole = {**links.site.each_context(request), **page_context(links, name), **context}
    return TemplateResponse(request, f"{TEMPLATES}/{template}.html", whole, status=status)
