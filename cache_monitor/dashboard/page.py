"""What every page has: its request, the report, the frame around its content, the refusal.

One reading of the store serves everybody who looks within a few seconds: a page, its charts' JSON,
the refreshes of several viewers and the programs that poll the JSON ask the same question. Whoever
asks first reads the store; the others wait for the answer instead of reading it again beside.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Final, NamedTuple

from django.conf import settings
from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.templatetags.static import static
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.html import avoid_wrapping
from django.utils.translation import get_language, get_language_bidi, gettext, gettext_lazy
from django.utils.translation import gettext as _

from cache_monitor import api
from cache_monitor.concurrency import TimedValues, call_in_forked_children
from cache_monitor.conf import SETTING, forget_on_change, get_conf
from cache_monitor.dashboard import formats
from cache_monitor.dashboard.columns import Figure
from cache_monitor.dashboard.query import Links, Query
from cache_monitor.dashboard.tables import AnySpec
from cache_monitor.keys.known_keys import has_tenants
from cache_monitor.reports.build import KeyPoint
from cache_monitor.reports.schema import Quality, Report

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
class PageRequest:
    """A request for a page: its query, the report, and the user's permissions."""

    query: Query
    report: Report
    links: Links
    before: Report | None
    """The report of the period before, where the page compares with it."""
    has_perm: Callable[[str], bool]

    def may(self, permission: str) -> bool:
        return self.has_perm(f"cache_monitor.{permission}")


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a page: ``tables`` that the URL sorts and searches, the context of its
    template, and other tables as ``downloads``."""

    tables: Sequence[AnySpec] = ()
    downloads: Sequence[AnySpec] = ()
    context: Mapping[str, object] = field(default_factory=dict)


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


KeyLines = Mapping[str, Sequence[KeyPoint]]
"""The use of keys over time, by key."""
MOST = 16
"""Readings that a process keeps: each may weigh a megabyte."""
FRESH_FOR = 2.0
"""Seconds that a reading is used; no more than half of the time between two refreshes."""
FRESH_FOR_LONG = 30.0
"""Seconds that the reading of a long period is used."""
FRESH_SHARE = 1 / 2880
"""The part of a period for which its reading is used: half a minute of a day."""


class CachedReport(NamedTuple):
    """A report, and what is wrong with the store that it comes from, if anything."""

    report: Report
    store_problem: str | None

    @property
    def has_calls(self) -> bool:
        return any(cache.calls for cache in self.report.caches.values())

    @property
    def is_unread(self) -> bool:
        """Whether the store fails and has nothing to show, so that nothing is known."""
        has_scans = any(cache.memory.measured_at for cache in self.report.caches.values())
        return self.store_problem is not None and not (self.has_calls or has_scans)


readings: Final[TimedValues[CachedReport]] = TimedValues(MOST)
key_lines: Final[TimedValues[KeyLines]] = TimedValues(MOST)
for _each in (readings, key_lines):
    call_in_forked_children(_each.clear)
    forget_on_change((SETTING, "CACHES"), _each.clear)


def cached_report(query: Query) -> CachedReport:
    """The report that ``query`` asks for. Raises :class:`~cache_monitor.api.UnknownAlias`."""
    # A period that ends now is left open: calls are recorded while the report is made.
    return _cached(query, query.since, None if query.live else query.until)


def report_before(query: Query) -> Report | None:
    """The report of the period before; None where that begins before 1970."""
    if query.before.timestamp() < 0:
        return None
    return _cached(query, query.before, query.since, "before").report


def _cached(query: Query, since: datetime, until: datetime | None, *name: str) -> CachedReport:
    """A long period has long steps: it is read more rarely than the page refreshes itself, unless
    the store failed."""

    def read() -> CachedReport:
        report = api.report(since=since, until=until, alias=query.alias)
        return CachedReport(report, api.problem_of(report))

    question = (*name, *query.period.values(), query.alias)
    length = (query.until - query.since).total_seconds()
    briefly = min(FRESH_FOR, get_conf().refresh_seconds / 2)
    kept = readings.get(question, read, max(briefly, min(FRESH_FOR_LONG, length * FRESH_SHARE)))
    return kept if kept.store_problem is None else readings.get(question, read, briefly)


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


def ask(
    request: HttpRequest,
    links: Links,
    name: str,
    template: str,
    hidden: Mapping[str, str],
    context: Mapping[str, object],
) -> HttpResponse:
    """The page with the form of the action ``name``; ``hidden`` are its parameters."""
    form = {"action_url": links.path(name), "hidden": {**hidden, "back": links.carried}}
    return respond(request, links, name, template, {**form, **context})
