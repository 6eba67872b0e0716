"""Stores that fail: the site goes on, the log says once what to do, nothing is lost."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

import cache_monitor
from cache_monitor.api import store_problem
from cache_monitor.stores import sqlite as sqlite_store
from cache_monitor.stores.base import get_store
from cache_monitor.stores.database import DatabaseStore
from cache_monitor.stores.redis import RedisStore
from cache_monitor.worker import wiring
from cache_monitor.worker.rollup import roll_up
from tests import forked
from tests.anew import begin_anew
from tests.conftest import find_or_leave
from tests.services import REDIS
from tests.stores import faulty
from tests.stores.conftest import create_table, database, wait_until
from tests.stores.mariadb import MariaDaemon
from tests.stores.servers import POSTGRESQL, PostgresDaemon, RedisDaemon, directory_for_all
from tests.workers import on_server

ROOT = Path(__file__).resolve().parents[2]
LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
Setting = dict[str, Any]


def in_database(alias: str) -> Setting:
    path = "cache_monitor.stores.database.DatabaseStore"
    return {"STORE": {"BACKEND": path, "OPTIONS": {"DATABASE": alias}}}


def in_redis(url: str) -> Setting:
    path = "cache_monitor.stores.redis.RedisStore"
    return {"STORE": {"BACKEND": path, "OPTIONS": {"URL": url}}}


class Site:
    """A site that goes on calling its cache."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self.made = 0

    def work(self, calls: int = 20) -> None:
        for n in range(calls):
            caches["default"].get(f"key:{n}")
        self.made += calls

    @property
    def counted(self) -> tuple[int, int]:
        """The calls that the report has, and those that it lacks."""
        report = cache_monitor.report()
        found = report.caches["default"].operations.get("get")
        return found.calls if found else 0, report.quality.dropped_calls

    @property
    def complaints(self) -> list[str]:
        return [each.message for each in self._caplog.records if each.levelname == "ERROR"]

    def suffers(
        self, fault: AbstractContextManager[None], setting: Setting, says: str, calls: int = 500
    ) -> None:
        """Work before, during and after ``fault``, in which twice as many ``calls`` are made."""
        with override_settings(CACHE_MONITOR=setting):
            self.work()
            assert cache_monitor.flush()
            self.goes_on_during(fault, says, calls)

    def goes_on_during(
        self, fault: AbstractContextManager[None], says: str, calls: int = 500
    ) -> None:
        stored = self.made
        with fault:
            for _ in range(2):
                self.work(calls)
                assert not cache_monitor.flush()
            [complaint] = self.complaints
            problem = store_problem()
            assert problem is not None
            assert re.search(says, problem)
            assert re.search(f"{says}.* wait in memory", complaint)
            assert wiring.background_worker.request_flush().missing == self.made - stored
        self.work()
        wait_until(cache_monitor.flush)
        assert self.counted == (self.made, 0)
        assert len(self.complaints) == 1


@pytest.fixture
def site(caplog: pytest.LogCaptureFixture) -> Iterator[Site]:
    with override_settings(CACHES={"default": LOCMEM}):
        begin_anew()
        yield Site(caplog)
        # Its connections end with the thread, which must not outlive the server.
        begin_anew()


@pytest.fixture
def sqlite(tmp_path: Path, all_databases: None) -> Iterator[dict[str, Any]]:
    """An alias "sqlite" in DATABASES, with the store's table."""
    directory = tmp_path / "sqlite"
    directory.mkdir()
    settings = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": directory / "site.sqlite3",
        "OPTIONS": {"timeout": 0.1},
    }
    with database("sqlite", settings) as entry:
        create_table("sqlite")
        yield entry


def test_redis_is_down_at_the_start(site: Site, redis_daemon: RedisDaemon, redis_url: str) -> None:
    with override_settings(CACHE_MONITOR=in_redis(redis_url)):
        site.goes_on_during(faulty.stopped(redis_daemon), "see whether it is up")


def test_redis_goes_and_comes_back(site: Site, redis_daemon: RedisDaemon, redis_url: str) -> None:
    site.suffers(faulty.stopped(redis_daemon), in_redis(redis_url), "see whether it is up")


