"""Ask Redis after its keys, and their sizes and times, many in one go."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from cache_monitor.inspectors.bounds import INCREDIBLE, MOST, figure
from cache_monitor.inspectors.redisserver import Refusal, Reply, Server
from cache_monitor.inspectors.redisservers import Node
from cache_monitor.inspectors.snapshot import StaleReason
from cache_monitor.inspectors.source import Entry
from cache_monitor.inspectors.terms import CannotLook


class _Ask(NamedTuple):
    """``command`` in the server's protocol, up to its last argument, the key; what it is called
    where it is refused, and what is unknown then."""

    command: bytes
    name: str
    about: StaleReason | None = None


_SIZE = _Ask(b"*3\r\n$6\r\nMEMORY\r\n$5\r\nUSAGE\r\n", "MEMORY USAGE")
_TTL = _Ask(b"*2\r\n$4\r\nPTTL\r\n", "PTTL", "no_expiry")
_IDLE = _Ask(b"*3\r\n$6\r\nOBJECT\r\n$8\r\nIDLETIME\r\n", "OBJECT", "idle")
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

    def __init__(self, node: Node, walked: Server, asker: Asker) -> None:
        self._walked = walked
        self._readers = list(node.readers)
        self._asker = asker
        # Where the keys are listed on the only server that is read, it knows all.
        self._asks_readers = self._readers != [walked]
        self._asks = [_SIZE, _TTL] if self._asks_readers else [_SIZE, _TTL, _IDLE]
        self._refused: set[_Ask] = set()

    def entries(self, page: Sequence[Named]) -> list[Entry]:
        """The entries of ``page`` that are there."""
        if not page:
            return []
        stored = [each.stored for each in page]
        asks = tuple(self._asks)
        told = dict(zip(asks, self._ask(self._walked, stored, asks), strict=True))
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
        self, server: Server, stored: list[Stored], asks: Sequence[_Ask]
    ) -> list[list[int | None]]:
        """What the server replies to each of ``asks``, for all keys; None where it does not."""
        replies = _asked(server, stored, [each.command for each in asks])
        columns = [replies[number :: len(asks)] for number in range(len(asks))]
        return [self._told(ask, each) for ask, each in zip(asks, columns, strict=True)]

    def _told(self, ask: _Ask, replies: list[Reply]) -> list[int | None]:
        for refusal in {each for each in replies if isinstance(each, Refusal)}:
            if "no such key" not in refusal:
                self._note(ask, refusal)
        return [_number(each) for each in replies]

    def _note(self, ask: _Ask, refusal: Refusal) -> None:
        self._refused.add(ask)
        # Under an LFU policy the server keeps no idle times, which is no refusal.
        if "LFU" not in refusal:
            self._asker.refuse(ask.name)
        if ask.about is not None:
            self._asker.untold.add(ask.about)
        if refusal.is_final and ask in self._asks:
            self._asks.remove(ask)


def _number(reply: Reply) -> int | None:
    """As much of ``reply`` as there is to a figure; raises :class:`CannotLook` for other things."""
    if reply is None or isinstance(reply, Refusal):
        return None
    if not isinstance(reply, int) or not _GONE <= reply <= MOST:
        raise CannotLook(INCREDIBLE)
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
    ``count``. Raises :class:`CannotLook` where the server refuses."""
    reply = server.told(
        "SCAN", cursor, "MATCH", glob.encode("utf-8", "surrogatepass"), "COUNT", count
    )
    match reply:
        case [bytes(following), list(stored)] if all(isinstance(each, bytes) for each in stored):
            return figure(following, _GREATEST_CURSOR), stored
    raise CannotLook(INCREDIBLE)
