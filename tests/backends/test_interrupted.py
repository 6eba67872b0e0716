"""A call that something from outside ended is counted as interrupted, and is no error."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import cache, caches
from django.core.cache.backends.locmem import LocMemCache
from django.test import override_settings

import cache_monitor
from cache_monitor.testing import capture_cache_calls
from tests.anew import begin_anew
from tests.backends.conftest import Heard

PATH = f"{__name__}.HaltingCache"
MEMORY = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}
MANY = 50
"""More than the finding on errors asks for."""


class TimeLimitError(Exception):
    """Like the soft time limit of a task queue: an ordinary exception."""


class BrokenError(Exception):
    """Like that of a server which is not there."""


class HaltingCache(LocMemCache):
    """Comes to ``halt`` in the midst of a lookup."""

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        halt(key)
        return super().get(key, default, version)

    async def aget(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        await asyncio.sleep(60)


class Ends:
    """What happens in the midst of a lookup."""

    def signal(self, key: object) -> None:
        signal.raise_signal(signal.SIGUSR1)

    def leave(self, key: object) -> None:
        raise SystemExit(1)

    def interrupt(self, key: object) -> None:
        raise KeyboardInterrupt

    def fail(self, key: object) -> None:
        raise BrokenError


halt: Callable[[object], None] = Ends().fail


def _time_limit(signum: int, frame: object) -> None:
    raise TimeLimitError


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, _time_limit)
    with override_settings(
        CACHES={"default": {"BACKEND": PATH}}, CACHE_MONITOR=MEMORY, ROOT_URLCONF="tests.urls"
    ):
        begin_anew()
        yield
        begin_anew()
    signal.signal(signal.SIGUSR1, before)


def _counts() -> tuple[int, int, int]:
    found = cache_monitor.report().caches["default"]
    get = found.operations["get"]
    assert (found.errors, found.interrupted) == (get.errors, get.interrupted)
    assert sum(group.errors for group in found.key_groups) == get.errors
    return get.calls, get.errors, get.interrupted


def _codes() -> list[str]:
    return [finding.code for finding in cache_monitor.report().findings]


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (Ends().signal, TimeLimitError),
        (Ends().leave, SystemExit),
        (Ends().interrupt, KeyboardInterrupt),
    ],
)
def test_what_ends_a_call_from_outside_is_no_error_of_the_backend(
    end: Callable[[object], None], kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "halt", end)
    for _ in range(MANY):
        with pytest.raises(kind):
            cache.get("key")
    assert _counts() == (MANY, 0, MANY)
    assert "backend-errors" not in _codes()


def test_what_the_backend_raises_is_an_error() -> None:
    for _ in range(MANY):
        with pytest.raises(BrokenError):
            cache.get("key")
    assert _counts() == (MANY, MANY, 0)
    assert "backend-errors" in _codes()


def test_a_signal_in_the_midst_of_djangos_own_backend_is_no_error(heard: Heard) -> None:
    class Key:
        """Interrupted where the backend makes its own key of it, not where that is recorded."""

        def __init__(self) -> None:
            self.was_interrupted = False

        def __str__(self) -> str:
            if not self.was_interrupted:
                self.was_interrupted = True
                signal.raise_signal(signal.SIGUSR1)
            return "key"

    with override_settings(
        CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    ):
        for name, arguments in (("get", ()), ("set", (1,)), ("has_key", ())):
            with pytest.raises(TimeLimitError):
                getattr(caches["default"], name)(Key(), *arguments)
        found = cache_monitor.report().caches["default"]
        assert (found.errors, found.interrupted) == (0, 3)
    assert [str(call.error) for call in heard] == ["TimeLimitError"] * 3


def test_a_cancelled_task_and_a_timeout_are_no_errors() -> None:
    async def cancel() -> None:
        task = asyncio.ensure_future(cache.aget("key"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await cache.aget("key")

    asyncio.run(cancel())
    assert _counts() == (2, 0, 2)


def test_a_coroutine_that_nobody_finishes_is_no_error() -> None:
    async def begin() -> Any:
        waiting = cache.aget("key")
        waiting.send(None)
        return waiting

    asyncio.run(begin()).close()
    assert _counts() == (1, 0, 1)


def test_the_users_own_tests_see_what_interrupted_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "halt", Ends().signal)
    with capture_cache_calls() as captured, pytest.raises(TimeLimitError):
        cache.get("key")
    [call] = captured
    assert (call.error, call.interrupted) == ("TimeLimitError", True)
    assert str(call) == "default.get('key') interrupted by TimeLimitError"