def test_redis_stands_still(site: Site, redis_daemon: RedisDaemon, redis_url: str) -> None:
    setting = in_redis(f"{redis_url}?socket_timeout=0.5")
    site.suffers(redis_daemon.paused(), setting, r"TimeoutError\): see whether it is up")


def test_redis_is_a_read_only_replica(
    site: Site, redis_daemon: RedisDaemon, redis_url: str
) -> None:
    site.suffers(faulty.read_only_redis(redis_daemon), in_redis(redis_url), "name the primary")


def test_redis_is_out_of_memory(site: Site, redis_daemon: RedisDaemon, redis_url: str) -> None:
    site.suffers(faulty.full_redis(redis_daemon), in_redis(redis_url), "raise its maxmemory")


def test_redis_has_a_full_disk(site: Site, redis_on_small_disk: RedisDaemon, disk: Path) -> None:
    fault = faulty.redis_on_a_full_disk(redis_on_small_disk, disk)
    site.suffers(fault, in_redis(redis_on_small_disk.address.url), "free some space")


def test_redis_wants_another_password(
    site: Site, redis_daemon: RedisDaemon, redis_url: str
) -> None:
    site.suffers(faulty.refusing_redis(redis_daemon), in_redis(redis_url), "the password")


def test_postgresql_is_down_at_the_start(
    site: Site, postgresql: dict[str, Any], postgresql_server: PostgresDaemon
) -> None:
    with override_settings(CACHE_MONITOR=in_database("postgresql")):
        site.goes_on_during(faulty.stopped(postgresql_server), "see whether it is up")


def test_postgresql_goes_and_comes_back(
    site: Site, postgresql: dict[str, Any], postgresql_server: PostgresDaemon
) -> None:
    site.suffers(
        faulty.stopped(postgresql_server), in_database("postgresql"), "see whether it is up"
    )


def test_postgresql_takes_no_writes(
    site: Site, postgresql: dict[str, Any], postgresql_server: PostgresDaemon
) -> None:
    site.suffers(
        faulty.read_only_postgresql(postgresql_server), in_database("postgresql"), "it is read-only"
    )


def test_postgresql_finds_its_table_locked(
    site: Site, postgresql: dict[str, Any], postgresql_server: PostgresDaemon
) -> None:
    postgresql["OPTIONS"]["options"] = "-c lock_timeout=300"
    fault = faulty.locked_postgresql(postgresql_server)
    site.suffers(fault, in_database("postgresql"), "another connection")


def test_postgresql_has_a_full_disk(
    site: Site, postgresql: dict[str, Any], disk_of_postgresql: Path
) -> None:
    fault = faulty.database_on_a_full_disk("postgresql", disk_of_postgresql)
    site.suffers(fault, in_database("postgresql"), "free some space")


def test_postgresql_wants_another_password(site: Site, postgresql: dict[str, Any]) -> None:
    fault = faulty.refusing_database(postgresql)
    site.suffers(fault, in_database("postgresql"), "correct them in DATABASES")


def test_mariadb_is_down_at_the_start(
    site: Site, mariadb: dict[str, Any], mariadb_server: MariaDaemon
) -> None:
    with override_settings(CACHE_MONITOR=in_database("mariadb")):
        site.goes_on_during(faulty.stopped(mariadb_server), "see whether it is up")


def test_mariadb_goes_and_comes_back(
    site: Site, mariadb: dict[str, Any], mariadb_server: MariaDaemon
) -> None:
    site.suffers(faulty.stopped(mariadb_server), in_database("mariadb"), "see whether it is up")


@pytest.mark.slow
def test_mariadb_stands_still(
    site: Site, mariadb: dict[str, Any], mariadb_server: MariaDaemon
) -> None:
    mariadb["OPTIONS"]["read_timeout"] = 1
    site.suffers(mariadb_server.paused(), in_database("mariadb"), "see whether it is up")


@pytest.mark.slow
def test_mariadb_finds_its_table_locked(
    site: Site, mariadb: dict[str, Any], mariadb_server: MariaDaemon
) -> None:
    mariadb["OPTIONS"]["init_command"] = "SET lock_wait_timeout = 1"
    fault = faulty.locked_mariadb(mariadb_server)
    site.suffers(fault, in_database("mariadb"), "another connection")


