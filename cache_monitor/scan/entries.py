"""The entries of a live cache one by one, for the dashboard: find, list, measure, delete.

Each call is bounded in entries and seconds and returns a cursor to continue from. A backend that
fails raises nothing: the result has a ``problem``, in words for people and without secrets.
Deleting uses the cache's own operations, so it is recorded and a later miss has its reason.
"""

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Literal

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from msgspec import Struct

from cache_monitor.calls import recorder
from cache_monitor.conf import get_conf
from cache_monitor.keys.naming import KeyKind, is_page_known_as, name_key
from cache_monitor.scan.backends import kind_of, scanner_for, scope_of, total_of
from cache_monitor.scan.base import (
    BackendScanner,
    Bounds,
    Entry,
    EntryPage,
    Scan,
    ScanError,
    ScanLimits,
    StaleReason,
    describe_error,
    stale_reasons,
    with_plausible_times,
)
from cache_monitor.scan.recorded import RecordedScanner, RecordedUses, Reporter, uses_of
from cache_monitor.stores.base import StoreError, get_store


class LiveEntry(Struct, frozen=True, kw_only=True):
    """An entry as it is now; ages in seconds, None where unknown.

    ``key`` is for the cache's own operations. It may be a session's, a credential, so it is never
    shown and not in the ``repr``; None where only its digest is known. ``shown`` may be shown,
    escaped. ``expires_in`` is negative once the entry has expired.
    """

    key: str | None
    shown: str
    group: str
    kind: KeyKind
    bytes: int | None
    expires_in: float | None
    no_expiry: bool | None
    idle: float | None
    age: float | None
    never_read: bool | None
    why: list[StaleReason]

    def __repr__(self) -> str:
        return f"LiveEntry({self.shown!r})"


class EntryAnswer(Struct, frozen=True, kw_only=True):
    """Whether an entry ``exists``, None where unknown, and the entry."""

    exists: bool | None
    entry: LiveEntry | None = None
    problem: str | None = None


class Selection(Struct, frozen=True, kw_only=True):
    """The entries that meet all of these conditions; all entries without one.

    ``why`` is why they are stale, "any" for any reason. ``key`` is the key as shown.
    """

    group: str | None = None
    why: StaleReason | Literal["any"] | None = None
    key: str | None = None

    def matches(self, entry: LiveEntry) -> bool:
        """Whether ``entry`` is in the selection."""
        is_stale = self.why in (None, *entry.why) or (self.why == "any" and bool(entry.why))
        return is_stale and self.group in (None, entry.group) and self._matches_key(entry)

    def _matches_key(self, entry: LiveEntry) -> bool:
        if self.key is None:
            return True
        # All sessions are shown alike, so that text identifies none of them.
        if entry.kind == "session":
            return False
        # Another process may know the route of a page, and so show another name.
        is_page = entry.kind in {"page", "page_headers"} and entry.key is not None
        return self.key == entry.shown or (is_page and is_page_known_as(self.key, entry.key or ""))


class _Step(Struct, frozen=True, kw_only=True):
    """How a bounded step ended: ``cursor`` continues, None at the end of the cache.

    ``total`` is about how many entries the whole store holds, ``examined`` how many of the alias's
    own this step passed.
    """

    examined: int = 0
    cursor: str | None = None
    total: int | None = None
    problem: str | None = None


class SelectionPage(_Step, frozen=True, kw_only=True):
    """Some of the entries of a selection."""

    entries: list[LiveEntry]


class EntryTotals(_Step, frozen=True, kw_only=True):
    """The entries that a step measured or deleted, and their bytes, None if unknown."""

    entries: int
    bytes: int | None


