"""Which names of keys are remembered while they are counted."""

from typing import Any

import pytest

from cache_monitor.keys.naming import KeyName
from cache_monitor.stats.sketches import hash_of
from cache_monitor.worker import batch
from cache_monitor.worker.batch import name_and_hash


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """How many keys may be remembered."""
    batch._remembered.forget()
    monkeypatch.setattr(batch, "_MOST_REMEMBERED", 100)
    return 100


def _held() -> set[str]:
    remembered = batch._remembered
    return {key for _, key in (*remembered.young, *remembered._old)}


def test_a_key_has_the_same_name_and_hash_whether_remembered_or_not() -> None:
    for key in ("user:1", "somebody", "é:2"):
        first = name_and_hash(key, "default")
        assert first[0].shown == key
        assert first[1] == hash_of(key)
        assert name_and_hash(key, "default") is first


def test_endlessly_many_keys_are_remembered_in_bounded_memory(few: int) -> None:
    for number in range(10 * few):
        name_and_hash(f"user:{number}", "default")
        assert len(_held()) <= few


def test_keys_that_come_again_and_again_stay_remembered(few: int) -> None:
    often = name_and_hash("often", "default")
    for number in range(10 * few):
        name_and_hash(f"user:{number}", "default")
        if number % (few // 4) == 0:
            assert name_and_hash("often", "default") is often
    assert "often" in _held()
    assert "user:0" not in _held()


def test_the_same_key_of_two_caches_is_remembered_for_each() -> None:
    assert name_and_hash("user:1", "default") is not name_and_hash("user:1", "other")


def test_what_the_settings_say_of_keys_holds_from_then_on(settings: Any) -> None:
    name_and_hash("user:1", "default")
    settings.CACHE_MONITOR = {"KEY_GROUPS": {"^user:": "users"}}
    assert name_and_hash("user:1", "default")[0] == KeyName("user:1", "users", "key")


def test_a_session_is_masked_and_not_remembered() -> None:
    key = "django.contrib.sessions.cache" + "1" * 32
    assert name_and_hash(key, "default")[0].kind == "session"
    assert _held() == set()
