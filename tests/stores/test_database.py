from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import current_thread
from threading import enumerate as enumerate_threads
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection, connections
from django.db.transaction import atomic

from cache_monitor.models import Window
from cache_monitor.stores import borrowing
from cache_monitor.stores.base import Row, StoreError
from cache_monitor.stores.database import DatabaseStore
from cache_monitor.threads import THREAD_NAME
from tests.stores import faulty
from tests.stores.servers import PostgresDaemon

ROW = Row("window", "process", "default", 100, 10, b"payload")


@pytest.mark.django_db(transaction=True)
def test_a_missing_table_says_to_migrate() -> None:
    with connection.schema_editor() as editor:
        editor.delete_model(Window)
    try:
        with pytest.raises(StoreError, match=r"run manage\.py migrate"):
            DatabaseStore().put([ROW], now=1)
        with pytest.raises(StoreError, match=r"run manage\.py migrate"):
            list(DatabaseStore().read("window", 0, 1000, None))
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(Window)


def test_another_database_can_be_named() -> None:
    with pytest.raises(StoreError, match="no database"):
        DatabaseStore(DATABASE="elsewhere").put([ROW], now=1)


@pytest.mark.django_db
def test_a_put_is_one_statement(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        DatabaseStore().put([ROW, ROW._replace(start=110)], now=1)


@pytest.mark.django_db
def test_a_lock_from_before_the_clock_was_set_back_stops_nobody() -> None:
    store = DatabaseStore()
    assert store.lock("roll-up", 60, now=10_000)
    assert store.lock("roll-up", 60, now=6_400)


def test_a_read_that_fails_leaves_the_transaction_of_a_request_whole(
    postgresql: dict[str, Any],
) -> None:
    with connections["postgresql"].cursor() as cursor:
        cursor.execute("DROP TABLE cache_monitor_window")
        with atomic("postgresql"):
            with pytest.raises(StoreError, match="migrate --database=postgresql"):
                DatabaseStore(DATABASE="postgresql").read("window", 0, 1000, None)
            cursor.execute("SELECT 1")
            assert cursor.fetchone() == (1,)


@pytest.mark.parametrize(("max_age", "stays"), [(0, False), (60, True), (None, True)])
def test_a_connection_is_given_back_as_the_settings_say(
    postgresql: dict[str, Any], max_age: int | None, stays: bool
) -> None:
    postgresql["CONN_MAX_AGE"] = max_age
    store = DatabaseStore(DATABASE="postgresql")
    store.put([ROW], now=1)
    assert (connections["postgresql"].connection is not None) is stays
    store.read("window", 0, 1000, None)
    assert (connections["postgresql"].connection is not None) is stays


@pytest.fixture
def own_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], object]], Any]]:
    """Runs something in the monitor's own thread, as on a site that is not being tested."""
    monkeypatch.setattr(borrowing, "is_testing", lambda: False)
    with ThreadPoolExecutor(
        1, initializer=lambda: setattr(current_thread(), "name", THREAD_NAME)
    ) as pool:
        yield lambda work: pool.submit(work).result()
        pool.submit(connections.close_all).result()


def _backend_pid(alias: str) -> int:
    """Which connection the server has with this thread; 0 where it has none."""
    wrapper: Any = connections[alias]
    return 0 if wrapper.connection is None else int(wrapper.connection.info.backend_pid)


def test_the_monitors_own_thread_keeps_its_connection(
    postgresql: dict[str, Any], own_thread: Callable[[Callable[[], object]], Any]
) -> None:
    store = DatabaseStore(DATABASE="postgresql")
    own_thread(lambda: store.put([ROW], now=1))
    first = own_thread(lambda: _backend_pid("postgresql"))
    assert first
    own_thread(lambda: store.read("window", 0, 1000, None))
    own_thread(lambda: store.replace([ROW], [ROW], now=1))
    own_thread(lambda: store.lock("roll-up", 60, now=1))
    assert own_thread(lambda: _backend_pid("postgresql")) == first


def test_the_monitors_own_thread_renews_its_connection(
    postgresql: dict[str, Any],
    own_thread: Callable[[Callable[[], object]], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(borrowing, "KEPT_FOR", 0.0)
    store = DatabaseStore(DATABASE="postgresql")
    own_thread(lambda: store.put([ROW], now=1))
    assert own_thread(lambda: _backend_pid("postgresql")) == 0


def test_the_monitors_own_thread_does_not_stumble_over_a_server_that_was_away(
    postgresql: dict[str, Any],
    postgresql_server: PostgresDaemon,
    own_thread: Callable[[Callable[[], object]], Any],
) -> None:
    store = DatabaseStore(DATABASE="postgresql")
    own_thread(lambda: store.put([ROW], now=1))
    with faulty.stopped(postgresql_server):
        pass
    own_thread(lambda: store.put([ROW], now=2))
    assert own_thread(lambda: store.read("window", 0, 1000, None)) == [ROW]


def test_the_thread_that_keeps_a_connection_is_the_collectors() -> None:
    cache.get("key")
    assert THREAD_NAME in {thread.name for thread in enumerate_threads()}


def test_as_much_as_a_server_takes_is_written_at_once(
    mariadb: dict[str, Any],
) -> None:
    """MariaDB refuses a statement that is longer than its packets."""
    rows = [ROW._replace(start=start, payload=b"\0" * 2**21) for start in range(12)]
    store = DatabaseStore(DATABASE="mariadb")
    store.put(rows, now=1)
    assert sorted(store.read("window", 0, 1000, None)) == rows


@pytest.mark.parametrize("operation", ["put", "read"])
def test_a_connection_that_broke_is_not_used_again(
    postgresql: dict[str, Any], postgresql_server: PostgresDaemon, operation: str
) -> None:
    postgresql["CONN_MAX_AGE"] = None
    store = DatabaseStore(DATABASE="postgresql")

    def use() -> None:
        if operation == "put":
            store.put([ROW], now=1)
        else:
            store.read("window", 0, 1000, None)

    use()
    with faulty.stopped(postgresql_server):
        pass
    with pytest.raises(StoreError):
        use()
    use()


def test_no_word_of_a_drivers_message_is_passed_on(postgresql: dict[str, Any]) -> None:
    postgresql["PASSWORD"] = "not the one"
    with pytest.raises(StoreError) as told:
        DatabaseStore(DATABASE="postgresql").put([ROW], now=1)
    assert "127.0.0.1" not in str(told.value)
    assert 'user "postgres"' not in str(told.value)
    assert "correct them in DATABASES" in str(told.value)
