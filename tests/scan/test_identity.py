"""Aliases whose settings lead to one store have one identity, however they spell it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from cache_monitor.scan import identity
from cache_monitor.scan.identity import identity_of, trace_store
from cache_monitor.stores import base
from cache_monitor.trace import HostProof, base_name, host_proof, uncertain_stores

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
FILES = "django.core.cache.backends.filebased.FileBasedCache"
TABLE = "django.core.cache.backends.db.DatabaseCache"
MEMCACHED = "django.core.cache.backends.memcached.PyMemcacheCache"
REDIS = "django.core.cache.backends.redis.RedisCache"
DJANGO_REDIS = "django_redis.cache.RedisCache"
SENTINEL = {
    "CLIENT_CLASS": "django_redis.client.SentinelClient",
    "SENTINELS": [("one", 26379), ("two", 26379)],
}
SHARDS = {"CLIENT_CLASS": "django_redis.client.ShardClient"}

Identities = Callable[..., list[str]]


@pytest.fixture
def identities() -> Identities:
    def of(*entries: dict[str, Any]) -> list[str]:
        names = ["default", *(f"alias{number}" for number in range(1, len(entries)))]
        with override_settings(CACHES=dict(zip(names, entries, strict=True))):
            return [identity_of(each, caches[each]) for each in names]

    return of


def _entry(backend: str, location: Any, **more: Any) -> dict[str, Any]:
    return {"BACKEND": backend, "LOCATION": location, **more}


@pytest.mark.parametrize(
    "spellings",
    [
        pytest.param(
            [
                _entry(REDIS, "redis://cache:6379"),
                _entry(REDIS, ["redis://cache/0"], KEY_PREFIX="other", VERSION=7),
                _entry(REDIS, "redis://user:secret@CACHE:6379/0?socket_timeout=2"),
                _entry(REDIS, "redis://cache,redis://replica"),
                _entry(REDIS, "rediss://cache/?db=0"),
                _entry(DJANGO_REDIS, "redis://cache:6379/0"),
                _entry(DJANGO_REDIS, ["redis://cache:6379/", "redis://replica"]),
            ],
            id="redis",
        ),
        pytest.param(
            [
                _entry(REDIS, "redis://localhost/1"),
                _entry(REDIS, "redis://127.0.0.1", OPTIONS={"db": 1}),
                _entry(DJANGO_REDIS, "redis://[::1]:6379/1"),
                _entry(DJANGO_REDIS, "redis://", OPTIONS={"CONNECTION_POOL_KWARGS": {"db": 1}}),
            ],
            id="a database by the path or an option",
        ),
        pytest.param(
            [
                _entry(REDIS, "unix:///run/redis.sock?db=3"),
                _entry(DJANGO_REDIS, "unix:///run/../run/redis.sock?db=3"),
            ],
            id="a socket",
        ),
        pytest.param(
            [
                _entry(DJANGO_REDIS, "redis://service/0", OPTIONS=SENTINEL),
                _entry(
                    DJANGO_REDIS,
                    "redis://service",
                    OPTIONS={**SENTINEL, "SENTINELS": SENTINEL["SENTINELS"][::-1]},
                ),
            ],
            id="behind Sentinels",
        ),
        pytest.param(
            [
                _entry(DJANGO_REDIS, ["redis://a", "redis://b"], OPTIONS=SHARDS),
                _entry(DJANGO_REDIS, ["redis://b", "redis://a"], OPTIONS=SHARDS),
            ],
            id="shards",
        ),
        pytest.param(
            [
                _entry(MEMCACHED, "localhost:11211;other"),
                _entry(MEMCACHED, ["other:11211", "127.0.0.1:11211"], KEY_PREFIX="p"),
                _entry(MEMCACHED, [("other", 11211), "localhost"]),
            ],
            id="memcached",
        ),
        pytest.param(
            [_entry(LOCMEM, "one"), _entry(LOCMEM, "one", VERSION=2)],
            id="local memory",
        ),
        pytest.param([_entry(TABLE, "a table"), _entry(TABLE, "a table")], id="a table"),
    ],
)
def test_one_store_is_one_however_it_is_spelled(
    spellings: list[dict[str, Any]], identities: Identities
) -> None:
    found = identities(*spellings)
    assert len(set(found)) == 1, found
    assert "secret" not in found[0]


def test_a_directory_is_one_by_whatever_way_it_is_reached(
    identities: Identities, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    found = identities(
        _entry(FILES, str(tmp_path / "real")),
        _entry(FILES, tmp_path / "link"),
        _entry(FILES, f"{tmp_path}/link/../real/"),
        _entry(FILES, tmp_path / "another"),
    )
    assert len(set(found[:3])) == 1
    assert found[3] != found[0]


def test_what_is_not_one_store_has_different_identities(identities: Identities) -> None:
    found = identities(
        _entry(REDIS, "redis://cache:6379/0"),
        _entry(REDIS, "redis://cache:6379/1"),
        _entry(REDIS, "redis://cache:6380/0"),
        _entry(REDIS, "redis://other:6379/0"),
        _entry(REDIS, "unix:///run/redis.sock"),
        _entry(DJANGO_REDIS, "redis://service/0", OPTIONS=SENTINEL),
        _entry(DJANGO_REDIS, ["redis://a", "redis://b"], OPTIONS=SHARDS),
        _entry(MEMCACHED, "cache:11211"),
        _entry(MEMCACHED, ["cache:11211", "other:11211"]),
        _entry(LOCMEM, "one"),
        _entry(LOCMEM, "two"),
        _entry(TABLE, "one"),
        _entry(TABLE, "two"),
        _entry("django.core.cache.backends.dummy.DummyCache", "one"),
        _entry("django.core.cache.backends.dummy.DummyCache", "one"),
    )
    assert len(set(found)) == len(found), found


@pytest.fixture
def traced_names() -> Callable[..., list[str]]:
    def of(*entries: dict[str, Any]) -> list[str]:
        names = ["default", *(f"alias{number}" for number in range(1, len(entries)))]
        with override_settings(CACHES=dict(zip(names, entries, strict=True))):
            return [trace_store(each, caches[each], "0123456789abcdef") for each in names]

    return of


@pytest.mark.parametrize(
    ("entry", "proof"),
    [
        (_entry(REDIS, "redis://cache"), None),
        (_entry(REDIS, "redis://localhost/1"), "s"),
        (_entry(REDIS, "unix:///run/redis.sock"), "s"),
        (_entry(DJANGO_REDIS, "redis://127.0.0.1"), "s"),
        (_entry(DJANGO_REDIS, "redis://service/0", OPTIONS=SENTINEL), None),
        (_entry(MEMCACHED, "cache:11211"), None),
        (_entry(MEMCACHED, ["cache:11211", "localhost:11211"]), "s"),
        (_entry(MEMCACHED, "unix:/run/memcached.sock"), "s"),
        (_entry(LOCMEM, "one"), None),
    ],
)
def test_a_store_that_each_host_may_have_for_itself_is_named_for_the_host(
    entry: dict[str, Any], proof: HostProof | None, traced_names: Callable[..., list[str]]
) -> None:
    [name] = traced_names(entry)
    assert host_proof(name) == proof
    assert ("." in name) == (proof is not None or entry["BACKEND"] == LOCMEM)


def test_a_directory_is_named_for_where_it_is_by_whatever_way_it_is_reached(
    tmp_path: Path, traced_names: Callable[..., list[str]]
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    found = traced_names(
        _entry(FILES, tmp_path / "real"),
        _entry(FILES, tmp_path / "link"),
        # Made with the first write.
        _entry(FILES, tmp_path / "not yet"),
    )
    assert found[0] == found[1] != found[2]
    assert {host_proof(name) for name in found} <= {"p", "u"}


def test_tables_of_one_sqlite_file_are_not_taken_for_one_store_by_two_names(
    traced_names: Callable[..., list[str]],
) -> None:
    one, other = traced_names(_entry(TABLE, "one"), _entry(TABLE, "two"))
    assert one.partition(".")[2] != other.partition(".")[2]
    assert uncertain_stores({one: [], other: []}, (), lambda _: []).names == set()


def test_hosts_that_have_a_file_system_of_the_network_have_its_directories_in_common(
    monkeypatch: pytest.MonkeyPatch, traced_names: Callable[..., list[str]]
) -> None:
    found = []
    for machine, at, source in (
        ("one", "/mnt/site\\040files", "nas:/export"),
        ("two", "/srv", "nas:/export"),
        ("two", "/srv", "other:/export"),
        ("one", "/srv", "127.0.0.1:/"),
        ("two", "/srv", "127.0.0.1:/"),
    ):
        lines = ["22 1 8:1 / / rw - ext4 /dev/sda1 rw", f"40 22 0:9 / {at} rw - nfs4 {source} rw"]
        monkeypatch.setattr(identity, "_machine", lambda machine=machine: machine)
        mounts = [*map(base.parse_mount, lines)]
        monkeypatch.setattr(base, "_mounts", lambda mounts=mounts: mounts)
        path = f"{at}/cache".replace("\\040", " ")
        found += traced_names(_entry(FILES, path))
    places = [name.partition(".")[2] for name in found]
    assert places[0] == places[1]
    assert len({*places}) == 4
    assert [host_proof(name) for name in found] == ["p", "p", "p", "u", "u"]
    assert base_name(found[1]) == base_name(found[2])


class NotDjangos:
    """A backend that Django takes, though it derives from nothing of Django's."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        self._servers = object()

    def close(self) -> None:
        """Django calls it at the end of each request."""


class RedisCache(NotDjangos):
    """One that is only called like a known one."""


@pytest.mark.parametrize("backend", [NotDjangos, RedisCache])
def test_an_unknown_backend_is_a_store_of_its_alias(
    backend: type[Any], identities: Identities
) -> None:
    path = f"{__name__}.{backend.__qualname__}"
    assert identities(_entry(path, "x"), _entry(path, "x")) == ["alias:default", "alias:alias1"]


def test_asking_makes_no_connection_and_no_client(identities: Identities) -> None:
    with override_settings(CACHES={"default": _entry(REDIS, "redis://cache")}):
        cache: Any = caches["default"]
        identity_of("default", cache)
        assert "_cache" not in vars(cache)
