"""A cache opened at an odd time or place, by odd means, is the cache that it would be anyway."""

import asyncio
import contextvars
import os
import subprocess
import sys
import threading
import traceback
import warnings
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from django.apps import apps
from django.core.cache import CacheHandler, InvalidCacheBackendError, cache, caches
from django.core.cache.backends.base import CacheKeyWarning
from django.core.cache.backends.locmem import LocMemCache
from django.core.management import call_command
from django.db import connection
from django.test import override_settings

from cache_monitor.calls import recorder
from tests.backends.conftest import Heard
from tests.backends.contract import IN_DATABASE
from tests.backends.making import is_recorded, make_recorded

ROOT = Path(__file__).resolve().parent.parent.parent
LOCAL = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "lifecycle"}


@pytest.fixture(autouse=True)
def _local() -> Any:
    with override_settings(CACHES={"default": LOCAL}):
        yield
        cache.clear()


def _program(code: str, tmp_path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "CACHE_MONITOR_TEST_VAR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_cache_opened_before_setup_is_monitored_from_setup_on(tmp_path: Path) -> None:
    code = """
import django
from django.core.cache import cache, caches
early = caches["default"]
early.set("a", 1)
django.setup()
from cache_monitor.calls import whole
from cache_monitor.calls import recorder
assert caches["default"] is early
assert cache.get("a") == 1
print([(call[0].operation, whole(call)[4]) for call in recorder.buffer])
"""
    assert _program(code, tmp_path) == "[('get', True)]"


def test_a_project_without_databases_works(tmp_path: Path) -> None:
    code = """
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=["cache_monitor"], USE_TZ=True)
django.setup()
from django.core.cache import cache
from django.core.cache import caches
from cache_monitor.instrument.aliases import alias_of
assert alias_of(caches["default"]) == "default"
cache.set("a", 1)
print(cache.get("a"))
"""
    assert _program(code, tmp_path) == "1"


def test_a_fork_without_a_cache_call_before_it_brings_no_warning(tmp_path: Path) -> None:
    """Python 3.12 and later warn where a process with threads forks."""
    code = """
import os, django
django.setup()
from django.core.cache import caches
caches["default"]
if os.fork() == 0:
    caches["default"].set("a", 1)
    print(caches["default"].get("a"), flush=True)
    os._exit(0)
os.wait()
"""
    assert _program(code, tmp_path) == "1"


@pytest.mark.parametrize("how", ["thread", "task", "context"])
def test_a_cache_of_another_thread_or_context_is_monitored(how: str) -> None:
    seen: list[bool] = []

    def look() -> None:
        seen.append(is_recorded(caches["default"]))

    async def look_in_task() -> None:
        await asyncio.gather(asyncio.to_thread(look), _look())

    async def _look() -> None:
        look()

    if how == "thread":
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    elif how == "task":
        asyncio.run(look_in_task())
    else:
        contextvars.Context().run(look)
    assert set(seen) == {True}


def test_available_apps_may_hide_the_app_while_calls_go_on(heard: Heard) -> None:
    apps.set_available_apps(["django.contrib.auth", "django.contrib.contenttypes"])
    try:
        with override_settings(CACHES={"default": {**LOCAL, "LOCATION": "hidden"}}):
            cache.set("a", 1)
            assert cache.get("a") == 1
    finally:
        apps.unset_available_apps()
    assert len(heard) == 2


def test_the_app_may_become_ready_again(heard: Heard) -> None:
    create, limit = CacheHandler.create_connection, recorder.limit
    apps.get_app_config("cache_monitor").ready()
    with override_settings(INSTALLED_APPS=["cache_monitor", "django.contrib.contenttypes"]):
        cache.get("a")
    assert CacheHandler.create_connection is create
    assert recorder.limit >= limit
    assert len(heard) == 1


def test_a_changed_setting_gives_new_caches(heard: Heard) -> None:
    before = caches["default"]
    with override_settings(CACHES={"default": {**LOCAL, "TIMEOUT": 7}, "other": LOCAL}):
        assert caches["default"].default_timeout == 7
        assert is_recorded(caches["other"])
    assert caches["default"] is not before
    assert caches["default"].default_timeout == 300
    with pytest.raises(InvalidCacheBackendError):
        _ = caches["other"]


def test_a_backend_that_cannot_be_found_fails_as_without_us() -> None:
    with (
        override_settings(CACHES={"default": {"BACKEND": "no.such.Backend"}}),
        pytest.raises(InvalidCacheBackendError, match="Could not find backend"),
    ):
        _ = caches["default"]


@IN_DATABASE
def test_createcachetable_knows_its_caches() -> None:
    entry = {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "lifecycle"}
    with override_settings(CACHES={"default": entry}):
        call_command("createcachetable", verbosity=0)
    assert "lifecycle" in connection.introspection.table_names()


def _warned(cache: Any) -> list[tuple[object, str, int]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            cache.set("a key with spaces", 1)
            cache.get("a key with spaces")
            cache.get_many(["a key with spaces"])
            cache.get_or_set("a key with spaces", 1)
            cache.delete("a key with spaces")
    return [(each.category, each.filename, each.lineno) for each in caught]


def test_warnings_come_as_often_and_from_the_same_place() -> None:
    bare = _warned(LocMemCache("lifecycle", {}))
    assert _warned(caches["default"]) == bare
    assert {each[0] for each in bare} == {CacheKeyWarning}


def _traceback(cache: Any) -> list[str]:
    with pytest.raises(ValueError, match="not found") as raised:
        cache.incr("absent")
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    names = [frame.name for frame in traceback.extract_tb(raised.tb)]
    return [name for name in names if name != "observing"]


def test_a_traceback_has_the_frames_of_the_bare_cache_in_order() -> None:
    assert _traceback(caches["default"]) == _traceback(LocMemCache("lifecycle", {}))


def test_a_coroutine_that_is_closed_elsewhere_closes(heard: Heard) -> None:
    class Waiting(LocMemCache):
        async def aget(self, *args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(60)

    coroutine = make_recorded(Waiting, "lifecycle", "default").aget("a")

    async def begin() -> None:
        coroutine.send(None)

    with contextvars.copy_context().run(asyncio.Runner) as runner:
        runner.run(begin())
    contextvars.copy_context().run(coroutine.close)
    cache.get("b")
    assert [(call.key, str(call.error)) for call in heard] == [
        ("a", "GeneratorExit"),
        ("b", "None"),
    ]


def test_calls_that_all_fail_are_drained_too(heard: Heard) -> None:
    """Their buffer is bounded like that of others."""
    from cache_monitor import context

    context.stop_listening(heard)
    limit = recorder.limit
    relieved = Mock()
    original = recorder.relieve
    recorder.limit, recorder.relieve = 0, relieved  # type: ignore[method-assign]
    try:
        for _ in range(3):
            with pytest.raises(AttributeError):
                caches["default"].get(Unprintable())
    finally:
        recorder.limit, recorder.relieve = limit, original  # type: ignore[method-assign]
    assert relieved.call_count == 3


class Unprintable:
    def __str__(self) -> str:
        raise AttributeError("no text")


def test_the_class_of_a_cache_is_the_one_named_in_the_settings() -> None:
    assert type(caches["default"]) is LocMemCache
