"""The base class of the backends' scanners, and how much a scan may take.

Background scans, the full scan and the dashboard's lists use the same scanners. They see the same
entries and can continue where they, or another process, stopped.

A server may be slow, broken or not of the expected kind: its answers may be late, endless or
implausible. Such a scan ends in the cache's ``problem``.
"""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from hashlib import blake2b
from itertools import zip_longest
from math import inf
from typing import Any, Literal, NamedTuple, TypeVar

from cache_monitor.concurrency import no_pause

Scope = Literal["shared", "per process"]
StaleReason = Literal["expired", "idle", "never_read", "no_expiry"]

STALE_REASONS: tuple[StaleReason, ...] = ("expired", "idle", "never_read", "no_expiry")

LONGEST = 1e11
"""Seconds, some 3000 years: what expires later never does."""
LONGEST_POLICY = 32
"""Characters of the name of a policy."""


class ScanLimits(NamedTuple):
    """How far a scan may go. ``deadline`` is on the monotonic clock; ``stale_after`` in seconds."""

    alias: str
    limit: int
    deadline: float
    stale_after: float


class ScanError(Exception):
    """The cache cannot be scanned; the message may be shown to people."""


def describe_error(error: BaseException) -> str:
    """What to show of ``error``: its type and what the operating system says.

    The message of a driver may quote its address, with the password.
    """
    if isinstance(error, ScanError):
        return str(error)
    name = type(error).__name__
    cause: BaseException | None = error
    for _ in range(10):
        if isinstance(cause, OSError) and cause.errno:
            return f"{name}: {os.strerror(cause.errno)}"
        cause = cause and (cause.__cause__ or cause.__context__)
    return name


ANSWER_SECONDS = 5.0
"""Seconds that a server may take for the whole of an answer."""
GRACE_SECONDS = 2.0
"""Seconds after the deadline of a scan for its last answer and the backend's limits."""
ANSWER_BYTES = 16 << 20
"""Bytes of one answer; a page of keys takes a thousandth of it."""
GREATEST = 1 << 53
"""The greatest plausible figure; JSON has no greater integers."""

IMPLAUSIBLE = "The server gives figures that cannot be true."
_TOO_SLOW = "The server does not answer in the time that a scan has."
_TOO_MUCH = "The server's answer does not end."


class Bounds:
    """What one scan may still spend.

    Nothing begins after ``deadline``, on the monotonic clock. Waiting for a server ends
    ``GRACE_SECONDS`` later; no answer takes longer than ``ANSWER_SECONDS``.
    """

    def __init__(self, deadline: float = inf) -> None:
        now = time.monotonic()
        self.deadline = deadline
        self._ends = max(deadline, now) + GRACE_SECONDS
        self._answer_ends = inf
        self._bytes_left = ANSWER_BYTES

    def begin(self) -> None:
        """Begin to wait for an answer. Raises :class:`ScanError` where the scan is over."""
        now = time.monotonic()
        if now >= self._ends:
            raise ScanError(_TOO_SLOW)
        self._answer_ends = min(now + ANSWER_SECONDS, self._ends)
        self._bytes_left = ANSWER_BYTES

    def seconds(self, at_most: float | None = None) -> float:
        """How long the next bytes may take, at most ``at_most``.

        Raises ``TimeoutError`` where the answer has taken too long, and :class:`ScanError` where
        the whole scan has.
        """
        now = time.monotonic()
        if now >= self._ends:
            raise ScanError(_TOO_SLOW)
        if now >= self._answer_ends:
            raise TimeoutError(_TOO_SLOW)
        left = min(self._answer_ends, self._ends) - now
        return left if at_most is None else min(left, at_most)

    def took(self, size: int) -> None:
        """Note ``size`` more bytes of the answer. Raises :class:`ScanError` for too many."""
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise ScanError(_TOO_MUCH)


