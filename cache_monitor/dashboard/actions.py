"""The pages that delete: a question first, then POST, in as many steps as it takes."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import cast
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from cache_monitor.dashboard import deleting, formats, frontend
from cache_monitor.dashboard.links import Links
from cache_monitor.dashboard.pages import LISTED
from cache_monitor.dashboard.query import BadParameterError, Query, parse_query
from cache_monitor.dashboard.readings import readings
from cache_monitor.dashboard.sheets import bar_of
from cache_monitor.dashboard.targets import ACTIONS, CLEAR, Target, target_of
from cache_monitor.dashboard.views import TEMPLATES, refused
from cache_monitor.inspectors import entries
from cache_monitor.inspectors.entries import Deleted


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
    links = Links(site, asked_before(data))
    if request.method != "POST":
        return _question(request, site, target, links)
    return _deleted(request, site, target, links)


def _question(request: HttpRequest, site: AdminSite, target: Target, links: Links) -> HttpResponse:
    """How much will go, and what else to think of before."""
    measured = deleting.expected(target)
    context = {
        "count": formats.count(measured.entries),
        "size": formats.size(measured.bytes),
        "none": not measured.entries and measured.cursor is None and not measured.problem,
        "looked_at": formats.count(measured.looked_at) if measured.cursor else "",
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
        progress = deleting.unpacked(text, user_id, target, request.session)
        if progress is None:
            messages.error(request, _("That was interrupted for too long. Begin anew."))
            return HttpResponseRedirect(_back(target, links))
    else:
        progress = deleting.begun(user_id, target)
    done = deleting.step(target, progress)
    if done.problem is None and done.cursor is not None:
        context = {
            **_progress_context(done, progress, target),
            "progress": deleting.packed(progress, request.session),
        }
        return _answer(request, site, target, links, "deleting", context)
    deleting.forget(progress, request.session)
    readings.clear()
    summary = deleting.said(target, progress)
    if done.problem:
        messages.error(request, f"{summary}. {done.problem}")
    else:
        messages.success(request, _("%(summary)s. The figures follow soon.") % {"summary": summary})
    return HttpResponseRedirect(_back(target, links))


def _progress_context(
    done: Deleted, progress: deleting.Progress, target: Target
) -> Mapping[str, object]:
    share = min(1.0, progress["looked_at"] / done.total) if done.total else None
    return {
        "said": deleting.said(target, progress),
        "share": formats.ratio(share),
        "bar": bar_of(share),
        "looked_at": formats.count(progress["looked_at"]),
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
        **frontend.context(),
        "title": target.action.title,
        "page_name": target.action.name,
        "navigation": [(each.name, each.title, links.page(each.name)) for each in LISTED],
        "dashboard_url": links.page("dashboard"),
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


def asked_before(data: QueryDict) -> Query:
    """The period and the cache that the user came from; the default where they cannot be read."""
    now = datetime.now(UTC)
    try:
        return parse_query(QueryDict(data.get("back", "")), now)
    except BadParameterError:
        return parse_query(QueryDict(urlencode({"alias": data.get("alias", "")})), now)
