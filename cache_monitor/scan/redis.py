"""Scan Redis: the alias's own keys on servers that may hold many others.

SCAN, MEMORY USAGE, PTTL and OBJECT IDLETIME do not count as a use, so idle times stay; but the
server counts the last two in its ``keyspace_hits``. Without a maxmemory Redis shares small integers
between keys, so a counter may show the idle time of another.
"""

import re
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import NamedTuple

from django.core.cache.backends.base import BaseCache

from cache_monitor.errors import let_pass
from cache_monitor.scan.base import (
    GREATEST,
    IMPLAUSIBLE,
    LONGEST_POLICY,
    BackendLimits,
    BackendScanner,
    BadCursor,
    Bounds,
    Entry,
    EntryPage,
    ScanError,
    StaleReason,
    boot_of,
    describe_error,
    parse_count,
)
from cache_monitor.scan.identity import NOT_RECOGNIZABLE, is_text, key_form, shown_text, stored_key
from cache_monitor.scan.redis_servers import Node, Refusal, Reply, Server, Servers


class _Command(NamedTuple):
    """A command about one key, which follows ``words``. ``name`` is for people, ``reveals`` the
    stale reason that is unknown where it is refused."""

    words: tuple[bytes, ...]
    name: str
    reveals: StaleReason | None = None


_SIZE = _Command((b"MEMORY", b"USAGE"), "MEMORY USAGE")
_TTL = _Command((b"PTTL",), "PTTL", "no_expiry")
_IDLE = _Command((b"OBJECT", b"IDLETIME"), "OBJECT", "idle")
# Replies of PTTL.
_NO_EXPIRY, _GONE = -1, -2
_GREATEST_CURSOR = (1 << 64) - 1
_FINAL = frozenset({"NOPERM", "ERR", "NOAUTH"})
"""Refusals of a command that is not allowed or unknown."""

Stored = bytes
"""A key as the server has it."""


class _Key(NamedTuple):
    """A stored key, the same as text, and the user's, if that is ``known``."""

    stored: Stored
    text: str
    key: str
    known: bool