class BoundedSocket:
    """A connected socket for a client library, within ``bounds``. An answer begins when something
    is sent."""

    def __init__(self, sock: Any, bounds: Bounds) -> None:
        self._socket = sock
        self._bounds = bounds

    def sendall(self, data: bytes) -> None:
        self._bounds.begin()
        self._waiting(self._socket.sendall, data)

    def recv(self, size: int, *flags: int) -> bytes:
        received: bytes = self._waiting(self._socket.recv, size, *flags)
        self._bounds.took(len(received))
        return received

    def recv_into(self, buffer: Any, *more: int) -> int:
        count: int = self._waiting(self._socket.recv_into, buffer, *more)
        self._bounds.took(count)
        return count

    def _waiting(self, call: Any, *args: Any) -> Any:
        given = self._socket.gettimeout()
        if given == 0:
            return call(*args)
        self._socket.settimeout(self._bounds.seconds(given))
        try:
            return call(*args)
        finally:
            self._socket.settimeout(given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


def parse_count(value: object, most: int = GREATEST) -> int:
    """``value`` as a count or a size; raises :class:`ScanError` where it cannot be one."""
    if isinstance(value, (str, bytes)) and len(value) <= len(str(most)):
        try:
            value = int(value)
        except ValueError:
            raise ScanError(IMPLAUSIBLE) from None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most:
        return value
    raise ScanError(IMPLAUSIBLE)


Traced = Literal["", "whole", "sample", "out"]


class Entry(NamedTuple):
    """An entry of a live cache; ages in seconds, None where unknown.

    ``expires_in`` is negative once the entry has expired. ``key`` is the user's, or a label where
    it is not ``known``. ``stored`` is the backend's own name of it. ``traced`` says whether the
    trace has the entry: a "sample" stands for others, which are "out".
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


def with_plausible_times(entry: Entry) -> Entry:
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


def stale_reasons(entry: Entry, stale_after: float) -> list[StaleReason]:
    """Why ``entry`` is stale; ``stale_after`` in seconds. Empty where it is not."""
    why: list[StaleReason] = []
    if entry.expires_in is not None and entry.expires_in <= 0:
        why.append("expired")
    if entry.idle is not None and entry.idle > stale_after:
        why.append("idle")
    if entry.never_read:
        why.append("never_read")
    if entry.no_expiry:
        why.append("no_expiry")
    return why


class EntryPage(NamedTuple):
    """Some of the alias's entries, found among ``scanned`` ones. ``cursor`` continues after them.

    A heartbeat is a page without entries that shows that a long listing goes on; its cursor leads
    to the beginning of the next page.
    """

    entries: Sequence[Entry]
    scanned: int
    cursor: str | None
    is_heartbeat: bool = False


class BackendLimits(NamedTuple):
    """The limits and counters of a backend's servers.

    ``evictions`` count from the start that ``boot`` names. ``policy`` is the server's name of its
    eviction policy. ``used_bytes`` are what the servers use for all clients, ``empty_bytes`` what
    they use without any entry. ``is_behind``: a replica that reads go to lacks recent writes.
    """

    limit_bytes: int | None = None
    limit_entries: int | None = None
    evictions: int | None = None
    boot: str = ""
    policy: str | None = None
    used_bytes: int | None = None
    empty_bytes: int = 0
    is_behind: bool = False


def boot_of(*starts: object) -> str:
    """A short name for the starts of all servers."""
    text = "\0".join(map(str, starts))
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


class BadCursor(ValueError):
    """A cursor that this scanner has not given, or that is no longer valid."""

    def __init__(self, message: str = "The scan cannot continue from this cursor.") -> None:
        super().__init__(message)


class BackendScanner(ABC):
    """The live backend of one alias.

    Every method may raise what the backend's driver raises, or :class:`ScanError`. None counts as a
    use of an entry; only ``remove`` changes one. ``unsupported`` are the stale reasons that the
    backend does not know. ``bounds`` is the time and the bytes that the scan may still take,
    ``page`` the most entries of a page, 0 where that varies. ``pace`` is called while it computes
    for long. ``incomplete``: a part of the cache could not be scanned. ``sampled``: the scanned
    entries stand for the rest.
    """

    scope: Scope = "shared"

    def __init__(
        self, cache: Any, supported: Sequence[StaleReason], bounds: Bounds | None = None
    ) -> None:
        self.unsupported: set[StaleReason] = set(STALE_REASONS) - set(supported)
        self.incomplete = self.sampled = False
        self.bounds = bounds or Bounds()
        self.page = 0
        self.pace: Callable[[], None] = no_pause
        self.problems: dict[str, None] = {}
        self._cache = cache

    @abstractmethod
    def total(self) -> int | None:
        """About how many entries the cache's store holds, those of other aliases too."""

    @abstractmethod
    def pages(self, cursor: str, most: int) -> Generator[EntryPage, None, None]:
        """The alias's entries from ``cursor`` on, "" for the beginning; about ``most`` a page.

        Raises :class:`BadCursor`.
        """

    @abstractmethod
    def entry(self, key: str, version: int | None) -> Entry | None:
        """The entry of the user's ``key``; None without one."""

    @property
    def problem(self) -> str | None:
        """What is not known, in words for people."""
        return " ".join(self.problems) or None

    def limits(self) -> BackendLimits:
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


CURSOR_LENGTH = 512


class Scan:
    """A bounded part of a pass through ``scanner``, from ``cursor`` on.

    ``cursor`` is always where to continue; None at the end. Pages are given whole, because a server
    may divide them otherwise the next time. The first page always begins. Others begin only before
    the deadline, and if they stay within ``limits.limit`` entries.
    """

    def __init__(self, scanner: BackendScanner, limits: ScanLimits, cursor: str = "") -> None:
        self.cursor: str | None = cursor
        self._is_stopped = False
        self._scanner = scanner
        self._limits = limits

    def stop(self) -> None:
        """Begin no further page."""
        self._is_stopped = True

    def __iter__(self) -> Iterator[EntryPage]:
        """The pages, with plausible times. Raises :class:`BadCursor`."""
        if len(self.cursor or "") > CURSOR_LENGTH:
            raise BadCursor
        examined = largest = 0
        with closing(self._scanner.pages(self.cursor or "", self._limits.limit)) as pages:
            for page in pages:
                entries = [with_plausible_times(each) for each in page.entries]
                examined += len(entries)
                largest = max(largest, len(entries), self._scanner.page)
                yield page._replace(entries=entries)
                self.cursor = page.cursor
                if page.is_heartbeat and not self._is_stopped:
                    continue
                is_full = examined + largest > self._limits.limit
                is_over = self._is_stopped or time.monotonic() >= self._limits.deadline
                if self.cursor is None or is_full or is_over:
                    return
        self.cursor = None


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
    for bucket, following in zip_longest(order, order[1:]):
        yield buckets.pop(bucket), None if following is None else str(following)
    if not order:
        yield [], None
