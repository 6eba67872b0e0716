"""Looking into a DatabaseCache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache.backends.db import DatabaseCache
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.test import override_settings

from cache_monitor.scan.snapshot import Snapshot
from tests.scan.inspection import inspect_cache
from tests.scan.places import Router
from tests.stores.conftest import database
from tests.stores.servers import PostgresDaemon

TABLE = "entries of the inspectors' tests"


@pytest.fixture(params=[True, False], ids=["USE_TZ", "naive"])
def table(request: pytest.FixtureRequest, db: None) -> Iterator[None]:
    caches = {
        "default": {
            "BACKEND": "django.core.cache.backends.db.DatabaseCache",
            "LOCATION": TABLE,
        }
    }
    zones = {"USE_TZ": request.param, "TIME_ZONE": "America/New_York"}
    with override_settings(CACHES=caches, **zones):
        call_command("createcachetable", verbosity=0)
        yield


def cache_of(table: str = TABLE, **params: Any) -> DatabaseCache:
    return DatabaseCache(table, {"OPTIONS": {"MAX_ENTRIES": 10_000}, **params})


def look(cache: DatabaseCache, limit: int = 100_000, seconds: float = 5) -> Snapshot:
    return inspect_cache("default", cache, limit=limit, seconds=seconds, stale_after=60)


@pytest.mark.usefixtures("table")
class TestATable:
    def test_an_empty_one_has_no_entries_rather_than_unknown_ones(self) -> None:
        found = look(cache_of())
        assert (found.entries, found.bytes, found.expired, found.no_expiry) == (0, 0, 0, 0)
        assert (found.idle, found.never_read, found.evictions) == (None, None, None)
        assert (found.exact, found.scope, found.limit_entries) == (True, "shared", 10_000)

    def test_entries_weigh_what_the_table_stores_of_them(self) -> None:
        cache_of().set_many({"user:1": "x" * 100, "user:2": "é" * 9, "menu": 1})
        with connection.cursor() as cursor:
            name = connection.ops.quote_name(TABLE)
            cursor.execute(f"SELECT SUM(LENGTH(value)) FROM {name}")  # noqa: S608
            (size,) = cursor.fetchone()
        found = look(cache_of())
        assert (found.entries, found.bytes) == (3, size)
        assert [(each.group, each.entries) for each in found.groups] == [
            ("user:{int}", 2),
            ("menu", 1),
        ]

    def test_each_stale_entry_is_found_under_its_kind_and_no_other(self) -> None:
        cache = cache_of()
        cache.set("gone", 1, -100)
        cache.set("forever", 1, None)
        cache.set("fine", 1, 300)
        found = look(cache)
        assert {each.key: each.why for each in found.stale} == {
            "gone": ["expired"],
            "forever": ["no_expiry"],
        }
        assert (found.expired, found.no_expiry, found.entries) == (1, 1, 3)
        gone = next(each.expires_in for each in found.stale if each.key == "gone")
        assert gone == pytest.approx(-100, abs=5)

    def test_only_the_aliass_own_entries_are_counted(self) -> None:
        for prefix in ("", "shop", "shop:eu", "%"):
            cache_of(KEY_PREFIX=prefix).set(f"of:{prefix}", 1)
        for prefix in ("", "shop", "shop:eu", "%"):
            found = look(cache_of(KEY_PREFIX=prefix))
            assert [each.key for each in found.largest] == [f"of:{prefix}"]
            assert found.entries == 1

    def test_more_entries_than_are_read_at_once_are_all_counted(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cache_monitor.scan.database._ROWS_AT_ONCE", 4)
        cache_of().set_many({f"a:{number}": number for number in range(20)})
        found = look(cache_of())
        assert (found.examined, found.exact, found.entries) == (20, True, 20)

    def test_a_look_that_stops_at_its_limit_says_so_and_estimates(self) -> None:
        cache_of().set_many({f"a:{number}": "x" for number in range(20)}, None)
        found = look(cache_of(), limit=5)
        whole = look(cache_of())
        assert (found.examined, found.exact, found.entries) == (5, False, 20)
        assert (found.bytes, found.no_expiry) == (whole.bytes, 20)

    def test_a_limit_of_as_many_as_there_are_is_exact(self) -> None:
        cache_of().set_many(dict.fromkeys("abc", 1))
        assert look(cache_of(), limit=3).exact

    def test_looking_removes_nothing(self) -> None:
        cache_of().set("gone", 1, -100)
        look(cache_of())
        assert look(cache_of()).entries == 1


@pytest.mark.django_db
def test_a_missing_table_is_told_and_raises_nothing() -> None:
    found = look(cache_of("no such table"))
    assert (found.entries, found.bytes, found.groups, found.exact) == (None, None, [], False)
    assert found.problem is not None
    assert found.problem.startswith("OperationalError")
    assert "createcachetable" in found.problem


def test_a_missing_table_spoils_no_transaction_of_the_site(
    postgresql_server: PostgresDaemon, all_databases: None
) -> None:
    """PostgreSQL answers nothing more in a transaction after an error, but for a savepoint."""
    router = type("OneRouter", (Router,), {"using": "postgresql"})
    with (
        database("postgresql", postgresql_server.settings),
        override_settings(DATABASE_ROUTERS=[router()]),
        transaction.atomic("postgresql"),
    ):
        assert look(cache_of("no such table")).problem
        with connections["postgresql"].cursor() as cursor:
            cursor.execute("SELECT 17")
            assert cursor.fetchone() == (17,)
