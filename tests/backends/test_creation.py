"""Caches are exchanged where Django makes them, and nobody notices."""

import copy
import gc
import pickle
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.core.cache import CacheHandler, cache, caches
from django.core.cache.backends.base import BaseCache, InvalidCacheBackendError
from django.core.cache.backends.locmem import LocMemCache
from django.template import Context, Engine
from django.test import override_settings
from django.utils.safestring import SafeString

from cache_monitor.instrument.install import install, instrument
from cache_monitor.worker.wiring import cache_identity
from tests.backends.conftest import Heard
from tests.backends.making import is_recorded, make_recorded

LOCAL = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "creation"}


@pytest.fixture(autouse=True)
def local() -> Iterator[None]:
    with override_settings(CACHES={"default": LOCAL}):
        yield
        cache.clear()


def _reopen() -> None:
    """Let the next access make the cache anew."""
    if hasattr(caches._connections, "default"):  # type: ignore[attr-defined]
        del caches["default"]


def test_each_alias_is_monitored_without_a_change_to_the_settings() -> None:
    assert is_recorded(caches["default"])
    assert caches.settings["default"] == LOCAL


@override_settings(CACHE_MONITOR={"ENABLED": False})
def test_switched_off_the_class_is_the_original_one() -> None:
    _reopen()
    assert type(caches["default"]) is LocMemCache


@override_settings(CACHE_MONITOR={"INSTRUMENT": "explicit"})
def test_explicit_leaves_the_other_aliases_alone() -> None:
    _reopen()
    assert type(caches["default"]) is LocMemCache


def test_a_handler_with_settings_of_its_own_is_left_alone() -> None:
    own = CacheHandler({"default": LOCAL})
    assert type(own["default"]) is LocMemCache


def test_a_cache_opened_before_the_app_was_ready_is_recorded_from_then_on(heard: Heard) -> None:
    early = LocMemCache("creation", {})
    caches["default"] = early
    install()
    assert caches["default"] is early
    early.get("a")
    assert heard.summary() == [("get", "a", False)]


def test_a_cache_that_a_template_opens_is_known_by_plain_text(heard: Heard) -> None:
    named = {
        "default": LOCAL,
        "opened": {**LOCAL, "LOCATION": "opened", "VERSION": SafeString("2")},
    }
    engine = Engine(libraries={"cache": "django.templatetags.cache"})
    fragment = '{% load cache %}{% cache 60 a using="opened" %}b{% endcache %}'
    with override_settings(CACHES=named):
        assert engine.from_string(fragment).render(Context()) == "b"
        found = cache_identity("a process", "opened")
    assert [call.source.operation for call in heard] == ["get", "set"]
    # Stores and encoders take no subclass of str for granted.
    assert {(call.source.alias, type(call.source.alias)) for call in heard} == {("opened", str)}
    assert found is not None
    assert (found.version, type(found.version)) == ("2", str)


def test_instrumenting_twice_records_once(heard: Heard) -> None:
    install()
    install()
    _reopen()
    cache.get("a")
    assert len(heard) == 1


def test_a_method_patched_on_the_instance_is_called(heard: Heard) -> None:
    with mock.patch.object(caches["default"], "get", return_value="patched"):
        assert cache.get("a") == "patched"
    assert cache.get("a") is None
    assert len(heard) == 1


def test_a_method_patched_later_on_the_backends_class_is_called(heard: Heard) -> None:
    with mock.patch.object(LocMemCache, "get", lambda self, key, *_: f"patched {key}"):
        assert cache.get("a") == "patched a"
    # What stands in place of the cache answered, not the cache.
    assert not heard
    cache.get("a")
    assert heard.summary() == [("get", "a", False)]


