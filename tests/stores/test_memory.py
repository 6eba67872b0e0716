import pytest

from cache_monitor.stores import memory
from cache_monitor.stores.base import Row


def test_the_oldest_rows_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_ROWS", 3)
    store = memory.MemoryStore()
    for start in range(5):
        store.put([Row("window", "p", "default", start, 10, b"")], now=start)
    assert [row.start for row in store.read("window", 0, 10, None)] == [2, 3, 4]
