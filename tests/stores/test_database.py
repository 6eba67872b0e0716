from typing import Any

import pytest
from django.db import connection, connections
from django.db.transaction import atomic

from cache_monitor.models import Window
from cache_monitor.stores.base import Row, StoreError
from cache_monitor.stores.database import DatabaseStore
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
