"""Every kind of server that a store can be in."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from cache_monitor.models import Window
from tests.conftest import find_or_leave, leave
from tests.services import LOOPBACK, REDIS
from tests.stores.disks import NoDisk, small_disk
from tests.stores.mariadb import SMALL, MariaDaemon
from tests.stores.servers import (
    PGBOUNCER,
    BouncerDaemon,
    ClusterNode,
    PostgresDaemon,
    RedisDaemon,
    directory_for_all,
    own,
)

SLOTS = 16384


def wait_until(condition: Callable[[], object], deadline: float = 20.0) -> None:
    ends = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < ends, "it did not come about in time"
        time.sleep(0.02)


@contextmanager
def database(alias: str, settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Another entry in DATABASES, for a while."""
    databases = {"default": {}, alias: deepcopy(settings)}
    entry: dict[str, Any] = connections.configure_settings(databases)[alias]
    connections.settings[alias] = entry
    try:
        yield entry
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]


def create_table(alias: str) -> None:
    with connections[alias].schema_editor() as editor:
        editor.create_model(Window)


@pytest.fixture
def all_databases(django_db_blocker: Any, django_db_setup: None) -> Iterator[None]:
    """Every database may be used, from any thread, without a transaction around the test."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def postgresql(postgresql_server: PostgresDaemon, all_databases: None) -> Iterator[dict[str, Any]]:
    """An alias "postgresql" in DATABASES, with the store's table, empty."""
    with postgresql_server.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS cache_monitor_window")
    with database("postgresql", postgresql_server.settings) as entry:
        create_table("postgresql")
        connections["postgresql"].close()
        yield entry


@pytest.fixture(scope="session")
def pgbouncer(postgresql_server: PostgresDaemon, pytestconfig: pytest.Config) -> Iterator[int]:
    """The port of a PgBouncer before the PostgreSQL server, in transaction pooling."""
    command = find_or_leave(PGBOUNCER, pytestconfig)
    with directory_for_all() as directory:
        bouncer = BouncerDaemon(command, directory, postgresql_server)
        with bouncer.running():
            yield bouncer.port


@pytest.fixture
def mariadb(mariadb_server: MariaDaemon, all_databases: None) -> Iterator[dict[str, Any]]:
    """An alias "mariadb" in DATABASES, with the store's table, empty."""
    with mariadb_server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS cache_monitor_window")
    with database("mariadb", mariadb_server.settings) as entry:
        create_table("mariadb")
        connections["mariadb"].close()
        yield entry


@pytest.fixture
def disk() -> Iterator[Path]:
    """A disk of its own of a few megabytes."""
    with directory_for_all() as directory, ExitStack() as stack:
        try:
            stack.enter_context(small_disk(directory, megabytes=8))
        except NoDisk as error:
            leave(f"a small disk cannot be mounted here ({error}); run the tests as root")
        yield directory


@pytest.fixture
def disk_of_postgresql(
    disk: Path, postgresql: dict[str, Any], postgresql_server: PostgresDaemon
) -> Iterator[Path]:
    """The disk of a tablespace, which is the store's table's. The server's log is elsewhere: it
    would end with no room for that, as if it had been stopped."""
    place = disk / "tablespace"
    place.mkdir()
    own(place)
    with postgresql_server.connect() as admin:
        admin.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
        admin.execute("ALTER TABLE cache_monitor_window SET TABLESPACE small")
        yield disk
        admin.execute("DROP TABLE cache_monitor_window")
        admin.execute("DROP TABLESPACE small")


@pytest.fixture
def disk_of_mariadb(
    disk: Path, mariadb: dict[str, Any], mariadb_server: MariaDaemon
) -> Iterator[Path]:
    """The disk of a database, which is the store's."""
    place = mariadb_server.data / SMALL
    place.symlink_to(disk)
    mariadb["NAME"] = SMALL
    create_table("mariadb")
    connections["mariadb"].close()
    yield disk
    with connections["mariadb"].schema_editor() as editor:
        editor.delete_model(Window)
    connections["mariadb"].close()
    place.unlink()


@pytest.fixture
def redis_on_small_disk(disk: Path, pytestconfig: pytest.Config) -> Iterator[RedisDaemon]:
    command = find_or_leave(REDIS, pytestconfig)
    server = RedisDaemon(command, disk, "--appendonly", "yes", "--appendfsync", "no")
    with server.running():
        yield server


@pytest.fixture(scope="session")
def redis_daemon(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisDaemon]:
    """A Redis server that tests may stop, pause and misconfigure, if they undo it."""
    command = find_or_leave(REDIS, pytestconfig)
    directory = tmp_path_factory.mktemp("redis")
    # With a file, so that it has its data again after a restart.
    server = RedisDaemon(command, directory, "--appendonly", "yes", "--appendfsync", "no")
    with server.running():
        yield server


@pytest.fixture
def redis_url(redis_daemon: RedisDaemon) -> str:
    _empty(redis_daemon)
    return redis_daemon.address.url


@pytest.fixture(scope="session")
def sentinel(
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
    redis_daemon: RedisDaemon,
) -> Iterator[RedisDaemon]:
    directory = tmp_path_factory.mktemp("sentinel")
    conf = directory / "sentinel.conf"
    conf.write_text(f"sentinel monitor mymaster {LOOPBACK} {redis_daemon.port} 1\n")
    server = RedisDaemon(find_or_leave(REDIS, pytestconfig), directory, str(conf), "--sentinel")
    with server.running():
        yield server


@pytest.fixture
def sentinel_url(sentinel: RedisDaemon, redis_url: str) -> str:
    return f"redis+sentinel://{sentinel.address.address},{LOOPBACK}:1/mymaster/0"


@pytest.fixture(scope="session")
def cluster(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[ClusterNode]]:
    """Three nodes with a third of the slots each."""
    command = find_or_leave(REDIS, pytestconfig)
    with ExitStack() as stack:
        nodes = [ClusterNode(command, tmp_path_factory.mktemp("node")) for _ in range(3)]
        for number, node in enumerate(nodes):
            stack.enter_context(node.running())
            with node.client() as client:
                slots = range(SLOTS * number // 3, SLOTS * (number + 1) // 3)
                client.execute_command("CLUSTER", "ADDSLOTS", *slots)
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                first = nodes[0]
                client.execute_command("CLUSTER", "MEET", LOOPBACK, first.port, first.bus_port)
        wait_until(lambda: all(map(_is_joined, nodes)))
        yield nodes


def _is_joined(node: RedisDaemon) -> bool:
    with node.client() as client:
        info = client.execute_command("CLUSTER INFO")
    return bool(info["cluster_state"] == "ok" and info["cluster_known_nodes"] == "3")


@pytest.fixture
def cluster_url(cluster: list[ClusterNode]) -> str:
    for node in cluster:
        _empty(node)
    return f"redis+cluster://{','.join(node.address.address for node in cluster[1:])}"


def _empty(server: RedisDaemon) -> None:
    with server.client() as client:
        client.flushall()
