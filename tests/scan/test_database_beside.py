"""Looking into a DatabaseCache beside the site's own use of its database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache.backends.db import DatabaseCache
from django.db import OperationalError, connections, transaction

from cache_monitor.scan import base
from cache_monitor.scan.backends import scanner_for
from cache_monitor.scan.base import Bounds
from cache_monitor.scan.snapshot import Snapshot
from cache_monitor.stores import base as stores
from tests.scan.inspection import inspect_cache
from tests.scan.places import TABLE, DatabasePlace, table
from tests.stores.conftest import database
from tests.stores.mariadb import MariaDaemon
from tests.stores.servers import PostgresDaemon
from tests.waiting import until

ENTRIES = 350


@pytest.fixture(autouse=True)
def _as_on_a_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is testing here: a transaction is one of the site's."""
    monkeypatch.setattr(stores, "is_testing", lambda: False)


@pytest.fixture(params=["delete", "wal"])
def sqlite(
    request: pytest.FixtureRequest, all_databases: None, tmp_path: Path
) -> Iterator[DatabaseCache]:
    """A cache table in a file, with another table beside it."""
    path = tmp_path / "site.sqlite3"
    entry = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        "OPTIONS": {"timeout": 0.0, "init_command": f"PRAGMA journal_mode={request.param}"},
    }
    with database("site", entry), table("site"):
        with connections["site"].cursor() as cursor:
            cursor.execute("CREATE TABLE visits (page TEXT)")
        cache = DatabasePlace().cache()
        cache.set_many({f"a:{number}": "x" for number in range(ENTRIES)})
        yield cache


def look(cache: Any, seconds: float = 30) -> Snapshot:
    return inspect_cache("default", cache, limit=10_000, seconds=seconds, stale_after=60)


def test_between_two_pages_the_table_is_free(sqlite: DatabaseCache) -> None:
    source = scanner_for("default", sqlite, Bounds())
    assert source is not None
    pages = 0
    for page in source.pages("", 10_000):
        pages += 1
        assert page.entries
        # Whoever has it to himself keeps all others from reading too.
        with connections["site"].cursor() as cursor:
            cursor.execute("BEGIN EXCLUSIVE")
            cursor.execute("INSERT INTO visits VALUES ('/')")
            cursor.execute("COMMIT")
    source.close()
    assert pages > 3


def test_a_look_in_a_transaction_of_the_sites_reads_nothing_in_it(sqlite: DatabaseCache) -> None:
    """A transaction that has read cannot write once somebody else has written, however long it
    would wait."""
    another = connections.create_connection("site")
    with transaction.atomic("site"):
        assert look(sqlite).entries == ENTRIES
        with another.cursor() as cursor:
            cursor.execute("INSERT INTO visits VALUES ('/a')")
        with connections["site"].cursor() as cursor:
            cursor.execute("INSERT INTO visits VALUES ('/b')")
    with another.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM visits")
        assert cursor.fetchone() == (2,)
    another.close()


def test_transactions_of_a_site_that_is_looked_into_all_the_time_do_not_fail(
    sqlite: DatabaseCache,
) -> None:
    connections["site"].close()
    connections.settings["site"]["OPTIONS"]["timeout"] = 10.0
    ended, looks = threading.Event(), [0]

    def go_on_looking() -> None:
        while not ended.is_set():
            assert look(sqlite).entries is not None
            looks[0] += 1

    thread = threading.Thread(target=go_on_looking)
    thread.start()
    failed = 0
    for number in range(60):
        try:
            with transaction.atomic("site"), connections["site"].cursor() as cursor:
                cursor.execute("SELECT COUNT(*) FROM visits")
                cursor.fetchone()
                cursor.execute("INSERT INTO visits VALUES (%s)", [str(number)])
        except OperationalError:
            failed += 1
    ended.set()
    thread.join()
    connections["site"].close()
    assert failed == 0
    assert looks[0] > 0


ODD = [
    ("NULL", "NULL expiry"),
    ("'whenever'", "text"),
    ("17", "a number"),
    ("'99999-01-01 00:00:00'", "a year of five digits"),
    ("X'00'", "bytes"),
]


