"""Caches of every kind on real servers, for the contract that all inspectors keep."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import PyLibMCCache, PyMemcacheCache
from django.core.cache.backends.redis import RedisCache
from django.core.management import call_command
from django.db import connections, router
from django.test import override_settings
from django_redis.cache import RedisCache as DjangoRedisCache
from redis import Redis

from cache_monitor.scan.memcached import Connection, fields, key_in
from tests.services import Server

HOURS = 2
TABLE = "entries of the inspectors' contract"


class Place:
    """Somewhere that caches with different prefixes share. ``stale_after`` fits how finely the
    backend tells of idle times. ``tells_roughly`` is what it has an answer to of its own where the
    record of the calls has a better one. ``aged_by`` is how much older ``age`` lets entries look
    than they are, in seconds."""

    stale_after = 3600.0
    keeps_expired = True
    tells_roughly: frozenset[str] = frozenset()
    aged_by = HOURS * 3600.0

    def cache(self, prefix: str = "mine", **params: Any) -> Any:
        raise NotImplementedError

    def age(self) -> None:
        """Make everything that is there look long unused."""

    def foreign(self) -> None:
        """Put something there that is no entry of Django's."""

    def trace(self, cache: Any) -> dict[str, float]:
        """What the place itself notes of its entries that a use or a change of theirs would leave
        a trace in; times in seconds."""
        raise NotImplementedError

    def close(self) -> None:
        """Hang up."""


class LocMemPlace(Place):
    def __init__(self) -> None:
        self._name = uuid4().hex

    def cache(self, prefix: str = "mine", **params: Any) -> Any:
        options = {"MAX_ENTRIES": 1_000_000}
        return LocMemCache(self._name, {"KEY_PREFIX": prefix, "OPTIONS": options, **params})

    def trace(self, cache: Any) -> dict[str, float]:
        order = {f"place of {key}": place for place, key in enumerate(cache._cache)}
        return {**order, **cache._expire_info}


class FilePlace(Place):
    """Each prefix in a directory of its own: whose a file is cannot be told from its name."""

    tells_roughly = frozenset({"idle"})

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def cache(self, prefix: str = "mine", **params: Any) -> Any:
        options = {"MAX_ENTRIES": 1_000_000}
        place = str(self.directory / f"of-{prefix}-{params.get('VERSION', 1)}")
        return FileBasedCache(place, {"KEY_PREFIX": prefix, "OPTIONS": options, **params})

    def age(self) -> None:
        then = time.time() - self.aged_by
        for path in self.directory.rglob("*.djcache"):
            os.utime(path, (then, then))

    def foreign(self) -> None:
        for directory in self.directory.iterdir():
            (directory / "notes.txt").write_text("of somebody")
            (directory / "tmpx1b2c3").write_text("a write that did not end")
            (directory / "README.djcache").write_text("no digest")

    def trace(self, cache: Any) -> dict[str, float]:
        found = {}
        for path in self.directory.rglob("*.djcache"):
            status = path.stat()
            found[f"{path} read"], found[f"{path} written"] = status.st_atime, status.st_mtime
        return found


class DatabasePlace(Place):
    def trace(self, cache: Any) -> dict[str, float]:
        connection = connections[router.db_for_read(cache.cache_model_class)]
        with connection.cursor() as cursor:
            name = connection.ops.quote_name(TABLE)
            cursor.execute(f"SELECT cache_key, value, expires FROM {name}")  # noqa: S608 (quoted)
            return {f"{key} {value} {expires}": 1.0 for key, value, expires in cursor.fetchall()}

    def cache(self, prefix: str = "mine", **params: Any) -> Any:
        options = {"MAX_ENTRIES": 1_000_000}
        return DatabaseCache(TABLE, {"KEY_PREFIX": prefix, "OPTIONS": options, **params})


