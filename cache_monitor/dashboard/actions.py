"""The pages that change something: delete, mute, unmute. A question first, then POST."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import cast
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from cache_monitor import api
from cache_monitor.dashboard import deleting, formats, views
from cache_monitor.dashboard.deleting import ACTIONS, CLEAR, Target, target_of
from cache_monitor.dashboard.formats import visible
from cache_monitor.dashboard.query import (
    BadParameterError,
    Links,
    Query,
    check_alias,
    check_choice,
    parse_query,
)
from cache_monitor.dashboard.report_cache import readings
from cache_monitor.dashboard.tables import make_bar
from cache_monitor.dashboard.views import TEMPLATES, refused
from cache_monitor.findings.engine import RULES
from cache_monitor.findings.history import identity
from cache_monitor.keys.display import SHOWN_LENGTH
from cache_monitor.models import Dashboard
from cache_monitor.reports.schema import Finding
from cache_monitor.scan import entries
from cache_monitor.scan.entries import EntryTotals
from cache_monitor.stores.base import StoreError


def action(request: HttpRequest, site: AdminSite, name: str) -> HttpResponse:
    """The action ``name``: ask before anything is deleted; delete on POST."""
    action = ACTIONS[name]
    if not request.user.has_perm(f"cache_monitor.{action.permission}"):
        raise PermissionDenied
    data = request.POST if request.method == "POST" else request.GET
    try:
        target = target_of(action, data)
    except BadParameterError as error:
        return refused(request, site, error)
    links = Links(site, previous_query(data))
    if request.method != "POST":
        return _question(request, site, target, links)
    return _deleted(request, site, target, links)


def _question(request: HttpRequest, site: AdminSite, target: Target, links: Links) -> HttpResponse:
    """The page that asks before anything is deleted, with how much that is."""
    measured = deleting.measure_target(target)
    context = {
        "count": formats.count(measured.entries),
        "size": formats.size(measured.bytes),
        "none": not measured.entries and measured.cursor is None and not measured.problem,
        "looked_at": formats.count(measured.examined) if measured.cursor else "",
        "total": formats.count(measured.total),
        "problem": measured.problem,
        "reach": entries.clear_reach(target.alias) if target.action is CLEAR else None,
        "per_process": entries.is_per_process(target.alias),
        "sessions": target.action.parameter == "group" and target.value == "session",
    }
    return _answer(request, site, target, links, "confirm", context)


def _deleted(request: HttpRequest, site: AdminSite, target: Target, links: Links) -> HttpResponse:
    # Anonymous users do not come here: the admin has sent them to its login.
    user_id = cast("int | str", request.user.pk)
    text = request.POST.get("progress", "")
    if text:
        progress = deleting.unpack(text, user_id, target, request.session)
        if progress is None:
            messages.error(request, _("That was interrupted for too long. Begin anew."))
            return HttpResponseRedirect(_back(target, links))
    else:
        progress = deleting.begin(user_id, target)
    done = deleting.delete_step(target, progress)
    if done.problem is None and done.cursor is not None:
        context = {
            **_progress_context(done, progress, target),
            "progress": deleting.pack(progress, request.session),
        }
        return _answer(request, site, target, links, "deleting", context)
    deleting.forget_cursor(progress, request.session)
    readings.clear()
    summary = deleting.summarize(target, progress)
    if done.problem:
        messages.error(request, f"{summary}. {done.problem}")
    else:
        messages.success(request, _("%(summary)s. The figures follow soon.") % {"summary": summary})
    return HttpResponseRedirect(_back(target, links))


def _progress_context(
    done: EntryTotals, progress: deleting.DeleteProgress, target: Target
) -> Mapping[str, object]:
    share = min(1.0, progress["examined"] / done.total) if done.total else None
    return {
        "said": deleting.summarize(target, progress),
        "share": formats.ratio(share),
        "bar": make_bar(share),
        "looked_at": formats.count(progress["examined"]),
        "total": formats.count(done.total),
    }


def _answer(
    request: HttpRequest,
    site: AdminSite,
    target: Target,
    links: Links,
    template: str,
    context: Mapping[str, object],
) -> HttpResponse:
    whole = {
        **site.each_context(request),
        **views.page_context(links, target.action.name),
        "title": target.action.title,
        "action_url": links.path(target.action.name),
        "back_url": _back(target, links),
        "hidden": {**target.parameters, "back": links.page("dashboard").partition("?")[2]},
        "target": target,
        "words": formats.visible(formats.cut(target.words, 300)),
        **context,
    }
    return TemplateResponse(request, f"{TEMPLATES}/{template}.html", whole)


def _back(target: Target, links: Links) -> str:
    if target.action.parameter == "key":
        return links.page("entry", alias=target.alias, key=target.value)
    return links.page(target.action.back)


def previous_query(data: QueryDict) -> Query:
    """The query of the page that the user came from; the default where it cannot be read."""
    now = datetime.now(UTC)
    try:
        return parse_query(QueryDict(data.get("back", "")), now)
    except BadParameterError:
        return parse_query(QueryDict(urlencode({"alias": data.get("alias", "")})), now)


PERMISSION = "mute_finding"
MAX_REASON_LENGTH = 500
_OBJECT_LENGTH = 200
"""Characters that the admin's history has for the object's name."""


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
    reason = visible(" ".join(data.get("reason", "").split()))[:MAX_REASON_LENGTH]
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
    if not request.user.has_perm(f"cache_monitor.{PERMISSION}"):
        raise PermissionDenied
    return request.POST if request.method == "POST" else request.GET


def _finding(data: QueryDict, query: Query) -> Finding:
    """The finding in the period of ``query`` that a URL or a form names. Its texts are the
    report's, not the form's."""
    code, alias = data.get("code", ""), data.get("alias", "")
    check_choice("code", code, RULES)
    check_alias(alias)
    group, key = (data.get(name, "")[:SHOWN_LENGTH] or None for name in ("group", "key"))
    wanted = identity(_bare_finding(code, alias, group, key))
    until = None if query.live else query.until
    for finding in api.report(since=query.since, until=until, alias=alias).findings:
        if finding.id == wanted:
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
    LogEntry.objects.create(
        # Anonymous users do not come here: the admin has sent them to its login.
        user_id=cast("int", request.user.pk),
        content_type=ContentType.objects.get_for_model(Dashboard, for_concrete_model=False),
        object_id=finding.alias,
        object_repr=words[:_OBJECT_LENGTH],
        action_flag=CHANGE,
        change_message=message,
    )
    messages.success(request, f"{words}. {message}")
    return HttpResponseRedirect(links.page("findings"))


def _mute_question(
    request: HttpRequest, site: AdminSite, links: Links, context: Mapping[str, object]
) -> HttpResponse:
    name = "unmute_finding" if "muted" in context else "mute_finding"
    whole = {
        **site.each_context(request),
        **views.page_context(links, name),
        "title": _("Show a finding again") if "muted" in context else _("Mute a finding"),
        "action_url": links.path(name),
        "back_url": links.page("findings"),
        "back": links.page("dashboard").partition("?")[2],
        "longest": MAX_REASON_LENGTH,
        **context,
    }
    return TemplateResponse(request, f"{TEMPLATES}/mute.html", whole)