def test_tools_that_patch_new_instances_sit_above_the_recording(heard: Heard) -> None:
    """As sentry-sdk does: whichever of the two came first."""
    seen: list[object] = []
    original = CacheHandler.create_connection

    def create_connection(self: CacheHandler, alias: str) -> Any:
        made: Any = original(self, alias)
        get = made.get

        def spy(*args: Any, **kwargs: Any) -> Any:
            value = get(*args, **kwargs)
            seen.append((args, value))
            return value

        made.get = spy
        return made

    _reopen()
    with mock.patch.object(CacheHandler, "create_connection", create_connection):
        assert cache.get("absent", "default") == "default"
        assert cache.get_or_set("made", lambda: 1) == 1
    assert seen[0] == (("absent", "default"), "default")
    assert heard.summary() == [("get", "absent", False), ("get_or_set", "made", False)]


def test_inherited_operations_show_the_original_function() -> None:
    """Django 6.1 looks at them to choose between sync and native async."""
    for name in ("get_many", "get_or_set", "set_many", "delete_many", "incr_version"):
        assert getattr(caches["default"], name).__func__ is getattr(BaseCache, name)
    assert caches["default"].get_many == caches["default"].get_many
    assert "BaseCache.get_many" in repr(caches["default"].get_many)
    assert caches["default"].get_many.__doc__ == BaseCache.get_many.__doc__
    assert caches["default"].get_many.__name__ == "get_many"


class NativeAsync(LocMemCache):
    """A backend whose sync methods must not be called."""

    def get(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("sync")

    async def aget(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        return LocMemCache.get(self, key, default, version)


def test_a_natively_async_backend_stays_on_its_async_methods(heard: Heard) -> None:
    import asyncio

    made = make_recorded(NativeAsync, "native", "native")
    made.set("a", 1)
    assert asyncio.run(made.aget_many(["a", "b"])) == {"a": 1}
    assert heard.summary()[1:] == [("get_many", ("a", "b"), (True, False))]


def test_a_cache_that_pickles_bare_pickles_monitored(tmp_path: Path, heard: Heard) -> None:
    entry = {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": str(tmp_path),
    }
    with override_settings(CACHES={"default": entry}):
        cache.set("a", 1)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            again = pickle.loads(pickle.dumps(caches["default"], protocol))  # noqa: S301
            assert type(again) is type(caches["default"])
            assert again.get("a") == 1
        assert type(copy.copy(caches["default"])) is type(caches["default"])


def test_a_cache_that_does_not_pickle_bare_does_not_pickle_monitored() -> None:
    with pytest.raises(TypeError, match="lock"):
        pickle.dumps(caches["default"])


def test_adopting_twice_changes_nothing() -> None:
    class_ = type(caches["default"])
    instrument(caches["default"], "default")
    assert type(caches["default"]) is class_


class Final(LocMemCache):
    def __init_subclass__(cls) -> None:
        raise TypeError("not to be subclassed")


def test_a_backend_that_cannot_be_subclassed_works_unrecorded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    entry = {"BACKEND": f"{__name__}.Final", "LOCATION": "creation"}
    with override_settings(CACHES={"default": entry}):
        assert cache.get_or_set("a", 1) == 1
        assert type(caches["default"]) is Final


def test_close_all_closes_the_caches() -> None:
    with mock.patch.object(LocMemCache, "close") as close:
        _ = caches["default"]
        caches.close_all()
    close.assert_called_once()


def test_instances_are_not_kept_alive() -> None:
    kept = weakref.ref(caches["default"])
    _reopen()
    gc.collect()
    assert kept() is None


@override_settings(CACHES={"default": LOCAL, "bad": {"BACKEND": "no.such.Cache"}})
def test_a_backend_that_cannot_be_imported_says_what_to_write() -> None:
    """The error itself is Django's."""
    with pytest.raises(InvalidCacheBackendError) as raised:
        _ = caches["bad"]
    assert str(raised.value) == "Could not find backend 'no.such.Cache': No module named 'no'"
    assert "CACHES['bad']['BACKEND']" in raised.value.__notes__[0]
