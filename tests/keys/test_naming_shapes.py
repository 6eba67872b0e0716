"""Groups told from a key's shape: the same as by looking at each key."""

from random import Random
from string import digits
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.keys import naming
from cache_monitor.keys import naming as shapes
from cache_monitor.keys.naming import name_key

PIECES = [
    ":",
    "::",
    "-",
    ".",
    "_",
    "/",
    "@",
    " ",
    "a",
    "Z",
    "user",
    "v",
    "é",
    "\n",
    "\u202e",
    *digits,
]


def _slowly(key: str) -> naming.KeyName:
    """The name of ``key`` without a look at its shape."""
    return naming.name_other_key(key)


@given(st.lists(st.sampled_from(PIECES), max_size=12), st.randoms(use_true_random=False))
def test_a_key_has_the_name_that_it_had_by_itself(pieces: list[str], random: Random) -> None:
    # Twice, with other numbers: the second is told from the first.
    for _ in range(2):
        key = "".join(
            str(random.randrange(10 ** random.randrange(1, 25))) if piece.isdecimal() else piece
            for piece in pieces
        )
        assert name_key(key) == _slowly(key)


@pytest.mark.parametrize(
    "key",
    [
        "user:12:profile",
        "12",
        "a:1:b:2",
        "2024:01:31",
        "fe80::1:2",
        "2001:0:1:2:3:4:5:6",
        "1234567890123456789012345678901234567890",
        "session:12345678901234567890123456789012",
        "user:" + "7" * 300,
    ],
)
def test_numbers_of_any_length_make_no_other_group(key: str) -> None:
    assert name_key(key) == name_key(key) == _slowly(key)


def test_only_the_form_of_keys_is_remembered(settings: Any) -> None:
    settings.CACHE_MONITOR = {}
    for number in range(100):
        name_key(f"user:{number}:profile")
    assert shapes._groups == {
        b"user:0:profile": "user:{int}:profile",
        b"user:00:profile": "user:{int}:profile",
    }


def test_of_keys_without_a_number_nothing_is_remembered(settings: Any) -> None:
    settings.CACHE_MONITOR = {}
    name_key("somebody")
    assert shapes._groups == {}


def test_what_is_remembered_is_bounded(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CACHE_MONITOR = {}
    monkeypatch.setattr(shapes, "_MOST_FORMS", 10)
    for number in range(100):
        name_key(f"{'a' * number}:1")
        assert len(shapes._groups) <= 10


@pytest.mark.parametrize(
    "setting", [{"KEY_GROUPS": {"^user:1": "first"}}, {"KEY_SANITIZER": "builtins.str.upper"}]
)
def test_a_project_that_has_a_say_about_keys_is_asked_for_each(settings: Any, setting: Any) -> None:
    name_key("user:1")
    settings.CACHE_MONITOR = setting
    name_key("user:1")
    assert shapes._groups == {}


def test_a_session_with_a_prefix_of_its_own_is_masked_all_the_same(settings: Any) -> None:
    settings.SESSION_ENGINE = "tests.keys.numbered_sessions"
    assert name_key("8:17").shown == "8:17"
    assert name_key("7:17").kind == "session"