class _EntryReader:
    """Reads the entries of one node for ``scanner``; ``listing`` is the server that lists the keys.

    A command that a server refuses for good is not sent again.
    """

    def __init__(self, node: Node, listing: Server, scanner: "RedisScanner") -> None:
        self._listing = listing
        self._primary = node.primary
        self._readers = list(node.readers)
        self._scanner = scanner
        # The only server that is read knows every use.
        self._asks_readers = self._readers != [listing]
        self._commands = [_SIZE, _TTL] if self._asks_readers else [_SIZE, _TTL, _IDLE]
        self._refused: set[_Command] = set()
        self._is_tried = False

    def entries(self, page: Sequence[_Key]) -> list[Entry]:
        """The entries of ``page`` that are there."""
        if not page:
            return []
        stored = [each.stored for each in page]
        if not self._is_tried:
            self._is_tried = True
            self._try(stored[:1])
        replies = self._replies(stored)
        columns = [replies.get(each) or [None] * len(page) for each in (_SIZE, _TTL, _IDLE)]
        knows_sizes = _SIZE not in self._refused
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
            if ttl != _GONE and not (ttl is None and size is None and knows_sizes)
        ]

    def _try(self, one: list[Stored]) -> None:
        """Find out with one key what is refused: servers count each refusal among their errors."""
        if any(map(self._lacks_idle_times, self._readers)) or self._has_other_replicas():
            self._scanner.unsupported.add("idle")
            self._asks_readers = False
            self._commands = [_SIZE, _TTL]
        self._replies(one)

    def _lacks_idle_times(self, reader: Server) -> bool:
        """Whether ``reader`` counts uses instead, under an LFU policy, or does not answer."""
        try:
            return b"lfu" in _info(reader, "memory").get(b"maxmemory_policy", b"")
        except ScanError:
            return False  # not allowed
        except Exception as error:
            let_pass(error)
            return True

    def _has_other_replicas(self) -> bool:
        """Whether reads may go to replicas that have no name here: one such as ElastiCache's reader
        endpoint leads to any of several."""
        replicas = [each for each in self._readers if each is not self._primary]
        try:
            connected = replicas and _info(self._primary, "replication").get(b"connected_slaves")
            return parse_count(connected or 0) > len(replicas)
        except Exception as error:
            let_pass(error)
            return False  # it is down, or does not say

    def _replies(self, stored: list[Stored]) -> dict[_Command, list[int | None] | None]:
        """The replies to each command for all keys."""
        commands = tuple(self._commands)
        columns = self._ask(self._listing, stored, commands)
        replies: dict[_Command, list[int | None] | None] = dict(zip(commands, columns, strict=True))
        if self._asks_readers:
            replies[_IDLE] = self._idle_elsewhere(stored)
        return replies

    def _idle_elsewhere(self, stored: list[Stored]) -> list[int | None] | None:
        """The least idle times of all readers; None where they are unknown."""
        columns = []
        for reader in self._readers:
            try:
                columns += self._ask(reader, stored, (_IDLE,))
            except Exception:
                # This server alone may have seen a read.
                self._scanner.unsupported.add("idle")
            if "idle" in self._scanner.unsupported:
                self._asks_readers = False
                return None
        return [
            None if None in each else min(map(int, each)) for each in zip(*columns, strict=True)
        ]

    def _ask(
        self, server: Server, stored: list[Stored], commands: Sequence[_Command]
    ) -> list[list[int | None]]:
        """The replies to each of ``commands`` for all keys; None where it is refused."""
        replies = server.exchange([(*each.words, key) for key in stored for each in commands])
        columns = [replies[number :: len(commands)] for number in range(len(commands))]
        return [self._numbers(*each) for each in zip(commands, columns, strict=True)]

    def _numbers(self, command: _Command, replies: list[Reply]) -> list[int | None]:
        for refusal in {each for each in replies if isinstance(each, Refusal)}:
            if "no such key" not in refusal:
                self._refuse(command, refusal)
        return [_number(each) for each in replies]

    def _refuse(self, command: _Command, refusal: Refusal) -> None:
        self._refused.add(command)
        # Under an LFU policy the server keeps no idle times, which is no refusal.
        if "LFU" not in refusal:
            self._scanner.refused.add(command.name)
        if command.reveals is not None:
            self._scanner.unsupported.add(command.reveals)
        if refusal.code in _FINAL and command in self._commands:
            self._commands.remove(command)


def _number(reply: Reply) -> int | None:
    """``reply`` as a figure, None for a refusal. Raises :class:`ScanError` for anything else."""
    if reply is None or isinstance(reply, Refusal):
        return None
    if not isinstance(reply, int) or not _GONE <= reply <= GREATEST:
        raise ScanError(IMPLAUSIBLE)
    return reply


# Redis serves no other client during a page; this many keys take well below a millisecond.
_KEYS_A_PAGE = 100
_RECENT = 20_000
"""Keys that are kept, at least, to recognize a repeated one."""
_SLOTS_UNCHECKED, _MUCH_MORE = 1_000_000, 100
"""Table slots after which a server is asked for its number of keys, and how many times as many
slots its table may have: it shrinks late."""

_CURSOR = re.compile("([0-9]{1,20}):(?:-|([0-9]{1,20})):([0-9]{1,20})")

_IN_STEP = 0.1
"""Seconds within which a replica in step has its primary's writes."""

ScanPage = tuple[int, list[Stored]]
"""The next cursor, and stored keys."""

_Position = tuple[int, int | None, int]
"""The number of a node, that of the server which the scan was begun on, and its cursor."""


class _KeyListing(NamedTuple):
    """SCAN for keys that match ``glob``, about ``at_once`` in one reply."""

    glob: str
    at_once: int

    def page(self, server: Server, cursor: int) -> ScanPage:
        """One reply. Raises :class:`ScanError` where the server refuses."""
        pattern = self.glob.encode("utf-8", "surrogatepass")
        reply = server.ask("SCAN", cursor, "MATCH", pattern, "COUNT", self.at_once)
        match reply:
            case [bytes(after), list(stored)] if all(isinstance(each, bytes) for each in stored):
                return parse_count(after, _GREATEST_CURSOR), stored
        raise ScanError(IMPLAUSIBLE)


