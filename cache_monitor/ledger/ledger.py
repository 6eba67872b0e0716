"""The ledger itself: events go in, misses get their reason."""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from math import inf
from mmap import mmap
from pathlib import Path
from struct import Struct
from zlib import crc32

from cache_monitor.ledger import clears, keytable
from cache_monitor.ledger.clears import Clears, ClearTable
from cache_monitor.ledger.events import Event, Miss, Reason, Version
from cache_monitor.ledger.history import KINDS, NO_VERSION, VERSION_SHIFT, span
from cache_monitor.ledger.judgement import is_elsewhere, reason_of
from cache_monitor.ledger.keytable import KeyTable
from cache_monitor.ledger.memory import HEADER, MAGIC, Memory

LAYOUT = 1
"""To be raised with every change of what the bytes mean."""
_LAYOUT = Struct("<8sII")
_VERSIONS = 1 << 24


@lru_cache(maxsize=16_384)
def _hash(space: str, key: str) -> int:
    """What stands for the key of a space: 64 even bits."""
    text = f"{len(space)}:{space}{key}"
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


@lru_cache(maxsize=1024)
def _version_number(version: Version) -> int:
    """24 bits that stand for a version; 1 and "1" are the same, as they are in Django's keys."""
    return crc32(str(version).encode("utf-8", "surrogatepass")) % _VERSIONS or NO_VERSION + 1


class Ledger:
    """Knows the last events of up to ``slots`` keys, of every process that opens ``path``.

    The file takes 136 bytes a slot and 100 kB: 9.0 MB by default. Each process should open it
    once. A ledger works after a fork, and from several threads.

    Without ``path``, and where the file cannot be used, it knows what this process and those
    forked from it post: ``is_shared`` is False, and ``problem`` says in a sentence why.
    """

    def __init__(self, path: Path | None, *, slots: int = 65_536) -> None:
        self._buckets = max(1, -(-slots // keytable.WAYS))
        size = HEADER + clears.SIZE + self._buckets * keytable.BUCKET_SIZE + len(MAGIC)
        self._memory = Memory(path, size, _LAYOUT.pack(MAGIC, LAYOUT, self._buckets))

    @property
    def is_shared(self) -> bool:
        """Whether processes that are not forked from this one take part."""
        return self._memory.is_shared

    @property
    def problem(self) -> str | None:
        """Why the file is not used, where one was asked for."""
        return self._memory.problem

    def close(self) -> None:
        """Give the memory back; the file stays for the others."""
        self._memory.close()

    def post(self, events: Sequence[Event]) -> None:
        """Write down ``events``, at best in the order of their time. Raises ``Busy``.

        The others wait meanwhile: a thousand events, which take about 3 ms, are a good batch.
        """
        if not events:
            return
        with self._memory.hold() as memory:
            keys, spaces = self._tables(memory)
            try:
                for space, kind, at, key, version, expires_at, seconds in events:
                    if kind == "cleared":
                        spaces.add(space, at, span(seconds))
                        continue
                    ttl = inf if expires_at is None else span(expires_at - at)
                    state = _version_number(version) << VERSION_SHIFT | KINDS[kind]
                    keys.add(_hash(space, key), (at, 0.0, ttl, seconds, state), spaces[space])
            except (OverflowError, ValueError):
                # Times that no process of ours wrote: the file is damaged.
                self._memory.reset()

    def judge(self, misses: Sequence[Miss]) -> list[Reason]:
        """The reason of each of ``misses``. Raises ``Busy``.

        What happened before a miss must be posted by then, so give the other processes time.
        Past ``history.HORIZON`` (5 s) details of busy keys are gone.
        """
        if not misses:
            return []
        with self._memory.hold() as memory:
            keys, spaces = self._tables(memory)
            doubtful_until = self._memory.doubtful_until
            return [_judge(miss, keys, spaces[miss.space], doubtful_until) for miss in misses]

    def _tables(self, memory: mmap) -> tuple[KeyTable, "_Spaces"]:
        keys = KeyTable(memory, HEADER + clears.SIZE, self._buckets)
        return keys, _Spaces(ClearTable(memory, HEADER))


class _Spaces(dict[str, Clears]):
    """The clears of each space, as long as the ledger is held."""

    def __init__(self, table: ClearTable) -> None:
        self._table = table

    def __missing__(self, space: str) -> Clears:
        found = self[space] = self._table.read(_hash(space, ""))
        return found

    def add(self, space: str, at: float, seconds: float) -> None:
        """Note a clear."""
        self._table.add(_hash(space, ""), at, seconds)
        self.pop(space, None)


def _judge(miss: Miss, keys: KeyTable, clears_of_space: Clears, doubtful_until: float) -> Reason:
    space, key, named_version, *_ = miss
    hashed = _hash(space, key)
    history = keys.read(hashed)
    version = _version_number(named_version)
    if history:
        reason = reason_of(miss, version, history, clears_of_space)
        if reason is not None:
            return reason
    if keys.may_have_lost(hashed) or miss.at < doubtful_until:
        return "unknown"
    there = is_elsewhere(miss, version, history, clears_of_space)
    if there is None:
        return "unknown"
    return "version_changed" if there else "never_set"
