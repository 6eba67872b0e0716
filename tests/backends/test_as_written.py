"""Backends as projects write them give, raise and are given the same with the monitor as without.

Each runs twice: with the methods of Django's classes put back, and with recording ones in place.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from django.test import override_settings
from django.utils.module_loading import import_string

from cache_monitor import context
from cache_monitor.instrument.aliases import instance_of
from cache_monitor.instrument.install import install, is_ours, uninstall
from cache_monitor.scan.schedule import ScanScheduler
from cache_monitor.worker import wiring
from tests.backends import written
from tests.backends.conftest import Heard
from tests.backends.contract import BACKENDS, parameters
from tests.services import Server

BASES = ("locmem", "redis", "django_redis", "memcached")
DEFAULT = SimpleNamespace()


@pytest.fixture(autouse=True)
def _no_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The monitor's thread makes a cache to look into it, and to know of calls on one that is gone,
    as those of the test before; and some here count what is made."""
    monkeypatch.setattr(ScanScheduler, "scan_due", lambda *arguments: {})
    monkeypatch.setattr(wiring, "_cache_of", instance_of)


@contextmanager
def unwatched() -> Iterator[None]:
    """What goes on here nobody watches: every method is the original one."""
    uninstall()
    assert not [each for each in vars(BaseCache).values() if is_ours(each)]
    try:
        yield
    finally:
        install()


def _entries(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    entry = {**BACKENDS[name].entry(request, tmp_path), "BACKEND": "tests.backends.written.Current"}
    location = f"written-{tmp_path.name}" if name == "locmem" else entry["LOCATION"]
    entry["LOCATION"] = location
    local = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "other"}
    return {"default": entry, "again": {**entry, "KEY_PREFIX": "again"}, "other": local}


@contextmanager
def opened(name: str, class_: Any, request: Any, tmp_path: Path) -> Iterator[Any]:
    """The backend ``class_``, over the one called ``name``, as the alias "default"."""
    written.Current = class_
    written.seen.clear()
    with override_settings(CACHES=_entries(name, request, tmp_path)):
        cache = caches["default"]
        with context.muted():
            cache.clear()
            caches["other"].clear()
        try:
            yield cache
        finally:
            with context.muted():
                cache.clear()


def _make() -> str:
    return "made"


def _keys(*keys: str) -> Iterator[str]:
    yield from keys


CALLS: dict[str, Callable[[Any], Any]] = {
    "a miss, then a write and a hit": lambda c: (c.get("a"), c.set("a", 1), c.get("a")),
    "defaults": lambda c: (c.get("no", 5), c.get("no2", default=DEFAULT) is DEFAULT, c.get("no")),
    "another default each time": lambda c: (c.get("u"), c.get("u", {}), c.get("u", [])),
    "a stored None": lambda c: (c.set("none", None), c.get("none"), c.get("none", 7)),
    "the second store": lambda c: (c.get("old"), c.get("old", 3), c.get("absent")),
    "by name": lambda c: (c.set("k", 1, timeout=5), c.get("k", version=None), c.get(key="k")),
    "a version": lambda c: (c.set("v", 1, version=2), c.get("v"), c.get("v", version=2)),
    "several": lambda c: (c.set_many({"x": 1, "y": 2}), c.get_many(["x", "no"]), c.get_many([])),
    "several of a generator": lambda c: (
        c.set("g", 1),
        c.get_many(_keys("g", "no")),
        c.delete_many(_keys("g")),
        c.get_many(keys=_keys("g"), version=None),
    ),
    "get_or_set": lambda c: (c.get_or_set("w", _make), c.get_or_set("w", 3, timeout=9), c.get("w")),
    "get_or_set by name": lambda c: c.get_or_set(key="n", default=_make, timeout=None),
    "a counter": lambda c: (c.set("c", 1), c.incr("c"), c.decr("c", delta=1), c.incr("absent")),
    "in": lambda c: (c.set("i", 1), "i" in c, c.has_key("no"), c.delete("i"), c.touch("i")),
    "add": lambda c: (c.add("d", 1), c.add("d", 2, timeout=5), c.get("d")),
    "async": lambda c: asyncio.run(_async(c)),
    "too few arguments": lambda c: c.get(),
    "too many arguments": lambda c: c.set(1, 2, 3, 4, 5, 6, 7),
    "an unknown name": lambda c: c.get("a", no_such_name=1),
    "what it tells": lambda c: c.told() if hasattr(c, "told") else None,
    "both aliases": lambda c: (_again().set("z", 1), _again().get("z"), c.get("z")),
    "its class": lambda c: type(c).__mro__[:2] == (written.Current, *written.Current.__mro__[1:2]),
}


