"""Which store a site has that names none, and what it is told where that is not a good one."""

import os
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db.backends.sqlite3.base import DatabaseWrapper
from django.db.backends.sqlite3.creation import DatabaseCreation
from django.test import override_settings

from cache_monitor import api
from cache_monitor.conf import StoreConf
from cache_monitor.stores import base
from cache_monitor.stores.base import DATABASE, MEMORY, SQLITE, StoreChoice, chosen_store
from cache_monitor.stores.memory import MemoryStore

SQLITE_ENGINE = "django.db.backends.sqlite3"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "db.sqlite3").touch()
    return tmp_path / "db.sqlite3"


def _has(monkeypatch: pytest.MonkeyPatch, **entry: Any) -> None:
    """Let the site have that database as its default."""
    monkeypatch.setattr(settings, "DATABASES", {"default": entry} if entry else {})


def _chosen(in_tests: bool = False) -> StoreChoice:
    return chosen_store(StoreConf(), in_tests=in_tests)


def test_on_sqlite_it_is_a_file_beside_the_sites(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _has(monkeypatch, ENGINE=SQLITE_ENGINE, NAME=site)
    assert _chosen() == StoreChoice(
        StoreConf(SQLITE, {"PATH": site.with_name("db.cache-monitor.sqlite3"), "like": site})
    )


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("site", "site.cache-monitor"),
        ("a.b.db", "a.b.cache-monitor.db"),
        ("file:{}/my%20site.db?cache=private", "my site.cache-monitor.db"),
        ("file://{}/site.db", "site.cache-monitor.db"),
    ],
)
def test_whatever_the_sites_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, beside: str
) -> None:
    monkeypatch.chdir(tmp_path)
    _has(monkeypatch, ENGINE=SQLITE_ENGINE, NAME=name.format(tmp_path))
    assert _chosen().store.options["PATH"] == tmp_path / beside


