"""The page of one key: its figures, its history, and what is stored under it now."""

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from django.core.cache import caches
from django.utils.functional import Promise
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from cache_monitor import context, trace
from cache_monitor.dashboard import formats
from cache_monitor.dashboard.formats import Figure, ago, expiry, stale_kinds
from cache_monitor.dashboard.keys import what_ended, why_missed
from cache_monitor.dashboard.query import BadParameterError, PageRequest, as_shown, flag
from cache_monitor.dashboard.tables import Content
from cache_monitor.keys.masking import is_sanitizing
from cache_monitor.keys.naming import KeyName, name_key, why_grouped
from cache_monitor.reports import Cache, HotKey, KeyGroup
from cache_monitor.reports.keys import whole_groups, whole_keys
from cache_monitor.reports.traced import KeyEvent, KeyHistory, key_history
from cache_monitor.scan import entries
from cache_monitor.scan.entries import EntryAnswer, LiveEntry, Selection
from cache_monitor.stores.base import StoreError, get_store
from cache_monitor.trace.miss_reasons import REASON_WORDS


class HistoryLine(NamedTuple):
    at: datetime
    what: str
    note: str
    process: str
    view: str


def figures(history: KeyHistory) -> Sequence[Figure]:
    """The numbers of events, and how long the values lasted."""
    lives = history.lives
    return [
        Figure(_("Sets"), formats.count(history.times(trace.WRITE))),
        Figure(_("Hits"), formats.count(history.times(trace.HIT))),
        Figure(_("Misses"), formats.count(history.times(trace.MISS))),
        Figure(_("Deletes"), formats.count(history.times(trace.DELETE, trace.PATTERN_DELETE))),
        Figure(_("Lasted"), formats.duration(lives.lifetime_p50), note=what_ended(lives)),
        Figure(_("First read"), formats.duration(lives.first_read_p50)),
        Figure(_("Last written by"), _last_writer(history)),
    ]


_EVENTS: Mapping[int, Promise] = {
    trace.HIT: gettext_lazy("hit"),
    trace.MISS: gettext_lazy("miss"),
    trace.WRITE: gettext_lazy("written"),
    trace.TOUCH: gettext_lazy("touched"),
    trace.DELETE: gettext_lazy("deleted"),
    trace.MOVE: gettext_lazy("version changed"),
    trace.COMPUTE: gettext_lazy("produced, not stored"),
    trace.CLEAR: gettext_lazy("cache cleared"),
    trace.PATTERN_DELETE: gettext_lazy("deleted"),
    trace.FAILED: gettext_lazy("call failed"),
    trace.REFUSED: gettext_lazy("refused by the server"),
    trace.USE: gettext_lazy("used"),
}


def lines(history: KeyHistory) -> Sequence[HistoryLine]:
    """The events, the latest first."""
    return [
        HistoryLine(
            localtime(datetime.fromtimestamp(each.at / trace.SECOND, UTC)),
            str(_EVENTS[each.kind]),
            _note(each),
            _short(each.process),
            each.view,
        )
        for each in history.moments
    ]


def _note(each: KeyEvent) -> str:
    if each.reason is not None:
        return str(REASON_WORDS[each.reason])
    if each.times > 1:
        return _("%(count)s times") % {"count": formats.count(each.times)}
    if each.kind in (trace.WRITE, trace.TOUCH) and each.timeout == trace.NEVER:
        return _("without a timeout")
    if each.kind in (trace.WRITE, trace.TOUCH) and each.timeout != trace.UNKNOWN_TIME:
        return _("for %(time)s") % {"time": formats.age(each.timeout / trace.SECOND)}
    return ""


def _last_writer(history: KeyHistory) -> str:
    last = next((each for each in history.moments if each.kind == trace.WRITE), None)
    if last is None:
        return formats.UNKNOWN
    return f"{last.view} · {_short(last.process)}" if last.view else _short(last.process)


def _short(process: str) -> str:
    """The beginning of a process's name, in which those of a site differ."""
    return process[:8]


MAX_LENGTH: Final = 10_000
"""Characters of a value that are shown."""


