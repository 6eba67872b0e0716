"""Scan memcached: the alias's own keys on servers that may hold many others.

The scan has connections of its own: the client libraries cannot list keys, and theirs are the
site's. A server's listing cannot be continued later. So each one is read whole, and the scan takes
the keys in one range of digests: a write between two scans does not move other keys, and a range is
a fair sample.
"""

import re
import socket
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes
from zlib import crc32

from django.core.cache.backends.memcached import BaseMemcachedCache

from cache_monitor.scan.base import (
    LONGEST,
    BackendLimits,
    BackendScanner,
    BadCursor,
    BoundedSocket,
    Bounds,
    Entry,
    EntryPage,
    ScanError,
    boot_of,
    describe_error,
    parse_count,
)
from cache_monitor.scan.identity import NOT_RECOGNIZABLE, address_of, is_text, key_form, shown_text
from cache_monitor.trace import NOT_ONLY

_CHUNK = 1 << 16
_TRIES, _BUSY_PAUSE = 5, 0.2
_ENOUGH = 1024
"""Bytes of a long answer that a server must send in the time of a short one."""
_LONGEST_LINE = 8192
_NO_ANSWER = "The server's answer is none of memcached's."
_FAILURES = (b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR")


class _Refused(ScanError):
    """The server does not know the command, or does not allow it."""


class Connection:
    """A connection to one server; ``server`` as in ``LOCATION``, ``tls`` an ``ssl.SSLContext``.

    Raises ``OSError`` where nothing answers, and :class:`ScanError` where the answer is too late,
    too long or implausible.
    """

    def __init__(self, server: object, tls: Any = None, bounds: Bounds | None = None) -> None:
        self._bounds = Bounds() if bounds is None else bounds
        self._bounds.begin()
        plain = _connected(server, self._bounds.seconds())
        if tls is not None:
            plain = tls.wrap_socket(plain, server_hostname=address_of(server)[0])
        self._socket = BoundedSocket(plain, self._bounds)

    def close(self) -> None:
        with suppress(OSError):
            self._socket.close()

    def stats(self) -> dict[str, str]:
        """The server's own statistics."""
        found = {}
        for line in self._answer(b"stats"):
            parts = line.decode("utf-8", "replace").split(" ", 2)
            if len(parts) < 3:
                raise ScanError(_NO_ANSWER)
            found[parts[1]] = parts[2]
        return found

    def dump(self) -> Generator[bytes, None, None]:
        """One line for each entry; an empty one now and then while there are none.

        Raises :class:`ScanError` where the server's crawler may not be used, or is in use.
        """
        try:
            # By its table: the other lists, by age, move while they are scanned.
            yield from self._answer(b"lru_crawler metadump hash", is_long=True)
        except _Refused:
            yield from self._answer(b"lru_crawler metadump all", is_long=True)

    def entry(self, key: bytes) -> dict[str, str] | None:
        """The metadata of an entry; None without one. Does not count as a use."""
        self._socket.sendall(b"me " + key + b"\r\n")
        line = next(self._lines())
        if line.startswith(b"EN"):
            return None
        if not line.startswith(b"ME "):
            raise ScanError("The server is too old (before 1.5.17) to show single entries.")
        return fields(line[len(key) + 4 :])

    def _answer(self, question: bytes, is_long: bool = False) -> Generator[bytes, None, None]:
        """The lines of an answer, without its END.

        A long one may take as long as the scan, if enough of it comes all the time.
        """
        for tries_left in reversed(range(_TRIES)):
            self._socket.sendall(question + b"\r\n")
            for line in self._lines(is_long):
                if line == b"END":
                    return
                if line.startswith(b"BUSY"):
                    if not tries_left:
                        raise ScanError("The server is listing its keys for another client.")
                    time.sleep(_BUSY_PAUSE)
                    break
                if line.startswith(_FAILURES):
                    raise _Refused(f"The server refuses {question.split()[0].decode()}.")
                yield line

    def _lines(self, is_long: bool = False) -> Iterator[bytes]:
        rest, received = b"", 0
        while chunk := self._socket.recv(_CHUNK):
            received += len(chunk)
            if is_long and received >= _ENOUGH:
                self._bounds.begin()
                received = 0
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            if len(rest) > _LONGEST_LINE:
                raise ScanError(_NO_ANSWER)
            for line in lines:
                yield line.rstrip(b"\r")
            if is_long and not lines:
                yield b""
        raise ScanError("The server ended the connection: it may want a user and a password.")


def fields(line: bytes) -> dict[str, str]:
    """The ``name=value`` pairs of a line."""
    pairs = (part.split(b"=", 1) for part in line.split(b" ") if b"=" in part)
    return {
        name.decode("ascii", "replace"): value.decode("ascii", "replace") for name, value in pairs
    }


def quoted_key_in(line: bytes) -> bytes:
    """The stored key of a line of a dump, percent-encoded."""
    name, is_there, _ = line.partition(b" ")
    if not (is_there and name.startswith(b"key=")):
        raise ScanError(_NO_ANSWER)
    return name[4:]


def key_in(line: bytes) -> bytes:
    """The stored key of a line of a dump."""
    return unquote_to_bytes(quoted_key_in(line))


def _connected(server: object, timeout: float) -> socket.socket:
    if isinstance(server, str) and server.startswith(("unix:", "/")):
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            found.settimeout(timeout)
            found.connect(server.removeprefix("unix:"))
        except OSError:
            found.close()
            raise
        return found
    return socket.create_connection(address_of(server), timeout)


_RANGE = 100_000
"""Entries in memory at once, about: some 15 MB of lines."""
_KEYS_A_PAGE = 1000
_DIGESTS = 1 << 32
_LINES_AT_LEAST = 4096
"""Lines of a listing that are read whatever the time."""
_MUCH_MORE = 4
"""A server may list this many times the entries that it counted before."""
_HEARTBEAT = 0.5
"""Seconds between two heartbeats of a listing that takes long."""
_TOO_MANY = (
    "There was no time to list all entries of a server: the rest is estimated from those listed."
)
_CURSOR = re.compile("([0-9]{1,10}):([0-9]{1,10})")
_NEVER = "-1"
_LATEST = int(LONGEST)
"""The greatest plausible time in seconds."""


class _PageStart(NamedTuple):
    """Where a page begins: the number of the server, and the first digest."""

    server: int = 0
    digest: int = 0

    def __str__(self) -> str:
        return f"{self.server}:{self.digest}"


class _Heartbeat:
    """Decides after which lines of a listing to report that it goes on."""

    def __init__(self, deadline: float) -> None:
        now = time.monotonic()
        # The other half of the time is for the listed entries.
        self._ends = now + (deadline - now) / 2
        self._ends_at_least = max(deadline, now + _HEARTBEAT)
        self._next = now + _HEARTBEAT
        self._lines = 0
        self._now = now

    def is_due(self) -> bool:
        """Whether a heartbeat is due after one more line, or the listing is over."""
        self._lines += 1
        self._now = time.monotonic()
        if self._now < self._next and not self.is_over():
            return False
        self._next = self._now + _HEARTBEAT
        return True

    def is_over(self) -> bool:
        """Whether the listing has used its time."""
        return self._now >= (self._ends if self._lines >= _LINES_AT_LEAST else self._ends_at_least)


class MemcachedScanner(BackendScanner):
    """The alias's keys on the servers; an entry's size is what the server uses for it.

    The server hides expired entries. It records a use only now and then, so an entry may be less
    idle than it seems.
    """

    def __init__(self, cache: BaseMemcachedCache, bounds: Bounds) -> None:
        super().__init__(cache, ("idle", "never_read", "no_expiry"), bounds)
        self._form = key_form(cache)
        # An option of pymemcache: it comes before Django's own.
        prefix = self._cache._options.get("key_prefix", b"")
        self._prefix = prefix.encode() if isinstance(prefix, str) else bytes(prefix)
        self._open: dict[int, Connection] = {}

    def total(self) -> int:
        return _sum_of("curr_items", self._stats())

    def limits(self) -> BackendLimits:
        """The limits of all servers that answer. Evictions only where all do: a sum that falls
        would look like a restart."""
        stats = list(self._stats())
        if not stats:
            return BackendLimits()
        limits = BackendLimits(
            limit_bytes=_sum_of("limit_maxbytes", stats),
            used_bytes=_sum_of("bytes", stats) or None,
        )
        if len(stats) < len(self._cache._servers):
            return limits
        # Not unique, because PIDs in containers are alike.
        boot = f"{NOT_ONLY}{boot_of(*sorted(map(_started, stats)))}"
        return limits._replace(evictions=_sum_of("evictions", stats), boot=boot)

    def _stats(self) -> Iterator[dict[str, str]]:
        for number in range(len(self._cache._servers)):
            try:
                yield self._server(number).stats()
            except (OSError, ScanError) as error:
                self._skip_server(number, error)

    def pages(self, cursor: str, most: int) -> Generator[EntryPage, None, None]:
        """The entries server by server, in the order of the digests of their keys."""
        if not (self._form.is_recognizable or self._prefix):
            raise ScanError(NOT_RECOGNIZABLE)
        # Pages are small, because one that ends with its server may be nearly empty.
        self.page = min(max(1, most // 4), _KEYS_A_PAGE)
        place, servers = _parsed(cursor), len(self._cache._servers)
        for number in range(place.server, servers):
            begin = place if number == place.server else _PageStart(number)
            after = None if number == servers - 1 else str(_PageStart(number + 1))
            try:
                yield from self._pages_of(begin, after, self.page)
            except (OSError, ScanError) as error:
                if servers == 1:
                    raise
                self._skip_server(number, error)
                yield EntryPage((), 0, after)

    def _skip_server(self, number: int, error: Exception) -> None:
        self.incomplete = True
        self._disconnect(number)
        if len(self._cache._servers) == 1:
            text = describe_error(error)
        else:
            text = f"One of the servers cannot be asked ({describe_error(error)})"
        self.problems[text if text.endswith(".") else f"{text}."] = None

    def _pages_of(self, place: _PageStart, after: str | None, keys: int) -> Iterator[EntryPage]:
        """The entries of one server from ``place`` on; ``after`` is the cursor after them."""
        stats = self._server(place.server).stats()
        now = parse_count(stats.get("time", int(time.time())), _LATEST)
        entries = parse_count(stats.get("curr_items", 0))
        width = max(1, _DIGESTS * _RANGE // max(entries, _RANGE))
        for begin in range(place.digest, _DIGESTS, width):
            end = min(begin + width, _DIGESTS)
            following = after if end == _DIGESTS else str(_PageStart(place.server, end))
            most = _MUCH_MORE * max(entries, _RANGE)
            own, scanned = yield from self._range(_PageStart(place.server, begin), end, most)
            if not own:
                yield EntryPage((), scanned, following)
            for first in range(0, len(own), keys):
                some = own[first : first + keys]
                is_last = first + keys >= len(own)
                behind = str(_PageStart(place.server, some[-1][0] + 1))
                share = round(scanned * len(some) / len(own))
                found = [self._listed(line, now) for _, line in some]
                yield EntryPage(found, share, following if is_last else behind)

    def _range(
        self, place: _PageStart, end: int, most: int
    ) -> Generator[EntryPage, None, tuple[list[tuple[int, bytes]], int]]:
        """The alias's own lines from the place's digest to ``end``, sorted by their digests, of one
        listing of at most ``most`` lines; and the number of all lines in that range.

        It yields heartbeats meanwhile, because the caller may stop a listing of millions. Where the
        time is over, the listed part stands for the rest.
        """
        own: dict[bytes, tuple[int, bytes]] = {}
        scanned = listed = 0
        heartbeat = _Heartbeat(self.bounds.deadline)
        with closing(self._server(place.server).dump()) as lines:
            for line in lines:
                listed += 1
                if listed > most or len(own) > _MUCH_MORE * _RANGE:
                    raise ScanError("The server lists many more entries than it says it has.")
                # An empty line only shows that the server is alive.
                digest = crc32(quoted_key_in(line)) if line else -1
                if place.digest <= digest < end:
                    scanned += 1
                    stored = key_in(line)
                    if self._user_key(stored) is not None:
                        own[stored] = digest, line
                if not heartbeat.is_due():
                    continue
                if heartbeat.is_over():
                    self._disconnect(place.server)
                    self.sampled = True
                    self.problems[_TOO_MANY] = None
                    break
                yield EntryPage((), 0, str(place), is_heartbeat=True)
        return sorted(own.values()), scanned

    def _listed(self, line: bytes, now: int) -> Entry:
        stored, values = key_in(line), fields(line)
        expires_at = values.get("exp", _NEVER)
        left = None if expires_at == _NEVER else parse_count(expires_at, _LATEST) - now
        idle = max(0, now - parse_count(values.get("la", now), _LATEST))
        return self._entry(stored, values, left, idle)

    def _entry(
        self, stored: bytes, values: dict[str, str], expires_in: int | None, idle: int
    ) -> Entry:
        return Entry(
            self._user_key(stored) or shown_text(stored),
            parse_count(values["size"]) if "size" in values else None,
            expires_in=None if expires_in is None else float(expires_in),
            no_expiry=expires_in is None,
            idle=float(idle),
            never_read=values.get("fetch") == "no",
            known=not self._form.opaque and is_text(stored),
            stored=shown_text(stored),
        )

    def _user_key(self, stored: bytes) -> str | None:
        if not stored.startswith(self._prefix):
            return None
        return self._form.user_key(shown_text(stored[len(self._prefix) :]))

    def entry(self, key: str, version: int | None) -> Entry | None:
        made = self._prefix + str(self._cache.make_and_validate_key(key, version=version)).encode()
        for number in range(len(self._cache._servers)):
            values = self._server(number).entry(made)
            if values is not None:
                # Some versions, such as 1.6.18, give the seconds with a minus.
                expires = values.get("exp", _NEVER)
                seconds = parse_count(expires.removeprefix("-"), _LATEST)
                left = None if expires == _NEVER else seconds
                idle = parse_count(values.get("la", 0), _LATEST)
                return self._entry(made, values, left, idle)._replace(key=key, known=True)
        return None

    def _server(self, number: int) -> Connection:
        if number not in self._open:
            server = self._cache._servers[number]
            tls = self._cache._options.get("tls_context")
            self._open[number] = Connection(server, tls, self.bounds)
        return self._open[number]

    def _disconnect(self, number: int) -> None:
        if number in self._open:
            self._open.pop(number).close()

    def close(self) -> None:
        for number in list(self._open):
            self._disconnect(number)


def _parsed(cursor: str) -> _PageStart:
    if not cursor:
        return _PageStart()
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise BadCursor
    return _PageStart(*map(int, found.groups()))


def _sum_of(name: str, stats: Iterable[Mapping[str, str]]) -> int:
    return sum(parse_count(each.get(name, 0)) for each in stats)


def _started(stats: Mapping[str, str]) -> str:
    """The identity of one start of a server: its process, and when it began."""
    now, up = (parse_count(stats.get(name, 0), _LATEST) for name in ("time", "uptime"))
    return f"{stats.get('pid', '')} {now - up}"
