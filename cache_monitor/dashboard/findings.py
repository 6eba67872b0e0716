"""The findings page: caching mistakes with their evidence in words; and muting one of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeGuard

from django.contrib import messages
from django.contrib.admin.models import CHANGE
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cache_monitor import api
from cache_monitor.dashboard import formats
from cache_monitor.dashboard.deleting import ActionForm, log_action
from cache_monitor.dashboard.formats import Cell, code_cell, code_column, text_column
from cache_monitor.dashboard.query import (
    BadParameterError,
    Links,
    PageRequest,
    Query,
    check_alias,
    check_choice,
    readings,
)
from cache_monitor.dashboard.tables import Content, TableSpec
from cache_monitor.findings.engine import RULES, explanations
from cache_monitor.findings.history import Mute, identity
from cache_monitor.findings.texts import ANCHOR, in_words
from cache_monitor.keys.grouping import SHOWN_LENGTH
from cache_monitor.reports import Finding, Report
from cache_monitor.stores.base import StoreError


def build(page_request: PageRequest) -> Content:
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

    mute: Mute
    place: str
    at: datetime
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
            mute=each,
            place=formats.visible(formats.cut(each.key or each.group or "")),
            at=localtime(datetime.fromtimestamp(each.at, UTC)),
            unmute_url=links.action("unmute_finding", id=name) if may_mute else "",
        )
        for name, each in sorted(muted.items(), key=lambda pair: -pair[1].at)
        if alias in (None, each.alias)
    ]


def findings_spec(report: Report) -> TableSpec[Finding]:
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
        prediction_url=(
            links.page("what_if", alias=finding.alias) if finding.code in _PREDICTABLE else ""
        ),
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
    if finding.key is not None:
        return code_cell(finding.key, links.entry(finding.alias, finding.key, finding.group or ""))
    if finding.group is not None:
        return code_cell(finding.group, links.group(finding.alias, finding.group))
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


LABELS: Mapping[str, Promise] = {
    "again_each": gettext_lazy("again, each request"),
    "bytes": gettext_lazy("bytes"),
    "bytes_without_expiry": gettext_lazy("bytes without expiry"),
    "cache_request_seconds": gettext_lazy("in the cache, each request"),
    "called_from": gettext_lazy("called from"),
    "calls": gettext_lazy("calls"),
    "calls_each": gettext_lazy("calls each request"),
    "cause": gettext_lazy("cause"),
    "clears": gettext_lazy("clears"),
    "deleted_unread": gettext_lazy("deleted unread"),
    "deletes": gettext_lazy("deletes"),
    "detail": gettext_lazy("detail"),
    "distinct_keys": gettext_lazy("distinct keys"),
    "entries": gettext_lazy("entries"),
    "entries_without_expiry": gettext_lazy("entries without expiry"),
    "errors": gettext_lazy("errors"),
    "evicted": gettext_lazy("evicted"),
    "expired": gettext_lazy("expired"),
    "expired_bytes": gettext_lazy("bytes expired"),
    "expired_rewrites": gettext_lazy("written anew when expired"),
    "get_seconds": gettext_lazy("a get"),
    "gets_each": gettext_lazy("gets each request"),
    "groups": gettext_lazy("groups"),
    "hit_ratio": gettext_lazy("hit ratio"),
    "hits": gettext_lazy("hits"),
    "limit_bytes": gettext_lazy("limit"),
    "limit_entries": gettext_lazy("entries at most"),
    "load_share": gettext_lazy("share of the load"),
    "lookup_seconds": gettext_lazy("lookup"),
    "lookups": gettext_lazy("lookups"),
    "lookups_share": gettext_lazy("share of the lookups"),
    "lost": gettext_lazy("lost"),
    "lost_by_new_directory": gettext_lazy("lost with the directory"),
    "lost_by_refusal": gettext_lazy("lost by refused writes"),
    "lost_by_replica": gettext_lazy("lost on a lagging replica"),
    "lost_by_restart": gettext_lazy("lost by a restart"),
    "lost_request_seconds": gettext_lazy("time lost each request"),
    "lost_seconds": gettext_lazy("time lost"),
    "median_age": gettext_lazy("median age"),
    "misses": gettext_lazy("misses"),
    "misses_by_clear": gettext_lazy("misses by clear"),
    "misses_by_deletion": gettext_lazy("misses by deletion"),
    "new_directory_at": gettext_lazy("new directory seen at"),
    "one_of_a_kind": gettext_lazy("one of a kind"),
    "operation": gettext_lazy("operation"),
    "overwritten_unread": gettext_lazy("overwritten unread"),
    "p90_age": gettext_lazy("age, p90"),
    "predicted_bytes": gettext_lazy("memory, predicted"),
    "predicted_entries": gettext_lazy("entries, predicted"),
    "predicted_error_points": gettext_lazy("points of error"),
    "predicted_instead_bytes": gettext_lazy("memory now"),
    "predicted_instead_entries": gettext_lazy("entries now"),
    "predicted_instead_timeout": gettext_lazy("timeout now"),
    "predicted_points": gettext_lazy("points gained"),
    "predicted_saved_seconds": gettext_lazy("saved an hour"),
    "predicted_stale_share": gettext_lazy("stale hits, predicted"),
    "predicted_timeout": gettext_lazy("timeout, predicted"),
    "processes": gettext_lazy("processes"),
    "produce_seconds": gettext_lazy("to produce"),
    "produced": gettext_lazy("produced"),
    "produced_in_vain": gettext_lazy("produced in vain"),
    "read_bytes": gettext_lazy("read"),
    "reason": gettext_lazy("reason"),
    "request_share": gettext_lazy("share of the request"),
    "requests": gettext_lazy("requests"),
    "restarted_at": gettext_lazy("restarted at"),
    "sets": gettext_lazy("sets"),
    "stale_share": gettext_lazy("share of the hits that had changed"),
    "unchanged_share": gettext_lazy("rewrites unchanged"),
    "view": gettext_lazy("view"),
    "written_bytes": gettext_lazy("written"),
}
"""The labels of the figures of the evidence, by their names."""


def label(name: str) -> str:
    """The label of a figure of the evidence, without its unit."""
    known = LABELS.get(name)
    short = name.removesuffix("_seconds").removesuffix("_bytes").replace("_", " ")
    return short if known is None else str(known)


MAX_REASON_LENGTH = 500


def mute(request: HttpRequest, links: Links) -> HttpResponse | ActionForm:
    """Ask for a reason; mute the finding on POST."""
    data = request.POST if request.method == "POST" else request.GET
    finding = _finding(data, links.query)
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
    place = {name: getattr(finding, name) or "" for name in ("code", "alias", "group", "key")}
    context = {
        "title": _("Mute a finding"),
        "finding": finding,
        "problem": problem,
        "longest": MAX_REASON_LENGTH,
        "back_url": links.page("findings"),
    }
    return ActionForm("mute", place, context)


def unmute(request: HttpRequest, links: Links) -> HttpResponse | ActionForm:
    """Ask whether to show the finding again; do so on POST."""
    data = request.POST if request.method == "POST" else request.GET
    name = data.get("id", "")
    try:
        muted = api.muted().get(name)
        if muted is None:
            raise BadParameterError("id", _("No such finding is muted."))
        finding = _bare_finding(muted.code, muted.alias, muted.group, muted.key)
        if request.method == "POST":
            api.unmute(name)
            return _done(request, links, finding, _("Shown again."))
    except StoreError as error:
        messages.error(request, str(error))
        return HttpResponseRedirect(links.page("findings"))
    context = {
        "title": _("Show a finding again"),
        "finding": finding,
        "muted": muted,
        "back_url": links.page("findings"),
    }
    return ActionForm("mute", {"id": name}, context)


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
    log_action(request, finding.alias, CHANGE, words, message)
    messages.success(request, f"{words}. {message}")
    return HttpResponseRedirect(links.page("findings"))