def test_releases_that_link_to_one_database_have_one_file(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = site.parent / "release"
    release.mkdir()
    (release / "db.sqlite3").symlink_to(site)
    _has(monkeypatch, ENGINE=SQLITE_ENGINE, NAME=release / "db.sqlite3")
    assert _chosen().store.options["PATH"] == site.with_name("db.cache-monitor.sqlite3")


@pytest.mark.parametrize("engine", ["postgresql", "mysql", "oracle"])
def test_elsewhere_it_is_the_database(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    pytest.importorskip({"postgresql": "psycopg", "mysql": "MySQLdb"}.get(engine, "oracledb"))
    _has(monkeypatch, ENGINE=f"django.db.backends.{engine}", NAME="site")
    assert _chosen() == _chosen(in_tests=True) == StoreChoice(StoreConf(DATABASE))


MEMORIES = [":memory:", "", "file::memory:", "file:site?mode=memory&cache=shared"]


@pytest.mark.parametrize("name", MEMORIES)
def test_a_database_in_memory_has_its_statistics_there(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    _has(monkeypatch, ENGINE=SQLITE_ENGINE, NAME=name)
    assert _chosen() == StoreChoice(StoreConf(MEMORY), "the default database is in memory")
    assert "is in memory" in _told()


def test_a_test_runners_database_in_memory_is_no_fault_of_the_site(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = {"ENGINE": SQLITE_ENGINE, "NAME": "db.sqlite3", "TEST": {"NAME": None}}
    runner: Any = DatabaseCreation(DatabaseWrapper({**entry}))
    _has(monkeypatch, ENGINE=SQLITE_ENGINE, NAME=runner._get_test_db_name())
    assert _chosen().store == StoreConf(MEMORY)
    assert run_checks(tags=["cache_monitor"]) == []


def test_without_a_database_they_are_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    _has(monkeypatch)
    assert _chosen().store == StoreConf(MEMORY)
    assert "DATABASES has none" in _told()


@pytest.mark.parametrize("engine", ["no.such.engine", ""])
def test_a_database_that_django_cannot_load_is_djangos_to_tell(
    monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    _has(monkeypatch, ENGINE=engine, NAME="site")
    assert _chosen().store == StoreConf(MEMORY)


def test_a_folder_that_cannot_be_written_to_is_told(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _has(monkeypatch, ENGINE=SQLITE_ENGINE, NAME=site)
    writable = os.access

    def access(path: Path, mode: int) -> bool:
        # Root, who may run the tests, may write everywhere.
        return not (mode & os.W_OK and Path(path) == site.parent) and writable(path, mode)

    monkeypatch.setattr(os, "access", access)
    assert _chosen().store == StoreConf(MEMORY)
    assert "cannot be written to" in _told()


def test_a_folder_that_is_not_there_yet_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _has(monkeypatch, ENGINE=SQLITE_ENGINE, NAME=tmp_path / "mounted later" / "db.sqlite3")
    assert _chosen().store.backend == SQLITE


def test_tests_leave_no_file_behind(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _has(monkeypatch, ENGINE=SQLITE_ENGINE, NAME=site)
    assert _chosen(in_tests=True).store == StoreConf(MEMORY)


@pytest.mark.parametrize(
    ("options", "backend"), [({"DATABASE": "default"}, DATABASE), ({"PATH": "/x/y"}, SQLITE)]
)
def test_options_without_a_backend_are_those_of_the_store_that_has_them(
    site: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, str], backend: str
) -> None:
    _has(monkeypatch, ENGINE=SQLITE_ENGINE, NAME=site)
    store = chosen_store(StoreConf(None, options), in_tests=False).store
    assert store.backend == backend
    assert options.items() <= store.options.items()


def _told() -> str:
    """What the one warning of the checks says."""
    [message] = [each for each in run_checks(tags=["cache_monitor"]) if each.id != "security"]
    assert message.id == "cache_monitor.W002"
    assert "SQLiteStore" in str(message.hint)
    return message.msg


def test_the_sites_own_sqlite_file_is_no_place_to_write_to(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _has(monkeypatch, ENGINE=SQLITE_ENGINE, NAME=site)
    with override_settings(CACHE_MONITOR={"STORE": {"BACKEND": DATABASE}}):
        [message] = run_checks(tags=["cache_monitor"])
    assert "database is locked" in message.msg
    assert "Leave 'STORE' out" in str(message.hint)


@pytest.mark.parametrize("name", ["no folder/x.sqlite3", "file/x.sqlite3"])
def test_a_named_file_that_cannot_be_written_to_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    store = {"BACKEND": SQLITE, "OPTIONS": {"PATH": tmp_path / name}}
    with override_settings(CACHE_MONITOR={"STORE": store}):
        assert "cannot write to" in _told()


def test_a_file_on_a_network_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = f"36 22 0:52 / {tmp_path} rw shared:2 - fuse.sshfs host:/site rw"
    monkeypatch.setattr(base, "_mounts", lambda: [base.parse_mount(line)])
    store = {"BACKEND": SQLITE, "OPTIONS": {"PATH": tmp_path / "statistics.sqlite3"}}
    with override_settings(CACHE_MONITOR={"STORE": store}):
        assert "several hosts" in _told()


def test_a_relative_path_fails_the_check() -> None:
    store = {"BACKEND": SQLITE, "OPTIONS": {"PATH": "statistics.sqlite3"}}
    with override_settings(CACHE_MONITOR={"STORE": store}):
        [message] = run_checks(tags=["cache_monitor"])
    assert message.id == "cache_monitor.E002"
    assert "absolute path" in message.msg


def test_a_store_in_memory_that_nobody_asked_for_is_noted() -> None:
    base._current.forget()
    assert "in each process's memory, because tests are run" in str(api.store_note())
    assert isinstance(base.get_store(), MemoryStore)
    with override_settings(CACHE_MONITOR={"STORE": {"BACKEND": MEMORY}}):
        assert api.store_note() is None


def test_a_store_that_cannot_be_opened_has_no_note() -> None:
    with override_settings(CACHE_MONITOR={"STORE": {"BACKEND": "no.such.Store"}}):
        assert api.store_note() is None


@pytest.mark.parametrize(
    "command",
    [
        ("cache_stats",),
        ("cache_top", "--once"),
        ("cache_whatif",),
        ("cache_trace", "--format", "csv", "--output", "never-written"),
    ],
)
@override_settings(CACHE_MONITOR={})
def test_commands_say_once_that_nobody_else_has_the_statistics(command: tuple[str, ...]) -> None:
    told = StringIO()
    with suppress(CommandError):  # there is no trace to write
        call_command(*command, stdout=StringIO(), stderr=told)
    assert told.getvalue().count("in each process's memory, because tests are run") == 1
