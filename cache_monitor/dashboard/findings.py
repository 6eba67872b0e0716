"""The findings page: caching mistakes with their evidence in words; and muting one of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeGuard, cast

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.admin.models import CHANGE
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from cache_monitor import api
from cache_monitor.dashboard import formats
from cache_monitor.dashboard.columns import Cell, code, code_column, text_column
from cache_monitor.dashboard.deleting import log_action
from cache_monitor.dashboard.page import (
    TEMPLATES,
    Content,
    PageRequest,
    page_context,
    readings,
    refused,
)
from cache_monitor.dashboard.query import (
    BadParameterError,
    Links,
    Query,
    check_alias,
    check_choice,
    previous_query,
)
from cache_monitor.dashboard.tables import TableSpec
from cache_monitor.findings.engine import RULES, explanations
from cache_monitor.findings.history import identity
from cache_monitor.findings.texts import ANCHOR, in_words
from cache_monitor.keys.display import SHOWN_LENGTH
from cache_monitor.reports.schema import Finding, Report
from cache_monitor.stores.base import StoreError


def build(page_request: PageRequest) -> Content:
    """The findings, the muted ones, and what each kind means."""
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


@dataclass(frozen=True, slots=True)
class FindingRows:
    """A finding as a page shows it. ``severity`` is a name, ``word`` what people read for it."""

    severity: str
    word: str
    title: str
    code: str
    alias: str
    subject: Cell | None
    evidence: Sequence[tuple[str, str]]
    advice: str
    prediction: str
    prediction_url: str
    docs: str
    first_seen: datetime | None
    mute_url: str


@dataclass(frozen=True, slots=True)
class MutedRow:
    """A muted finding. ``unmute_url`` is empty without the permission."""

    code: str
    alias: str
    place: str
    by: str
    reason: str
    at: datetime | None
    unmute_url: str


def finding_rows(report: Report, links: Links, *, may_mute: bool = False) -> Sequence[FindingRows]:
    """The findings in the report's order, the most expensive first."""
    return [_rows(finding, report, links, may_mute=may_mute) for finding in report.findings]


def muted_rows(links: Links, alias: str | None, *, may_mute: bool) -> Sequence[MutedRow]:
    """The muted findings of one cache or all, the latest first; none where the store fails, which
    the page shows elsewhere."""
    try:
        muted = api.muted()
    except StoreError:
        return []
    return [
        MutedRow(
            code=each.code,
            alias=each.alias,
            place=formats.visible(formats.cut(each.key or each.group or "")),
            by=each.by,
            reason=each.reason,
            at=datetime.fromtimestamp(each.at, UTC),
            unmute_url=links.action("unmute_finding", id=name) if may_mute else "",
        )
        for name, each in sorted(muted.items(), key=lambda pair: -pair[1].at)
        if alias in (None, each.alias)
    ]


def findings_spec(report: Report) -> TableSpec[Finding]:
    """The findings for a download."""
    return TableSpec(
        "findings",
        _("Findings"),
        [
            text_column("severity", _("Severity"), lambda each: each.severity),
            text_column("code", _("Finding"), lambda each: each.code),
            code_column("cache", _("Cache"), lambda each: each.alias),
            code_column("group", _("Group"), lambda each: each.group or ""),
            code_column("key", _("Key"), lambda each: each.key or ""),
            text_column("evidence", _("Evidence"), _evidence_text),
            text_column("advice", _("Advice"), lambda each: each.advice),
        ],
        report.findings,
    )


Evidence = Mapping[str, int | float | str | None]
_PREDICTED = "predicted_"
"""The beginning of the names of predicted figures, which have a sentence of their own."""
_PREDICTABLE = frozenset(
    {"aged-content", "evicted-early", "low-hit-ratio", "overwritten", "short-timeout"}
)
"""Findings that another size or timeout may help against."""