@dataclass(frozen=True, slots=True)
class ShownValue:
    """A value's type and text; ``problem`` where there is none to show."""

    type_name: str = ""
    text: str = ""
    cut: bool = False
    problem: str = ""


_MISSING: Final = object()


def shown_value(alias: str, key: str) -> ShownValue:
    """The value of ``key`` in the cache ``alias``, read with its own ``get``, unrecorded.

    Never raises: a value that cannot be unpickled, or has a broken repr, is a problem to show.
    """
    if name_key(key).kind == "session":
        return ShownValue(problem=_("A session's value is not shown."))
    try:
        with context.muted():
            value = caches[alias].get(key, _MISSING)
            if value is _MISSING:
                return ShownValue(problem=_("There is no such entry."))
            return _shown(value)
    except Exception as error:
        problem = _("The value cannot be read: %(error)s")
        return ShownValue(problem=problem % {"error": type(error).__name__})


def _shown(value: object) -> ShownValue:
    text = value[: MAX_LENGTH + 1] if isinstance(value, str) else _repr(value)
    return ShownValue(
        type_name=type(value).__qualname__,
        text=_readable(text[:MAX_LENGTH]),
        cut=len(text) > MAX_LENGTH,
    )


def _repr(value: object) -> str:
    """A representation that a large value cannot make large."""
    short = reprlib.Repr()
    short.maxlevel = 5
    short.maxlist = short.maxtuple = short.maxset = short.maxfrozenset = short.maxdict = 50
    short.maxdeque = short.maxarray = 50
    short.maxstring = short.maxother = short.maxlong = MAX_LENGTH + 1
    return short.repr(value[: MAX_LENGTH + 1] if isinstance(value, bytes | bytearray) else value)


def _readable(text: str) -> str:
    """As :func:`formats.visible`, but with the lines that the text has."""
    return "\n".join(formats.visible(line) for line in text.split("\n"))


SEARCH_SECONDS = 1.0
SEARCH_LIMIT = 100_000
# Marks of a shown key that differs from the stored one: it is cut, escaped or masked.
_MARKS = ("… (", "\\", "•")


def build(page_request: PageRequest) -> Content:
    own, alias = page_request.query.own, page_request.query.alias
    if alias is None:
        raise BadParameterError("alias", _("Name the cache that the key is in."))
    if not (key := as_shown(own.get("key", ""))):
        raise BadParameterError("key", _("Name a key."))
    shows_value = flag("value", own.get("value", ""))
    cache, answer = page_request.report.caches[alias], find_shown(alias, key)
    hot = _hot_key(cache, key, name_key(key, alias))
    name = _name(alias, key, answer.entry, hot)
    groups = [*whole_groups(cache.key_groups), *cache.key_groups]
    group = next((each for each in groups if each.group == name.group), None)
    is_session, links = name.kind == "session", page_request.links
    may_see = page_request.may("view_value") and not is_session
    may_delete = page_request.may("delete_entry") and not is_session
    stored_key = answer.entry.key if answer.entry and answer.entry.key is not None else key
    return Content(
        context={
            "alias": alias,
            "name": name,
            "crumb": formats.cut(name.shown, 60),
            "key_figures": _key_figures(hot) if hot else [],
            "group": _group_figures(group) if group else [],
            "grouped_by": _grouped_by(key, alias) if name.kind == "key" else "",
            "group_url": links.group(alias, name.group),
            **({} if is_session else _history(page_request, alias, stored_key)),
            "stored": _stored_figures(answer.entry) if answer.entry else [],
            "answer": answer,
            "may_see": may_see,
            "value": shown_value(alias, stored_key) if may_see and shows_value else None,
            "value_url": f"{links.path('entry')}?{page_request.query.encode(value='1')}",
            "delete_url": links.action("delete_entry", alias=alias, key=key) if may_delete else "",
        }
    )


