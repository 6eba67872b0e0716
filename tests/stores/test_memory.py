import pytest

from cache_monitor.stores import memory
from cache_monitor.stores.base import Row


def test_the_oldest_rows_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_ROWS", 3)
    store = memory.MemoryStore()
    for start in range(5):
        store.put([Row("window", "p", "default", start, 10, b"")], now=start)
    assert [row.start for row in store.read("window", 0, 10, None)] == [2, 3, 4]


def test_a_lock_from_before_the_clock_was_set_back_stops_nobody() -> None:
    store = memory.MemoryStore()
    assert store.lock("roll-up", 60, now=10_000)
    assert store.lock("roll-up", 60, now=6_400)
