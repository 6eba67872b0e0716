"""The stores that benchmarks can be run on, each with a server of its own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STORES = ("sqlite", "postgresql", "mariadb", "redis")


@contextmanager
def served(store: str, directory: Path) -> Iterator[dict[str, Any] | None]:
    """DATABASES and STORE for a server that runs meanwhile; None where there is none."""
    from tests.services import REDIS
    from tests.stores.mariadb import MARIADB, MariaDaemon
    from tests.stores.servers import POSTGRESQL, PostgresDaemon, RedisDaemon

    program = {"postgresql": POSTGRESQL, "mariadb": MARIADB, "redis": REDIS}.get(store)
    command = program.find() if program else ""
    path = "cache_monitor.stores.database.DatabaseStore"
    made: dict[str, Any] = {"STORE": {"BACKEND": path, "OPTIONS": {"DATABASE": "default"}}}
    if command is None:
        yield None
    elif store == "redis":
        redis = RedisDaemon(command, directory)
        made["STORE"] = {
            "BACKEND": "cache_monitor.stores.redis.RedisStore",
            "OPTIONS": {"URL": redis.address.url},
        }
        with redis.running():
            yield made
    elif program:
        server = (PostgresDaemon if store == "postgresql" else MariaDaemon)(command, directory)
        made["DATABASE"] = server.settings
        with server.running():
            yield made
    else:
        engine, name = "django.db.backends.sqlite3", str(directory / "db.sqlite3")
        made["DATABASE"] = {"ENGINE": engine, "NAME": name, "OPTIONS": {"timeout": 30}}
        yield made


def databases(made: Mapping[str, Any]) -> dict[str, Any]:
    """``DATABASES`` for what :func:`served` made."""
    if made["DATABASE"]["ENGINE"].endswith("mysql"):
        from tests.stores.mariadb import stand_in_for_mysqlclient

        stand_in_for_mysqlclient()
    return {"default": {**made["DATABASE"], "CONN_MAX_AGE": None}}