def _history(page_request: PageRequest, alias: str, key: str) -> Mapping[str, object]:
    period = page_request.query.since.timestamp(), page_request.query.until.timestamp()
    try:
        found = key_history(get_store(), alias, key, *period)
    except StoreError:
        return {}  # the page shows the store's problem elsewhere
    if found is None or not found.moments:
        return {"is_left_out": found is not None and not found.is_traced}
    return {
        "history": lines(found),
        "history_figures": figures(found),
        "history_total": formats.count(found.total) if found.total > len(found.moments) else "",
    }


def find_shown(alias: str, key: str) -> EntryAnswer:
    """The entry of a key as the site wrote it, or as the dashboard shows it."""
    answer = entries.find_entry(alias, key)
    is_marked = any(mark in key for mark in _MARKS)
    # The name of a cached page has spaces, as have many keys: that one of these is there is enough.
    if not is_marked and (answer.exists or not (is_sanitizing() or " " in key)):
        return answer
    step = entries.list_entries(
        alias, Selection(key=key), limit=SEARCH_LIMIT, seconds=SEARCH_SECONDS
    )
    if len(step.entries) > 1:
        problem = _("Several entries are shown under this name: it does not tell which is meant.")
        return EntryAnswer(exists=None, problem=problem)
    if answer.exists:
        return answer
    if step.entries:
        return EntryAnswer(exists=True, entry=step.entries[0])
    if step.problem or step.cursor is not None:
        problem = step.problem or _("No entry of this name is among those scanned in time.")
        return EntryAnswer(exists=None, problem=problem)
    return answer


def _name(alias: str, key: str, entry: LiveEntry | None, hot: HotKey | None) -> KeyName:
    """The key's name. A shown key alone does not determine its group."""
    if entry is not None:
        return KeyName(entry.shown, entry.group, entry.kind)
    name = name_key(key, alias)
    # A sanitizer may make yet something else of what it has made.
    return name._replace(shown=hot.key, group=hot.group) if hot is not None else name


def _hot_key(cache: Cache, key: str, name: KeyName) -> HotKey | None:
    """The key's figures in the period; None where it is not among the busiest."""
    if name.kind == "session":
        return None
    # A list of headers is in the figures of its page, and yet has a page of its own here.
    every = [*whole_keys(cache.hot_keys), *cache.hot_keys]
    return next((each for each in every if each.key in {key, name.shown}), None)


def _key_figures(key: HotKey) -> Sequence[Figure]:
    exact = key.max_overcount == 0
    return [
        Figure(_("Lookups"), formats.about(formats.count(key.lookups), exact=exact)),
        *_counts(key),
        Figure(_("Size"), formats.size(key.bytes)),
    ]


def _grouped_by(key: str, alias: str) -> str:
    words = {
        "chosen": _("named by KEY_GROUPS"),
        "shape": _("by the shape of the key's parts"),
        "learned": _("learned: this place of the key takes many different values"),
    }
    return words[why_grouped(key, alias)]


def _group_figures(group: KeyGroup) -> Sequence[Figure]:
    return [
        Figure(_("Keys"), formats.count(group.distinct_keys)),
        Figure(_("Lookups"), formats.count(group.lookups)),
        *_counts(group),
    ]


def _counts(it: HotKey | KeyGroup) -> Sequence[Figure]:
    return [
        Figure(_("Hits"), formats.count(it.hits)),
        Figure(_("Misses"), formats.count(it.misses), note=why_missed(it.miss_reasons)),
        Figure(_("Sets"), formats.count(it.sets)),
        Figure(_("To produce"), formats.duration(it.produce_seconds)),
        Figure(
            _("Time saved"),
            formats.estimated(it.seconds_saved, it.seconds_saved_error),
            note=formats.give_or_take(it.seconds_saved, it.seconds_saved_error),
        ),
    ]


def _stored_figures(entry: LiveEntry) -> Sequence[Figure]:
    return [
        Figure(_("Size"), formats.size(entry.bytes)),
        Figure(_("Expires in"), expiry(entry.expires_in, never=bool(entry.no_expiry))),
        Figure(_("Last written"), ago(entry.age)),
        Figure(_("Last read"), _("never") if entry.never_read else ago(entry.idle)),
        Figure(_("Stale"), stale_kinds(entry.why) or _("no")),
    ]
