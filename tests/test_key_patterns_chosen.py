"""The groups that a project names itself."""

import logging
import re
import time
from typing import Any

import pytest
from django.test import override_settings

from cache_monitor.key_patterns import ALLOWANCE, SEARCHED_LENGTH, SLOW, ChosenGroups
from cache_monitor.keys.naming import name_key


def test_the_first_pattern_that_is_found_names_the_group() -> None:
    groups = ChosenGroups({r"^user:": "user", r"user": "anything of a user"})
    assert groups.group_of("user:17") == "user"
    assert groups.group_of("super-user:17") == "anything of a user"
    assert groups.group_of("article:17") is None


def test_a_name_may_refer_back_to_the_key() -> None:
    groups = ChosenGroups({r"^(\w+):(?P<what>\w+):\d+": r"\g<what> of \1", r"^-(x)?": r"\1"})
    assert groups.group_of("acme:menu:17") == "menu of acme"
    assert groups.group_of("-") is None, "a name that comes out empty is no name"


def test_a_compiled_pattern_keeps_its_flags() -> None:
    assert ChosenGroups({re.compile("^USER", re.IGNORECASE): "u"}).group_of("user") == "u"


def test_a_name_is_bounded_and_printable_whatever_it_refers_to() -> None:
    with override_settings(CACHE_MONITOR={"KEY_GROUPS": {r"(?s)^(.*)$": r"\1"}}):
        assert name_key("a\x00\u202e").group == r"a\x00\u202e"
        assert len(name_key("é" * 1000).group) == 120


def test_a_pattern_sees_the_beginning_of_a_long_key_alone() -> None:
    assert ChosenGroups({"z": "found"}).group_of("a" * SEARCHED_LENGTH + "z") is None


HOSTILE = [
    r"[a-z]*[a-z0-9]*[a-z_]*[a-z:]*\d!",
    r".*:.*:.*:x!",
    r"(a+)+$",
    r"(?:a|aa)+$c",
    r"(.*a){20}c",
    r"^(([a-z])+.)+[A-Z]([a-z])+$",
    r"(?:a(?=.*b)|a)+c",
    r".*a.*a.*a.*[^a]!",
    r"(\w+)\1+\1+!",
    "|".join(["(?:a|a)" * 20] * 5) + "c",
]
KEYS = [
    "a" * 250,
    "!" + "a" * 248 + "c",
    "a" * 249 + "b",
    ":" * 250,
    "a:" * 125,
    "d1!" + "ab" * 123,
]


@pytest.mark.parametrize("pattern", HOSTILE)
def test_no_pattern_costs_more_than_it_may(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search is stopped by the time that it is given, and none is given more than is left."""
    [rule] = (groups := ChosenGroups({pattern: "slow"}))._rules
    given = []
    search = rule._search

    def noted(text: str, seconds: float) -> Any:
        given.append((seconds, rule._left))
        return search(text, seconds)

    monkeypatch.setattr(rule, "_search", noted)
    for text in KEYS * 5:
        groups.group_of(text)
    assert given
    assert all(seconds <= max(left, SLOW) for seconds, left in given)
    assert [left for _, left in given] == sorted((left for _, left in given), reverse=True)
    assert all(left > 0 for _, left in given), "none after its allowance"


def test_a_pattern_that_has_taken_its_time_is_dropped_with_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    groups = ChosenGroups({"^quick": "quick", "^(?:a|aa)+$": "slow", "^a": "after"})
    # Other threads may have had a share of the time in which a search was stopped.
    for number in range(20):
        assert groups.group_of("a" * (150 + number) + "!") == "after"
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert "'^(?:a|aa)+$' took" in record.message
    assert [rule.name for rule in groups._rules] == ["quick", "after"]
    assert groups.group_of("quick") == "quick"


def test_a_rule_is_not_blamed_for_what_else_the_process_does(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A collection of garbage may fall into any call."""
    readings = iter([0.0, 1.0, 1.0, 1.0005])
    monkeypatch.setattr(time, "thread_time", lambda: next(readings))
    groups = ChosenGroups({"^a": "a"})
    assert groups.group_of("abc") == "a"
    [rule] = groups._rules
    assert rule._left == ALLOWANCE
    assert not caplog.records


@pytest.mark.parametrize("flag", [re.ASCII, re.DOTALL, re.IGNORECASE, re.MULTILINE, re.VERBOSE])
@pytest.mark.parametrize("text", [r"^\w+.x*$ #", r"x*.*É"])
def test_a_pattern_finds_what_it_finds_by_itself(flag: re.RegexFlag, text: str) -> None:
    pattern = re.compile(text, flag)
    for key in ("É\nx", "ax", "a\nX", "axx #", "é", "aé"):
        found = ChosenGroups({pattern: r"<\g<0>>"}).group_of(key)
        match = pattern.search(key)
        assert found == (None if match is None else f"<{match[0]}>".replace("\n", r"\n"))


def test_chosen_groups_come_before_the_built_in_ones_and_keep_the_kind() -> None:
    page = f"views.decorators.cache.cache_page..GET.{'a' * 32}.{'b' * 32}"
    fragment = f"template.cache.menu.{'a' * 32}"
    with override_settings(CACHE_MONITOR={"KEY_GROUPS": {"": "all"}}):
        assert name_key("user:17").group == "user:{int}", "what cannot be used is left out"
    with override_settings(CACHE_MONITOR={"KEY_GROUPS": {".": "all"}}):
        assert name_key("user:17") == ("user:17", "all", "key")
        assert name_key(page)[1:] == ("all", "page")
        assert name_key(fragment)[1:] == ("all", "fragment")
    assert name_key("user:17").group == "user:{int}"


def test_no_pattern_unmasks_a_session() -> None:
    with override_settings(CACHE_MONITOR={"KEY_GROUPS": {"(.*)": r"\1"}}):
        assert name_key("django.contrib.sessions.cachesecret").group == "session"
