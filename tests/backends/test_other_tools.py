"""Other tools that patch caches work beside us as without us, and our counts stay right."""

import importlib.util
import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.core.cache import cache, caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.test import override_settings
from redis import Redis

from tests import forked
from tests.backends.conftest import Heard
from tests.backends.making import make_recorded
from tests.services import Server

ROOT = Path(__file__).resolve().parent.parent.parent
OURS = {
    "set": [1, 0, 0],
    "get": [3, 1, 2],
    "get_many": [1, 1, 1],
    "set_many": [1, 0, 0],
    "get_or_set": [2, 1, 1],
    "add": [1, 0, 0],
    "incr": [1, 0, 0],
    "touch": [1, 0, 0],
    "has_key": [1, 0, 0],
    "delete_many": [1, 0, 0],
    "delete": [1, 0, 0],
    "clear": [1, 0, 0],
}
TOOLS = {
    "alone": "django",
    "toolbar": "debug_toolbar",
    "sentry": "sentry_sdk",
    "cachalot": "cachalot",
    "opentelemetry": "opentelemetry.instrumentation",
}


def _run(tool: str, switch: str, environment: dict[str, str]) -> dict[str, Any]:
    command = ["-m", "tests.programs.tools", tool, switch]
    document: dict[str, Any] = json.loads(forked.printed(command, environment))
    return document


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_beside_us_counts_what_it_counts_without_us(
    tool: str, redis_server: Server, tmp_path: Path
) -> None:
    if not _is_there(TOOLS[tool]):
        pytest.skip(f"{TOOLS[tool]} is not installed")
    environment = {"CACHE_MONITOR_TEST_VAR": str(tmp_path)}
    if tool == "opentelemetry":
        environment["REDIS_URL"] = f"{redis_server.url}/9"
        with Redis.from_url(environment["REDIS_URL"]) as client:
            client.flushdb()
    bare = _run(tool, "off", environment)
    monitored = _run(tool, "on", environment)
    assert monitored["results"] == bare["results"]
    assert monitored["theirs"] == bare["theirs"]
    assert bare["ours"] == {}
    ours = monitored["ours"]
    if tool == "cachalot":  # it makes calls of its own on the cache
        assert ours["get_or_set"] == OURS["get_or_set"]
    else:
        assert ours == OURS


LOCAL = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "tools"}


@pytest.fixture(autouse=True)
def _local() -> Any:
    with override_settings(CACHES={"default": LOCAL}):
        yield
        cache.clear()


@pytest.mark.parametrize("name", ["get", "set", "get_many", "get_or_set", "clear"])
def test_a_mock_on_the_cache_takes_the_call_as_it_was_written(name: str, heard: Heard) -> None:
    for autospec in (False, True):
        options: dict[str, Any] = {"autospec": True} if autospec else {}
        with mock.patch.object(cache, name, return_value=5, **options) as mocked:
            args = {
                "get": ("a",),
                "set": ("a", 1),
                "get_many": (["a"],),
                "get_or_set": ("a", 1),
                "clear": (),
            }[name]
            assert getattr(cache, name)(*args) == 5
            mocked.assert_called_once_with(*args)
            if autospec:
                with pytest.raises(TypeError):
                    getattr(cache, name)(1, 2, 3, 4, 5, 6)
    assert not heard
    cache.get("a")
    assert len(heard) == 1


@pytest.mark.parametrize("autospec", [False, True])
@pytest.mark.parametrize(
    ("class_", "name", "args"),
    [
        (LocMemCache, "get", ("a",)),
        (LocMemCache, "get", ("a", "default")),
        (LocMemCache, "set", ("a", 1)),
        (LocMemCache, "set", ("a", 1, 60)),
        (LocMemCache, "delete", ("a",)),
        (BaseCache, "get_many", (["a"],)),
        (BaseCache, "set_many", ({"a": 1},)),
    ],
)
def test_a_mock_on_the_backends_class_takes_the_call_as_it_was_written(
    class_: type, name: str, args: tuple[object, ...], autospec: bool, heard: Heard
) -> None:
    monitored = caches["default"]
    options: dict[str, Any] = {"autospec": True} if autospec else {}
    with mock.patch.object(class_, name, return_value=5, **options) as mocked:
        assert getattr(monitored, name)(*args) == 5
        mocked.assert_called_once_with(*((monitored, *args) if autospec else args))
    # The mock answered, not the cache.
    assert not heard
    getattr(monitored, name)(*args)
    assert [call.source.operation for call in heard] == [name]


def test_a_class_made_while_a_mock_stood_in_it_records_afterwards(heard: Heard) -> None:
    class Own(LocMemCache):
        def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
            return super().get(key, default, version)

    with mock.patch.object(Own, "get", return_value=7) as mocked:
        made = make_recorded(Own, "tools", "default")
        assert made.get("a") == 7
        mocked.assert_called_once_with("a")
    assert made.get("a", 3) == 3
    assert heard.summary() == [("get", "a", False)]


def test_a_tool_below_us_sees_no_default_but_the_callers_or_djangos(heard: Heard) -> None:
    seen: list[object] = []
    original = LocMemCache.get

    def get(self: Any, key: Any, default: Any = None, version: int | None = None) -> Any:
        seen.append(default)
        return original(self, key, default, version)

    with mock.patch.object(LocMemCache, "get", get):
        cache.get("a")
        cache.get("a", "default")
        cache.get_many(["a"])
    assert seen == [None, "default", BaseCache._missing_key]
    assert [call.outcome for call in heard] == [False, False, (False,)]


def test_numpy_arrays_pass_through() -> None:
    numpy = pytest.importorskip("numpy")
    cache: Any = caches["default"]
    cache.set("array", numpy.zeros(3))
    assert list(cache.get("array", numpy.ones(2))) == [0, 0, 0]
    assert list(cache.get("no", numpy.ones(2))) == [1, 1]
    assert list(cache.get_or_set("made", lambda: numpy.ones(1))) == [1]