def test_mariadb_has_a_full_disk(
    site: Site, mariadb: dict[str, Any], disk_of_mariadb: Path
) -> None:
    # MariaDB 10.11 ends itself where there is no room for a value of more than 8 kB, which makes
    # it one that goes and comes back; smaller ones it refuses.
    fault = faulty.database_on_a_full_disk("mariadb", disk_of_mariadb, largest=2000)
    site.suffers(fault, in_database("mariadb"), "free some space", calls=20)


def test_mariadb_wants_another_password(site: Site, mariadb: dict[str, Any]) -> None:
    fault = faulty.refusing_database(mariadb)
    site.suffers(fault, in_database("mariadb"), "correct them in DATABASES")


def test_sqlite_is_locked_by_another_connection(site: Site, sqlite: dict[str, Any]) -> None:
    site.suffers(faulty.locked_sqlite(sqlite), in_database("sqlite"), "another connection")


def test_sqlites_file_cannot_be_opened_at_the_start(site: Site, sqlite: dict[str, Any]) -> None:
    with override_settings(CACHE_MONITOR=in_database("sqlite")):
        site.goes_on_during(faulty.missing_sqlite(sqlite), "see whether it is up")


def test_sqlites_file_goes_and_comes_back(site: Site, sqlite: dict[str, Any]) -> None:
    site.suffers(faulty.missing_sqlite(sqlite), in_database("sqlite"), "see whether it is up")


def test_sqlite_has_a_full_disk(site: Site, sqlite: dict[str, Any]) -> None:
    site.suffers(faulty.full_sqlite(sqlite), in_database("sqlite"), "free some space")


