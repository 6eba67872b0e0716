"""What every store does alike."""

from collections.abc import Callable

import pytest

from cache_monitor.stores.base import Row, Store
from cache_monitor.stores.database import DatabaseStore
from cache_monitor.stores.memory import MemoryStore

pytestmark = pytest.mark.django_db

STORES: dict[str, Callable[[], Store]] = {"memory": MemoryStore, "database": DatabaseStore}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Store:
    return STORES[request.param]()


def _row(start: int = 100, payload: bytes = b"payload", alias: str = "default") -> Row:
    return Row("window", "process", alias, start, 10, payload)


def _read(store: Store, since: int = 0, until: int = 1000, alias: str | None = None) -> list[Row]:
    return sorted(store.read("window", since, until, alias))


def test_what_was_put_is_read(store: Store) -> None:
    store.put([_row(), _row(110)], now=120)
    assert _read(store) == [_row(), _row(110)]


def test_a_row_replaces_the_one_of_the_same_name(store: Store) -> None:
    store.put([_row()], now=105)
    store.put([_row(payload=b"newer")], now=110)
    assert _read(store) == [_row(payload=b"newer")]


@pytest.mark.parametrize(
    "other",
    [
        Row("window", "other", "default", 100, 10, b"x"),
        Row("window", "process", "other", 100, 10, b"x"),
        Row("window", "process", "default", 100, 60, b"x"),
    ],
    ids=["process", "alias", "length"],
)
def test_a_row_of_another_name_stays(store: Store, other: Row) -> None:
    store.put([_row()], now=105)
    store.put([other], now=105)
    assert len(_read(store)) == 2


def test_kinds_are_kept_apart(store: Store) -> None:
    look = Row("look", "process", "default", 100, 10, b"look")
    store.put([_row(), look], now=105)
    assert _read(store) == [_row()]
    assert list(store.read("look", 0, 1000, None)) == [look]


def test_a_range_takes_its_beginning_and_leaves_its_end(store: Store) -> None:
    store.put([_row(start) for start in (90, 100, 110, 120)], now=130)
    assert [row.start for row in _read(store, 100, 120)] == [100, 110]


def test_one_alias_can_be_read_alone(store: Store) -> None:
    store.put([_row(), _row(alias="other")], now=105)
    assert _read(store, alias="other") == [_row(alias="other")]


def test_putting_nothing_is_no_error(store: Store) -> None:
    store.put([], now=1)
    assert _read(store) == []


def test_pruning_removes_what_was_not_written_since(store: Store) -> None:
    store.put([_row(100)], now=105)
    store.put([_row(200)], now=205)
    assert store.prune(before=200) == 1
    assert [row.start for row in _read(store)] == [200]


def test_any_bytes_come_back_as_they_were(store: Store) -> None:
    payload = bytes(range(256)) * 100
    store.put([_row(payload=payload)], now=1)
    assert _read(store)[0].payload == payload
