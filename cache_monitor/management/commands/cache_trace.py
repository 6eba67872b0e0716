"""``manage.py cache_trace``: the trace as a file for other simulators of caches.

Keys are hashes with a salt for each file, so that a reader cannot test guesses of keys.
"""

import secrets
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from hashlib import blake2b
from mmap import mmap
from typing import Any, BinaryIO, NamedTuple

from django.core.management.base import CommandParser

from cache_monitor.api import refuse_unknown
from cache_monitor.management import (
    INTERRUPTED,
    MonitorCommand,
    moment_option,
    refusal,
    refusing,
    writing,
)
from cache_monitor.reports.traced import traced_lookups
from cache_monitor.scan.identity import store_of
from cache_monitor.stores.base import Store, get_store
from cache_monitor.stores.rows import slices_by_minute
from cache_monitor.trace import SECOND
from cache_monitor.trace.codec import StoredSlice
from cache_monitor.what_if.reading import Entry, Request, ValueSizes, requests


class NothingTraced(ValueError):
    """The trace has nothing of the period."""


class WrittenTrace(NamedTuple):
    """The contents of a file: ``lookups`` of one key in ``one_in``, by one of ``processes`` that
    have a cache each."""

    lookups: int
    one_in: int
    processes: int


def write_trace(
    store: Store, family: str, since: float, until: float, form: str, path: str
) -> WrittenTrace:
    """Write the trace of the cache ``family`` to ``path``, whole or not at all.

    Of caches in each process it is the one with the most lookups. Raises :class:`NothingTraced`
    and :class:`StoreError`.
    """
    period, counts = traced_lookups(store, family, since, until)
    if not counts:
        raise NothingTraced
    name, lookups = max(counts.items(), key=lambda each: each[1])

    def own() -> Iterator[list[StoredSlice]]:
        found = (each.get(name, []) for each in slices_by_minute(store, family, since, until))
        return (parts for parts in found if parts)

    with writing(path) as file:
        FORMATS[form](requests(own(), period), file)
    return WrittenTrace(lookups, 1 << period.level, len(counts))


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


def _oracle_general(trace: Iterable[Request], file: BinaryIO) -> None:
    """libCacheSim's oracleGeneral: lookups only. An unknown size is the average, or 1."""
    numbers, count, first = _Numbers(), 0, None
    sizes = ValueSizes(_LARGEST)
    for each in trace:
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


_TWITTERS = {"get": "get", "set": "set", "delete": "delete"}


def _twitter(trace: Iterable[Request], file: BinaryIO) -> None:
    """Twitter's format: time, key, sizes of key and value, client, operation, timeout. An unknown
    size is 0."""
    numbers, sizes, first = _Numbers(), ValueSizes(_LARGEST), None
    clients: dict[int, int] = {}
    for each in trace:
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


def _caffeine(trace: Iterable[Request], file: BinaryIO) -> None:
    """Caffeine's ``lirs`` format, a number a line: lookups only."""
    numbers = _Numbers()
    for request in trace:
        if request.operation == "get":
            file.write(b"%d\n" % numbers.of(request.entry))


_EXPIRING = frozenset({"set", "touch"})


def _csv(trace: Iterable[Request], file: BinaryIO) -> None:
    """A line for each request; a timeout only where one begins."""
    numbers, sizes = _Numbers(), ValueSizes(_LARGEST)
    file.write(b"time,operation,key,timeout,bytes\n")
    for each in trace:
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


class Command(MonitorCommand):
    help = (
        "Write the lookups of a cache to a file that other simulators read, with hashes instead of "
        "keys and without values. Exit status: 0; 2 for bad arguments, a period without "
        "a trace, a store that cannot be read or a file that cannot be written; 130 where Ctrl-C "
        "ended it. The file is written whole or not at all."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--format",
            choices=tuple(FORMATS),
            required=True,
            help="oracle-general for libCacheSim, twitter-csv, caffeine (a number a line), or csv",
        )
        self.add_options(
            *(parser, "until"),
            since={"default": "1h"},
            alias={"default": "default", "help": "a cache of CACHES"},
            output={"required": True, "help": "where to write; - is the standard output"},
        )

    def handle(self, *args: Any, **options: Any) -> None:
        since, until = _period(options)
        alias, output = options["alias"], options["output"]
        try:
            with refusing():
                refuse_unknown(alias)
                self.note_store()
                family = store_of(alias)
                if family is None:
                    raise NothingTraced
                written = write_trace(get_store(), family, since, until, options["format"], output)
        except NothingTraced as error:
            message = f"The trace has no lookups of {alias!r} in this period. Name another --since."
            raise refusal(message) from error
        except KeyboardInterrupt:
            self.stderr.write("Interrupted: nothing was written.")
            sys.exit(INTERRUPTED)
        self.stderr.write(_summary(written, output))


def _period(options: dict[str, Any]) -> tuple[float, float]:
    now = datetime.now(UTC)
    since, until = (moment_option(options, name, now) or now for name in ("since", "until"))
    if since >= until:
        raise refusal("--since must be earlier than --until.")
    return since.timestamp(), until.timestamp()


def _summary(written: WrittenTrace, output: str) -> str:
    text = f"{written.lookups:,} lookups written to {output}."
    if written.one_in > 1:
        text += (
            f" They are of one key in {written.one_in:,}: simulate a cache of"
            f" 1/{written.one_in} of the size."
        )
    if written.processes > 1:
        text += (
            f" Each process has a cache of its own: this is the busiest of {written.processes:,}."
        )
    return text
