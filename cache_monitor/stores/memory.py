"""A store in this process's memory."""

from collections.abc import Iterable, Sequence

from cache_monitor.concurrency import new_lock
from cache_monitor.stores.base import Identity, Kind, Row

MAX_ROWS = 50_000
"""About a week of windows of one cache; the oldest rows make room."""


class MemoryStore:
    """Keeps rows in a dict."""

    def __init__(self) -> None:
        self._rows: dict[Identity, tuple[Row, int]] = {}
        self._locked_until: dict[str, int] = {}
        self._lock = new_lock()

    def put(self, rows: Sequence[Row], now: int) -> None:
        self.replace((), rows, now)

    def read(
        self,
        kind: Kind,
        since: int,
        until: int,
        alias: str | None,
        *,
        seconds: int | None = None,
        of_processes: bool = False,
    ) -> Iterable[Row]:
        with self._lock:
            rows = [row for row, _ in self._rows.values()]
        return [
            row
            for row in rows
            if row.kind == kind
            and since <= row.start < until
            and alias in (None, row.alias)
            and seconds in (None, row.seconds)
            and (row.process or not of_processes)
        ]

    def replace(self, remove: Sequence[Row], add: Sequence[Row], now: int) -> None:
        with self._lock:
            if not all(row.identity in self._rows for row in remove):
                return
            for row in (*remove, *add):
                self._rows.pop(row.identity, None)
            for row in add:
                self._rows[row.identity] = (row, now)
            for name in list(self._rows)[: max(0, len(self._rows) - MAX_ROWS)]:
                del self._rows[name]

    def prune(self, before: int) -> int:
        with self._lock:
            old = [name for name, (_, written) in self._rows.items() if written < before]
            for name in old:
                del self._rows[name]
        return len(old)

    def lock(self, name: str, seconds: int, now: int) -> bool:
        with self._lock:
            # A later end is from before the clock was set back.
            if now < self._locked_until.get(name, 0) <= now + seconds:
                return False
            self._locked_until[name] = now + seconds
            return True
