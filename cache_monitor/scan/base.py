"""What every backend's scanner offers, and how it goes through its entries.

One protocol serves the background looks, the full scan and the dashboard's lists, so that all of
them see the same entries and can go on where they, or another process, stopped.

Dicts and directories have no place to go on from: what is added or removed moves all the others.
So names are put into buckets by a digest of theirs, which stays; every bucket is a fair sample.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Literal, NamedTuple, Protocol, TypeVar

from django.core.cache.backends.base import BaseCache

from cache_monitor.scan.limits import LONGEST, Bounds
from cache_monitor.scan.snapshot import STALE_REASONS, Scope, StaleReason

Traced = Literal["", "whole", "sample", "out"]


class Entry(NamedTuple):
    """An entry as a backend tells of it; ages in seconds, None where it does not tell.

    ``expires_in`` is negative once the entry has expired. ``key`` is the user's; where it cannot
    be told (``known`` is False), it is what people may call the entry by. ``stored`` is the
    backend's own name for it. ``never_read`` is None where it is not known; ``traced`` says whether
    the trace has it, as one of a sample perhaps that stands for those ``out`` of it.
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
    """``entry`` with times that a clock can show.

    What expires in thousands of years never does, as with ``timeout=float("inf")``, which Django
    allows for; it takes NaN for it as well.
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
    """Some entries, of ``walked`` that were passed to find them; what ``cursor`` to go on with.

    A sign of life comes while a page is under way, and is no page: it leads back to its beginning.
    """

    entries: Sequence[Entry]
    scanned: int
    cursor: str | None
    is_sign_of_life: bool = False


class BackendLimits(NamedTuple):
    """What the place allows for, and how often it had to make room since the start that ``boot``
    names: another one after a restart of a server, or where a directory was made anew. ``policy``
    is what goes where there is none left, by the name that the server has for it. ``behind`` says
    that a replica which reads go to lacks what was written. ``used`` are the bytes that the servers
    take for everybody's entries, ``empty`` those of them that they take without any."""

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
    """A cursor that this source has not given, or that leads nowhere any more."""


class BackendScanner(Protocol):
    """A live backend of one alias.

    Every method may raise what the backend's driver raises, or ``CannotLook``. Nothing here counts
    as a use of an entry or changes it, but for ``remove``.
    """

    scope: Scope
    untold: set[StaleReason]
    """The reasons that the backend cannot know of, as far as is known by now."""
    missed: bool
    """Whether a part of the place could not be gone through."""
    sampled: bool
    """Whether there was no time for all that a page is chosen from: what was gone through stands
    for the rest."""
    bounds: Bounds
    """What may still be spent on looking."""
    page: int
    """The most entries that a page is known to hold; 0 where that depends."""

    def total(self) -> int | None:
        """About how many entries there are in the place, whoever's they are."""

    def pages(self, cursor: str, most: int) -> Generator[EntryPage, None, None]:
        """The alias's own entries from ``cursor`` on; empty text is the beginning.

        A page holds about ``most`` entries at most. Raises :class:`BadCursor`.
        """

    def entry(self, key: str, version: int | None) -> Entry | None:
        """One entry by the user's key; None where it is not there."""

    def limits(self) -> BackendLimits:
        """What the place allows for."""

    def can_remove(self, entry: Entry) -> bool:
        """Whether the cache has a way to remove ``entry``."""

    def remove(self, entries: Sequence[Entry]) -> None:
        """Remove ``entries``, all of which can be, through the cache."""

    @property
    def problem(self) -> str | None:
        """What could not be told so far, in words for people."""

    def close(self) -> None:
        """Give back what this source has opened for itself."""


class CacheScanner:
    """What the sources have in common."""

    scope: Scope = "shared"

    def __init__(
        self, cache: BaseCache, tells: Sequence[StaleReason], bounds: Bounds | None = None
    ) -> None:
        self.untold: set[StaleReason] = set(STALE_REASONS) - set(tells)
        self.missed = self.sampled = False
        self.bounds = bounds or Bounds()
        self.page = 0
        self.problems: dict[str, None] = {}
        self._cache = cache

    @property
    def problem(self) -> str | None:
        """What could not be told so far, each thing once."""
        return " ".join(self.problems) or None

    def limits(self) -> BackendLimits:
        """None, unless the backend has some."""
        return BackendLimits()

    def can_remove(self, entry: Entry) -> bool:
        """Where its key is known."""
        return entry.known

    def remove(self, entries: Sequence[Entry]) -> None:
        """Remove ``entries`` with the cache's own ``delete_many``."""
        if keys := [each.key for each in entries]:
            self._cache.delete_many(keys)

    def close(self) -> None:
        """Nothing is open, unless the backend needs it."""


BUCKETS = 4096

T = TypeVar("T")


def in_buckets(
    names: Iterable[T], bucket_of: Callable[[T], int], cursor: str
) -> Iterator[tuple[list[T], str | None]]:
    """The names, a bucket at a time from the bucket ``cursor`` on, and the next one's cursor."""
    first = _first(cursor)
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


def _first(cursor: str) -> int:
    if cursor and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 5):
        raise BadCursor("This is no place to go on from.")
    return int(cursor or 0)
