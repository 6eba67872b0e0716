"""Scan Redis: the alias's own keys on servers that may hold many others.

Neither SCAN nor MEMORY USAGE, PTTL and OBJECT IDLETIME count as a use of a key, so looking leaves
the idle times as they are. Without a maxmemory Redis keeps small integers once for all the keys
that hold them, so a counter may seem in use while another with the same number is.
"""

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from django.core.cache.backends.base import BaseCache

from cache_monitor.errors import let_pass
from cache_monitor.scan.base import (
    BackendLimits,
    BadCursor,
    CacheScanner,
    Entry,
    EntryPage,
    boot_of,
)
from cache_monitor.scan.key_forms import is_text, key_form, shown_text
from cache_monitor.scan.limits import INCREDIBLE, MOST, Bounds, ScanError, described, figure
from cache_monitor.scan.redis_servers import Node, Refusal, Reply, Server, Servers
from cache_monitor.scan.snapshot import LONGEST_POLICY, StaleReason


class _Probe(NamedTuple):
    """``command`` in the server's protocol, up to its last argument, the key; what it is called
    where it is refused, and what is unknown then."""

    command: bytes
    name: str
    about: StaleReason | None = None


_SIZE = _Probe(b"*3\r\n$6\r\nMEMORY\r\n$5\r\nUSAGE\r\n", "MEMORY USAGE")
_TTL = _Probe(b"*2\r\n$4\r\nPTTL\r\n", "PTTL", "no_expiry")
_IDLE = _Probe(b"*3\r\n$6\r\nOBJECT\r\n$8\r\nIDLETIME\r\n", "OBJECT", "idle")
# Replies of PTTL.
_NO_EXPIRY, _GONE = -1, -2
_GREATEST_CURSOR = (1 << 64) - 1

Stored = bytes
"""A key as the server has it."""


class Named(NamedTuple):
    """A stored key, the same as text, and the user's, if that is ``known``."""

    stored: Stored
    text: str
    key: str
    known: bool


class Asker(Protocol):
    """Who wants to know what the server refuses to tell."""

    untold: set[StaleReason]

    def refuse(self, command: str) -> None:
        """Note that ``command`` is not allowed."""


class Probe:
    """Asks the servers of one node; ``walked`` is the one whose keys are listed.

    What a server will never tell it is asked once.
    """

    def __init__(self, node: Node, scanned: Server, asker: Asker) -> None:
        self._scanned = scanned
        self._readers = list(node.readers)
        self._asker = asker
        # Where the keys are listed on the only server that is read, it knows all.
        self._asks_readers = self._readers != [scanned]
        self._asks = [_SIZE, _TTL] if self._asks_readers else [_SIZE, _TTL, _IDLE]
        self._refused: set[_Probe] = set()

    def entries(self, page: Sequence[Named]) -> list[Entry]:
        """The entries of ``page`` that are there."""
        if not page:
            return []
        stored = [each.stored for each in page]
        asks = tuple(self._asks)
        told = dict(zip(asks, self._ask(self._scanned, stored, asks), strict=True))
        unknown: list[int | None] = [None] * len(page)
        idles = self._idle_elsewhere(stored) if self._asks_readers else told.get(_IDLE)
        columns = told.get(_SIZE, unknown), told.get(_TTL, unknown), idles or unknown
        tells_sizes = _SIZE not in self._refused
        return [
            Entry(
                named.key,
                size,
                None if ttl is None or ttl < 0 else ttl / 1000,
                ttl == _NO_EXPIRY,
                idle,
                known=named.known,
                stored=named.text,
            )
            for named, size, ttl, idle in zip(page, *columns, strict=True)
            # It may have gone since it was listed.
            if ttl != _GONE and not (ttl is None and size is None and tells_sizes)
        ]

    def _idle_elsewhere(self, stored: list[Stored]) -> list[int | None] | None:
        """How long none of the readers was asked for the keys; None where nobody knows."""
        columns = []
        for reader in self._readers:
            try:
                columns += self._ask(reader, stored, (_IDLE,))
            except Exception:
                # Reads that only this server has seen make every idle time uncertain.
                self._asker.untold.add("idle")
            if "idle" in self._asker.untold:
                self._asks_readers = False
                return None
        return [
            None if None in each else min(map(int, each)) for each in zip(*columns, strict=True)
        ]

    def _ask(
        self, server: Server, stored: list[Stored], asks: Sequence[_Probe]
    ) -> list[list[int | None]]:
        """What the server replies to each of ``asks``, for all keys; None where it does not."""
        replies = _asked(server, stored, [each.command for each in asks])
        columns = [replies[number :: len(asks)] for number in range(len(asks))]
        return [self._told(ask, each) for ask, each in zip(asks, columns, strict=True)]

    def _told(self, ask: _Probe, replies: list[Reply]) -> list[int | None]:
        for refusal in {each for each in replies if isinstance(each, Refusal)}:
            if "no such key" not in refusal:
                self._note(ask, refusal)
        return [_number(each) for each in replies]

    def _note(self, ask: _Probe, refusal: Refusal) -> None:
        self._refused.add(ask)
        # Under an LFU policy the server keeps no idle times, which is no refusal.
        if "LFU" not in refusal:
            self._asker.refuse(ask.name)
        if ask.about is not None:
            self._asker.untold.add(ask.about)
        if refusal.is_final and ask in self._asks:
            self._asks.remove(ask)


