"""The ledger itself: events go in, misses get their reason."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from hashlib import blake2b
from math import inf
from mmap import mmap
from pathlib import Path
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from cache_monitor.ledger import clears, keytable, presence, productions, sweeps
from cache_monitor.ledger.clears import Clears, ClearTable
from cache_monitor.ledger.events import Event, Hit, Miss, Production, Reason, Version
from cache_monitor.ledger.history import KINDS, NO_VERSION, VERSION_SHIFT, span
from cache_monitor.ledger.judgement import is_elsewhere, reason_of, written_at
from cache_monitor.ledger.keytable import KeyTable
from cache_monitor.ledger.memory import HEADER, MAGIC, Memory
from cache_monitor.ledger.presence import Presence
from cache_monitor.ledger.productions import Productions
from cache_monitor.ledger.sweeps import Sweeps, SweepTable

LAYOUT = 5
"""To be raised with every change of what the bytes mean."""
_LAYOUT = Struct("<8sII")
_SWEEPS_AT = HEADER + clears.SIZE
_PRESENCE_AT = _SWEEPS_AT + sweeps.SIZE
_PRODUCTIONS_AT = _PRESENCE_AT + presence.SIZE
_KEYS_AT = _PRODUCTIONS_AT + productions.SIZE
_VERSIONS = 1 << 24
AHEAD = 60.0
"""Seconds that a key's events may be later than what is asked about, because it waited to be
asked. Where they are later still, the clock was set back, and nobody knows what came first."""


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

    The file takes 136 bytes a slot and 360 kB: 9.3 MB by default. Each process should open it
    once. A ledger works after a fork, and from several threads.

    Without ``path``, and where the file cannot be used, it knows what this process and those
    forked from it post: ``is_shared`` is False, and ``problem`` says in a sentence why.
    """

    def __init__(self, path: Path | None, *, slots: int = 65_536) -> None:
        self._buckets = max(1, -(-slots // keytable.WAYS))
        size = _KEYS_AT + self._buckets * keytable.BUCKET_SIZE + len(MAGIC)
        self._memory = Memory(path, size, _LAYOUT.pack(MAGIC, LAYOUT, self._buckets))

    @property
    def is_shared(self) -> bool:
        """Whether processes that are not forked from this one take part."""
        return self._memory.is_shared

    @property
    def problem(self) -> str | None:
        """Why the file is not used, where one was asked for."""
        return self._memory.problem

    @property
    def doubtful_until(self) -> float:
        """The Unix time until which records may be missing, because the file was damaged."""
        return self._memory.doubtful_until

    def patient(self) -> AbstractContextManager[None]:
        """Wait longer than usual before ``Busy`` is raised: for a process that ends."""
        return self._memory.patient()

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
                    number = _version_number(version)
                    if kind == "cleared":
                        spaces.note_clear(space, at, span(seconds))
                    elif kind == "swept":
                        spaces.note_sweep(space, number, key, at, span(seconds))
                    else:
                        ttl = inf if expires_at is None else span(expires_at - at)
                        entry = (at, 0.0, ttl, seconds, number << VERSION_SHIFT | KINDS[kind])
                        keys.add(_hash(space, key), entry, spaces[space].losses)
            except (OverflowError, ValueError):
                # Times that no process of ours wrote: the file is damaged.
                self._memory.reset()

    def note_told(self, process: str, until: float) -> None:
        """Note that ``process`` has posted everything until ``until`` (Unix time); infinite for
        one that ends. Raises ``Busy``."""
        who = _hash("process", process)
        with self._memory.hold() as memory:
            table = Presence(memory, _PRESENCE_AT)
            if until == inf:
                table.leave(who)
            else:
                table.note(who, until)

    def told_until(self, process: str, now: float) -> float:
        """Until when all processes but ``process`` have posted everything, as far as they are
        known; infinite where there are no others. Raises ``Busy``."""
        with self._memory.hold() as memory:
            return Presence(memory, _PRESENCE_AT).told_until(_hash("process", process), now)

    def note_produced(self, produced: Sequence[Production]) -> list[bool]:
        """Write down who produced what; of each, whether somebody else did so at the same time,
        of those that were written down before. Raises ``Busy``."""
        if not produced:
            return []
        boot = productions.boot()
        with self._memory.hold() as memory:
            table = Productions(memory, _PRODUCTIONS_AT)
            return [
                table.note(_hash(f"{boot}\0{space}\0{version}", key), began, ended)
                for space, key, version, began, ended in produced
            ]

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

    def written(self, hits: Sequence[Hit]) -> list[float | None]:
        """When the value that each of ``hits`` found was written, as Unix time; None where that
        is not known. Raises ``Busy``."""
        if not hits:
            return []
        with self._memory.hold() as memory:
            keys, spaces = self._tables(memory)
            return [_written(hit, keys, spaces[hit.space]) for hit in hits]

    def _tables(self, memory: mmap) -> tuple[KeyTable, "_Spaces"]:
        keys = KeyTable(memory, _KEYS_AT, self._buckets)
        return keys, _Spaces(ClearTable(memory, HEADER), SweepTable(memory, _SWEEPS_AT))


class _Space(NamedTuple):
    """What befell all keys of a space, or many of them."""

    clears: Clears
    sweeps: Sweeps
    losses: Clears
    """Whatever may have taken a key away that is not in the key's history."""


class _Spaces(dict[str, _Space]):
    """All that is known of each space, as long as the ledger is held."""

    def __init__(self, clears: ClearTable, sweeps: SweepTable) -> None:
        self._clears = clears
        self._sweeps = sweeps

    def __missing__(self, space: str) -> _Space:
        tag = _hash(space, "")
        clears, sweeps = self._clears.read(tag), self._sweeps.read(tag)
        losses = Clears([*clears.ends, *sweeps.ends]) if sweeps.sweeps else clears
        found = self[space] = _Space(clears, sweeps, losses)
        return found

    def note_clear(self, space: str, at: float, seconds: float) -> None:
        """Note a clear."""
        self._clears.add(_hash(space, ""), at, seconds)
        self.pop(space, None)

    def note_sweep(self, space: str, version: int, pattern: str, at: float, seconds: float) -> None:
        """Note that the keys of ``version`` that match ``pattern`` were deleted."""
        self._sweeps.add(_hash(space, ""), version, pattern, at, seconds)
        self.pop(space, None)


def _judge(miss: Miss, keys: KeyTable, space: _Space, doubtful_until: float) -> Reason:
    hashed = _hash(miss.space, miss.key)
    history = keys.read(hashed)
    version = _version_number(miss.version)

    def sweeps_of(number: int) -> Clears:
        return space.sweeps.of(miss.key, number, miss.at)

    if history:
        if history[0][0] > miss.at + AHEAD:
            return "unknown"
        reason = reason_of(miss, version, history, space.clears, sweeps_of(version))
        if reason is not None:
            return reason
    if keys.may_have_lost(hashed) or miss.at < doubtful_until:
        return "unknown"
    there = is_elsewhere(miss, version, history, space.clears, sweeps_of)
    if there is None:
        return "unknown"
    return "version_changed" if there else "never_set"


def _written(hit: Hit, keys: KeyTable, space: _Space) -> float | None:
    history = keys.read(_hash(hit.space, hit.key))
    if not history or history[0][0] > hit.at + AHEAD:
        return None
    version = _version_number(hit.version)
    swept = space.sweeps.of(hit.key, version, hit.at)
    return written_at(hit, version, history, space.clears, swept)