def _again() -> Any:
    return caches["again"]


async def _async(cache: Any) -> Any:
    await cache.aset("s", 1, timeout=30)
    return (
        await cache.aget("s"),
        await cache.aget("no", default=4),
        await cache.aget_many(["s", "no"]),
        await cache.aget_or_set("t", _make),
        await cache.aget_or_set("t", 1),
    )


def _run(name: str, factory: Any, call: Any, request: Any, tmp_path: Path) -> Any:
    base: Any = import_string(BACKENDS[name].path)
    class_ = factory(base)
    with opened(name, class_, request, tmp_path) as cache:
        try:
            result = call(cache)
        except Exception as error:
            result = type(error), str(error).replace("written.", "")
        told = cache.told() if hasattr(cache, "told") else None
        return repr(result), repr(told), repr(written.seen)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("factory", written.FACTORIES)
@pytest.mark.parametrize("name", [each for each in parameters() if each.values[0] in BASES])
def test_a_backend_does_with_the_monitor_what_it_does_without(
    name: str, factory: str, call: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    make = written.FACTORIES[factory]
    with unwatched():
        bare = _run(name, make, CALLS[call], request, tmp_path)
    assert _run(name, make, CALLS[call], request, tmp_path) == bare


# What the cases say that the contract came from


@pytest.fixture(params=[each for each in parameters() if each.values[0] in BASES])
def open_over(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Any], Any]:
    """Opens a backend of a factory over one of Django's."""
    name: str = request.param
    base: Any = import_string(BACKENDS[name].path)
    return lambda factory: opened(name, factory(base), request, tmp_path)


def test_a_second_store_is_read_where_the_first_has_nothing(open_over: Any) -> None:
    with open_over(written.fallback) as cache:
        assert cache.get("old") == "of the second store"


def test_what_a_near_store_keeps_is_the_callers_default(open_over: Any) -> None:
    with open_over(written.two_layers) as cache:
        assert (cache.get("absent"), cache.get("absent")) == (None, None)


def test_a_memo_answers_with_the_default_of_the_moment(open_over: Any) -> None:
    with open_over(written.memo) as cache:
        other: dict[str, int] = {}
        assert cache.get("user:1") is None
        assert cache.get("user:1", other) is other


def test_a_backend_counts_its_own_misses(open_over: Any) -> None:
    with open_over(written.class_state) as cache:
        cache.get("absent")
        assert cache.counts == {"get": 1, "miss": 1}


def test_what_is_kept_on_the_class_is_there_once(open_over: Any) -> None:
    with open_over(written.class_state) as cache:
        caches["again"].get("absent")
        cache.get("absent")
        assert cache.told() == (2, {"get": 2, "miss": 2}, 2)


def test_what_decorators_made_is_recorded_and_keeps_what_they_keep(
    open_over: Any, heard: Heard
) -> None:
    with open_over(written.decorated) as cache:
        heard.clear()
        assert cache.get("a") is None
        assert (type(cache).get.calls, cache.get.calls) == (1, 1)
        cache.set("a", 1)
        assert (cache.has_key("a"), cache.has_key("a")) == (True, True)
        assert type(cache).has_key.cache_info().hits == 1
        operations = [call[0] for call in heard.summary()]
        assert operations == ["get", "set", "has_key", "has_key"]


def test_a_backend_knows_its_class(open_over: Any) -> None:
    with open_over(written.own_class) as cache:
        assert cache.get("absent", 5) == 5
        assert cache.told() == ([], [], "OwnClass")


class OldNames:
    """Mixed into a client: reads the old name of a key where the new one gave nothing."""

    def get(self, key: Any, default: Any = None, version: Any = None, client: Any = None) -> Any:
        value = super().get(key, default, version, client)  # type: ignore[misc]
        return super().get(f"old:{key}", default, version, client) if value is None else value  # type: ignore[misc]