class RedisPlace(Place):
    keeps_expired = False

    def __init__(self, servers: list[Server], backend: Any, **params: Any) -> None:
        self.servers = [Redis(host=each.host, port=each.port) for each in servers]
        self._location = [f"redis://{each.address}/0" for each in servers]
        self._backend = backend
        self._params = params
        for server in self.servers:
            server.flushall()

        self._made: list[Any] = []

    def cache(self, prefix: str = "mine", **params: Any) -> Any:
        location = self._params.get("LOCATION", self._location)
        made = self._backend(location, {"KEY_PREFIX": prefix, **self._params, **params})
        self._made.append(made)
        return made

    def close(self) -> None:
        for each in (*self._made, *self.servers):
            each.close()

    def age(self) -> None:
        for server in self.servers:
            for key in server.scan_iter():
                ttl = max(0, server.pttl(key))
                dumped = server.dump(key)
                server.restore(key, ttl, dumped, replace=True, idletime=int(self.aged_by))  # type: ignore[arg-type]

    def foreign(self) -> None:
        for server in self.servers:
            for key in (b"celery", b"\xff\xfe:1:x", b"_kombu.binding.<b>\n", b"mine:x", b":1"):
                server.set(key, 1)

    def trace(self, cache: Any) -> dict[str, float]:
        found = {}
        for server in self.servers:
            for key in server.scan_iter():
                idle: Any = server.object("IDLETIME", key)
                found[f"{key!r} used"] = time.time() - idle
                found[f"{key!r} expires"] = float(server.pexpiretime(key)) / 1000
        return found


class MemcachedPlace(Place):
    keeps_expired = False
    # Its clock ticks in seconds: by it, what `age` waits is at least 3.
    stale_after = 2.5
    tells_roughly = frozenset({"idle"})
    aged_by = 0.0

    def __init__(self, servers: list[str], backend: Any) -> None:
        self._servers = servers
        self._backend = backend
        self._made: list[Any] = []
        self.cache().clear()

    def cache(self, prefix: str = "mine", **params: Any) -> Any:
        made = self._backend(self._servers, {"KEY_PREFIX": prefix, **params})
        self._made.append(made)
        return made

    def close(self) -> None:
        for each in self._made:
            each.close()

    def age(self) -> None:
        time.sleep(3.2)  # its clock ticks in seconds

    def trace(self, cache: Any) -> dict[str, float]:
        found = {}
        for address in self._servers:
            connection = Connection(address)
            for line in list(connection.dump()):
                told = connection.entry(key_in(line)) or {}
                found[f"{key_in(line)!r} used"] = time.time() - float(told["la"])
                found[f"{key_in(line)!r} expires"] = float(fields(line)["exp"])
                found[f"{key_in(line)!r} was fetched"] = 100.0 * (told["fetch"] == "yes")
            connection.close()
        return found

    def foreign(self) -> None:
        for server in self._servers:
            host, _, port = server.rpartition(":")
            with socket.create_connection((host, int(port))) as connection:
                for key in ("sessions/of/php", "mine:x", ":1", "\xff\xfe"):
                    connection.sendall(f"set {key} 0 0 1\r\nx\r\n".encode("latin-1"))
                    assert connection.recv(64) == b"STORED\r\n"


class Router:
    """Sends the cache table to the database under test."""

    using = "default"

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return self.using if model._meta.app_label == "django_cache" else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool | None:
        return db == self.using if app_label == "django_cache" else None


@contextmanager
def table(using: str) -> Iterator[DatabasePlace]:
    """A cache table in the database ``using``."""
    router = type("OneRouter", (Router,), {"using": using})
    caches = {
        "default": {
            "BACKEND": "django.core.cache.backends.db.DatabaseCache",
            "LOCATION": TABLE,
        }
    }
    with override_settings(CACHES=caches, DATABASE_ROUTERS=[router()]):
        call_command("createcachetable", database=using, verbosity=0)
        try:
            yield DatabasePlace()
        finally:
            quoted = connections[using].ops.quote_name(TABLE)
            with connections[using].cursor() as cursor:
                cursor.execute(f"DROP TABLE {quoted}")


BACKENDS: dict[str, tuple[str, Any]] = {
    "django": ("RedisCache (Django's)", RedisCache),
    "django-redis": ("RedisCache (django-redis)", DjangoRedisCache),
    "pymemcache": ("memcached", PyMemcacheCache),
    "pylibmc": ("memcached", PyLibMCCache),
}
