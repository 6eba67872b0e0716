"""A store in this process's memory: for one process, gone with it."""

from collections.abc import Iterable, Sequence
from threading import Lock

from cache_monitor.stores.base import Kind, Row

MAX_ROWS = 50_000
"""About a week of windows of one cache; the oldest rows make room."""


class MemoryStore:
    """Keeps rows in a dict."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, str, int, int], tuple[Row, int]] = {}
        self._lock = Lock()

    def put(self, rows: Sequence[Row], now: int) -> None:
        """Write ``rows``, replacing those of the same name."""
        with self._lock:
            for row in rows:
                self._rows.pop(row[:5], None)
                self._rows[row[:5]] = (row, now)
            for name in list(self._rows)[: max(0, len(self._rows) - MAX_ROWS)]:
                del self._rows[name]

    def read(self, kind: Kind, since: int, until: int, alias: str | None) -> Iterable[Row]:
        """The rows that begin at or after ``since`` and before ``until``, of one alias or all."""
        with self._lock:
            rows = [row for row, _ in self._rows.values()]
        return [
            row
            for row in rows
            if row.kind == kind and since <= row.start < until and alias in (None, row.alias)
        ]

    def prune(self, before: int) -> int:
        """Remove what was last written before ``before``; how many rows went."""
        with self._lock:
            old = [name for name, (_, written) in self._rows.items() if written < before]
            for name in old:
                del self._rows[name]
        return len(old)
