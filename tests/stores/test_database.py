from typing import Any

import pytest
from django.db import connection

from cache_monitor.models import Window
from cache_monitor.stores.base import Row, StoreError
from cache_monitor.stores.database import DatabaseStore

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
