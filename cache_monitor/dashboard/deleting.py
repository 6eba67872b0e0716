"""The pages that delete entries: a question first, then step by step, with an entry in the admin's
history."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypedDict, cast

from django.contrib import messages
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from cache_monitor.dashboard import formats
from cache_monitor.dashboard.entry import find_shown
from cache_monitor.dashboard.formats import STALE_WORDS, make_bar
from cache_monitor.dashboard.query import (
    BadParameterError,
    Links,
    as_shown,
    check_alias,
    check_choice,
    readings,
)
from cache_monitor.keys.naming import name_key
from cache_monitor.models import Dashboard
from cache_monitor.scan import entries
from cache_monitor.scan.base import STALE_REASONS, StaleReason
from cache_monitor.scan.entries import EntryTotals, Selection

Why = StaleReason | Literal["any"]
WHY: tuple[Why, ...] = ("any", *STALE_REASONS)

STEP_LIMIT = 50_000
"""Entries that one request examines."""
STEP_SECONDS = 1.0
DELETIONS = "cache_monitor_deletions"
"""Where the user's session keeps the deletions that go on, by the number of their log entry."""
_MAX_DELETIONS = 5
_OBJECT_LENGTH = 200
"""Characters that the admin's history has for the object's name."""


@dataclass(frozen=True, slots=True)
class ActionForm:
    """The page that asks before an action, or goes on with it; ``hidden`` are its parameters."""

    template: str
    hidden: Mapping[str, str]
    context: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Action:
    """One action. ``name`` is that of its URL, ``parameter`` names its target besides the cache,
    ``back`` the page that it returns to."""

    name: str
    permission: str
    title: str | Promise
    question: str | Promise
    """The question before it; names the cache by ``alias``."""
    parameter: str
    back: str
    words: Callable[[str], str]
    """What is deleted, in words, by the parameter's value; empty for a whole cache."""


@dataclass(frozen=True, slots=True)
class Target:
    """What an action deletes."""

    action: Action
    alias: str
    value: str

    @property
    def selection(self) -> Selection:
        match self.action.parameter:
            case "group":
                return Selection(group=self.value)
            case "key":
                return Selection(key=self.value)
            case "why":
                return Selection(why=cast("Why", self.value))
        return Selection()

    @property
    def words(self) -> str:
        return self.action.words(self.value)

    @property
    def identity(self) -> Mapping[str, str]:
        return {"action": self.action.name, **self.parameters}

    @property
    def parameters(self) -> Mapping[str, str]:
        named = {"alias": self.alias, self.action.parameter: self.value}
        return {name: text for name, text in named.items() if name}


def target_of(action: Action, data: QueryDict) -> Target:
    """The target that a URL or a form names, or BadParameterError."""
    alias = data.get("alias", "")
    check_alias(alias)
    value = data.get(action.parameter, "") if action.parameter else ""
    if action.parameter and not value:
        raise BadParameterError(action.parameter, _("It is missing."))
    if action.parameter == "why":
        check_choice("why", value, WHY)
    if action.parameter == "key":
        if name_key(value).kind == "session":
            raise BadParameterError("key", _("A session's entry is not reached by its key."))
        as_shown(value)
    return Target(action, alias, value)


def _stale(why: str) -> str:
    kind = STALE_WORDS.get(why, _("for whatever reason"))
    return _("the stale entries (%(kind)s)") % {"kind": kind}


_DELETE_ENTRIES = gettext_lazy(
    "Are you sure you want to delete these entries of the cache “%(alias)s”?"
)
DELETE_ENTRY = Action(
    name="delete_entry",
    permission="delete_entry",
    title=gettext_lazy("Delete an entry"),
    question=gettext_lazy("Are you sure you want to delete this entry of the cache “%(alias)s”?"),
    parameter="key",
    back="keys",
    words=lambda key: _("the entry %(key)s") % {"key": name_key(key).shown},
)
CLEAR = Action(
    name="clear",
    permission="clear_cache",
    title=gettext_lazy("Clear a cache"),
    question=gettext_lazy(
        "Are you sure you want to clear the cache “%(alias)s”? It will lose all of its entries."
    ),
    parameter="",
    back="memory",
    words=lambda _value: "",
)
_ALL = (
    DELETE_ENTRY,
    Action(
        name="delete_group",
        permission="delete_group",
        title=gettext_lazy("Delete the entries of a group"),
        question=_DELETE_ENTRIES,
        parameter="group",
        back="memory",
        words=lambda group: (
            _("the entries of the group %(group)s") % {"group": formats.visible(group)}
        ),
    ),
    Action(
        name="delete_stale",
        permission="delete_stale",
        title=gettext_lazy("Delete stale entries"),
        question=_DELETE_ENTRIES,
        parameter="why",
        back="stale",
        words=_stale,
    ),
    CLEAR,
)
ACTIONS = {each.name: each for each in _ALL}


def log_action(
    request: HttpRequest, alias: str, flag: int, words: str = "", message: str = ""
) -> LogEntry:
    """A new entry in the admin's history."""
    return LogEntry.objects.create(
        # Anonymous users do not come here: the admin has sent them to its login.
        user_id=cast("int", request.user.pk),
        content_type=ContentType.objects.get_for_model(Dashboard, for_concrete_model=False),
        object_id=alias,
        object_repr=words[:_OBJECT_LENGTH],
        action_flag=flag,
        change_message=message,
    )


class DeleteProgress(TypedDict):
    """The state of a deletion, which the user's session keeps between two steps. The ``cursor`` may
    be the stored key of an entry, perhaps a session's, so it does not travel in a form."""

    target: Mapping[str, str]
    log: int
    cursor: str
    entries: int
    bytes: int | None
    examined: int