def in_file(path: Path) -> Setting:
    store = "cache_monitor.stores.sqlite.SQLiteStore"
    return {"STORE": {"BACKEND": store, "OPTIONS": {"PATH": path}}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of a SQLiteStore, in a folder of its own."""
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder" / "statistics.sqlite3"


def test_the_monitors_file_is_locked_by_another_connection(
    site: Site, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_store, "LOCK_TIMEOUT", 0.1)
    site.suffers(faulty.locked_sqlite({"NAME": file}), in_file(file), "another connection")


def test_the_monitors_file_cannot_be_made_at_the_start(site: Site, file: Path) -> None:
    with override_settings(CACHE_MONITOR=in_file(file)):
        site.goes_on_during(faulty.missing_folder(file.parent), "cannot be written to")


def test_the_monitors_file_goes_and_comes_back(site: Site, file: Path) -> None:
    site.suffers(faulty.missing_folder(file.parent), in_file(file), "cannot be written to")


def test_the_monitors_file_has_a_full_disk(site: Site, disk: Path) -> None:
    fault = faulty.file_on_a_full_disk(disk)
    site.suffers(fault, in_file(disk / "statistics.sqlite3"), "free some space", calls=20)


STILL = ["redis", "postgresql", "sqlite"]


@pytest.mark.parametrize(
    "store",
    [
        pytest.param(name, marks=on_server(name))
        for name in ("sqlite", "postgresql", "mariadb", "redis")
    ],
)
def test_the_clock_steps_back_an_hour(
    site: Site,
    store: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Calls made since are in the report at once, and those before once it is that late again."""
    found = request.getfixturevalue("redis_url" if store == "redis" else store)
    setting = in_redis(found) if store == "redis" else in_database(store)
    with override_settings(CACHE_MONITOR=setting):
        site.work()
        assert cache_monitor.flush()
        before = site.made
        with faulty.clock_set_back(3600, monkeypatch):
            for _ in range(3):
                site.work()
                assert site.counted == (site.made - before, 0)
                assert cache_monitor.flush()
                assert site.counted == (site.made - before, 0)
            roll_up(get_store(), int(time.time()))
            assert site.counted == (site.made - before, 0)
            assert store_problem() is None
        site.work()
        assert cache_monitor.flush()
        assert site.complaints == []
        roll_up(get_store(), int(time.time()))
        report = cache_monitor.report(
            since=datetime.now(UTC) - timedelta(hours=2),
            until=datetime.now(UTC) + timedelta(minutes=1),
        )
        assert report.caches["default"].operations["get"].calls == site.made
        assert report.quality.dropped_calls == 0
        assert report.quality.processes == 1


@pytest.fixture(params=[pytest.param(name, marks=on_server(name)) for name in STILL])
def stands_still(
    request: pytest.FixtureRequest,
) -> tuple[Setting, AbstractContextManager[None]]:
    """A setting, and what makes its store stand still."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        server: RedisDaemon = request.getfixturevalue("redis_daemon")
        return in_redis(f"{url}?socket_timeout=60"), server.paused()
    entry = request.getfixturevalue(request.param)
    if request.param == "sqlite":
        entry["OPTIONS"]["timeout"] = 60
        return in_database("sqlite"), faulty.locked_sqlite(entry)
    entry["OPTIONS"]["connect_timeout"] = 60
    postgres: PostgresDaemon = request.getfixturevalue("postgresql_server")
    return in_database("postgresql"), postgres.paused()


def test_no_call_waits_for_a_store_that_does_not_answer(
    site: Site,
    stands_still: tuple[Setting, AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setting, fault = stands_still
    asked = Event()

    def spy_on(store: type[RedisStore | DatabaseStore], method: str) -> None:
        bare = getattr(store, method)

        def spied(self: Any, *args: Any, **kwargs: Any) -> Any:
            asked.set()
            return bare(self, *args, **kwargs)

        monkeypatch.setattr(store, method, spied)

    for store in (RedisStore, DatabaseStore):
        # Which plan the trace has is read before the first rows are put.
        spy_on(store, "read")
        spy_on(store, "put")
    with (
        override_settings(CACHE_MONITOR={**setting, "BUFFER_SIZE": 1000}),
        ThreadPoolExecutor(1) as pool,
    ):
        with fault:
            site.work()
            flushing = pool.submit(cache_monitor.flush)
            assert asked.wait(60)
            site.work(5000)
            # Five times the buffer, and it is still waiting for the answer.
            assert not flushing.done()
        assert flushing.result()
        wait_until(cache_monitor.flush)
        assert site.counted == (site.made, 0)


Standing = tuple[Setting, AbstractContextManager[None], dict[str, Any]]


@contextmanager
def _still_redis(directory: Path, config: pytest.Config) -> Iterator[Standing]:
    server = RedisDaemon(find_or_leave(REDIS, config), directory)
    with server.running():
        yield in_redis(f"{server.address.url}?socket_timeout=60"), server.paused(), {}


@contextmanager
def _still_postgresql(directory: Path, config: pytest.Config) -> Iterator[Standing]:
    command = find_or_leave(POSTGRESQL, config)
    with directory_for_all() as own:
        server = PostgresDaemon(command, own)
        server.settings["OPTIONS"] = {"connect_timeout": 60}
        with server.running():
            yield in_database("own"), server.paused(), {"own": server.settings}


@contextmanager
def _still_sqlite(directory: Path, config: pytest.Config) -> Iterator[Standing]:
    entry = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(directory / "own.sqlite3"),
        "OPTIONS": {"timeout": 60},
    }
    yield in_database("own"), faulty.locked_sqlite(entry), {"own": entry}


STANDING = {"redis": _still_redis, "postgresql": _still_postgresql, "sqlite": _still_sqlite}
"""What stores in servers and files of their own need, and what makes them stand still."""


@pytest.mark.slow
@pytest.mark.at_once("processes")
@pytest.mark.parametrize("kind", [pytest.param(name, marks=on_server(name)) for name in STANDING])
def test_a_program_ends_although_its_store_does_not_answer(
    kind: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    with STANDING[kind](tmp_path, pytestconfig) as (setting, fault, databases):
        settings = {"CACHE_MONITOR": setting, "DATABASES": databases}
        environment = {
            **os.environ,
            "CACHE_MONITOR_TEST_VAR": str(tmp_path),
            "CACHE_MONITOR_TEST_SETTINGS": json.dumps(settings, default=str),
            "DJANGO_SETTINGS_MODULE": "tests.stores.site",
        }
        if databases:
            migrate = ["migrate", "--database", "own", "cache_monitor", "--verbosity", "0"]
            forked.printed(["-m", "django", *migrate], environment)
        with fault:
            errors = _run(environment, "tests.programs.hammer", "main", "10")
    assert "Traceback" not in errors


def _run(environment: dict[str, str], *module: str) -> str:
    """What a program says of errors when it has ended, as it does; how soon is a matter of the
    machine."""
    ended = subprocess.run(
        [sys.executable, "-m", *module],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stderr
