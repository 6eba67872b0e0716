"""Single entries and what is done with them: the plain data of the dashboard's lists."""

from typing import Literal

from msgspec import Struct

from cache_monitor.keys.naming import KeyKind, is_page_known_as, name_key
from cache_monitor.scan.base import BackendScanner, Entry
from cache_monitor.scan.snapshot import StaleReason
from cache_monitor.scan.totals import stale_reasons


class LiveEntry(Struct, frozen=True, kw_only=True):
    """An entry as it is now; ages in seconds, None for what the backend does not tell.

    ``key`` is what the cache's own operations take: possibly a session's, thus a credential, so it
    is never shown and not in the ``repr``. It is None where only a digest of it is known.
    ``shown`` may be shown, escaped. ``expires_in`` is negative once the entry has expired.
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


class Answer(Struct, frozen=True, kw_only=True):
    """Whether an entry is ``there``, None where that could not be asked, and what it is."""

    there: bool | None
    entry: LiveEntry | None = None
    problem: str | None = None


class Selection(Struct, frozen=True, kw_only=True):
    """Which entries: those for which all that is given holds; without anything, all.

    ``why`` is why they are stale, "any" for whatever reason. ``key`` is the key as it is shown.
    """

    group: str | None = None
    why: StaleReason | Literal["any"] | None = None
    key: str | None = None

    def takes(self, entry: LiveEntry) -> bool:
        """Whether ``entry`` is one of them."""
        is_stale = self.why in (None, *entry.why) or (self.why == "any" and bool(entry.why))
        return is_stale and self.group in (None, entry.group) and self._names(entry)

    def _names(self, entry: LiveEntry) -> bool:
        if self.key is None:
            return True
        # All sessions are shown alike: that text means none of them.
        if entry.kind == "session":
            return False
        # A cached page's name is perhaps another process's, which knows its route.
        known_as = entry.kind in {"page", "page_headers"} and entry.key is not None
        return self.key == entry.shown or (known_as and is_page_known_as(self.key, entry.key or ""))


class SelectionPage(Struct, frozen=True, kw_only=True):
    """Some of the entries of a selection. Without a ``cursor`` there are no more.

    ``total`` is about how many entries the whole place holds, ``looked_at`` how many of the
    alias's own this step passed.
    """

    entries: list[LiveEntry]
    cursor: str | None
    looked_at: int
    total: int | None
    problem: str | None


class Measured(Struct, frozen=True, kw_only=True):
    """How many entries of those looked at a selection takes, and their bytes, None if unknown."""

    entries: int
    bytes: int | None
    looked_at: int
    cursor: str | None
    total: int | None
    problem: str | None


class Deleted(Struct, frozen=True, kw_only=True):
    """How many entries went in one step, and their bytes. Without a ``cursor`` it is done."""

    entries: int
    bytes: int | None
    looked_at: int = 0
    cursor: str | None = None
    total: int | None = None
    problem: str | None = None


def live_entry(alias: str, entry: Entry, source: BackendScanner, stale_after: float) -> LiveEntry:
    """``entry`` of ``source``, which is the cache ``alias``, for people; stale after
    ``stale_after`` seconds without a use."""
    name = name_key(entry.key, alias)
    untold = source.untold
    return LiveEntry(
        key=entry.key if entry.known else None,
        shown=name.shown,
        group=name.group,
        kind=name.kind,
        bytes=entry.bytes,
        expires_in=entry.expires_in,
        no_expiry=None if "no_expiry" in untold else entry.no_expiry,
        idle=entry.idle,
        age=entry.age,
        never_read=entry.never_read,
        why=stale_reasons(entry, stale_after),
    )
