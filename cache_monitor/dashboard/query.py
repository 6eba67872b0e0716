"""What a page is asked for: the parameters of its URL, the report, and links with other ones."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.admin import AdminSite
from django.http import QueryDict
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cache_monitor import api
from cache_monitor.api import parse_duration, parse_moment
from cache_monitor.concurrency import TimedValues, call_in_forked_children
from cache_monitor.conf import SETTING, forget_on_change, get_conf
from cache_monitor.dashboard.formats import visible
from cache_monitor.keys.grouping import SHOWN_LENGTH
from cache_monitor.keys.naming import SESSION_MASK, written_as_shown
from cache_monitor.reports import Report

RANGES = {
    "15m": gettext_lazy("last 15 minutes"),
    "1h": gettext_lazy("last hour"),
    "6h": gettext_lazy("last 6 hours"),
    "24h": gettext_lazy("last 24 hours"),
    "7d": gettext_lazy("last 7 days"),
    "30d": gettext_lazy("last 30 days"),
}
DEFAULT_RANGE = "1h"
# ``compare=1`` puts the period before beside the one that is asked for. ``partial=1`` asks for the
# inside of the page alone: what the page fetches to refresh itself.
OF_REPORTS = ("range", "since", "until", "alias")
OF_PAGES = (*OF_REPORTS, "compare", "partial")


class BadParameterError(ValueError):
    """A parameter of the URL that cannot be used; the message says what to write."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter
        self.message = message


def check_choice(parameter: str, text: str, choices: Collection[str]) -> None:
    """Raise BadParameterError where ``text`` is none of ``choices``."""
    if text not in choices:
        message = _("Write one of: %(names)s.") % {"names": ", ".join(choices)}
        raise BadParameterError(parameter, message)


def check_alias(alias: str) -> None:
    """Raise BadParameterError where there is no such cache."""
    if alias not in settings.CACHES:
        message = _("There is no such cache. Write one of: %(names)s.")
        raise BadParameterError("alias", message % {"names": ", ".join(settings.CACHES)})


@dataclass(frozen=True, slots=True)
class Query:
    """A checked query. ``range`` is empty where the period was written with since."""

    since: datetime
    until: datetime
    range: str
    since_text: str
    until_text: str
    alias: str | None
    compare: bool
    partial: bool
    own: Mapping[str, str] = field(default_factory=dict)
    """The parameters that the page has besides those that all pages share."""

    @property
    def live(self) -> bool:
        """Whether the period ends now, so that the page has something to refresh."""
        return not self.until_text

    @property
    def period(self) -> Mapping[str, str]:
        """The period as it was written; empty texts for what was not."""
        return {"range": self.range, "since": self.since_text, "until": self.until_text}

    @property
    def before(self) -> datetime:
        """Where the period before begins, which is as long and ends where this one begins."""
        return self.since - (self.until - self.since)

    @property
    def shared(self) -> Mapping[str, str]:
        """The parameters of all pages, as they were written."""
        compare = "1" if self.compare else ""
        return {**self.period, "alias": self.alias or "", "compare": compare}

    def without(self, *names: str) -> Mapping[str, str]:
        """The other parameters, for a form that has these itself."""
        every = {**self.shared, **self.own}
        return {name: text for name, text in every.items() if text and name not in names}

    def carried(self, **changes: str) -> str:
        """The period and the cache as a query string, for a link to another page."""
        return _encoded({**self.shared, **changes})

    def encode(self, changes: Mapping[str, str] | None = None, **more: str) -> str:
        """The whole query as a string, with ``changes``; an empty one removes its parameter."""
        return _encoded({**self.shared, **self.own, **(changes or {}), **more})


def _encoded(parameters: Mapping[str, str]) -> str:
    return urlencode({key: value for key, value in parameters.items() if value})


def as_shown(key: str) -> str:
    """``key``, or BadParameterError if it has a credential in it, which addresses must not have:
    they stay in histories and logs."""
    shown = written_as_shown(key)
    if shown != key:
        message = _(
            "It holds what looks like a session key or another credential. "
            "Write the key as it is shown: %(key)s"
        )
        raise BadParameterError("key", message % {"key": visible(shown)})
    return key


