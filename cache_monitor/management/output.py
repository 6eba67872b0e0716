"""What the commands print: progress on a terminal, and the result of a scan."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from cache_monitor.exporters.table import count, plain, size
from cache_monitor.reports.build import Sharing, sharing
from cache_monitor.reports.caches import memory_of, stale_of
from cache_monitor.reports.schema import SCHEMA_VERSION, Memory, Stale
from cache_monitor.reports.series import moment
from cache_monitor.scan.snapshot import STALE_REASONS, Snapshot, StaleReason

_WIDTH = 30
_INTERVAL = 0.1


class ProgressBar:
    """A line that is overwritten with the progress; none where ``stream`` is no terminal.

    ``stream`` is a text stream, usually a command's standard error.
    """

    def __init__(self, stream: Any) -> None:
        # Django's wrapper ends each text with a new line.
        self._stream = getattr(stream, "_out", stream)
        self._is_shown = bool(getattr(stream, "isatty", lambda: False)())
        self._next = 0.0
        self._length = 0

    def show(self, name: str, done: int, total: int | None) -> None:
        """Show ``done`` of ``total``, None where that is unknown."""
        if not self._is_shown or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _INTERVAL
        if total:
            share = min(1.0, done / total)
            bar = ("#" * round(share * _WIDTH)).ljust(_WIDTH)
            self._write(f"{name} [{bar}] {share:4.0%} {done:,}")
        else:
            self._write(f"{name} {done:,}")

    def clear(self) -> None:
        """Remove the line."""
        if self._is_shown and self._length:
            self._write("")
            self._stream.write("\r")
            self._stream.flush()
            self._length = 0

    def _write(self, text: str) -> None:
        self._stream.write(f"\r{text.ljust(self._length)}")
        self._stream.flush()
        self._length = len(text)


_TABLE_WIDTH = 60


def as_json(found: Mapping[str, Snapshot], backends: Mapping[str, str], top: int) -> str:
    """One document: ``memory`` and ``stale`` of each cache as in the report, with the first
    ``top`` of each list."""
    caches: dict[str, Any] = {}
    shared = sharing(found)
    for alias, snapshot in found.items():
        memory, stale = memory_of(snapshot), stale_of(snapshot)
        if alias in shared:
            memory = msgspec.structs.replace(memory, **shared[alias]._asdict())
        caches[alias] = {
            "backend": backends[alias],
            "memory": msgspec.structs.replace(
                memory, groups=memory.groups[:top], largest=memory.largest[:top]
            ),
            "stale": msgspec.structs.replace(stale, entries=stale.entries[:top]),
        }
    document = {
        "schema_version": SCHEMA_VERSION,
        "generated_at": moment(time.time()),
        "caches": caches,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def as_table(found: Mapping[str, Snapshot], backends: Mapping[str, str], top: int) -> str:
    """Lines for a terminal, with the first ``top`` of each list."""
    shared = sharing(found)
    lines: list[str] = []
    for alias, snapshot in found.items():
        own = shared.get(alias, Sharing([alias], None))
        if own.counted_in is not None:
            continue
        same = [each for each, it in shared.items() if it.counted_in == alias]
        others = [each for each in own.aliases if each not in {alias, *same}]
        lines += [f"{', '.join([alias, *same])} ({backends[alias]})"]
        if others:
            lines += [f"  in one store with {', '.join(others)}"]
        lines += [*_cache(snapshot, top), ""]
    return "\n".join(lines).rstrip("\n")


def _cache(snapshot: Snapshot, top: int) -> Iterator[str]:
    memory, stale = memory_of(snapshot), stale_of(snapshot)
    if snapshot.problem:
        yield f"  {plain(snapshot.problem, 300)}"
    about = "" if snapshot.exact or snapshot.entries is None else "~"
    yield (
        f"  entries {about}{count(memory.entries)}   bytes {about}{size(memory.bytes)}"
        f"   limit {_limit(memory)}   evictions {count(memory.evictions)}"
        f"   scanned {snapshot.examined:,}"
    )
    if snapshot.scope == "per process":
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
    errors = {"idle": stale.idle_error, "never_read": stale.never_read_error}
    error = errors.get(reason)
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
