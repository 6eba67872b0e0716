import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections
from django.db.backends.signals import connection_created
from django.db.transaction import atomic, set_rollback
from django.test.utils import CaptureQueriesContext

from cache_monitor.models import Window
from cache_monitor.stores import base
from cache_monitor.stores.base import Row, StoreError, session
from cache_monitor.stores.database import DatabaseStore
from tests.stores import faulty
from tests.stores.conftest import wait_until
from tests.stores.servers import PostgresDaemon

ROOT = Path(__file__).resolve().parents[2]
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
def test_a_put_is_one_statement() -> None:
    with CaptureQueriesContext(connection) as queries:
        DatabaseStore().put([ROW, ROW._replace(start=110)], now=1)
    statements = [each["sql"] for each in queries if "SAVEPOINT" not in each["sql"]]
    assert len(statements) == 1


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


def _clients(server: PostgresDaemon) -> int:
    """How many connections of Django's the server has; PgBouncer keeps some of its own."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        " AND application_name = 'the site'"
    )
    with server.connect() as admin:
        [(count,)] = admin.execute(query).fetchall()
    return int(count)


@pytest.mark.parametrize("max_age", [0, 60, None])
def test_a_connection_is_held_only_while_it_is_used(
    postgresql: dict[str, Any], postgresql_server: PostgresDaemon, max_age: int | None
) -> None:
    postgresql["OPTIONS"]["application_name"] = "the site"
    postgresql["CONN_MAX_AGE"] = max_age
    store = DatabaseStore(DATABASE="postgresql")
    store.put([ROW], now=1)
    assert store.read("window", 0, 1000, None) == [ROW]
    assert connections["postgresql"].connection is None
    wait_until(lambda: _clients(postgresql_server) == 0)


def test_a_session_has_one_connection_and_then_none(
    postgresql: dict[str, Any], postgresql_server: PostgresDaemon
) -> None:
    postgresql["OPTIONS"]["application_name"] = "the site"
    made: list[object] = []

    def note(connection: object, **_: object) -> None:
        made.append(connection)

    connection_created.connect(note)
    try:
        store = DatabaseStore(DATABASE="postgresql")
        with session(store):
            assert made == []
            store.put([ROW], now=1)
            store.replace([ROW], [ROW], now=1)
            assert store.lock("roll-up", 60, now=1)
            assert store.read("window", 0, 1000, None) == [ROW]
            assert _clients(postgresql_server) == 1
    finally:
        connection_created.disconnect(note)
    assert len(made) == 1
    wait_until(lambda: _clients(postgresql_server) == 0)


def test_a_session_goes_on_where_the_server_was_away(
    postgresql: dict[str, Any], postgresql_server: PostgresDaemon
) -> None:
    store = DatabaseStore(DATABASE="postgresql")
    with session(store):
        store.put([ROW], now=1)
        with faulty.stopped(postgresql_server):
            pass
        with pytest.raises(StoreError):
            store.put([ROW], now=2)
        store.put([ROW], now=2)
        assert store.read("window", 0, 1000, None) == [ROW]


def test_the_sites_pool_is_not_asked(
    postgresql: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg_pool")
    monkeypatch.setattr(base, "is_testing", lambda: False)
    postgresql["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 1, "timeout": 0.5}
    wrapper: Any = connections["postgresql"]
    store = DatabaseStore(DATABASE="postgresql")
    try:
        with wrapper.cursor() as cursor, atomic("postgresql"):
            # The site has the one that there is.
            cursor.execute("SELECT 1")
            store.put([ROW], now=1)
            assert store.read("window", 0, 1000, None) == [ROW]
            # And is asked for no more while the store is held open.
            with session(store):
                store.put([ROW], now=2)
    finally:
        wrapper.close()
        wrapper.close_pool()
        del postgresql["OPTIONS"]["pool"]


def test_a_transaction_of_the_sites_is_not_the_stores(
    postgresql: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a site that is not being tested.
    monkeypatch.setattr(base, "is_testing", lambda: False)
    store = DatabaseStore(DATABASE="postgresql")
    with atomic("postgresql"):
        store.put([ROW], now=1)
        set_rollback(True, "postgresql")
    assert store.read("window", 0, 1000, None) == [ROW]


@pytest.mark.parametrize("database", ["postgresql", "mariadb"])
@pytest.mark.parametrize("error", [ValueError("odd"), OSError("cut"), AttributeError("read")])
def test_whatever_a_driver_raises_is_the_stores_error(
    database: str, error: Exception, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(database)
    store = DatabaseStore(DATABASE=database)

    def fail(connection: object, **_: object) -> None:
        raise error

    connection_created.connect(fail)
    try:
        with pytest.raises(StoreError, match=type(error).__name__):
            store.put([ROW], now=1)
        with pytest.raises(StoreError, match=type(error).__name__):
            store.read("window", 0, 1000, None)
    finally:
        connection_created.disconnect(fail)
    store.put([ROW], now=1)


def test_a_pooler_of_transactions_is_no_trouble(postgresql: dict[str, Any], pgbouncer: int) -> None:
    """A cursor of the server's is on another connection than the next statement."""
    rows = [ROW._replace(start=start) for start in range(3000)]
    postgresql["PORT"] = pgbouncer
    store = DatabaseStore(DATABASE="postgresql")
    store.put(rows, now=1)

    def use(number: int) -> bool:
        mine = ROW._replace(process=str(number))
        store.put([mine], now=1)
        with session(store):
            found = list(store.read("window", 0, 5000, None))
            store.replace([mine], [mine], now=2)
        return len(found) >= len(rows)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(use, range(40)))


def test_as_much_as_a_server_takes_is_written_at_once(
    mariadb: dict[str, Any],
) -> None:
    """MariaDB refuses a statement that is longer than its packets."""
    rows = [ROW._replace(start=start, payload=b"\0" * 2**21) for start in range(12)]
    store = DatabaseStore(DATABASE="mariadb")
    store.put(rows, now=1)
    assert sorted(store.read("window", 0, 1000, None)) == rows


def test_no_word_of_a_drivers_message_is_passed_on(postgresql: dict[str, Any]) -> None:
    postgresql["PASSWORD"] = "not the one"
    with pytest.raises(StoreError) as told:
        DatabaseStore(DATABASE="postgresql").put([ROW], now=1)
    assert "127.0.0.1" not in str(told.value)
    assert 'user "postgres"' not in str(told.value)
    assert "correct them in DATABASES" in str(told.value)


BESIDE_CACHALOT = """
import sys
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "cachalot", "cache_monitor"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
    CACHALOT_DATABASES=["default"],
    CACHE_MONITOR={"STORE": {"BACKEND": "cache_monitor.stores.database.DatabaseStore"}},
)
import django
django.setup()

from django.core.cache import cache
from django.core.management import call_command
import cache_monitor

call_command("migrate", verbosity=0)
cache_monitor.flush()
cache.clear()
before = cache_monitor.report().caches["default"].calls
cache.get("a")
cache_monitor.report()
cache.get("a")
print(cache_monitor.report().caches["default"].calls - before, len(cache._cache))
"""


def test_a_query_cache_keeps_no_row_of_the_monitors(tmp_path: Path) -> None:
    """It would fill the site's cache with them, and give the next report old ones."""
    pytest.importorskip("cachalot")
    command = [sys.executable, "-W", "error", "-c", BESIDE_CACHALOT, str(tmp_path / "site.sqlite3")]
    printed = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    ).stdout
    assert printed == "2 0\n"
