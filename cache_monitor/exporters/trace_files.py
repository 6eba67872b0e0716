"""The trace as files that other simulators of caches read.

Keys are hashes with a salt for each file, so that a reader cannot test guesses of keys.
"""

import os
import secrets
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from hashlib import blake2b
from mmap import mmap
from pathlib import Path
from typing import BinaryIO, NamedTuple

from cache_monitor.stores.base import Store
from cache_monitor.stores.shared import slices_by_minute
from cache_monitor.trace.codec import StoredSlice
from cache_monitor.trace.events import SECOND
from cache_monitor.trace.workload import Entry, Request, TracePeriod, lookups_of, requests


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write and read, which replaces ``path`` atomically at the end.

    It follows a symbolic link. Raises ``OSError``; after an exception ``path`` is as before.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise OSError(f"{path} is not a file.")
    # Beside the target: a rename must not cross file systems.
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` by :func:`whole_file`."""
    with whole_file(path) as file:
        file.write(content)


class NothingTraced(ValueError):
    """The trace has nothing of the period."""


class WrittenTrace(NamedTuple):
    """The contents of a file: ``lookups`` of one key in ``one_in``, by one of ``processes`` that
    have a cache each."""

    lookups: int
    one_in: int
    processes: int


def write_trace(
    store: Store, family: str, since: float, until: float, form: str, path: Path
) -> WrittenTrace:
    """Write the trace of the cache ``family`` to ``path``, whole or not at all.

    Of caches in each process it is the one with the most lookups. Raises :class:`NothingTraced`,
    :class:`StoreError` and ``OSError``.
    """
    period, counts = _survey(store, family, since, until)
    if not counts:
        raise NothingTraced
    name, lookups = max(counts.items(), key=lambda each: each[1])

    def own() -> Iterator[list[StoredSlice]]:
        found = (each.get(name, []) for each in slices_by_minute(store, family, since, until))
        return (parts for parts in found if parts)

    with whole_file(path) as file:
        FORMATS[form](requests(own(), period), file)
    return WrittenTrace(lookups, 1 << period.level, len(counts))


def _survey(
    store: Store, family: str, since: float, until: float
) -> tuple[TracePeriod, Mapping[str, int]]:
    """The level of sampling of all slices, and the lookups of each cache at it."""
    span = int(since * SECOND), int(until * SECOND)
    level = 0
    for found in slices_by_minute(store, family, since, until):
        level = max([level, *(part.level for parts in found.values() for part in parts)])
    period = TracePeriod(*span, level)
    counts: dict[str, int] = {}
    for found in slices_by_minute(store, family, since, until):
        for name, parts in found.items():
            lookups = sum(lookups_of(part, period) for part in parts)
            if lookups:
                counts[name] = counts.get(name, 0) + lookups
    return period, counts


class _Numbers:
    """The numbers of entries in one file."""

    def __init__(self) -> None:
        self._salt = secrets.token_bytes(16)
        self._known: dict[Entry, int] = {}

    def of(self, entry: Entry) -> int:
        """A number of 63 bits above 0, as every simulator reads."""
        found = self._known.get(entry)
        if found is None:
            text = f"{entry[0]} {entry[1]}".encode()
            digest = blake2b(text, digest_size=8, key=self._salt).digest()
            found = self._known[entry] = int.from_bytes(digest) >> 1 or 1
        return found


_ORACLE = struct.Struct("<IQIq")
"""Seconds, object, bytes, and the request that asks for it next."""
_NEVER_AGAIN = -1
_LARGEST = 2**32 - 1


def _oracle_general(asked: Iterable[Request], file: BinaryIO) -> None:
    """libCacheSim's oracleGeneral: lookups only. An unknown size is the average, or 1."""
    numbers, count, first = _Numbers(), 0, None
    sizes = _Sizes()
    for each in asked:
        size = sizes.of(each)
        if each.operation == "get":
            first = each.at if first is None else first
            seconds = max(each.at - first, 0) // SECOND
            file.write(_ORACLE.pack(seconds, numbers.of(each.entry), size, _NEVER_AGAIN))
            count += 1
    file.flush()
    with closing(mmap(file.fileno(), 0)) as records:
        _look_ahead(records, count, sizes.usual)


def _look_ahead(records: mmap, count: int, usual: int) -> None:
    """Fill in the next request for the same object, from the last record to the first."""
    following: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for place in range(count - 1, -1, -1):
        seconds, number, size, _ = _ORACLE.unpack_from(records, place * _ORACLE.size)
        again = following.get(number, _NEVER_AGAIN)
        size = sizes[number] = size or sizes.get(number, usual)
        _ORACLE.pack_into(records, place * _ORACLE.size, seconds, number, size, again)
        following[number] = place


class _Sizes:
    """The known bytes of the values in one file."""

    def __init__(self) -> None:
        self._known: dict[Entry, int] = {}

    def of(self, request: Request) -> int:
        """The bytes of the requested value; 0 where unknown."""
        if request.size:
            self._known[request.entry] = min(request.size, _LARGEST)
        return self._known.get(request.entry, 0)

    @property
    def usual(self) -> int:
        """The average."""
        sizes = self._known.values()
        return max(1, round(sum(sizes) / len(sizes))) if sizes else 1


_TWITTERS = {"get": "get", "set": "set", "delete": "delete"}


def _twitter(asked: Iterable[Request], file: BinaryIO) -> None:
    """Twitter's format: time, key, sizes of key and value, client, operation, timeout. An unknown
    size is 0."""
    numbers, sizes, first = _Numbers(), _Sizes(), None
    clients: dict[int, int] = {}
    for each in asked:
        at, operation, entry, lasts, process, _ = each
        size = sizes.of(each)
        name = _TWITTERS.get(operation)
        if name is not None:
            first = at if first is None else first
            client = clients.setdefault(process, len(clients))
            timeout = max(lasts, 0) // SECOND if operation == "set" else 0
            seconds = max(at - first, 0) // SECOND
            key = f"{numbers.of(entry):016x}"
            file.write(f"{seconds},{key},0,{size},{client},{name},{timeout}\n".encode())


def _caffeine(asked: Iterable[Request], file: BinaryIO) -> None:
    """Caffeine's ``lirs`` format, a number a line: lookups only."""
    numbers = _Numbers()
    for request in asked:
        if request.operation == "get":
            file.write(b"%d\n" % numbers.of(request.entry))


_EXPIRING = frozenset({"set", "touch"})


def _csv(asked: Iterable[Request], file: BinaryIO) -> None:
    """A line for each request; a timeout only where one begins."""
    numbers, sizes = _Numbers(), _Sizes()
    file.write(b"time,operation,key,timeout,bytes\n")
    for each in asked:
        at, operation, entry, lasts, *_ = each
        size = sizes.of(each) or ""
        key = "" if operation == "clear" else f"{numbers.of(entry):016x}"
        timeout = f"{lasts / SECOND:g}" if operation in _EXPIRING and lasts >= 0 else ""
        file.write(f"{at / SECOND:.6f},{operation},{key},{timeout},{size}\n".encode())


FORMATS: Mapping[str, Callable[[Iterable[Request], BinaryIO], None]] = {
    "oracle-general": _oracle_general,
    "twitter-csv": _twitter,
    "caffeine": _caffeine,
    "csv": _csv,
}
"""By the name that users write."""
