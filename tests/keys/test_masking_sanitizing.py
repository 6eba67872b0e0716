"""What a project lets be kept of a key."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

import cache_monitor
from cache_monitor.keys.masking import NOT_SANITIZED, sanitized, sanitizer_problem
from cache_monitor.keys.naming import may_be_cached, name_key
from cache_monitor.testing import capture_cache_calls
from cache_monitor.worker.batch import name_and_hash
from tests.anew import begin_anew

SECRET = "ann.lee@example.com"
seen: list[str] = []


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError


def masked(key: str) -> str:
    seen.append(key)
    return key.replace(SECRET, "***")


def hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def failing(key: str) -> str:
    raise ValueError(f"cannot do {key}")


def forgetful(key: str) -> None:
    """Returns nothing."""


def odd(key: str) -> Text:
    return Text("odd")


async def waiting(key: str) -> str:
    return key


def two_arguments(key: str, other: str) -> str:
    return key


def use(function: str | None, **more: Any) -> override_settings:
    path = f"{__name__}.{function}" if function else None
    return override_settings(CACHE_MONITOR={"KEY_SANITIZER": path, **more})


def test_without_a_sanitizer_a_key_is_kept_as_it_is() -> None:
    assert sanitized(SECRET) == SECRET


def test_what_the_sanitizer_returns_is_what_is_shown_and_grouped() -> None:
    with use("masked", KEY_GROUPS={SECRET: "leak", r"^mail:(.*)": r"mail of \1"}):
        assert name_key(f"mail:{SECRET}") == ("mail:***", "mail of ***", "key")
    with use("hashed"):
        assert name_key(SECRET).group == "{hash}"
    assert name_key(f"mail:{SECRET}").shown == f"mail:{SECRET}"


def test_a_key_of_another_type_comes_as_its_text_and_a_long_one_cut() -> None:
    seen.clear()
    with use("masked"):
        name_key((SECRET, 17))
        name_key("x" * 100_000)
    assert seen[0] == str((SECRET, 17))
    assert seen[1] == "x" * 512 + "… (100000 characters)"


def test_a_session_key_is_masked_without_asking() -> None:
    seen.clear()
    with use("masked"):
        assert name_key("django.contrib.sessions.cachesecret").kind == "session"
    assert seen == []


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("failing", "raised ValueError in test_masking_sanitizing.py, line"),
        ("forgetful", "returned NoneType and no str"),
    ],
)
def test_a_sanitizer_that_fails_lets_nothing_out_and_is_logged_once(
    function: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    with use(function):
        names = {name_key(f"{SECRET}:{n}") for n in range(3)}
    assert names == {(NOT_SANITIZED, NOT_SANITIZED, "key")}
    [record] = caplog.records
    assert says in record.getMessage()
    assert SECRET not in caplog.text


def test_a_sanitizer_that_cannot_be_imported_lets_nothing_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with use("nowhere"):
        assert name_key(SECRET).shown == name_key("other").shown == NOT_SANITIZED
    assert "cannot be imported (ImportError" in caplog.text
    assert len(caplog.records) == 1


def test_a_text_with_methods_of_its_own_becomes_a_plain_one() -> None:
    with use("odd"):
        assert type(sanitized("key")) is str
        assert name_key("key").shown == "odd"


def test_the_memo_holds_no_key_that_was_not_sanitized() -> None:
    key = "-".join(["unsanitized", SECRET])
    with use("hashed"):
        holders = sys.getrefcount(key)
        name, _ = name_and_hash(key, "default")
        assert sys.getrefcount(key) == holders
        assert not may_be_cached(name)
    assert may_be_cached(name_and_hash(key, "default")[0])
    assert sys.getrefcount(key) > holders, "without a sanitizer it is remembered"


@pytest.fixture
def fresh_process() -> Iterator[None]:
    locmem = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    with override_settings(CACHES={"default": locmem}):
        begin_anew()
        yield
        begin_anew()


@pytest.mark.usefixtures("fresh_process")
@pytest.mark.parametrize("function", ["masked", "hashed", "failing", "nowhere"])
def test_no_report_and_no_capture_holds_what_was_taken_out(function: str) -> None:
    store = {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}
    with use(function, STORE=store):
        cache = caches["default"]
        with capture_cache_calls() as calls:
            # A key of its own: a name that was remembered before the setting changed would stay.
            key = f"{function}:{SECRET}"
            cache.set(key, 1)
            cache.get(key)
            cache.get_many([key, f"cart:{key}"])
        assert cache_monitor.flush()
        report = cache_monitor.report()
        assert report.caches["default"].lookups == 3
        assert SECRET not in json.dumps(str(report)) + repr(calls)
        cache.clear()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere", "cannot be imported: ImportError"),
        ("SECRET", "which is no function"),
        ("Text", "which is no function"),
        ("waiting", "a coroutine function"),
        ("two_arguments", "does not take one argument"),
    ],
)
def test_what_is_no_sanitizer_is_told_apart(name: str, says: str) -> None:
    problem = sanitizer_problem(f"{__name__}.{name}")
    assert problem is not None
    assert says in problem


@pytest.mark.parametrize("path", [f"{__name__}.masked", "builtins.ascii", "builtins.repr"])
def test_a_function_of_one_text_is_a_sanitizer(path: str) -> None:
    assert sanitizer_problem(path) is None