def _number(reply: Reply) -> int | None:
    """As much of ``reply`` as there is to a figure; raises :class:`ScanError` for other things."""
    if reply is None or isinstance(reply, Refusal):
        return None
    if not isinstance(reply, int) or not _GONE <= reply <= MOST:
        raise ScanError(INCREDIBLE)
    return reply


def _asked(server: Server, stored: list[Stored], commands: list[bytes]) -> list[Reply]:
    """The replies to each command for each key, one after the other.

    Written out here: what the library does to pack each command takes longer than all the rest.
    """
    around = (*commands, b"")
    packed = b"".join([(b"$%d\r\n%b\r\n" % (len(key), key)).join(around) for key in stored])
    return server.exchange([packed], len(stored) * len(commands))


def listed(server: Server, cursor: int, glob: str, count: int) -> tuple[int, list[Stored]]:
    """One reply to SCAN: the next cursor, and the stored keys that match ``glob`` among about
    ``count``. Raises :class:`ScanError` where the server refuses."""
    reply = server.told(
        "SCAN", cursor, "MATCH", glob.encode("utf-8", "surrogatepass"), "COUNT", count
    )
    match reply:
        case [bytes(following), list(stored)] if all(isinstance(each, bytes) for each in stored):
            return figure(following, _GREATEST_CURSOR), stored
    raise ScanError(INCREDIBLE)


# Redis serves nobody else while it walks a page; this many keys take well below a millisecond.
_KEYS_A_PAGE = 100
_RECENT = 20_000
"""Keys that are remembered, at least, to know a repeated one by."""
_PASSED_UNSEEN, _MUCH_MORE = 1_000_000, 100
"""After how many places of its table a server is asked how many keys it has, and how many times as
many places that table may have: it shrinks late after many keys were removed."""

_IN_STEP = 0.1
"""Seconds within which a replica that is in step has what its primary had."""

ScanPage = tuple[int, list[Stored]]
"""The next cursor, and stored keys."""

_Place = tuple[int, int | None, int]
"""A node, the server of it that is walked if that matters, and the server's cursor."""


class _Ask(NamedTuple):
    """What SCAN is asked for: the pattern of the keys, and about how many at once."""

    glob: str
    at_once: int

    def of(self, server: Server, cursor: int) -> ScanPage:
        return listed(server, cursor, self.glob, self.at_once)


