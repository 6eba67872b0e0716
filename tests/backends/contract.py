"""The backends that the contract suites run over, each monitored and bare beside it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.management import call_command
from django.test import override_settings
from django.utils.module_loading import import_string

from cache_monitor.backends.monitored import is_monitored

DJANGO = "django.core.cache.backends"


@dataclass(frozen=True)
class Backend:
    """A backend class and where its entries live; ``{}`` in ``location`` is filled in."""

    path: str
    location: str = ""
    fixture: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def entry(self, request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
        place = self.location
        if self.fixture is not None:
            server = request.getfixturevalue(self.fixture)
            place = place.format(host=server.host, port=server.port)
        return {
            "BACKEND": self.path,
            "LOCATION": place.format(tmp_path=tmp_path),
            "TIMEOUT": 300,
            "OPTIONS": self.options,
        }


BACKENDS = {
    "locmem": Backend(f"{DJANGO}.locmem.LocMemCache", "contract"),
    "files": Backend(f"{DJANGO}.filebased.FileBasedCache", "{tmp_path}/files"),
    "database": Backend(f"{DJANGO}.db.DatabaseCache", "contract_table"),
    "dummy": Backend(f"{DJANGO}.dummy.DummyCache"),
    "redis": Backend(
        f"{DJANGO}.redis.RedisCache", "redis://{host}:{port}/1", fixture="redis_server"
    ),
    "django_redis": Backend(
        "django_redis.cache.RedisCache", "redis://{host}:{port}/2", fixture="redis_server"
    ),
    "memcached": Backend(
        f"{DJANGO}.memcached.PyMemcacheCache", "{host}:{port}", fixture="memcached_server"
    ),
}


# Async calls on the database reach it through another thread's connection.
IN_DATABASE = pytest.mark.django_db(transaction=True)


def parameters(*leaving_out: str) -> list[Any]:
    """The names of the backends, for ``pytest.fixture`` and ``pytest.mark.parametrize``."""
    return [
        pytest.param(name, marks=IN_DATABASE) if name == "database" else name
        for name in BACKENDS
        if name not in leaving_out
    ]


@dataclass(frozen=True)
class Pair:
    """The same backend twice, with entries of their own."""

    monitored: BaseCache
    bare: BaseCache
    name: str


def _make_bare(entry: dict[str, Any]) -> BaseCache:
    params = {key: each for key, each in entry.items() if key not in {"BACKEND", "LOCATION"}}
    cache: BaseCache = import_string(entry["BACKEND"])(entry["LOCATION"], params)
    return cache


@contextmanager
def open_pair(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    """The backend called ``name``, emptied, monitored as the alias "default"."""
    entry = BACKENDS[name].entry(request, tmp_path)
    with override_settings(CACHES={"default": {**entry, "KEY_PREFIX": "monitored"}}):
        if name == "database":
            call_command("createcachetable", verbosity=0)
        pair = Pair(caches["default"], _make_bare({**entry, "KEY_PREFIX": "bare"}), name)
        assert is_monitored(type(pair.monitored))
        assert not is_monitored(type(pair.bare))
        pair.bare.clear()
        try:
            yield pair
        finally:
            pair.bare.clear()
            pair.bare.close()
            pair.monitored.close()
