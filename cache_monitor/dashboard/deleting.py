"""Deletes step by step, and writes down in the admin's history who deleted what and how many."""

from typing import TypedDict

from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.backends.base import SessionBase
from django.core import signing
from django.utils.translation import ngettext

from cache_monitor.dashboard import formats
from cache_monitor.dashboard.entry import find
from cache_monitor.dashboard.targets import CLEAR, DELETE_ENTRY, Target
from cache_monitor.inspectors import entries
from cache_monitor.inspectors.entries import Deleted, Measured
from cache_monitor.models import Dashboard

STEP_LIMIT = 50_000
"""Entries that one request looks at."""
STEP_SECONDS = 1.0
SALT = "cache_monitor.dashboard.deleting"
MOST_AGE = 3600
"""Seconds after which a deletion that was interrupted has to begin anew."""
CURSORS = "cache_monitor_deletions"
"""Where the user's session has the places to go on from. Such a place may be the stored key of an
entry, perhaps a session's, and what travels in a form is signed for all to read."""
_MOST_CURSORS = 5
_OBJECT_LENGTH = 200


class Progress(TypedDict):
    """How far a deletion has come; it travels signed, in the form that goes on with it, but for
    its ``cursor``."""

    user: str
    target: list[str]
    log: int
    cursor: str
    entries: int
    bytes: int | None
    looked_at: int


def expected(target: Target) -> Measured:
    """How much will go, as far as that can be told within a second."""
    if target.action is DELETE_ENTRY:
        # A single key is asked for by itself, which also finds what a list cannot name.
        found = find(target.alias, target.value)
        return Measured(
            entries=int(found.entry is not None),
            bytes=found.entry.bytes if found.entry else 0,
            looked_at=1,
            cursor=None,
            total=None,
            problem=found.problem,
        )
    return entries.measure(target.alias, target.selection, seconds=STEP_SECONDS)


def begun(user_id: int | str, target: Target) -> Progress:
    """Nothing deleted yet; the history has an entry from now on, should nobody go on."""
    log = LogEntry.objects.create(
        user_id=user_id,
        content_type=ContentType.objects.get_for_model(Dashboard, for_concrete_model=False),
        object_id=target.alias,
        object_repr="",
        action_flag=DELETION,
    )
    return Progress(
        user=str(user_id),
        target=_identity(target),
        log=log.pk,
        cursor="",
        entries=0,
        bytes=0,
        looked_at=0,
    )


def packed(progress: Progress, session: SessionBase) -> str:
    """``progress`` as text that only this site can have written; its cursor goes to ``session``."""
    cursors = {**session.get(CURSORS, {}), str(progress["log"]): progress["cursor"]}
    session[CURSORS] = dict(list(cursors.items())[-_MOST_CURSORS:])
    return signing.dumps({**progress, "cursor": ""}, salt=SALT)


def unpacked(
    text: str, user_id: int | str, target: Target, session: SessionBase
) -> Progress | None:
    """The progress of this user with this target; None where the text is not ours, or too old."""
    try:
        progress: Progress = signing.loads(text, salt=SALT, max_age=MOST_AGE)
    except signing.BadSignature:
        return None
    fits = progress["user"] == str(user_id) and progress["target"] == _identity(target)
    cursor = session.get(CURSORS, {}).get(str(progress["log"]))
    if not fits or cursor is None:
        return None
    progress["cursor"] = cursor
    return progress


def forget(progress: Progress, session: SessionBase) -> None:
    """Let ``session`` no longer know where this deletion was."""
    cursors, own = session.get(CURSORS, {}), str(progress["log"])
    if own in cursors:
        session[CURSORS] = {name: at for name, at in cursors.items() if name != own}


def step(target: Target, progress: Progress) -> Deleted:
    """Delete on from where ``progress`` is, count it there and in the history."""
    done = _delete(target, progress["cursor"])
    progress["entries"] += done.entries
    progress["looked_at"] += done.looked_at
    known = progress["bytes"] is not None and done.bytes is not None
    progress["bytes"] = (progress["bytes"] or 0) + (done.bytes or 0) if known else None
    progress["cursor"] = done.cursor or ""
    summary = said(target, progress)
    LogEntry.objects.filter(pk=progress["log"]).update(
        object_repr=summary[:_OBJECT_LENGTH], change_message=summary
    )
    return done


def said(target: Target, progress: Progress) -> str:
    """What was deleted so far, in a sentence."""
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


def _delete(target: Target, cursor: str) -> Deleted:
    if target.action is CLEAR:
        return _clear(target.alias)
    if target.action is DELETE_ENTRY:
        found = find(target.alias, target.value)
        if found.entry is None:
            return Deleted(entries=0, bytes=0, problem=found.problem)
        if found.entry.key is not None:
            return entries.delete_key(target.alias, found.entry.key)
    return entries.delete_step(
        target.alias, target.selection, cursor=cursor, limit=STEP_LIMIT, seconds=STEP_SECONDS
    )


def _clear(alias: str) -> Deleted:
    """Everything at once, counted before: afterwards there is nothing to count."""
    there = entries.measure(alias, entries.Selection(), seconds=STEP_SECONDS)
    done = entries.clear(alias)
    if done.problem:
        return done
    whole = there.total if there.cursor and there.total is not None else there.entries
    return Deleted(
        entries=whole,
        bytes=None if there.cursor else there.bytes,
        looked_at=there.looked_at,
        cursor=None,
        total=there.total,
        problem=None,
    )


def _identity(target: Target) -> list[str]:
    return [target.action.name, target.alias, target.value]