def test_a_client_of_the_projects_own_is_given_the_callers_default(
    redis_server: Server, heard: Heard
) -> None:
    client_module = pytest.importorskip("django_redis.client")
    client = type("Client", (OldNames, client_module.DefaultClient), {})
    entry = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": f"{redis_server.url}/2",
        "OPTIONS": {"CLIENT_CLASS": f"{__name__}.Client"},
    }
    with (
        mock.patch.dict(globals(), Client=client),
        override_settings(CACHES={"default": entry}),
    ):
        cache = caches["default"]
        cache.set("old:key", "of the old name")
        assert cache.get("key") == "of the old name"
        assert cache.get("absent") is None
        cache.clear()
    assert heard.summary()[1:3] == [("get", "key", True), ("get", "absent", False)]


def test_diskcache_gives_what_it_gives_and_its_misses_are_misses(
    tmp_path: Path, heard: Heard
) -> None:
    pytest.importorskip("diskcache")
    entry = {"BACKEND": "diskcache.DjangoCache", "LOCATION": str(tmp_path)}
    with override_settings(CACHES={"default": entry}):
        cache: Any = caches["default"]
        assert cache.get("m", "dflt", expire_time=True) == ("dflt", None)
        assert cache.get("m", default="dflt", tag=True) == ("dflt", None)
        cache.set("k", 1, timeout=60)
        assert cache.get("k", "dflt", expire_time=True)[0] == 1
        assert cache.get("k") == 1
        assert cache.get("m") is None
        cache.close()
    outcomes = [call.outcome for call in heard if call.source.operation == "get"]
    assert outcomes == [False, False, True, True, False]


MOCKED: dict[str, Callable[[Any], Any]] = {
    "set": lambda c: c.set("k", 1, timeout=5),
    "get": lambda c: c.get("k", default=3),
    "get_many": lambda c: c.get_many(["k"], version=2),
    "delete": lambda c: c.delete(key="k"),
}


@pytest.mark.parametrize("autospec", [False, True])
@pytest.mark.parametrize("operation", MOCKED)
@pytest.mark.parametrize("name", [each for each in parameters() if each.values[0] in BASES])
def test_a_mock_on_the_class_is_called_as_written_and_goes_without_a_trace(
    name: str, operation: str, autospec: bool, request: Any, tmp_path: Path, heard: Heard
) -> None:
    class_: Any = import_string(BACKENDS[name].path)
    options: dict[str, Any] = {"autospec": True} if autospec else {}
    expected = mock.Mock()
    MOCKED[operation](expected)
    with opened(name, class_, request, tmp_path) as cache:
        before = getattr(class_, operation)
        with mock.patch.object(class_, operation, **options) as mocked:
            MOCKED[operation](cache)
            called = getattr(expected, operation).call_args
            args = (cache, *called.args) if autospec else called.args
            mocked.assert_called_once_with(*args, **called.kwargs)
            assert mocked.call_args.kwargs == called.kwargs
        assert getattr(class_, operation) is before
        heard.clear()
        MOCKED[operation](cache)
        assert [call.source.operation for call in heard] == [operation]


def test_a_patch_that_began_before_the_monitor_leaves_recording_methods_behind(
    heard: Heard,
) -> None:
    with unwatched():
        patch = mock.patch.object(LocMemCache, "get", return_value=1)
        patch.start()
    patch.stop()
    with override_settings(CACHES={"default": {"BACKEND": f"{__name__}.LocMemCache"}}):
        caches["default"].get("a")
    assert heard.summary() == [("get", "a", False)]


def test_a_patch_that_wraps_what_it_finds_is_counted_once(heard: Heard) -> None:
    local = {"BACKEND": f"{__name__}.LocMemCache", "LOCATION": "traced"}
    with override_settings(CACHES={"default": local}):
        # From here on what a patch finds is the monitor's.
        _ = caches["default"].get
    original = LocMemCache.get
    assert is_ours(original)

    def traced(self: Any, *args: Any, **kwargs: Any) -> Any:
        return original(self, *args, **kwargs)

    with mock.patch.object(LocMemCache, "get", traced):
        for _ in range(3):
            with override_settings(CACHES={"default": local}):
                caches["default"].get("a")
                assert vars(LocMemCache)["get"] is traced
    assert heard.summary() == [("get", "a", False)] * 3


