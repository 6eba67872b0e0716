"""What every page has: its request, the report, the frame around its content, the refusal.

One reading of the store serves everybody who looks within a few seconds: a page, its charts' JSON,
the refreshes of several viewers and the programs that poll the JSON ask the same question. Whoever
asks first reads the store; the others wait for the answer instead of reading it again beside.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, NamedTuple

from django.conf import settings
from django.contrib.admin import AdminSite
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
from cache_monitor.dashboard.query import BadParameterError, Links, Query, parse_query
from cache_monitor.dashboard.tables import AnySpec
from cache_monitor.keys.known_keys import has_tenants
from cache_monitor.reports.schema import Quality, Report
from cache_monitor.reports.series import KeyPoint

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
        """Whether the user has a permission of the dashboard."""
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


readings: Final[TimedValues[CachedReport]] = TimedValues(MOST)
key_lines: Final[TimedValues[KeyLines]] = TimedValues(MOST)
for _each in (readings, key_lines):
    call_in_forked_children(_each.clear)
    forget_on_change((SETTING, "CACHES"), _each.clear)


def cached_report(query: Query) -> CachedReport:
    """The report that ``query`` asks for. Raises :class:`~cache_monitor.api.UnknownAlias`."""

    def read() -> CachedReport:
        # A period that ends now is left open: calls are recorded while the report is made.
        until = None if query.live else query.until
        report = api.report(since=query.since, until=until, alias=query.alias)
        return CachedReport(report, api.problem_of(report))

    return _kept((*query.period.values(), query.alias), read, query)


def report_before(query: Query) -> Report | None:
    """The report of the period before; None where that begins before 1970."""
    if query.before.timestamp() < 0:
        return None

    def read() -> CachedReport:
        report = api.report(since=query.before, until=query.since, alias=query.alias)
        return CachedReport(report, report.quality.store_problem)

    return _kept(("before", *query.period.values(), query.alias), read, query).report


def _kept(question: Hashable, read: Callable[[], CachedReport], query: Query) -> CachedReport:
    """A long period has long steps: it is read more rarely than the page refreshes itself, unless
    the store failed."""
    length = (query.until - query.since).total_seconds()
    briefly = min(FRESH_FOR, get_conf().refresh_seconds / 2)
    kept = readings.get(question, read, max(briefly, min(FRESH_FOR_LONG, length * FRESH_SHARE)))
    return kept if kept.store_problem is None else readings.get(question, read, briefly)


@dataclass(frozen=True, slots=True)
class Frame:
    """What every page shows: the period, and how far the figures can be trusted."""

    since: datetime | None
    until: datetime | None
    generated_at: datetime | None
    processes: str
    newest_at: datetime | None
    newest_age: str
    quality: Sequence[Figure]
    counts: str
    """Whether the counts are exact."""
    of_all_tenants: bool
    """Whether the site has tenants, whose figures are added up here."""
    has_calls: bool
    is_unread: bool
    """Whether the store fails and has nothing to show, so that nothing is known."""


def frame(reading: CachedReport) -> Frame:
    """What every page shows besides its own content."""
    report, quality = reading.report, reading.report.quality
    now, newest = formats.moment(report.generated_at), formats.moment(quality.newest_record_at)
    caches = report.caches.values()
    has_calls = any(cache.calls for cache in caches)
    is_unread = reading.store_problem is not None and not (
        has_calls or any(cache.memory.measured_at for cache in caches)
    )
    counts = _("~estimated") if quality.estimated else _("exact")
    return Frame(
        since=formats.moment(report.since),
        until=formats.moment(report.until),
        generated_at=now,
        processes=_known(quality.processes, not is_unread),
        newest_at=newest,
        newest_age=formats.age((now - newest).total_seconds() if now and newest else None),
        quality=list(_quality(quality, is_unread=is_unread)),
        counts=formats.UNKNOWN if is_unread else counts,
        of_all_tenants=has_tenants(),
        has_calls=has_calls,
        is_unread=is_unread,
    )


def _quality(quality: Quality, *, is_unread: bool) -> Iterator[Figure]:
    dropped, corrupt = quality.dropped_calls, quality.corrupt_windows
    # Those of this process are known, whatever the store does.
    yield Figure(_("Dropped calls"), _known(dropped, dropped or not is_unread), dropped > 0)
    if quality.cut_off_processes:
        yield Figure(_("Stopped reporting"), formats.count(quality.cut_off_processes), True)
    yield Figure(_("Corrupt windows"), _known(corrupt, not is_unread), corrupt > 0)
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


def refused(request: HttpRequest, site: AdminSite, error: BadParameterError) -> HttpResponse:
    """The page about a parameter that cannot be used."""
    start = parse_query(type(request.GET)(), datetime.now(UTC))
    context = {
        **site.each_context(request),
        **page_context(Links(site, start), "refused"),
        "title": _("Cache dashboard"),
        "problem": error,
    }
    return TemplateResponse(
        request, f"{TEMPLATES}/refused.html", context, status=HTTPStatus.BAD_REQUEST
    )
