"""Look into memcached: the alias's own keys on servers that may hold many others.

The server lists its keys in an order that has no place to go on from. So each listing is read
whole and a range of it kept, by a digest of the keys: what comes and goes between two looks changes
nothing for the other keys, and each range is a fair sample.
"""

import re
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple
from zlib import crc32

from django.core.cache.backends.memcached import BaseMemcachedCache

from cache_monitor.scan.base import (
    BackendLimits,
    BadCursor,
    CacheScanner,
    Entry,
    EntryPage,
    boot_of,
)
from cache_monitor.scan.key_forms import is_text, key_form, shown_text
from cache_monitor.scan.limits import LONGEST, Bounds, ScanError, described, figure
from cache_monitor.scan.memcached_client import Connection, fields, key_in, quoted_key_in
from cache_monitor.trace.events import NOT_ONLY

_RANGE = 100_000
"""Entries that are held at once, about, as the server wrote them: some 15 MB."""
_KEYS_A_PAGE = 1000
_DIGESTS = 1 << 32
_LINES_AT_LEAST = 4096
"""Lines of a listing that are read even where there is hardly time."""
_MUCH_MORE = 4
"""How many times as many entries as it said before a server may list: it goes on serving."""
_BEAT = 0.5
"""Seconds between two signs of life of a listing that takes long."""
_TOO_MANY = "There was no time to list all entries of a server: those that were stand for the rest."
_NUMBER = re.compile("[0-9]{1,10}")
_NEVER = "-1"
_LATEST = int(LONGEST)
"""The latest moment, and the longest time, that is believed; in seconds."""


class _PageStart(NamedTuple):
    """Where a page begins: the number of the server, and the first digest."""

    server: int = 0
    digest: int = 0

    def __str__(self) -> str:
        return f"{self.server}:{self.digest}"


class _ListedRange(NamedTuple):
    """The alias's own lines of a listing with their digests, by which they are sorted, of
    ``walked`` lines of whoever's."""

    kept: list[tuple[int, bytes]]
    scanned: int


class _Pulse:
    """Tells, of the many lines of a listing, when to look up from them."""

    def __init__(self, deadline: float) -> None:
        now = time.monotonic()
        # The other half of the time is for what was listed.
        self._ends = now + (deadline - now) / 2
        self._ends_at_least = max(deadline, now + _BEAT)
        self._next = now + _BEAT
        self._lines = 0
        self._now = now

    def is_due(self) -> bool:
        """Whether some time has passed since the last time, or all that the listing may take."""
        self._lines += 1
        self._now = time.monotonic()
        if self._now < self._next and not self.is_over():
            return False
        self._next = self._now + _BEAT
        return True

    def is_over(self) -> bool:
        """Whether the listing has taken all the time that it may, for as much as it brought."""
        return self._now >= (self._ends if self._lines >= _LINES_AT_LEAST else self._ends_at_least)