def _rows(finding: Finding, report: Report, links: Links, *, may_mute: bool) -> FindingRows:
    words = {"error": _("error"), "warning": _("warning"), "info": _("hint")}
    cache = report.caches.get(finding.alias)
    title, advice = in_words(finding, cache.backend if cache is not None else "")
    return FindingRows(
        severity=finding.severity,
        word=words[finding.severity],
        title=title,
        code=finding.code,
        alias=finding.alias,
        subject=_subject(finding, links),
        evidence=[
            *_worth(finding),
            *(
                (label(name), _figure(finding, name))
                for name in finding.evidence
                if not name.startswith(_PREDICTED)
            ),
        ],
        advice=advice,
        prediction=_prediction(finding.evidence),
        prediction_url=_prediction_url(finding, links),
        docs=_docs_url(finding, links),
        first_seen=formats.moment(finding.first_seen),
        mute_url=_mute_url(finding, links) if may_mute else "",
    )


def _prediction(evidence: Evidence) -> str:
    """The prediction for the advised change, such as "10 min instead of 5 min: +9 points, 41 s an
    hour"; empty without one."""
    points = evidence.get("predicted_points")
    if not isinstance(points, float | int):
        return ""
    # What can be set: a server's memory where it has a limit of bytes.
    name, text_of = next(
        (each for each in _CHANGES if f"predicted_{each[0]}" in evidence), _CHANGES[-1]
    )
    change = _("%(new)s instead of %(old)s") % {
        "new": _changed(evidence, f"predicted_{name}", text_of),
        "old": _changed(evidence, f"predicted_instead_{name}", text_of),
    }
    gained = formats.points(points / 100, 0.0)
    error = evidence.get("predicted_error_points")
    text = f"{change}: {gained}" + (f" ±{formats.decimal(error)}" if _is_number(error) else "")
    saved = evidence.get("predicted_saved_seconds")
    if not _is_number(saved):
        return text
    return _("%(prediction)s, %(seconds)s of computing an hour") % {
        "prediction": text,
        "seconds": formats.duration(saved),
    }


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, float | int) and value != 0


def _changed(evidence: Evidence, name: str, text: Callable[[float], str]) -> str:
    value = evidence.get(name)
    return text(value) if isinstance(value, float | int) else formats.UNKNOWN


def _entries(number: float) -> str:
    return _("%(count)s entries") % {"count": formats.count(round(number))}


_CHANGES: tuple[tuple[str, Callable[[float], str]], ...] = (
    ("timeout", formats.age),
    ("bytes", lambda number: formats.size(round(number))),
    ("entries", _entries),
)


def _prediction_url(finding: Finding, links: Links) -> str:
    """The what-if page, for findings that it may help with."""
    return links.page("what_if", alias=finding.alias) if finding.code in _PREDICTABLE else ""


def _docs_url(finding: Finding, links: Links) -> str:
    """The documentation: on the web if its address is known, else on this site's own page."""
    if finding.docs.startswith("https://"):
        return finding.docs
    return f"{links.page('findings')}#{ANCHOR.format(code=finding.code)}"


def _mute_url(finding: Finding, links: Links) -> str:
    place = {"group": finding.group or "", "key": finding.key or ""}
    named = {name: text for name, text in place.items() if text}
    return links.action("mute_finding", code=finding.code, alias=finding.alias, **named)


def _subject(finding: Finding, links: Links) -> Cell | None:
    """The key that it is about, or the group."""
    if finding.key is not None:
        return code(finding.key, links.entry(finding.alias, finding.key, finding.group or ""))
    if finding.group is not None:
        return code(finding.group, links.group(finding.alias, finding.group))
    return None


def _figure(finding: Finding, name: str) -> str:
    """A figure of the evidence; of an estimate with its error, where that is known."""
    text, errors = _value(name, finding.evidence[name]), finding.evidence_errors
    if name not in errors:
        return text
    error = errors[name]
    return formats.about(text, exact=False) + (f" ±{_value(name, error)}" if error else "")


def _value(name: str, value: float | str | None) -> str:
    """A figure of the evidence, whose name ends in its unit where it has one."""
    if isinstance(value, str) and name.endswith("_at"):
        at = localtime(datetime.fromisoformat(value))
        return date_format(at, "SHORT_DATETIME_FORMAT")
    if value is None or isinstance(value, str):
        return formats.UNKNOWN if value is None else formats.visible(formats.cut(value))
    if name.endswith("bytes"):
        return formats.size(round(value))
    if name.endswith(("seconds", "timeout", "age")):
        return formats.duration(value)
    if name.endswith(("ratio", "share")):
        return formats.ratio(value)
    return formats.count(value) if isinstance(value, int) else formats.decimal(value)


