"""``manage.py cache_scan``: a full scan of the live caches."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from math import inf
from typing import Any

from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.management.base import CommandParser
from msgspec import structs

from cache_monitor.api import refuse_unknown
from cache_monitor.conf import backend_path, get_conf
from cache_monitor.context import muted
from cache_monitor.management import (
    INTERRUPTED,
    MonitorCommand,
    ProgressBar,
    count,
    plain,
    refusal,
    refusing,
    size,
)
from cache_monitor.reports import SCHEMA_VERSION, Memory, Stale
from cache_monitor.reports.caches import memory_of, stale_of
from cache_monitor.reports.memory import with_sharing
from cache_monitor.scan.backends import total_of
from cache_monitor.scan.base import (
    STALE_REASONS,
    BackendScanner,
    ScanLimits,
    StaleReason,
    describe_error,
)
from cache_monitor.scan.identity import EntriesIdentity, scan_identity
from cache_monitor.scan.recorded import NO_REPORTER, uses_of
from cache_monitor.scan.schedule import ScanLock, ScanState, advance, store_scan, unknown
from cache_monitor.scan.snapshot import Snapshot
from cache_monitor.stats.window import rfc3339
from cache_monitor.stores.base import Store, StoreError, get_store

COMPLETE, INCOMPLETE = 0, 3

_NICENESS = 5
"""By how much it yields to the site's own processes where the CPU is busy."""


NO_LIMIT = 1 << 62
_LOCK_PAUSE = 0.2

OnProgress = Callable[[str, int, int | None], None]
"""Called with the alias, the number of entries passed, and about how many there are."""


class FullScan:
    """Scans caches from their beginning to their end.

    ``on_progress`` and then ``should_continue`` are called after each page. ``problem`` says why
    the result did not reach the store, in words for people.
    """

    def __init__(
        self, store: Store, on_progress: OnProgress, should_continue: Callable[[], bool]
    ) -> None:
        self.problem: str | None = None
        self._store = store
        self._on_progress = on_progress
        self._should_continue = should_continue
        self._lock = ScanLock(store)
        self._needs_lock = True

    def run(self, aliases: Sequence[str], limit: int = NO_LIMIT) -> Iterator[tuple[str, Snapshot]]:
        """A snapshot of each cache, of at most ``limit`` entries; ends where it should not
        continue. Of aliases that show the same one is scanned."""
        scanned: dict[tuple[EntriesIdentity, str], Snapshot] = {}
        for alias in aliases:
            if not self._has_lock():
                continue
            try:
                cache = caches[alias]
            except Exception as error:
                yield alias, unknown(alias, None, describe_error(error))
                continue
            same = scan_identity(alias, cache)
            if same in scanned:
                snapshot = structs.replace(scanned[same], alias=alias)
                state = ScanState(scanned_at=snapshot.measured_at, whole=snapshot, identity=same[0])
            else:
                snapshot, state = self._scan(alias, cache, limit)
                scanned[same] = snapshot
            # The memory of this process, which is not the site's, is of no interest.
            if snapshot.exact and snapshot.scope == "shared":
                try:
                    store_scan(self._store, alias, snapshot, state)
                except StoreError as error:
                    self.problem = str(error)
            yield alias, snapshot

    def _scan(self, alias: str, cache: BaseCache, limit: int) -> tuple[Snapshot, ScanState]:
        limits = ScanLimits(alias, limit, inf, get_conf().stale_after)
        totals: list[int | None] = []

        def on_page(scanned: int, scanner: BackendScanner) -> bool:
            if not totals:
                totals.append(total_of(scanner))
            self._on_progress(alias, scanned, totals[0])
            return self._should_continue() and self._has_lock()

        # This process makes none of the site's calls.
        uses = uses_of(alias, cache, self._store, NO_REPORTER)
        return advance(cache, limits, ScanState(scanned_at=time.time()), on_page, uses)

    def _has_lock(self) -> bool:
        """Whether to continue; waits while another process scans."""
        try:
            while self._needs_lock and not self._lock.renew():
                if not self._should_continue():
                    return False
                time.sleep(_LOCK_PAUSE)
        except StoreError as error:
            # Without a store no other process scans either.
            self.problem, self._needs_lock = str(error), False
        return True


class Command(MonitorCommand):
    help = (
        "Scan every entry of the caches and print their entries, bytes, key groups, largest and"
        " stale entries. The dashboard shows the result too. Exit status: 0 if all entries were"
        " scanned; 2 for bad arguments, a store that cannot be opened or a file that cannot be"
        " written; 3 if --limit ended the scan or a cache could not be scanned completely; 130 if"
        " Ctrl-C ended it, after printing the result so far."
    )

    def run_from_argv(self, argv: list[str]) -> None:
        """Run as a program of its own, with a lower priority."""
        with suppress(AttributeError, OSError):
            os.nice(_NICENESS)
        super().run_from_argv(argv)

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_options(parser, "alias", "format", "output")
        parser.add_argument(
            "--top", type=int, default=10, help="how many of each list to print (default: 10)"
        )
        parser.add_argument("--limit", type=int, help="stop after so many entries of a cache")

    def handle(self, *args: Any, **options: Any) -> None:
        with refusing():
            refuse_unknown(options["alias"])
        aliases = [options["alias"]] if options["alias"] else list(settings.CACHES)
        for name in ("top", "limit"):
            if options[name] is not None and options[name] < 1:
                raise refusal(f"--{name} must be at least 1.")
        found, status = self._scan(aliases, options["limit"] or NO_LIMIT)
        backends = {alias: backend_path(alias) for alias in found}
        if options["format"] == "json":
            self.give_json(_document(found, backends, options["top"]), options["output"])
        else:
            self.give(_as_table(found, backends, options["top"]), options["output"])
        if status != COMPLETE:
            sys.exit(status)

    def _scan(self, aliases: Sequence[str], limit: int) -> tuple[dict[str, Snapshot], int]:
        bar = ProgressBar(self.stderr)
        with refusing():
            store = get_store()
        with muted(), _interruptible() as interrupted:
            scan = FullScan(store, bar.show, lambda: not interrupted.is_set())
            found = dict(scan.run(aliases, limit))
            bar.clear()
        if scan.problem is not None:
            self.stderr.write(self.style.WARNING(f"{scan.problem} The result is printed only."))
        if interrupted.is_set():
            return found, INTERRUPTED
        whole = all(each.exact and not each.problem for each in found.values())
        return found, COMPLETE if whole else INCOMPLETE


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Set by the first Ctrl-C, so that the result so far is printed; the second ends at once."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def interrupt(*_: object) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