def test_an_instance_that_the_project_makes_itself_passes_through(heard: Heard) -> None:
    own = LocMemCache("own", {})
    own.set("a", 1)
    assert (own.get("a"), own.get_many(["a", "b"]), own.get_or_set("c", 3)) == (1, {"a": 1}, 3)
    assert asyncio.run(own.aget("a")) == 1
    assert not heard


def test_nothing_is_in_the_instance() -> None:
    with unwatched():
        bare = sorted(vars(LocMemCache("own", {})))
    with override_settings(CACHES={"default": {"BACKEND": f"{__name__}.LocMemCache"}}):
        assert sorted(vars(caches["default"])) == bare


def test_uninstalled_the_methods_are_the_original_ones() -> None:
    nowhere = {"BACKEND": f"{__name__}.RedisCache", "LOCATION": "redis://127.0.0.1:1"}
    entries = {"default": {"BACKEND": f"{__name__}.LocMemCache"}, "nowhere": nowhere}
    with override_settings(CACHES=entries):
        # A class is watched from the first cache of it on.
        _ = caches["default"], caches["nowhere"]
    get = LocMemCache.get
    assert is_ours(get)
    assert is_ours(vars(RedisCache)["get"])
    with unwatched():
        assert LocMemCache.get is not get
        assert LocMemCache.get.__module__ == LocMemCache.__module__
        assert LocMemCache.get.__globals__["__name__"] == LocMemCache.__module__
        assert not is_ours(vars(RedisCache)["get"])


# What a client keeps to itself


SWALLOWED: dict[str, Callable[[Any], Any]] = {
    "get": lambda c: c.get("a", 5),
    "set": lambda c: c.set("a", 1),
    "get_many": lambda c: c.get_many(["a", "b"]),
    "delete": lambda c: c.delete("a"),
    "set_many": lambda c: c.set_many({"a": 1}),
}


@pytest.mark.parametrize("operation", SWALLOWED)
@pytest.mark.parametrize("watched", ["alone", "heard"])
def test_what_django_redis_swallows_is_an_error(
    operation: str, watched: str, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("django_redis")
    entry = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": "redis://127.0.0.1:1/0",
        "OPTIONS": {"IGNORE_EXCEPTIONS": True},
    }
    with unwatched(), override_settings(CACHES={"default": entry}):
        bare = SWALLOWED[operation](caches["default"])
    with override_settings(CACHES={"default": entry}):
        assert SWALLOWED[operation](caches["default"]) == bare
    [call] = heard
    assert (call.error, call.outcome) == ("ConnectionError", None)
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


@pytest.mark.parametrize("operation", SWALLOWED)
def test_what_pymemcache_swallows_is_an_error(operation: str, heard: Heard) -> None:
    entry = {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        "LOCATION": "127.0.0.1:1",
        "OPTIONS": {"ignore_exc": True},
    }
    with unwatched(), override_settings(CACHES={"default": entry}):
        bare = [SWALLOWED[operation](caches["default"]) for _ in range(4)]
    with override_settings(CACHES={"default": entry}):
        assert [SWALLOWED[operation](caches["default"]) for _ in range(4)] == bare
    assert {str(call.error) for call in heard} <= {"ConnectionRefusedError", "MemcacheError"}
    assert [call.outcome for call in heard] == [None] * 4


def test_a_client_that_swallows_nothing_now_has_no_errors(
    memcached_server: Server, heard: Heard
) -> None:
    entry = {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        "LOCATION": f"{memcached_server.host}:{memcached_server.port}",
        "OPTIONS": {"ignore_exc": True},
    }
    with override_settings(CACHES={"default": entry}):
        cache = caches["default"]
        cache.set("a", None)
        try:
            raise ValueError("of the caller's, whom it does not concern")
        except ValueError:
            assert cache.get("a", 3) is None
            assert cache.get_many(["a", "b"]) == {"a": None}
    assert [(call.error, call.outcome) for call in heard] == [
        (None, None),
        (None, True),
        (None, (True, False)),
    ]