def _worth(finding: Finding) -> Iterator[tuple[str, str]]:
    """What a finding costs in an hour of use: an estimate, as the period is no hour of use. Bytes
    are those of the period."""
    worth = finding.worth
    if worth.seconds is not None:
        seconds = formats.duration(worth.seconds)
        yield _("Seconds lost an hour"), formats.about(seconds, exact=False)
    if worth.bytes is not None:
        is_exact = not any(name.endswith("bytes") for name in finding.evidence_errors)
        yield _("Bytes for nothing"), formats.about(formats.size(worth.bytes), exact=is_exact)
    if worth.failed_calls is not None:
        calls = formats.count(worth.failed_calls)
        yield _("Calls in vain an hour"), formats.about(calls, exact=False)


def _evidence_text(finding: Finding) -> str:
    errors = finding.evidence_errors
    return ", ".join(
        f"{label(name)}: {'~' if name in errors else ''}{value}"
        + (f" ±{errors[name]}" if errors.get(name) else "")
        for name, value in finding.evidence.items()
    )


def label(name: str) -> str:
    """The label of a figure of the evidence, without its unit."""
    return _labels().get(name) or name.removesuffix("_seconds").removesuffix("_bytes").replace(
        "_", " "
    )


def _labels() -> dict[str, str]:
    return {
        "again_each": _("again, each request"),
        "bytes": _("bytes"),
        "bytes_without_expiry": _("bytes without expiry"),
        "cache_request_seconds": _("in the cache, each request"),
        "called_from": _("called from"),
        "calls": _("calls"),
        "calls_each": _("calls each request"),
        "cause": _("cause"),
        "clears": _("clears"),
        "deleted_unread": _("deleted unread"),
        "deletes": _("deletes"),
        "detail": _("detail"),
        "distinct_keys": _("distinct keys"),
        "entries": _("entries"),
        "entries_without_expiry": _("entries without expiry"),
        "errors": _("errors"),
        "evicted": _("evicted"),
        "expired": _("expired"),
        "expired_bytes": _("bytes expired"),
        "expired_rewrites": _("written anew when expired"),
        "get_seconds": _("a get"),
        "gets_each": _("gets each request"),
        "groups": _("groups"),
        "hit_ratio": _("hit ratio"),
        "hits": _("hits"),
        "limit_bytes": _("limit"),
        "limit_entries": _("entries at most"),
        "load_share": _("share of the load"),
        "lookup_seconds": _("lookup"),
        "lookups": _("lookups"),
        "lookups_share": _("share of the lookups"),
        "lost": _("lost"),
        "lost_by_new_directory": _("lost with the directory"),
        "lost_by_refusal": _("lost by refused writes"),
        "lost_by_replica": _("lost on a lagging replica"),
        "lost_by_restart": _("lost by a restart"),
        "lost_request_seconds": _("time lost each request"),
        "lost_seconds": _("time lost"),
        "median_age": _("median age"),
        "misses": _("misses"),
        "misses_by_clear": _("misses by clear"),
        "misses_by_deletion": _("misses by deletion"),
        "new_directory_at": _("new directory seen at"),
        "one_of_a_kind": _("one of a kind"),
        "operation": _("operation"),
        "overwritten_unread": _("overwritten unread"),
        "p90_age": _("age, p90"),
        "predicted_bytes": _("memory, predicted"),
        "predicted_entries": _("entries, predicted"),
        "predicted_error_points": _("points of error"),
        "predicted_instead_bytes": _("memory now"),
        "predicted_instead_entries": _("entries now"),
        "predicted_instead_timeout": _("timeout now"),
        "predicted_points": _("points gained"),
        "predicted_saved_seconds": _("saved an hour"),
        "predicted_stale_share": _("stale hits, predicted"),
        "predicted_timeout": _("timeout, predicted"),
        "processes": _("processes"),
        "produce_seconds": _("to produce"),
        "produced": _("produced"),
        "produced_in_vain": _("produced in vain"),
        "read_bytes": _("read"),
        "reason": _("reason"),
        "request_share": _("share of the request"),
        "requests": _("requests"),
        "restarted_at": _("restarted at"),
        "sets": _("sets"),
        "stale_share": _("share of the hits that had changed"),
        "unchanged_share": _("rewrites unchanged"),
        "view": _("view"),
        "written_bytes": _("written"),
    }