def find_entry(alias: str, key: str, version: int | None = None) -> EntryAnswer:
    """The entry of ``key`` as it is now, without reading its value."""
    try:
        uses = _uses(alias)
        with closing(_scanner(alias, Bounds(time.monotonic()), uses)) as scanner:
            entry = scanner.entry(key, version)
    except Exception as error:
        return EntryAnswer(exists=None, problem=describe_error(error))
    if entry is None:
        return EntryAnswer(exists=False, problem=scanner.problem)
    entry = with_plausible_times(entry)
    if uses is not None:
        entry = uses.with_uses(entry, None if version is None else str(version))
    live = live_entry(alias, entry, scanner, get_conf().stale_after)
    return EntryAnswer(exists=True, entry=live, problem=scanner.problem)


def list_entries(
    alias: str, selection: Selection, *, cursor: str = "", limit: int = 1000, seconds: float = 1.0
) -> SelectionPage:
    """The entries of ``selection`` from ``cursor`` on."""
    step = _EntryContext(alias, cursor, limit, seconds)
    found = [live for live in step.entries() if selection.matches(live)]
    return SelectionPage(entries=found, **step.outcome())


def measure(
    alias: str,
    selection: Selection,
    *,
    cursor: str = "",
    limit: int = 100_000,
    seconds: float = 1.0,
) -> EntryTotals:
    """The number and the bytes of the entries of ``selection`` from ``cursor`` on."""
    step = _EntryContext(alias, cursor, limit, seconds)
    return _totals([live.bytes for live in step.entries() if selection.matches(live)], step)


def delete_step(
    alias: str, selection: Selection, *, cursor: str = "", limit: int = 1000, seconds: float = 1.0
) -> EntryTotals:
    """Delete the entries of ``selection`` among the next ones from ``cursor`` on."""
    step = _EntryContext(alias, cursor, limit, seconds, _LISTING_SECONDS)
    sizes: list[int | None] = []
    try:
        for scanner, page in step.pages():
            found = [(entry, step.live(entry, scanner)) for entry in page.entries]
            chosen = [entry for entry, live in found if selection.matches(live)]
            removable = [entry for entry in chosen if scanner.can_remove(entry)]
            if len(removable) < len(chosen):
                step.problem = _CANNOT_REMOVE
            if removable:
                scanner.remove(removable)
            sizes += [entry.bytes for entry in removable]
    except Exception as error:
        step.failed(error)
    return _totals(sizes, step)


def delete_key(alias: str, key: str, version: int | None = None) -> EntryTotals:
    """Delete one entry, by the user's key."""
    before = find_entry(alias, key, version)
    try:
        gone = caches[alias].delete(key, version=version)
    except Exception as error:
        return EntryTotals(entries=0, bytes=None, problem=describe_error(error))
    size = before.entry.bytes if before.entry is not None else None
    # A backend that returns nothing has deleted it, if it was there.
    entries = 0 if gone is False or (gone is None and before.exists is False) else 1
    return EntryTotals(entries=entries, bytes=size if entries else 0)


def clear(alias: str) -> EntryTotals:
    """Delete everything with the cache's own ``clear``, without counting."""
    try:
        caches[alias].clear()
    except Exception as error:
        return EntryTotals(entries=0, bytes=None, problem=describe_error(error))
    return EntryTotals(entries=0, bytes=None)


def clear_reach(alias: str) -> str | Promise | None:
    """What ``clear`` deletes besides the alias's own entries, in a sentence; None for nothing."""
    cache = caches[alias]
    # In django-cachex 0.4 and later only ``flush_db`` deletes others' entries.
    return None if hasattr(cache, "flush_db") else _REACH.get(kind_of(type(cache)))


def is_per_process(alias: str) -> bool:
    """Whether only the answering process's own entries are listed and deleted."""
    return scope_of(caches[alias]) == "per process"


_LISTING_SECONDS = 10.0
"""Seconds that a step of a deletion may take to list the keys of a backend that has no cursor."""
_CANNOT_REMOVE = (
    "The keys of these entries are unknown: KEY_FUNCTION cannot be undone, or they are no text."
)
_REACH = {
    "LocMemCache": _("It clears this process alone, with every alias of the same LOCATION."),
    "FileBasedCache": _("It clears the directory, with every alias of the same LOCATION."),
    "DatabaseCache": _("It clears the table, with every alias of the same LOCATION."),
    **dict.fromkeys(
        ("RedisCache (Django's)", "RedisCache (django-redis)", "django-valkey", "django-cachex"),
        _(
            "It flushes the whole database of the server, with the keys of every other program"
            " there."
        ),
    ),
    "memcached": _("It flushes the whole server, with the keys of every other program there."),
}


