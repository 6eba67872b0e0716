"""The base class of the backends' scanners.

Background scans, the full scan and the dashboard's lists all use it. They see the same entries and
can continue where they, or another process, stopped.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Literal, NamedTuple, TypeVar

from django.core.cache.backends.base import BaseCache

from cache_monitor.scan.limits import Bounds
from cache_monitor.scan.snapshot import LONGEST, STALE_REASONS, Scope, StaleReason

Traced = Literal["", "whole", "sample", "out"]


class Entry(NamedTuple):
    """An entry of a live cache; ages in seconds, None where unknown.

    ``expires_in`` is negative once the entry has expired. ``key`` is the user's, or a label where
    it is not ``known``. ``stored`` is the backend's own name. ``traced`` says whether the trace has
    the entry: "sample" stands for others, which are "out".
    """

    key: str
    bytes: int | None
    expires_in: float | None = None
    no_expiry: bool = False
    idle: float | None = None
    age: float | None = None
    never_read: bool | None = None
    known: bool = True
    stored: str = ""
    traced: Traced = ""


def credible(entry: Entry) -> Entry:
    """``entry`` with plausible times.

    An expiry in thousands of years is none: Django takes ``timeout=float("inf")``, and NaN.
    """
    left, idle, age = entry.expires_in, entry.idle, entry.age
    if left is not None and not -LONGEST < left < LONGEST:
        if left <= -LONGEST:
            entry = entry._replace(expires_in=-LONGEST)
        else:
            entry = entry._replace(expires_in=None, no_expiry=True)
    if idle is not None and not 0 <= idle < LONGEST:
        entry = entry._replace(idle=None)
    if age is not None and not 0 <= age < LONGEST:
        entry = entry._replace(age=None)
    return entry


class EntryPage(NamedTuple):
    """Some entries, of ``scanned`` that were passed to find them. ``cursor`` continues after them.

    A heartbeat comes while a page is under way. Its cursor leads to the page's beginning.
    """

    entries: Sequence[Entry]
    scanned: int
    cursor: str | None
    is_heartbeat: bool = False


class BackendLimits(NamedTuple):
    """The limits and counters of a backend's servers.

    ``evictions`` count from the start that ``boot`` names. ``policy`` is the server's name of its
    eviction policy. ``behind``: a replica that reads go to lacks recent writes. ``used`` are the
    bytes that the servers use for all clients, ``empty`` those of them without any entry.
    """

    bytes: int | None = None
    entries: int | None = None
    evictions: int | None = None
    boot: str = ""
    policy: str | None = None
    behind: bool = False
    used: int | None = None
    empty: int = 0


def boot_of(*starts: object) -> str:
    """A short name for the starts of all servers."""
    text = "\0".join(map(str, starts))
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


class BadCursor(ValueError):
    """A cursor that this scanner has not given, or that is no longer valid."""

    def __init__(self, message: str = "This is no place to go on from.") -> None:
        super().__init__(message)


class BackendScanner(ABC):
    """The live backend of one alias.

    Every method may raise what the backend's driver raises, or :class:`ScanError`. None of them
    counts as a use of an entry; only ``remove`` changes one. ``bounds`` is what the scan may still
    spend, ``page`` the most entries of a page, 0 where that varies. ``incomplete``: a part of the
    cache could not be scanned. ``sampled``: what was scanned stands for the rest.
    """

    scope: Scope = "shared"

    def __init__(
        self, cache: BaseCache, supported: Sequence[StaleReason], bounds: Bounds | None = None
    ) -> None:
        self.unsupported: set[StaleReason] = set(STALE_REASONS) - set(supported)
        self.incomplete = self.sampled = False
        self.bounds = bounds or Bounds()
        self.page = 0
        self.problems: dict[str, None] = {}
        self._cache = cache

    @abstractmethod
    def total(self) -> int | None:
        """About how many entries the cache's store holds, those of other aliases too."""

    @abstractmethod
    def pages(self, cursor: str, most: int) -> Generator[EntryPage, None, None]:
        """The alias's entries from ``cursor`` on, "" being the beginning; about ``most`` a page.

        Raises :class:`BadCursor`.
        """

    @abstractmethod
    def entry(self, key: str, version: int | None) -> Entry | None:
        """The entry of the user's ``key``; None where it is not there."""

    @property
    def problem(self) -> str | None:
        """What is not known, in words for people."""
        return " ".join(self.problems) or None

    def limits(self) -> BackendLimits:
        """What limits the backend has."""
        return BackendLimits()

    def can_remove(self, entry: Entry) -> bool:
        """Whether the cache has a way to remove ``entry``."""
        return entry.known

    def remove(self, entries: Sequence[Entry]) -> None:
        """Remove ``entries`` with the cache's own operations."""
        if keys := [each.key for each in entries]:
            self._cache.delete_many(keys)

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Close what this scanner has opened."""


BUCKETS = 4096

T = TypeVar("T")


def in_buckets(
    names: Iterable[T], bucket_of: Callable[[T], int], cursor: str
) -> Iterator[tuple[list[T], str | None]]:
    """The names, a bucket at a time from the bucket ``cursor`` on, and the next one's cursor.

    A dict or a directory has no position that stays: additions move the others. Buckets by a digest
    of the name stay, and each is a fair sample.
    """
    if cursor and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 5):
        raise BadCursor
    first = int(cursor or 0)
    buckets: dict[int, list[T]] = {}
    for name in names:
        bucket = bucket_of(name)
        if bucket >= first:
            buckets.setdefault(bucket, []).append(name)
    order = sorted(buckets)
    for place, bucket in enumerate(order):
        is_last = place == len(order) - 1
        yield buckets.pop(bucket), None if is_last else str(order[place + 1])
    if not order:
        yield [], None