MAX_REASON_LENGTH = 500


def mute(request: HttpRequest, site: AdminSite) -> HttpResponse:
    """Ask for a reason; mute the finding on POST."""
    data = _permitted_data(request)
    query = previous_query(data)
    try:
        finding = _finding(data, query)
    except BadParameterError as error:
        return refused(request, site, error)
    links = Links(site, query)
    # On one line, without characters that nobody sees or that a database refuses.
    reason = formats.visible(" ".join(data.get("reason", "").split()))[:MAX_REASON_LENGTH]
    problem = ""
    if request.method == "POST":
        try:
            if reason:
                api.mute(finding, request.user.get_username(), reason)
                return _done(request, links, finding, _("Muted: %(reason)s") % {"reason": reason})
            problem = _("Write a reason.")
        except StoreError as error:
            problem = str(error)
    place = {name: getattr(finding, name) for name in ("code", "alias", "group", "key")}
    context = {"finding": finding, "hidden": place, "problem": problem}
    return _mute_question(request, site, links, context)


def unmute(request: HttpRequest, site: AdminSite) -> HttpResponse:
    """Ask whether to show the finding again; do so on POST."""
    data = _permitted_data(request)
    links = Links(site, previous_query(data))
    name = data.get("id", "")
    try:
        muted = api.muted().get(name)
        if muted is None:
            message = _("No such finding is muted.")
            return refused(request, site, BadParameterError("id", message))
        finding = _bare_finding(muted.code, muted.alias, muted.group, muted.key)
        if request.method == "POST":
            api.unmute(name)
            return _done(request, links, finding, _("Shown again."))
    except StoreError as error:
        messages.error(request, str(error))
        return HttpResponseRedirect(links.page("findings"))
    context = {"finding": finding, "hidden": {"id": name}, "muted": muted}
    return _mute_question(request, site, links, context)


def _permitted_data(request: HttpRequest) -> QueryDict:
    if not request.user.has_perm("cache_monitor.mute_finding"):
        raise PermissionDenied
    return request.POST if request.method == "POST" else request.GET


def _finding(data: QueryDict, query: Query) -> Finding:
    """The finding in the period of ``query`` that a URL or a form names. Its texts are the
    report's, not the form's."""
    code, alias = data.get("code", ""), data.get("alias", "")
    check_choice("code", code, RULES)
    check_alias(alias)
    group, key = (data.get(name, "")[:SHOWN_LENGTH] or None for name in ("group", "key"))
    named = identity(_bare_finding(code, alias, group, key))
    until = None if query.live else query.until
    for finding in api.report(since=query.since, until=until, alias=alias).findings:
        if finding.id == named:
            return finding
    raise BadParameterError("code", _("There is no such finding in this period, or it is muted."))


def _bare_finding(code: str, alias: str, group: str | None, key: str | None) -> Finding:
    """A finding by what identifies it, without its texts."""
    return Finding(
        code=code,
        severity="info",
        alias=alias,
        group=group,
        key=key,
        evidence={},
        advice="",
        docs="",
    )


def _done(request: HttpRequest, links: Links, finding: Finding, message: str) -> HttpResponse:
    readings.clear()
    words = ", ".join(filter(None, [finding.code, finding.alias, finding.group, finding.key]))
    # Anonymous users do not come here: the admin has sent them to its login.
    log_action(cast("int | str", request.user.pk), finding.alias, CHANGE, words, message)
    messages.success(request, f"{words}. {message}")
    return HttpResponseRedirect(links.page("findings"))


def _mute_question(
    request: HttpRequest, site: AdminSite, links: Links, context: Mapping[str, object]
) -> HttpResponse:
    name = "unmute_finding" if "muted" in context else "mute_finding"
    whole = {
        **site.each_context(request),
        **page_context(links, name),
        "title": _("Show a finding again") if "muted" in context else _("Mute a finding"),
        "action_url": links.path(name),
        "back_url": links.page("findings"),
        "back": links.page("dashboard").partition("?")[2],
        "longest": MAX_REASON_LENGTH,
        **context,
    }
    return TemplateResponse(request, f"{TEMPLATES}/mute.html", whole)