class RedisScanner(BackendScanner):
    """The alias's keys on the servers; an entry's size is its MEMORY USAGE.

    Redis hides expired entries and does not know which were never read.
    """

    def __init__(self, cache: BaseCache, servers: Servers, bounds: Bounds) -> None:
        super().__init__(cache, ("idle", "no_expiry"), bounds)
        self._servers = servers
        self._form = key_form(cache)
        self.refused: set[str] = set()
        """Commands that the server does not allow."""

    def total(self) -> int:
        return sum(parse_count(node.primary.ask("DBSIZE")) for node in self._servers.nodes)

    def pages(self, cursor: str, most: int) -> Generator[EntryPage, None, None]:
        """The entries as the servers list them; a cursor is the node, the server and its own."""
        if not self._form.is_recognizable:
            raise ScanError(NOT_RECOGNIZABLE)
        # SCAN gives whole buckets of its table, so sometimes more than asked for.
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
                yield from self._scan_node((number, server, at), after, count)
            except BadCursor:
                raise
            except Exception as error:
                if len(nodes) == 1:
                    raise
                self.incomplete = True
                self.problems[f"One of the servers does not answer ({describe_error(error)})."] = (
                    None
                )
                yield EntryPage((), 0, after)
            server, at = None, 0

    def _scan_node(self, position: _Position, after: str | None, count: int) -> Iterator[EntryPage]:
        number, begun_on, at = position
        node, listing = self._servers.nodes[number], _KeyListing(self._form.glob, count)
        server, first = _first_reply(node, begun_on, at, listing)
        if server is not node.scan_order[0]:
            self.problems["A replica does not answer; another server was asked."] = None
        reader, recent = _EntryReader(node, server, self), _RecentKeys()
        for cursor, stored in _scan(server, listing, first):
            page = list(self._named(recent.new(stored)))
            following = after if cursor == 0 else f"{number}:{server.number}:{cursor}"
            yield EntryPage(reader.entries(page), count, following)

    def _named(self, stored: list[Stored]) -> Iterator[_Key]:
        can_ask = not self._form.opaque
        for each in stored:
            text = shown_text(each)
            key = self._form.user_key(text)
            if key is not None:
                yield _Key(each, text, key, can_ask and is_text(each))

    def entry(self, key: str, version: int | None) -> Entry | None:
        stored = stored_key(self._cache, key, version)
        node = self._servers.node_of(stored)
        named = _Key(stored.encode(), stored, key, known=True)
        found = _EntryReader(node, node.primary, self).entries([named])
        return found[0] if found else None

    def limits(self) -> BackendLimits:
        """The sums over the primaries."""
        infos = [_info(node.primary) for node in self._servers.nodes]
        most = [parse_count(each.get(b"maxmemory", 0)) for each in infos]
        evicted = [each.get(b"evicted_keys") for each in infos]
        policies = {each.get(b"maxmemory_policy", b"").decode("ascii", "replace") for each in infos}
        # A maxmemory of 0 means none.
        return BackendLimits(
            limit_bytes=sum(most) if all(most) else None,
            evictions=None if None in evicted else sum(map(parse_count, evicted)),
            boot=_boot(self._servers.nodes, infos),
            policy=policies.pop()[:LONGEST_POLICY] or None if len(policies) == 1 else None,
            is_behind=any(map(_is_behind, self._servers.nodes, infos)),
            used_bytes=sum(map(_limited_bytes, infos)) or None,
            # Those for its clients are among them.
            empty_bytes=_sum_of(b"used_memory_startup", infos)
            + _sum_of(b"mem_clients_normal", infos),
        )

    def close(self) -> None:
        self._servers.close()

    @property
    def problem(self) -> str | None:
        refused = f"The server refuses {', '.join(sorted(self.refused))}."
        return " ".join([*self.problems, *([refused] if self.refused else [])]) or None