@pytest.mark.parametrize("expires", [each for each, _ in ODD], ids=[each for _, each in ODD])
def test_a_row_with_an_odd_expiry_is_counted_and_told(
    expires: str, all_databases: None, tmp_path: Path
) -> None:
    entry = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "site.sqlite3")}
    with database("site", entry), table("site"):
        name = connections["site"].ops.quote_name(TABLE)
        with connections["site"].cursor() as cursor:
            cursor.execute(f"DROP TABLE {name}")
            cursor.execute(f"CREATE TABLE {name} (cache_key, value, expires)")
            cursor.execute(f"INSERT INTO {name} VALUES ('mine:1:odd', 'abc', {expires})")  # noqa: S608
            cursor.execute(f"INSERT INTO {name} VALUES (NULL, NULL, NULL), (7, 8, 9)")  # noqa: S608
        cache = DatabasePlace().cache()
        cache.set("fine", 1, 300)
        found = look(cache)
    assert (found.entries, found.exact, found.expired, found.no_expiry) == (2, True, 0, 0)
    assert found.problem == "Some rows have an expiry that cannot be read."


@pytest.fixture
def postgresql_table(
    postgresql_server: PostgresDaemon, all_databases: None
) -> Iterator[dict[str, Any]]:
    with database("postgresql", postgresql_server.settings) as entry, table("postgresql"):
        DatabasePlace().cache().set_many({"a": 1, "b": 2})
        yield entry


def test_the_connections_of_the_sites_pool_are_not_used(
    postgresql_table: dict[str, Any],
) -> None:
    cache = DatabasePlace().cache()
    connections["postgresql"].close()
    # Without psycopg_pool whoever uses the pool fails, and with it, whoever waits for its second.
    postgresql_table["OPTIONS"] = {"pool": {"min_size": 1, "max_size": 1, "timeout": 0.1}}
    try:
        found = look(cache)
        assert (found.entries, found.problem) == (2, None)
        assert connections["postgresql"].connection is None
    finally:
        postgresql_table["OPTIONS"] = {}


def test_no_connection_is_kept(
    postgresql_table: dict[str, Any], postgresql_server: PostgresDaemon
) -> None:
    connections["postgresql"].close()
    with postgresql_server.connect() as admin:

        def clients() -> set[tuple[int]]:
            return set(
                admin.execute(
                    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
                ).fetchall()
            )

        # Other tests share the server.
        before = clients()
        look(DatabasePlace().cache())
        until(lambda: clients() <= before)


def test_a_table_that_is_locked_is_given_up(
    postgresql_table: dict[str, Any],
    postgresql_server: PostgresDaemon,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(base, "ANSWER_SECONDS", 0.3)
    quoted = connections["postgresql"].ops.quote_name(TABLE)
    with postgresql_server.connect() as admin, admin.transaction():
        admin.execute(f"LOCK TABLE {quoted} IN ACCESS EXCLUSIVE MODE")
        found = look(DatabasePlace().cache())
    assert found.entries is None
    assert found.problem is not None
    assert "cannot be read" in found.problem


def test_a_statement_that_is_given_up_does_not_go_on_in_mariadb(
    mariadb_server: MariaDaemon, all_databases: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that has gone away is not noticed by a server that computes."""
    monkeypatch.setattr(base, "ANSWER_SECONDS", 0.3)
    entry = {**mariadb_server.settings, "OPTIONS": {"connect_timeout": 2, "read_timeout": 1}}
    with (
        database("mariadb", entry),
        table("mariadb"),
        mariadb_server.connect() as admin,
        admin.cursor() as cursor,
    ):
        cache = DatabasePlace().cache()
        cache.set("a", 1)
        cursor.execute(f"RENAME TABLE `{TABLE}` TO `real {TABLE}`")
        each = ", ".join(f"information_schema.collations AS c{number}" for number in range(5))
        slow = f"(SELECT COUNT(*) FROM {each}) = 0"  # noqa: S608
        cursor.execute(f"CREATE VIEW `{TABLE}` AS SELECT * FROM `real {TABLE}` WHERE {slow}")  # noqa: S608

        def running() -> list[int]:
            cursor.execute(
                "SELECT id FROM information_schema.processlist WHERE info LIKE %s",
                [f"SELECT%`{TABLE}`%"],
            )
            return [number for (number,) in cursor.fetchall()]

        try:
            assert look(cache).entries is None
            until(lambda: not running())
        finally:
            for number in running():
                cursor.execute(f"KILL {number}")
            cursor.execute(f"DROP VIEW `{TABLE}`")
            cursor.execute(f"RENAME TABLE `real {TABLE}` TO `{TABLE}`")


def test_the_time_limit_is_left_behind_in_no_session(postgresql_table: dict[str, Any]) -> None:
    """Behind a pooler the next transaction of the session may be the site's."""
    source: Any = scanner_for("default", DatabasePlace().cache(), Bounds())
    assert source.total() == 2
    with source._connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)
    source.close()
