"""Look into Redis: the alias's own keys on a server that may hold many others.

Neither SCAN nor MEMORY USAGE, PTTL and OBJECT IDLETIME count as a use of a key, so looking leaves
the idle times as they are. Without a maxmemory Redis keeps small integers once for all the keys
that hold them, so a counter may seem in use while another with the same number is.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from msgspec.structs import replace

from cache_monitor.inspectors.ownkeys import KeyForm
from cache_monitor.inspectors.snapshot import Snapshot, StaleReason
from cache_monitor.inspectors.tally import Entry, Found, Tally
from cache_monitor.inspectors.terms import CannotLook, Terms

# Redis serves nobody else while it walks a page; this many keys take well below a millisecond.
_KEYS_A_PAGE = 500

# Replies of PTTL.
_NO_EXPIRY, _GONE = -1, -2


class Servers(NamedTuple):
    """The clients (``redis.Redis``) of a cache: where it reads, where it writes.

    With ``replicas`` the reads spread over several servers and none knows when a key was last used.
    """

    reader: Any
    primary: Any
    replicas: bool


class _Walk:
    """A SCAN over the keys of one form."""

    def __init__(self, client: Any, form: KeyForm) -> None:
        self._client = client
        self._form = form
        self._seen: set[bytes | str] = set()
        self.pages = 0
        self.complete = False

    def __iter__(self) -> Iterator[list[tuple[bytes | str, str]]]:
        """Pages of (stored key, the user's key); SCAN may repeat a key, this does not."""
        cursor = 0
        while not self.complete:
            cursor, stored = self._client.scan(cursor, match=self._form.glob, count=_KEYS_A_PAGE)
            self.pages += 1
            self.complete = cursor == 0
            yield list(self._own(stored))

    def _own(self, page: list[bytes | str]) -> Iterator[tuple[bytes | str, str]]:
        for stored in page:
            key = self._form.user_key(_text(stored))
            if key is not None and stored not in self._seen:
                self._seen.add(stored)
                yield stored, key

    def found(self, looked_at: int) -> Found:
        """The alias's entries, from its share in the keys walked over."""
        if self.complete:
            return Found(looked_at, True)
        total = _answer(self._client.dbsize)
        if total is None or not self._seen:
            return Found(None, False)
        walked = self.pages * _KEYS_A_PAGE
        return Found(round(len(self._seen) * max(1.0, total / walked)), False)


class _Probe:
    """Asks after the size and the times of keys; remembers what the server refuses to tell."""

    def __init__(self, servers: Servers, tally: Tally) -> None:
        self._client = servers.reader
        self._knows_idle = not servers.replicas
        self._tally = tally
        self._refused: set[str] = set()

    def ask(self, page: list[tuple[bytes | str, str]]) -> None:
        """Add the entries of ``page`` to the tally."""
        pipeline = self._client.pipeline(transaction=False)
        for stored, _ in page:
            pipeline.memory_usage(stored)
            pipeline.pttl(stored)
            if self._knows_idle:
                pipeline.object("idletime", stored)
        replies = iter(pipeline.execute(raise_on_error=False))
        for _, key in page:
            size = self._told(next(replies), "MEMORY USAGE")
            ttl = self._told(next(replies), "PTTL", "no_expiry")
            idle = self._told(next(replies), "OBJECT", "idle") if self._knows_idle else None
            if ttl != _GONE:
                self._tally.add(_entry(key, size, ttl, idle))

    def _told(self, reply: object, command: str, about: StaleReason | None = None) -> int | None:
        if isinstance(reply, Exception):
            # Under an LFU policy the server keeps no idle times, which is no refusal.
            if "LFU" not in str(reply):
                self._refused.add(command)
            if about is not None:
                self._tally.cannot_tell(about)
        return reply if isinstance(reply, int) else None

    @property
    def refusal(self) -> str | None:
        """What the server refused to tell, in words."""
        return f"The server refuses {', '.join(sorted(self._refused))}." if self._refused else None


def inspect_redis(servers: Servers, form: KeyForm, terms: Terms) -> Snapshot:
    """What the server holds of the keys of ``form``; an entry's size is its MEMORY USAGE.

    Redis hides what has expired and does not tell what was never read.
    """
    if form.glob is None:
        raise CannotLook("KEY_FUNCTION leaves nothing to tell this cache's keys from others by.")
    tally = Tally(terms, {"no_expiry"} if servers.replicas else {"idle", "no_expiry"})
    walk, probe = _Walk(servers.reader, form), _Probe(servers, tally)
    for page in walk:
        left = terms.limit - tally.looked_at
        if page and left > 0:
            probe.ask(page[:left])
        if len(page) > left:
            walk.complete = False
            break
        if not walk.complete and terms.spent(tally.looked_at):
            break
    snapshot = tally.snapshot("shared", walk.found(tally.looked_at))
    return replace(snapshot, error=probe.refusal, **_limits(servers.primary))


def _entry(key: str, size: int | None, ttl: int | None, idle: int | None) -> Entry:
    expires_in = None if ttl is None or ttl < 0 else ttl / 1000
    return Entry(key, size, expires_in, no_expiry=ttl == _NO_EXPIRY, idle=idle)


def _limits(client: Any) -> dict[str, int | None]:
    memory = _answer(client.info, "memory") or {}
    stats = _answer(client.info, "stats") or {}
    # A maxmemory of 0 means none.
    return {"limit_bytes": memory.get("maxmemory") or None, "evictions": stats.get("evicted_keys")}


def _answer(command: Any, *args: str) -> Any:
    """What the server says; None where it refuses to, which must not spoil the rest."""
    try:
        return command(*args)
    except Exception:
        return None


def _text(stored: bytes | str) -> str:
    return stored if isinstance(stored, str) else stored.decode("utf-8", "backslashreplace")