class MemcachedScanner(CacheScanner):
    """What the servers hold of the alias's keys; an entry's size is what the server uses for it.

    The server hides what has expired. It notes a use of an entry only now and then, so an entry
    can be less idle than it seems, by what happened since its last noted use.
    """

    def __init__(self, cache: BaseMemcachedCache, bounds: Bounds) -> None:
        super().__init__(cache, ("idle", "never_read", "no_expiry"), bounds)
        own: Any = cache
        self._own = own
        self._form = key_form(cache)
        # An option of pymemcache, put before what Django makes of a key.
        prefix = own._options.get("key_prefix", b"")
        self._prefix = prefix.encode() if isinstance(prefix, str) else bytes(prefix)
        self._open: dict[int, Connection] = {}

    def total(self) -> int:
        """The entries of everybody on the servers."""
        return sum(figure(each.get("curr_items", 0)) for each in self._stats())

    def limits(self) -> BackendLimits:
        """The limits of all servers that answer, and the evictions where all do: a sum that falls
        would look as if its servers had been restarted."""
        stats = list(self._stats())
        if not stats:
            return BackendLimits()
        evictions = sum(figure(each.get("evictions", 0)) for each in stats)
        return BackendLimits(
            bytes=sum(figure(each.get("limit_maxbytes", 0)) for each in stats),
            used=sum(figure(each.get("bytes", 0)) for each in stats) or None,
            evictions=evictions if len(stats) == len(self._own._servers) else None,
            boot=self._boot(stats),
        )

    def _boot(self, stats: Sequence[Mapping[str, str]]) -> str:
        """What tells one start of all servers from the next. In containers they have the same PID,
        and many begin at once."""
        if len(stats) < len(self._own._servers):
            return ""
        return f"{NOT_ONLY}{boot_of(*sorted(map(_started, stats)))}"

    def _stats(self) -> Iterator[dict[str, str]]:
        for number in range(len(self._own._servers)):
            try:
                yield self._server(number).stats()
            except (OSError, ScanError) as error:
                self._miss(number, error)

    def pages(self, cursor: str, most: int) -> Generator[EntryPage, None, None]:
        """The entries server by server, in the order of the digests of their keys."""
        if not (self._form.tells_own or self._prefix):
            raise ScanError("KEY_FUNCTION leaves nothing to tell this cache's keys from others by.")
        # Small beside what may be looked at: a page that ends with its server may be nearly empty.
        self.page = min(max(1, most // 4), _KEYS_A_PAGE)
        place, servers = _parsed(cursor), len(self._own._servers)
        for number in range(place.server, servers):
            begin = place if number == place.server else _PageStart(number)
            after = None if number == servers - 1 else str(_PageStart(number + 1))
            try:
                yield from self._pages_of(begin, after, self.page)
            except (OSError, ScanError) as error:
                if servers == 1:
                    raise
                self._miss(number, error)
                yield EntryPage((), 0, after)

    def _miss(self, number: int, error: Exception) -> None:
        """Go on without a server, and say so."""
        self.missed = True
        self._hang_up(number)
        if len(self._own._servers) == 1:
            text = described(error)
        else:
            text = f"One of the servers cannot be asked ({described(error)})"
        self.problems[text if text.endswith(".") else f"{text}."] = None

    def _pages_of(self, place: _PageStart, after: str | None, keys: int) -> Iterator[EntryPage]:
        """The entries of one server from ``place`` on; ``after`` is the cursor behind them."""
        stats = self._server(place.server).stats()
        now = figure(stats.get("time", int(time.time())), _LATEST)
        entries = figure(stats.get("curr_items", 0))
        width = max(1, _DIGESTS * _RANGE // max(entries, _RANGE))
        for begin in range(place.digest, _DIGESTS, width):
            end = min(begin + width, _DIGESTS)
            following = after if end == _DIGESTS else str(_PageStart(place.server, end))
            most = _MUCH_MORE * max(entries, _RANGE)
            kept, scanned = yield from self._range(_PageStart(place.server, begin), end, most)
            if not kept:
                yield EntryPage((), scanned, following)
            for first in range(0, len(kept), keys):
                some = kept[first : first + keys]
                is_last = first + keys >= len(kept)
                behind = str(_PageStart(place.server, some[-1][0] + 1))
                share = round(scanned * len(some) / len(kept))
                found = [self._listed(line, now) for _, line in some]
                yield EntryPage(found, share, following if is_last else behind)

    def _range(
        self, place: _PageStart, end: int, most: int
    ) -> Generator[EntryPage, None, _ListedRange]:
        """What one listing has from the place's digest to ``end``, of at most ``most`` lines.

        Gives signs of life meanwhile: a listing of many millions takes long, and whoever asks may
        have had enough. Where the time is over, what was listed until then stands for the rest.
        """
        kept: dict[bytes, tuple[int, bytes]] = {}
        scanned = listed = 0
        pulse = _Pulse(self.bounds.deadline)
        with closing(self._server(place.server).dump()) as lines:
            for line in lines:
                listed += 1
                if listed > most or len(kept) > _MUCH_MORE * _RANGE:
                    raise ScanError("The server lists many more entries than it says it has.")
                # An empty line only says that the server is there.
                digest = crc32(quoted_key_in(line)) if line else -1
                if place.digest <= digest < end:
                    scanned += 1
                    stored = key_in(line)
                    if self._user_key(stored) is not None:
                        kept[stored] = digest, line
                if not pulse.is_due():
                    continue
                if pulse.is_over():
                    self._cut_short(place.server)
                    break
                yield EntryPage((), 0, str(place), is_sign_of_life=True)
        return _ListedRange(sorted(kept.values()), scanned)

    def _cut_short(self, number: int) -> None:
        # What the server has still to send is of no use.
        self._hang_up(number)
        self.sampled = True
        self.problems[_TOO_MANY] = None

    def _listed(self, line: bytes, now: int) -> Entry:
        stored, told = key_in(line), fields(line)
        expires_at = told.get("exp", _NEVER)
        left = None if expires_at == _NEVER else float(figure(expires_at, _LATEST) - now)
        used_at = figure(told.get("la", now), _LATEST)
        return self._entry(stored, told, left, max(0.0, float(now - used_at)))

    def _entry(
        self, stored: bytes, told: dict[str, str], expires_in: float | None, idle: float
    ) -> Entry:
        return Entry(
            self._user_key(stored) or shown_text(stored),
            figure(told["size"]) if "size" in told else None,
            expires_in=expires_in,
            no_expiry=expires_in is None,
            idle=idle,
            never_read=told.get("fetch") == "no",
            known=not self._form.opaque and is_text(stored),
            stored=shown_text(stored),
        )

    def _user_key(self, stored: bytes) -> str | None:
        if not stored.startswith(self._prefix):
            return None
        return self._form.user_key(shown_text(stored[len(self._prefix) :]))

    def entry(self, key: str, version: int | None) -> Entry | None:
        """One entry, from whichever server has it."""
        made = self._prefix + str(self._own.make_and_validate_key(key, version=version)).encode()
        for number in range(len(self._own._servers)):
            told = self._server(number).entry(made)
            if told is not None:
                # Some versions of the server, such as 1.6.18, count the seconds backwards.
                expires = told.get("exp", _NEVER)
                is_endless = expires == _NEVER
                left = None if is_endless else float(figure(expires.removeprefix("-"), _LATEST))
                idle = float(figure(told.get("la", 0), _LATEST))
                found = self._entry(made, told, left, idle)
                return found._replace(key=key, known=True)
        return None

    def _server(self, number: int) -> Connection:
        if number not in self._open:
            server = self._own._servers[number]
            tls = self._own._options.get("tls_context")
            self._open[number] = Connection(server, tls, self.bounds)
        return self._open[number]

    def _hang_up(self, number: int) -> None:
        if number in self._open:
            self._open.pop(number).close()

    def close(self) -> None:
        """Hang up on all servers."""
        for number in list(self._open):
            self._hang_up(number)


def _parsed(cursor: str) -> _PageStart:
    if not cursor:
        return _PageStart()
    parts = cursor.split(":")
    if len(parts) != 2 or not all(map(_NUMBER.fullmatch, parts)):
        raise BadCursor("This is no place to go on from.")
    return _PageStart(*(int(each) for each in parts))


def _started(stats: Mapping[str, str]) -> str:
    """What tells one start of a server from the next: its process, and when it began."""
    began = figure(stats.get("time", 0), _LATEST) - figure(stats.get("uptime", 0), _LATEST)
    return f"{stats.get('pid', '')} {began}"
