"""What can go wrong with a store's server, each for as long as a block lasts."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections

from tests.services import LOOPBACK, free_port
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
def refusing_postgresql(server: PostgresDaemon, entry: dict[str, Any]) -> Iterator[None]:
    """It has another password than the settings say."""
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
