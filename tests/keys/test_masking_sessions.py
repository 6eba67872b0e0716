"""A session's key logs its reader in: nothing of it is ever shown."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.contrib.sessions.backends import cache as session_cache
from django.contrib.sessions.backends import cached_db
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.keys.masking import may_be_sessions
from cache_monitor.keys.naming import KeyName, known_group, name_key

SESSION_KEY = "k7fz0q2m9x4b1v8c3n6d5g2hk7fz0q2m"
MASKED = KeyName("session:••••", "session", "session")


class SessionStore(session_cache.SessionStore):
    """An engine of the project's own: this module, when SESSION_ENGINE names it."""

    cache_key_prefix = "s:"


@pytest.fixture
def own_engine() -> Iterator[None]:
    with override_settings(SESSION_ENGINE=__name__):
        yield


@pytest.mark.parametrize("prefix", [session_cache.KEY_PREFIX, cached_db.KEY_PREFIX])
def test_a_session_is_masked_whatever_stands_around_its_key(prefix: str) -> None:
    key = prefix + SESSION_KEY
    names = [name_key(each) for each in (key, f"site:1:{key}", key.encode(), ("x", key))]
    assert names == [MASKED] * 4


@given(st.text(max_size=600), st.text(max_size=600))
def test_no_text_around_it_lets_a_session_key_out(before: str, after: str) -> None:
    name = name_key(f"{before}{session_cache.KEY_PREFIX}{SESSION_KEY}{after}")
    assert not any(SESSION_KEY[at : at + 4] in name.shown + name.group for at in range(29))


@pytest.mark.usefixtures("own_engine")
def test_a_session_store_with_a_prefix_of_its_own_is_masked() -> None:
    assert name_key(f"s:{SESSION_KEY}") == MASKED
    assert name_key(f"site:1:s:{SESSION_KEY}") == MASKED


@pytest.mark.usefixtures("own_engine")
def test_a_short_prefix_takes_no_other_word_for_a_session() -> None:
    assert name_key("users:17").group == "users:{int}"


@pytest.mark.usefixtures("own_engine")
def test_a_session_store_without_a_prefix_is_masked_by_the_form_of_its_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(SessionStore, "cache_key_prefix", "")
    assert name_key(SESSION_KEY) == MASKED
    assert name_key("users:17").kind == "key"


def test_a_changed_engine_is_noticed() -> None:
    assert name_key(f"s:{SESSION_KEY}").kind == "key"
    with override_settings(SESSION_ENGINE=__name__):
        assert name_key(f"s:{SESSION_KEY}") == MASKED
    assert name_key(f"s:{SESSION_KEY}").kind == "key"


@pytest.mark.parametrize("engine", ["no.such.engine", "json", "", None])
def test_an_engine_that_cannot_be_asked_leaves_other_keys_as_they_are(engine: str | None) -> None:
    with override_settings(SESSION_ENGINE=engine):
        assert name_key("user:17").group == "user:{int}"
        assert name_key(session_cache.KEY_PREFIX + SESSION_KEY) == MASKED


def test_keys_are_named_without_settings() -> None:
    program = (
        "from cache_monitor.keys.naming import name_key;"
        "print(ascii(name_key('user:17').group + name_key('django.contrib.sessions.cachex').shown))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env={}
    )
    assert answer.stdout.strip() == ascii("user:{int}" + MASKED.shown)


@pytest.mark.parametrize(
    ("engine", "shape", "may_be"),
    [
        ("django.contrib.sessions.backends.cache", "user:0:profile", False),
        ("django.contrib.sessions.backends.cache", f"site:0:{session_cache.KEY_PREFIX}", True),
        ("django.contrib.sessions.backends.db", "user:0:profile", False),
        ("tests.keys.numbered_sessions", "0:0", True),
        ("tests.keys.numbered_sessions", "user:0", False),
        ("no.such.engine", "user:0", False),
    ],
)
def test_a_shape_tells_whether_a_session_may_have_it(engine: str, shape: str, may_be: bool) -> None:
    with override_settings(SESSION_ENGINE=engine):
        assert may_be_sessions(shape) is may_be


def test_another_engine_has_the_shapes_told_anew() -> None:
    assert name_key("7:17").shown == "7:17"
    with override_settings(SESSION_ENGINE="tests.keys.numbered_sessions"):
        assert name_key("7:17") == MASKED
        assert known_group("7:17") is None