def act(action: Action, request: HttpRequest, links: Links) -> HttpResponse | ActionForm:
    """Ask before anything is deleted; delete on POST."""
    if request.method == "POST":
        return _deleted(request, target_of(action, request.POST), links)
    return _question(target_of(action, request.GET), links)


def _question(target: Target, links: Links) -> ActionForm:
    measured = measure_target(target)
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
    return _form(target, links, "confirm", context)


def _deleted(request: HttpRequest, target: Target, links: Links) -> HttpResponse | ActionForm:
    begun = request.session.get(DELETIONS, {})
    number = request.POST.get("progress", "")
    progress: DeleteProgress | None = begun.get(number) if number else begin(request, target)
    if progress is None or progress["target"] != target.identity:
        messages.error(request, _("That was interrupted for too long. Begin anew."))
        return HttpResponseRedirect(_back(target, links))
    done = delete_step(target, progress)
    number = str(progress["log"])
    others = [(each, state) for each, state in begun.items() if each != number]
    if done.problem is None and done.cursor is not None:
        latest = others[1 - _MAX_DELETIONS :]
        request.session[DELETIONS] = dict([*latest, (number, progress)])
        share = min(1.0, progress["examined"] / done.total) if done.total else None
        context = {
            "progress": number,
            "summary": summarize(target, progress),
            "share": formats.ratio(share),
            "bar": make_bar(share),
            "looked_at": formats.count(progress["examined"]),
            "total": formats.count(done.total),
        }
        return _form(target, links, "deleting", context)
    if begun:
        request.session[DELETIONS] = dict(others)
    readings.clear()
    summary = summarize(target, progress)
    if done.problem:
        messages.error(request, f"{summary}. {done.problem}")
    else:
        messages.success(request, _("%(summary)s. The figures follow soon.") % {"summary": summary})
    return HttpResponseRedirect(_back(target, links))


def _form(target: Target, links: Links, template: str, context: Mapping[str, object]) -> ActionForm:
    about = {
        "title": target.action.title,
        "back_url": _back(target, links),
        "question": str(target.action.question) % {"alias": target.alias},
        "words": formats.visible(formats.cut(target.words, 300)),
    }
    return ActionForm(template, target.parameters, {**about, **context})


def _back(target: Target, links: Links) -> str:
    if target.action.parameter == "key":
        return links.page("entry", alias=target.alias, key=target.value)
    return links.page(target.action.back)


def measure_target(target: Target) -> EntryTotals:
    """The entries that will be deleted, as many as can be counted in a second."""
    if target.action is DELETE_ENTRY:
        # A single key is asked for by itself, which also finds what a list cannot name.
        found = find_shown(target.alias, target.value)
        return EntryTotals(
            entries=int(found.entry is not None),
            bytes=found.entry.bytes if found.entry else 0,
            examined=1,
            problem=found.problem,
        )
    return entries.measure(target.alias, target.selection, seconds=STEP_SECONDS)


def begin(request: HttpRequest, target: Target) -> DeleteProgress:
    """A deletion that has deleted nothing yet, with its entry in the admin's history."""
    log = log_action(request, target.alias, DELETION).pk
    return DeleteProgress(
        target=target.identity, log=log, cursor="", entries=0, bytes=0, examined=0
    )


def delete_step(target: Target, progress: DeleteProgress) -> EntryTotals:
    """Delete the next entries; updates ``progress`` and the admin's history."""
    done = _delete(target, progress["cursor"])
    progress["entries"] += done.entries
    progress["examined"] += done.examined
    known = progress["bytes"] is not None and done.bytes is not None
    progress["bytes"] = (progress["bytes"] or 0) + (done.bytes or 0) if known else None
    progress["cursor"] = done.cursor or ""
    summary = summarize(target, progress)
    LogEntry.objects.filter(pk=progress["log"]).update(
        object_repr=summary[:_OBJECT_LENGTH], change_message=summary
    )
    return done


def summarize(target: Target, progress: DeleteProgress) -> str:
    number = progress["entries"]
    if target.action is CLEAR:
        text = ngettext(
            "%(count)s entry (%(size)s) deleted: the cache “%(alias)s” was cleared",
            "%(count)s entries (%(size)s) deleted: the cache “%(alias)s” was cleared",
            number,
        )
    else:
        text = ngettext(
            "%(count)s entry (%(size)s) deleted from the cache “%(alias)s”: %(words)s",
            "%(count)s entries (%(size)s) deleted from the cache “%(alias)s”: %(words)s",
            number,
        )
    return text % {
        "count": formats.count(number),
        "size": formats.size(progress["bytes"]),
        "alias": target.alias,
        "words": target.words,
    }


def _delete(target: Target, cursor: str) -> EntryTotals:
    if target.action is CLEAR:
        return _clear(target.alias)
    if target.action is DELETE_ENTRY:
        found = find_shown(target.alias, target.value)
        if found.entry is None:
            return EntryTotals(entries=0, bytes=0, problem=found.problem)
        if found.entry.key is not None:
            return entries.delete_key(target.alias, found.entry.key)
    return entries.delete_step(
        target.alias, target.selection, cursor=cursor, limit=STEP_LIMIT, seconds=STEP_SECONDS
    )


def _clear(alias: str) -> EntryTotals:
    """Clear a cache; its entries are counted before."""
    there = entries.measure(alias, entries.Selection(), seconds=STEP_SECONDS)
    done = entries.clear(alias)
    if done.problem:
        return done
    whole = there.total if there.cursor and there.total is not None else there.entries
    return EntryTotals(
        entries=whole,
        bytes=None if there.cursor else there.bytes,
        examined=there.examined,
        total=there.total,
    )