def _boot(nodes: Sequence[Node], infos: Sequence[Mapping[bytes, bytes]]) -> str:
    """The identity of these databases; empty where one is unknown."""
    starts = [
        f"{each[b'run_id'].decode('latin-1')}/{node.primary.database}"
        for node, each in zip(nodes, infos, strict=True)
        if b"run_id" in each
    ]
    return boot_of(*sorted(starts)) if len(starts) == len(infos) else ""


def _info(server: Server, *sections: str) -> dict[bytes, bytes]:
    """The fields of INFO, of its default ``sections`` unless given."""
    reply = server.ask("INFO", *sections)
    if not isinstance(reply, bytes):
        raise ScanError(IMPLAUSIBLE)
    parts = (line.partition(b":") for line in reply.splitlines())
    return {name: value for name, _, value in parts}


def _is_behind(node: Node, primary: Mapping[bytes, bytes]) -> bool:
    """Whether a reader surely lacks writes that the INFO of ``primary`` had: it is not connected,
    behind in the replication, or no replica."""
    for reader in node.readers:
        if reader is node.primary:
            continue
        try:
            info = _info(reader)
            if info.get(b"run_id") == primary.get(b"run_id"):
                continue  # the same server twice
            if info[b"role"] == b"master" or info[b"master_link_status"] != b"up":
                return True
            goal = parse_count(primary[b"master_repl_offset"])
            if parse_count(info[b"slave_repl_offset"]) < goal:
                time.sleep(_IN_STEP)
                if parse_count(_info(reader)[b"slave_repl_offset"]) < goal:
                    return True
        except Exception as error:
            let_pass(error)  # a server that does not answer has served no reads
    return False


def _sum_of(name: bytes, infos: Sequence[Mapping[bytes, bytes]]) -> int:
    return sum(parse_count(each.get(name, 0)) for each in infos)


def _limited_bytes(info: dict[bytes, bytes]) -> int:
    """The bytes that a server compares with its maxmemory."""
    used, apart = info.get(b"used_memory", 0), info.get(b"mem_not_counted_for_evict", 0)
    return max(parse_count(used) - parse_count(apart), 0)


def _first_reply(
    node: Node, begun_on: int | None, at: int, listing: _KeyListing
) -> tuple[Server, ScanPage]:
    """The server to scan, and its first reply: the first server that answers, or ``begun_on``,
    because a cursor is valid for one server only."""
    scan_order = [each for each in node.scan_order if begun_on in {None, each.number}]
    failure: Exception | None = None
    for each in scan_order:
        try:
            return each, listing.page(each, at)
        except Exception as error:
            failure = failure or error
    if begun_on is not None and len(node.scan_order) > 1:
        raise BadCursor("The server is gone.") from failure
    raise failure or BadCursor("There are other servers now.")


def _scan(server: Server, listing: _KeyListing, first: ScanPage) -> Iterator[ScanPage]:
    """All replies of a scan. Raises :class:`ScanError` where they do not end."""
    reply, passed = first, 0
    while True:
        yield reply
        if reply[0] == 0:
            return
        reply = listing.page(server, reply[0])
        passed += listing.at_once
        if passed % _SLOTS_UNCHECKED < listing.at_once and passed > _MUCH_MORE * (
            parse_count(server.ask("DBSIZE")) + _SLOTS_UNCHECKED
        ):
            raise ScanError("The server's list of keys does not end.")


class _RecentKeys:
    """Recognizes the keys that SCAN repeats, in bounded memory.

    SCAN repeats keys only where the server's table shrinks meanwhile, and soon: the latest keys are
    enough.
    """

    def __init__(self) -> None:
        self._now: set[Stored] = set()
        self._before: set[Stored] = set()

    def new(self, stored: Sequence[Stored]) -> list[Stored]:
        """Those of ``stored`` that were not returned lately."""
        fresh = []
        for each in stored:
            if each not in self._now and each not in self._before:
                self._now.add(each)
                fresh.append(each)
        if len(self._now) > _RECENT:
            self._before, self._now = self._now, set()
        return fresh


def _parsed(cursor: str) -> _Position:
    found = _CURSOR.fullmatch(cursor or "0:-:0")
    if found is None:
        raise BadCursor
    number, server, at = found.groups()
    return int(number), None if server is None else int(server), int(at)
