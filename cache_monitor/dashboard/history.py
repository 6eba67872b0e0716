"""The history of one key, for its page."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from django.utils.translation import gettext as _

from cache_monitor.dashboard import formats
from cache_monitor.dashboard.keysheets import reason_words, what_ended
from cache_monitor.dashboard.rows import Figure
from cache_monitor.reports.keyhistory import KeyHistory
from cache_monitor.trace.events import (
    CLEAR,
    COMPUTE,
    DELETE,
    FAILED,
    HIT,
    MISS,
    MOVE,
    NEVER,
    REFUSED,
    SECOND,
    SWEEP,
    TOUCH,
    UNTOLD,
    USE,
    WRITE,
)
from cache_monitor.trace.onekey import Moment


class Line(NamedTuple):
    """Something that happened to a key."""

    at: datetime
    what: str
    note: str
    process: str
    view: str


def figures(history: KeyHistory) -> Sequence[Figure]:
    """How often what happened, and how long the values lasted."""
    lives = history.lives
    return [
        Figure(_("Sets"), formats.count(history.times(WRITE))),
        Figure(_("Hits"), formats.count(history.times(HIT))),
        Figure(_("Misses"), formats.count(history.times(MISS))),
        Figure(_("Deletes"), formats.count(history.times(DELETE, SWEEP))),
        Figure(_("Lasted"), formats.duration(lives.lifetime_p50), note=what_ended(lives)),
        Figure(_("First read"), formats.duration(lives.first_read_p50)),
        Figure(_("Last written by"), _last_writer(history)),
    ]


def lines(history: KeyHistory) -> Sequence[Line]:
    """What happened, the latest first."""
    words = _words()
    return [
        Line(
            datetime.fromtimestamp(each.at / SECOND, UTC),
            words[each.kind],
            _note(each),
            _short(each.process),
            each.view,
        )
        for each in history.moments
    ]


def _words() -> Mapping[int, str]:
    return {
        HIT: _("hit"),
        MISS: _("miss"),
        WRITE: _("written"),
        TOUCH: _("touched"),
        DELETE: _("deleted"),
        MOVE: _("version changed"),
        COMPUTE: _("produced, not stored"),
        CLEAR: _("cache cleared"),
        SWEEP: _("deleted"),
        FAILED: _("call failed"),
        REFUSED: _("refused by the server"),
        USE: _("used"),
    }


def _note(each: Moment) -> str:
    if each.reason is not None:
        return reason_words()[each.reason]
    if each.times > 1:
        return _("%(count)s times") % {"count": formats.count(each.times)}
    if each.kind in (WRITE, TOUCH) and each.lasts == NEVER:
        return _("without a timeout")
    if each.kind in (WRITE, TOUCH) and each.lasts != UNTOLD:
        return _("for %(time)s") % {"time": formats.age(each.lasts / SECOND)}
    return ""


def _last_writer(history: KeyHistory) -> str:
    last = next((each for each in history.moments if each.kind == WRITE), None)
    if last is None:
        return formats.UNKNOWN
    return f"{last.view} · {_short(last.process)}" if last.view else _short(last.process)


def _short(process: str) -> str:
    """The processes of a site differ in the beginnings of their names."""
    return process[:8]
