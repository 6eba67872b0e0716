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

from tests.backends.making import clear_unrecorded, is_recorded
from tests.backends.sentinel import SERVICE
from tests.workers import on_server

DJANGO = "django.core.cache.backends"


@dataclass(frozen=True)
class Backend:
    """A backend class and where its entries live; ``{}`` in ``location`` is filled in."""

    path: str
    location: str = ""
    fixture: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    library: str | None = None
    """What it needs that the test dependencies bring only where they can."""
    sentinel: bool = False

    def entry(self, request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
        if self.library is not None:
            pytest.importorskip(self.library)
        place = self.location
        if self.fixture is not None:
            server = request.getfixturevalue(self.fixture)
            place = place.format(host=server.host, port=server.port)
        options = dict(self.options)
        if self.sentinel:
            sentinel = request.getfixturevalue("sentinel_server")
            options["SENTINELS"] = [(sentinel.host, sentinel.port)]
        return {
            "BACKEND": self.path,
            "LOCATION": place.format(tmp_path=tmp_path),
            "TIMEOUT": 300,
            "OPTIONS": options,
        }


def _django_redis(client: str, location: str, **options: Any) -> Backend:
    return Backend(
        "django_redis.cache.RedisCache",
        location,
        "redis_server",
        {"CLIENT_CLASS": f"django_redis.client.{client}", **options},
        sentinel=client == "SentinelClient",
    )


BACKENDS = {
    "locmem": Backend(f"{DJANGO}.locmem.LocMemCache", "contract"),
    "files": Backend(f"{DJANGO}.filebased.FileBasedCache", "{tmp_path}/files"),
    "database": Backend(f"{DJANGO}.db.DatabaseCache", "contract_table"),
    "dummy": Backend(f"{DJANGO}.dummy.DummyCache"),
    "redis": Backend(
        f"{DJANGO}.redis.RedisCache", "redis://{host}:{port}/1", fixture="redis_server"
    ),
    "django_redis": _django_redis("DefaultClient", "redis://{host}:{port}/2"),
    "django_redis_herd": _django_redis("HerdClient", "redis://{host}:{port}/3"),
    "django_redis_shard": _django_redis(
        "ShardClient", "redis://{host}:{port}/4,redis://{host}:{port}/5"
    ),
    "django_redis_sentinel": _django_redis(
        "SentinelClient",
        f"redis://{SERVICE}/6",
        CONNECTION_FACTORY="django_redis.pool.SentinelConnectionFactory",
    ),
    "memcached": Backend(
        f"{DJANGO}.memcached.PyMemcacheCache", "{host}:{port}", fixture="memcached_server"
    ),
    "pylibmc": Backend(
        f"{DJANGO}.memcached.PyLibMCCache",
        "{host}:{port}",
        fixture="memcached_server",
        library="pylibmc",
    ),
    "odd": Backend("tests.backends.odd.OddCache", "odd"),
    "native": Backend("tests.backends.odd.NativeCache", "native"),
    "delegating": Backend("tests.backends.odd.DelegatingCache", "delegating"),
}


# Async calls on the database reach it through another thread's connection.
IN_DATABASE = pytest.mark.django_db(transaction=True)

_MARKS = {
    "database": [IN_DATABASE],
    # Python 3.13 complains of how it looks for its options, which is not ours to mend.
    "pylibmc": [pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")],
    # django-redis hands this client what it warns of.
    "django_redis_shard": [pytest.mark.filterwarnings("ignore:.* on sharded client:UserWarning")],
}


def parameters(*leaving_out: str) -> list[Any]:
    """The names of the backends, for ``pytest.fixture`` and ``pytest.mark.parametrize``."""
    return [
        pytest.param(name, marks=[*_MARKS.get(name, ()), *on_server(name)])
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
        assert is_recorded(pair.monitored)
        assert not is_recorded(pair.bare)
        _empty(pair)
        try:
            yield pair
        finally:
            _empty(pair)
            pair.bare.close()
            pair.monitored.close()


def _empty(pair: Pair) -> None:
    pair.bare.clear()
    # Past the recording, which the test that follows may read.
    clear_unrecorded(pair.monitored)