def _totals(sizes: list[int | None], step: "_EntryContext") -> EntryTotals:
    known = [size for size in sizes if size is not None]
    return EntryTotals(
        entries=len(sizes),
        bytes=sum(known) if len(known) == len(sizes) else None,
        **step.outcome(),
    )


class _EntryContext:
    """One bounded step through the entries of an alias; errors become its ``problem``."""

    def __init__(
        self, alias: str, cursor: str, limit: int, seconds: float, listing: float = 0.0
    ) -> None:
        now = time.monotonic()
        self._alias = alias
        self._limits = ScanLimits(alias, limit, now + seconds, get_conf().stale_after)
        self._listing_ends = now + max(seconds, listing)
        self._uses: RecordedUses | None = None
        self.cursor: str | None = cursor
        self.examined = 0
        self.total: int | None = None
        self.problem: str | None = None

    def pages(self) -> Iterator[tuple[BackendScanner, EntryPage]]:
        """The pages, with their scanner."""
        try:
            self._uses = _uses(self._alias)
            with closing(_scanner(self._alias, Bounds(self._listing_ends), self._uses)) as scanner:
                scan = Scan(scanner, self._limits, self.cursor or "")
                for page in scan:
                    self.examined += len(page.entries)
                    yield scanner, page
                self.cursor = scan.cursor
                # Last, because a server may refuse to count, and a large table takes long.
                self.total = total_of(scanner)
                self.problem = self.problem or scanner.problem
        except Exception as error:
            self.failed(error)

    def entries(self) -> Iterator[LiveEntry]:
        for scanner, page in self.pages():
            for entry in page.entries:
                yield self.live(entry, scanner)

    def live(self, entry: Entry, scanner: BackendScanner) -> LiveEntry:
        """``entry`` for people, with its recorded uses."""
        if self._uses is not None:
            entry = self._uses.with_uses(entry)
        return live_entry(self._alias, entry, scanner, self._limits.stale_after)

    def failed(self, error: Exception) -> None:
        """End here, without a cursor."""
        self.cursor = None
        self.problem = describe_error(error)

    def outcome(self) -> dict[str, Any]:
        """The fields of a :class:`_Step`."""
        return {name: getattr(self, name) for name in _Step.__struct_fields__}


def _uses(alias: str) -> RecordedUses | None:
    """The recorded uses of all processes; None without a store."""
    try:
        store = get_store()
    except StoreError:
        return None
    return uses_of(alias, caches[alias], store, Reporter(recorder.process, recorder.reported_at))


def _scanner(alias: str, bounds: Bounds, uses: RecordedUses | None) -> BackendScanner:
    cache: BaseCache = caches[alias]
    scanner = scanner_for(alias, cache, bounds)
    if scanner is not None:
        return scanner
    if uses is None:
        raise ScanError("The entries of this backend cannot be listed.")
    return RecordedScanner(cache, uses)


def live_entry(alias: str, entry: Entry, scanner: BackendScanner, stale_after: float) -> LiveEntry:
    """``entry`` of the cache ``alias`` for people; stale after ``stale_after`` seconds unused."""
    name = name_key(entry.key, alias)
    return LiveEntry(
        key=entry.key if entry.known else None,
        shown=name.shown,
        group=name.group,
        kind=name.kind,
        bytes=entry.bytes,
        expires_in=entry.expires_in,
        no_expiry=None if "no_expiry" in scanner.unsupported else entry.no_expiry,
        idle=entry.idle,
        age=entry.age,
        never_read=entry.never_read,
        why=stale_reasons(entry, stale_after),
    )