class RedisScanner(CacheScanner):
    """What the servers hold of the alias's keys; an entry's size is its MEMORY USAGE.

    Redis hides what has expired and does not tell what was never read.
    """

    def __init__(self, cache: BaseCache, servers: Servers, bounds: Bounds) -> None:
        super().__init__(cache, ("idle", "no_expiry"), bounds)
        self._servers = servers
        self._form = key_form(cache)
        self._own: Any = cache
        self._refused: set[str] = set()

    def total(self) -> int:
        """The keys of everybody on the servers."""
        return sum(figure(node.primary.told("DBSIZE")) for node in self._servers.nodes)

    def pages(self, cursor: str, most: int) -> Generator[EntryPage, None, None]:
        """The entries as the servers list them; a cursor is the node, the server and its own."""
        if not self._form.tells_own:
            raise ScanError("KEY_FUNCTION leaves nothing to tell this cache's keys from others by.")
        # SCAN gives whole buckets of its table, thus now and then a few more than it is asked for.
        count = min(max(1, most * 9 // 10), _KEYS_A_PAGE)
        self.page = count + count // 10 + 1
        nodes = self._servers.nodes
        first, server, at = _parsed(cursor)
        if first >= len(nodes):
            raise BadCursor("There are fewer servers now.")
        for number in range(first, len(nodes)):
            is_last = number == len(nodes) - 1
            after = None if is_last else f"{number + 1}:-:0"
            try:
                yield from self._walk((number, server, at), after, count)
            except BadCursor:
                raise
            except Exception as error:
                if len(nodes) == 1:
                    raise
                # The others' keys are still worth knowing.
                self.missed = True
                self.problems[f"One of the servers does not answer ({described(error)})."] = None
                yield EntryPage((), 0, after)
            server, at = None, 0

    def _walk(self, place: _Place, after: str | None, count: int) -> Iterator[EntryPage]:
        number, begun_on, at = place
        node, ask = self._servers.nodes[number], _Ask(self._form.glob, count)
        server, first = _first_reply(node, begun_on, at, ask)
        if server is not node.walkers[0]:
            self.problems["A replica does not answer; another server was asked."] = None
        probe, seen = Probe(node, server, self), _RecentKeys()
        for cursor, stored in _scan(server, ask, first):
            page = list(self._named(seen.new(stored)))
            following = after if cursor == 0 else f"{number}:{server.number}:{cursor}"
            yield EntryPage(probe.entries(page), count, following)

    def _named(self, stored: list[Stored]) -> Iterator[Named]:
        can_ask = not self._form.opaque
        for each in stored:
            text = shown_text(each)
            key = self._form.user_key(text)
            if key is not None:
                yield Named(each, text, key, can_ask and is_text(each))

    def entry(self, key: str, version: int | None) -> Entry | None:
        """One entry."""
        stored = str(self._own.make_key(key, version=version))
        node = self._servers.node_of(stored)
        named = Named(stored.encode(), stored, key, known=True)
        found = Probe(node, node.primary, self).entries([named])
        return found[0] if found else None

    def limits(self) -> BackendLimits:
        """The maxmemory and the evictions of all servers that are written to."""
        told = [_info(node.primary) for node in self._servers.nodes]
        most = [figure(each[b"maxmemory"]) if b"maxmemory" in each else 0 for each in told]
        evicted = [each.get(b"evicted_keys") for each in told]
        policies = {each.get(b"maxmemory_policy", b"").decode("ascii", "replace") for each in told}
        # A maxmemory of 0 means none.
        return BackendLimits(
            bytes=sum(most) if all(most) else None,
            evictions=None if None in evicted else sum(map(figure, evicted)),
            boot=_boot(self._servers.nodes, told),
            # Servers that differ have none together.
            policy=policies.pop()[:LONGEST_POLICY] or None if len(policies) == 1 else None,
            behind=any(map(_is_behind, self._servers.nodes, told)),
            used=sum(map(_counted, told)) or None,
            empty=sum(map(_empty, told)),
        )

    def close(self) -> None:
        """Give back the connections."""
        self._servers.close()

    def refuse(self, command: str) -> None:
        """Note that the server does not allow ``command``."""
        self._refused.add(command)

    @property
    def problem(self) -> str | None:
        """What could not be told so far."""
        refused = f"The server refuses {', '.join(sorted(self._refused))}."
        return " ".join([*self.problems, *([refused] if self._refused else [])]) or None


def _boot(nodes: Sequence[Node], told: Sequence[Mapping[bytes, bytes]]) -> str:
    """What tells these databases from all others; empty where a server does not tell."""
    starts = [
        f"{each[b'run_id'].decode('latin-1')}/{node.primary.database}"
        for node, each in zip(nodes, told, strict=True)
        if b"run_id" in each
    ]
    return boot_of(*sorted(starts)) if len(starts) == len(told) else ""


def _info(server: Server) -> dict[bytes, bytes]:
    """What the server says of itself."""
    reply = server.told("INFO")
    if not isinstance(reply, bytes):
        raise ScanError(INCREDIBLE)
    parts = (line.partition(b":") for line in reply.splitlines())
    return {name: value for name, _, value in parts}


def _is_behind(node: Node, primary: Mapping[bytes, bytes]) -> bool:
    """Whether a server that is read from surely lacks something that ``primary`` had when it was
    asked, before: it is not connected to it, has not come as far, or follows none at all."""
    for reader in node.readers:
        if reader is node.primary:
            continue
        try:
            told = _info(reader)
            if told.get(b"run_id") == primary.get(b"run_id"):
                continue  # the same server twice
            if told[b"role"] == b"master" or told[b"master_link_status"] != b"up":
                return True
            goal = figure(primary[b"master_repl_offset"])
            if figure(told[b"slave_repl_offset"]) < goal:
                time.sleep(_IN_STEP)
                if figure(_info(reader)[b"slave_repl_offset"]) < goal:
                    return True
        except Exception as error:
            let_pass(error)  # of what does not answer nobody can have read
    return False


def _empty(told: dict[bytes, bytes]) -> int:
    """The bytes that a server takes without any entry, with the clients that it has."""
    return figure(told.get(b"used_memory_startup", 0)) + figure(told.get(b"mem_clients_normal", 0))


def _counted(told: dict[bytes, bytes]) -> int:
    """The bytes that a server counts when it asks itself whether it is full."""
    used, apart = told.get(b"used_memory", 0), told.get(b"mem_not_counted_for_evict", 0)
    return max(figure(used) - figure(apart), 0)


def _first_reply(node: Node, begun_on: int | None, at: int, ask: _Ask) -> tuple[Server, ScanPage]:
    """The server that is walked, and its first reply: the first that answers, or the one that a
    walk was begun on, because a cursor means nothing to another."""
    walkers = [each for each in node.walkers if begun_on in {None, each.number}]
    failure: Exception | None = None
    for each in walkers:
        try:
            return each, ask.of(each, at)
        except Exception as error:
            failure = failure or error
    if begun_on is not None and len(node.walkers) > 1:
        raise BadCursor("The server is gone.") from failure
    raise failure or BadCursor("There are other servers now.")


def _scan(server: Server, ask: _Ask, first: ScanPage) -> Iterator[ScanPage]:
    """All replies of a walk. Raises :class:`ScanError` where there is no end of them."""
    reply, passed = first, 0
    while True:
        yield reply
        if reply[0] == 0:
            return
        reply = ask.of(server, reply[0])
        passed += ask.at_once
        if passed % _PASSED_UNSEEN < ask.at_once and passed > _MUCH_MORE * (
            figure(server.told("DBSIZE")) + _PASSED_UNSEEN
        ):
            raise ScanError("The server's list of keys does not end.")


class _RecentKeys:
    """Tells the keys that SCAN repeats, in bounded memory.

    It repeats keys only where the server's table shrinks meanwhile, and then those of buckets that
    become one; these it visits one after the other. So the latest keys are enough.
    """

    def __init__(self) -> None:
        self._now: set[Stored] = set()
        self._before: set[Stored] = set()

    def new(self, stored: Sequence[Stored]) -> list[Stored]:
        """Those of ``stored`` that have not just been seen."""
        fresh = []
        for each in stored:
            if each not in self._now and each not in self._before:
                self._now.add(each)
                fresh.append(each)
        if len(self._now) > _RECENT:
            self._before, self._now = self._now, set()
        return fresh


def _parsed(cursor: str) -> _Place:
    """The node, the server of it if that matters, and the server's own cursor."""
    if not cursor:
        return 0, None, 0
    parts = cursor.split(":")
    numbers = [each for each in parts if each.isascii() and each.isdigit() and len(each) <= 20]
    if len(parts) == 3 and parts[1] == "-" and len(numbers) == 2:
        return int(parts[0]), None, int(parts[2])
    if len(parts) != 3 or len(numbers) != 3:
        raise BadCursor("This is no place to go on from.")
    return int(parts[0]), int(parts[1]), int(parts[2])
