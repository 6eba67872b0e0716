"""What a key function of the project's own makes of keys is recorded as it was at the call."""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.base import default_key_func
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.test import override_settings

from cache_monitor import context
from cache_monitor.instrument import aliases
from cache_monitor.instrument.aliases import makes_own_keys
from tests.backends.conftest import Heard

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"


class Tenant(threading.local):
    name = "one"


tenant = Tenant()
_places = itertools.count()


def tenants_key(key: str, prefix: str, version: int) -> str:
    return f"{tenant.name}:{prefix}:{version}:{key}"


@contextmanager
def cache_with(function: Any, **more: Any) -> Iterator[Any]:
    place = f"final {next(_places)}"
    entry = {"BACKEND": LOCMEM, "LOCATION": place, "KEY_FUNCTION": function, **more}
    with override_settings(CACHES={"default": entry}):
        yield caches["default"]


def test_a_call_tells_the_key_as_it_was_when_it_was_made(heard: Heard) -> None:
    with cache_with(tenants_key) as cache:
        cache.set("a", 1)
        tenant.name = "two"
        cache.get("a")
        cache.set_many({"b": 1, "c": 2})
        cache.delete("a", version=5)
        tenant.name = "one"
        cache.get_or_set("d", lambda: 1)
    assert [call.entries for call in heard] == [
        (("one::1:a",), True),
        (("two::1:a",), True),
        (("two::1:b", "two::1:c"), True),
        (("two::1:a",), True),
        (("one::1:d",), True),
    ]


def test_a_key_function_may_leave_the_version_out(heard: Heard) -> None:
    with cache_with(lambda key, prefix, version: f"!{key}") as cache:
        cache.get("a", version=7)
        cache.get("a", version=1)
    assert [call.entries for call in heard] == [(("!a",), False), (("!a",), True)]


def test_a_call_of_djangos_own_key_function_tells_nothing_more(heard: Heard) -> None:
    with cache_with(default_key_func) as cache:
        cache.set("a", 1)
    assert [call.entries for call in heard] == [None]


def test_an_async_call_tells_the_key_that_the_thread_made_which_served_it(heard: Heard) -> None:
    """Such a thread has another tenant than the loop's."""

    async def work(cache: Any) -> None:
        await cache.aset("a", 1)
        await cache.aget_many(["a", "b"])
        await cache.aget_or_set("c", 1)

    with cache_with(lambda key, *_: f"{threading.get_ident()}:{key}") as cache:
        asyncio.run(work(cache))
        stored = set(cache._cache)
    told = {name for call in heard for name in (call.entries or ((), True))[0]}
    assert {f":{each}" for each in "ac"} == {each[each.index(":") :] for each in stored}
    assert stored <= told
    assert not any(name.startswith(f"{threading.get_ident()}:") for name in told)


def test_a_value_whose_making_changes_the_tenant_belongs_to_no_key(heard: Heard) -> None:
    def make() -> int:
        tenant.name = "two"
        return 1

    with cache_with(tenants_key) as cache:
        cache.get_or_set("a", make)
    tenant.name = "one"
    assert [call.entries for call in heard] == [None]


def test_a_key_function_that_asks_a_cache_is_not_made_to_do_so_twice(heard: Heard) -> None:
    asked = []

    def function(key: str, prefix: str, version: int) -> str:
        asked.append(key)
        return f"{caches['other'].get('namespace')}:{key}"

    entries: Any = {
        "default": {"BACKEND": LOCMEM, "LOCATION": "final", "KEY_FUNCTION": function},
        "other": {"BACKEND": LOCMEM, "LOCATION": "other"},
    }
    with override_settings(CACHES=entries):
        for _ in range(5):
            caches["default"].get("a")
    assert len(asked) == 6  # once more, and never again
    calls = [call for call in heard if call.source.alias == "default"]
    assert [call.entries for call in calls] == [(("None:a",), True), *[None] * 4]
    assert sum(call.source.alias == "other" for call in heard) == 5


def test_a_key_function_that_takes_long_is_not_waited_for_on_and_on(
    heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def function(key: str, prefix: str, version: int) -> str:
        asked.append(key)
        return key

    monkeypatch.setattr(aliases, "SLOW", -1.0)
    with cache_with(function) as cache:
        for _ in range(10):
            cache.get("a")
    assert len(asked) == 10 + 3
    assert [call.entries is None for call in heard] == [False] * 3 + [True] * 7


def test_a_key_function_that_is_interrupted_now_and_then_is_asked_on(
    heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As each is on a busy machine, however quick."""
    now = [0.0, 0.0]

    def function(key: str, prefix: str, version: int) -> str:
        now[0] += now[1]
        return key

    monkeypatch.setattr(aliases, "clock", lambda: now[0])
    with cache_with(function) as cache:
        for number in range(300):
            now[1] = float(number % 30 == 0)
            cache.get("a")
    assert [call.entries for call in heard] == [(("a",), True)] * 300


def test_a_key_function_that_refuses_a_key_is_the_callers_to_hear_of(heard: Heard) -> None:
    def function(key: str, prefix: str, version: int) -> str:
        raise LookupError(key)

    with cache_with(function) as cache, pytest.raises(LookupError):
        cache.get("a")
    assert [(call.error, call.entries) for call in heard] == [("LookupError", ((), True))]


def test_what_surrounds_a_call_is_as_before_after_its_key_was_asked_for(heard: Heard) -> None:
    before = context.current()
    with cache_with(tenants_key) as cache:
        cache.get("a")
    assert context.current() is before


class _Own(FileBasedCache):
    def make_key(self, key: Any, version: int | None = None) -> str:
        return f"own:{super().make_key(key, version)}"


def test_a_backend_may_make_its_keys_itself(tmp_path: Path) -> None:
    assert makes_own_keys(_Own(str(tmp_path), {}))
    assert makes_own_keys(LocMemCache("a", {"KEY_FUNCTION": tenants_key}))
    assert not makes_own_keys(LocMemCache("a", {}))
