"""What can go wrong with a store's server, each for as long as a block lasts."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import redis
from django.db import Error, connections

from cache_monitor.models import Window
from tests.services import LOOPBACK, free_port
from tests.stores.disks import filled, use_up
from tests.stores.mariadb import MariaDaemon
from tests.stores.servers import PASSWORD, Daemon, PostgresDaemon, RedisDaemon


@contextmanager
def stopped(server: Daemon) -> Iterator[None]:
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextmanager
def read_only_redis(server: RedisDaemon) -> Iterator[None]:
    """A replica whose primary is away."""
    with server.client() as client:
        client.replicaof(LOOPBACK, free_port())
        try:
            yield
        finally:
            client.replicaof("NO", "ONE")


@contextmanager
def full_redis(server: RedisDaemon) -> Iterator[None]:
    with server.client() as client:
        client.config_set("maxmemory", 1)
        try:
            yield
        finally:
            client.config_set("maxmemory", 0)


@contextmanager
def redis_on_a_full_disk(server: RedisDaemon, disk: Path) -> Iterator[None]:
    """It notices when it writes, and goes on answering reads."""
    with server.client() as client, filled(disk):
        use_up(lambda value: client.set("ballast", value), 100_000, redis.ResponseError)
        yield


@contextmanager
def refusing_redis(server: RedisDaemon) -> Iterator[None]:
    """It asks for a password that the store does not give."""
    # A connection stays what it was when it was made.
    with server.client(single_connection_client=True) as client:
        client.config_set("requirepass", PASSWORD)
        client.execute_command("CLIENT KILL", "TYPE", "normal", "SKIPME", "yes")
        try:
            yield
        finally:
            client.config_set("requirepass", "")


@contextmanager
def refusing_database(entry: dict[str, Any]) -> Iterator[None]:
    """Its server has another password than the settings say."""
    entry["PASSWORD"] = "not the one"
    try:
        yield
    finally:
        entry["PASSWORD"] = PASSWORD


@contextmanager
def read_only_postgresql(server: PostgresDaemon) -> Iterator[None]:
    with server.connect() as admin:
        admin.execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
        try:
            yield
        finally:
            admin.execute("SET default_transaction_read_only = off")
            admin.execute("ALTER DATABASE postgres RESET default_transaction_read_only")


@contextmanager
def locked_postgresql(server: PostgresDaemon) -> Iterator[None]:
    with server.connect() as other, other.transaction():
        other.execute("LOCK TABLE cache_monitor_window IN ACCESS EXCLUSIVE MODE")
        yield


@contextmanager
def locked_mariadb(server: MariaDaemon) -> Iterator[None]:
    with server.connect() as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLES cache_monitor_window WRITE")
        try:
            yield
        finally:
            cursor.execute("UNLOCK TABLES")


@contextmanager
def database_on_a_full_disk(alias: str, disk: Path, largest: int = 100_000) -> Iterator[None]:
    """Its server can extend no file of the store's table, and its pages are full."""
    ballast = Window.stored.using(alias)
    numbers = count()

    def write(value: bytes) -> None:
        ballast.create(
            kind="ballast", start=next(numbers), seconds=1, written_at=2**40, payload=value
        )

    with filled(disk):
        use_up(write, largest, Error)
        connections[alias].close()
        yield
    ballast.filter(kind="ballast").delete()
    connections[alias].close()


@contextmanager
def missing_sqlite(entry: dict[str, Any]) -> Iterator[None]:
    """What the file is in is not there, as before it is mounted."""
    connections["sqlite"].close()
    directory = Path(entry["NAME"]).parent
    elsewhere = directory.rename(directory.with_name("elsewhere"))
    try:
        yield
    finally:
        elsewhere.rename(directory)


@contextmanager
def clock_set_back(seconds: float, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's clock goes back, under a process that goes on."""
    real = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() - seconds)
        yield


@contextmanager
def locked_sqlite(entry: dict[str, Any]) -> Iterator[None]:
    other = sqlite3.connect(entry["NAME"], isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@contextmanager
def full_sqlite(entry: dict[str, Any]) -> Iterator[None]:
    """As on a full disk, the file cannot grow."""
    with connections["sqlite"].cursor() as cursor:
        pages = cursor.execute("PRAGMA page_count").fetchone()[0]
    connections["sqlite"].close()
    entry["OPTIONS"]["init_command"] = f"PRAGMA max_page_count = {pages}"
    try:
        yield
    finally:
        del entry["OPTIONS"]["init_command"]


@contextmanager
def missing_folder(folder: Path) -> Iterator[None]:
    """It is not there, as before it is mounted."""
    elsewhere = folder.rename(folder.with_name("elsewhere"))
    try:
        yield
    finally:
        elsewhere.rename(folder)


@contextmanager
def file_on_a_full_disk(disk: Path) -> Iterator[None]:
    """Nothing can be written beside the file, nor into it."""
    with filled(disk):
        yield