def parse_query(
    data: QueryDict,
    now: datetime,
    own: Collection[str] = (),
    shared: Collection[str] = OF_PAGES,
) -> Query:
    """The query in ``data``; ``own`` are the page's parameters beside the ``shared`` ones. Raises
    BadParameterError."""
    given = _given(data, (*shared, *own))
    until_text, since_text = given.get("until", ""), given.get("since", "")
    until = _moment("until", until_text, now) if until_text else now
    named = "" if since_text else given.get("range", DEFAULT_RANGE)
    if since_text and "range" in given:
        raise BadParameterError("range", _("Write either range or since, not both."))
    since = _moment("since", since_text, now) if since_text else _begin(until, named)
    if since >= until:
        raise BadParameterError("since", _("The period must begin before it ends."))
    return Query(
        since=since,
        until=until,
        range=named,
        since_text=since_text,
        until_text=until_text,
        alias=given.get("alias"),
        compare=flag("compare", given.get("compare", "")),
        partial=flag("partial", given.get("partial", "")),
        own={name: value for name, value in given.items() if name in own},
    )


def previous_query(data: QueryDict) -> Query:
    """The query of the page that the user came from; the default where it cannot be read."""
    now = datetime.now(UTC)
    try:
        return parse_query(QueryDict(data.get("back", "")), now)
    except BadParameterError:
        return parse_query(QueryDict(urlencode({"alias": data.get("alias", "")})), now)


def _given(data: QueryDict, known: Collection[str]) -> Mapping[str, str]:
    """The parameters that carry a value; a form sends the empty ones too."""
    for name, values in data.lists():
        if name not in known:
            raise BadParameterError(
                name[:60],
                _("There is no such parameter. Write one of: %(names)s.")
                % {"names": ", ".join(known)},
            )
        if len(values) > 1:
            raise BadParameterError(name, _("It is given more than once. Write it once."))
    return {name: value for name, value in data.items() if isinstance(value, str) and value}


def _begin(until: datetime, named: str) -> datetime:
    check_choice("range", named, RANGES)
    try:
        return until - parse_duration(named)
    except OverflowError:
        raise BadParameterError("until", _("It is too long ago.")) from None


def _moment(name: str, text: str, now: datetime) -> datetime:
    try:
        return parse_moment(text, now)
    except ValueError as error:
        raise BadParameterError(name, str(error)) from None


def flag(name: str, text: str) -> bool:
    """Whether the parameter ``name`` is 1. Raises BadParameterError."""
    if text not in {"", "0", "1"}:
        raise BadParameterError(name, _("Write 1, or leave it out."))
    return text == "1"


def _can_be_named(text: str) -> bool:
    """Whether a URL can name ``text``: not if it is empty, which means no parameter, or longer than
    any key or group that is shown."""
    return 0 < len(text) <= SHOWN_LENGTH


class Links:
    """The addresses of the pages, with the period and the cache that ``query`` asks for."""

    def __init__(self, site: AdminSite, query: Query) -> None:
        self.site = site
        self.query = query
        self._paths: dict[str, str] = {}

    def path(self, name: str) -> str:
        """The address of a page by its name, without a query."""
        found = self._paths.get(name)
        if found is None:  # a page has a hundred links to few others
            url = f"admin:cache_monitor_{name}"
            found = self._paths[name] = reverse(url, current_app=self.site.name)
        return found

    @property
    def carried(self) -> str:
        return self.query.carried()

    def page(self, name: str, **changes: str) -> str:
        """A page with the same period and cache; ``changes`` are added, an empty one removes."""
        carried = self.query.carried(**changes)
        return f"{self.path(name)}?{carried}" if carried else self.path(name)

    def entry(self, alias: str, key: str, group: str = "") -> str:
        """The page of one key; nothing for a session's, which is masked."""
        if group == "session" or key == SESSION_MASK or not _can_be_named(key):
            return ""
        return self.page("entry", alias=alias, key=key)

    def group(self, alias: str, group: str) -> str:
        return self.page("keys", alias=alias, group=group) if _can_be_named(group) else ""

    def view(self, name: str) -> str:
        return self.page("views", view=name) if _can_be_named(name) else ""

    def action(self, name: str, **target: str) -> str:
        """The confirmation page of an action, which comes back to this period."""
        if not all(map(_can_be_named, target.values())):
            return ""
        return f"{self.path(name)}?{urlencode({**target, 'back': self.carried})}"


# One reading of the store serves everybody who looks within a few seconds: a page, its charts'
# JSON, the refreshes of several viewers and the programs that poll the JSON ask the same question.
# Whoever asks first reads the store; the others wait for the answer.

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
call_in_forked_children(readings.clear)
forget_on_change((SETTING, "CACHES"), readings.clear)


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
