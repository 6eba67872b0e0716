"""The value of an entry as a page shows it."""

from __future__ import annotations

import pytest
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache

from cache_monitor.calls import recorder
from cache_monitor.dashboard.entry import MAX_LENGTH, shown_value
from cache_monitor.worker.wiring import background_worker


class Broken:
    """Has a representation that fails."""

    def __repr__(self) -> str:
        raise RuntimeError("secret")


@pytest.fixture
def cache() -> BaseCache:
    cache = caches["default"]
    cache.clear()
    return cache


@pytest.mark.parametrize(
    ("value", "type_name", "text"),
    [
        ("two\nlines", "str", "two\nlines"),
        ("", "str", ""),
        (None, "NoneType", "None"),
        ({"a": [1, 2]}, "dict", "{'a': [1, 2]}"),
        (b"\x00raw", "bytes", "b'\\x00raw'"),
        ("a\u202eb\x07", "str", "a\\u202eb\\x07"),
    ],
)
def test_a_value_is_shown_with_its_type(
    cache: BaseCache, value: object, type_name: str, text: str
) -> None:
    cache.set("thing", value)
    shown = shown_value("default", "thing")
    assert (shown.type_name, shown.text, shown.cut, shown.problem) == (type_name, text, False, "")


@pytest.mark.parametrize("value", ["x" * 10**6, b"x" * 10**6])
def test_a_long_value_is_cut(cache: BaseCache, value: object) -> None:
    cache.set("thing", value)
    shown = shown_value("default", "thing")
    assert shown.cut
    assert len(shown.text) == MAX_LENGTH


def test_a_large_structure_is_not_written_out(cache: BaseCache) -> None:
    cache.set("thing", {number: list(range(1000)) for number in range(1000)})
    assert len(shown_value("default", "thing").text) <= MAX_LENGTH


def test_a_session_is_never_shown(cache: BaseCache) -> None:
    key = "django.contrib.sessions.cache" + "a" * 32
    cache.set(key, {"_auth_user_id": "1"})
    shown = shown_value("default", key)
    assert shown.text == ""
    assert "session" in shown.problem


def test_what_is_not_there_is_said(cache: BaseCache) -> None:
    assert shown_value("default", "nothing").problem


def test_a_value_that_cannot_be_shown_is_a_problem_without_its_secrets(cache: BaseCache) -> None:
    cache.set("thing", Broken())
    shown = shown_value("default", "thing")
    assert "secret" not in shown.problem + shown.text


def test_looking_is_not_recorded(cache: BaseCache) -> None:
    cache.set("thing", 1)
    background_worker.drain()
    recorder.buffer.clear()
    shown_value("default", "thing")
    assert not recorder.buffer