_TABLE_WIDTH = 60


def _document(
    found: Mapping[str, Snapshot], backends: Mapping[str, str], top: int
) -> dict[str, Any]:
    """The result as in the report, with the first ``top`` of each list."""
    caches = {}
    for alias, memory in _memories(found).items():
        stale = stale_of(found[alias])
        caches[alias] = {
            "backend": backends[alias],
            "memory": structs.replace(
                memory, groups=memory.groups[:top], largest=memory.largest[:top]
            ),
            "stale": structs.replace(stale, entries=stale.entries[:top]),
        }
    generated_at = rfc3339(time.time())
    return {"schema_version": SCHEMA_VERSION, "generated_at": generated_at, "caches": caches}


def _memories(found: Mapping[str, Snapshot]) -> dict[str, Memory]:
    return with_sharing({alias: memory_of(each) for alias, each in found.items()}, found)


def _as_table(found: Mapping[str, Snapshot], backends: Mapping[str, str], top: int) -> str:
    """Lines for a terminal, with the first ``top`` of each list."""
    memories = _memories(found)
    lines: list[str] = []
    for alias, snapshot in found.items():
        memory = memories[alias]
        if memory.counted_in is not None:
            continue
        same = [each for each, it in memories.items() if it.counted_in == alias]
        others = [each for each in memory.aliases if each not in {alias, *same}]
        lines += [f"{', '.join([alias, *same])} ({backends[alias]})"]
        if others:
            lines += [f"  in one store with {', '.join(others)}"]
        lines += [*_cache(snapshot, memory, top), ""]
    return "\n".join(lines).rstrip("\n")


def _cache(snapshot: Snapshot, memory: Memory, top: int) -> Iterator[str]:
    stale = stale_of(snapshot)
    if memory.problem:
        yield f"  {plain(memory.problem, 300)}"
    about = "" if memory.exact or memory.entries is None else "~"
    yield (
        f"  entries {about}{count(memory.entries)}   bytes {about}{size(memory.bytes)}"
        f"   limit {_limit(memory)}   evictions {count(memory.evictions)}"
        f"   scanned {count(memory.examined)}"
    )
    if memory.scope == "per process":
        yield "  Only this process's entries: the dashboard shows those of the site's processes."
    freed = memory.freed_within
    yield (
        f"  freed by expiry within a minute {size(freed.minute)}, an hour {size(freed.hour)},"
        f" a day {size(freed.day)}; never {size(freed.never)}"
    )
    yield from _stale(stale, about)
    yield from _lists(memory, stale, top)


def _limit(memory: Memory) -> str:
    limits = [
        *([size(memory.limit_bytes)] if memory.limit_bytes is not None else []),
        *([f"{memory.limit_entries:,} entries"] if memory.limit_entries is not None else []),
    ]
    return ", ".join(limits) or "–"


def _stale(stale: Stale, about: str) -> Iterator[str]:
    known = [
        f"{reason.replace('_', ' ')} {about}{number:,}{_error(stale, reason)}"
        for reason in STALE_REASONS
        if (number := getattr(stale, reason)) is not None
    ]
    if known:
        yield f"  stale: {', '.join(known)}; bytes {about}{size(stale.bytes)}"


def _error(stale: Stale, reason: StaleReason) -> str:
    error = getattr(stale, f"{reason}_error", None)
    return f" ±{error:,}" if error else ""


def _lists(memory: Memory, stale: Stale, top: int) -> Iterator[str]:
    if memory.groups:
        yield f"  {'group':<{_TABLE_WIDTH}}{'entries':>12}{'bytes':>12}"
    for group in memory.groups[:top]:
        name = plain(group.group, _TABLE_WIDTH - 1)
        yield f"  {name:<{_TABLE_WIDTH}}{count(group.entries):>12}{size(group.bytes):>12}"
    if memory.largest:
        yield f"  {'largest':<{_TABLE_WIDTH}}{'':>12}{'bytes':>12}"
    for large in memory.largest[:top]:
        name = plain(large.key, _TABLE_WIDTH - 1)
        yield f"  {name:<{_TABLE_WIDTH}}{'':>12}{size(large.bytes):>12}"
    if stale.entries:
        yield f"  {'stale':<{_TABLE_WIDTH}}{'bytes':>12}  why"
    for entry in stale.entries[:top]:
        why = ", ".join(entry.why).replace("_", " ")
        name = plain(entry.key, _TABLE_WIDTH - 1)
        yield f"  {name:<{_TABLE_WIDTH}}{size(entry.bytes):>12}  {why}"
