"""What is wrong with a project's ``KEY_GROUPS``."""

import re
import sys
from typing import Any

import pytest

from cache_monitor.key_patterns import MOST_RULES, rule_problems


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {r"^user:\d+": "user"},
        {r"^(.*):(.*):(.*):(.*)$": r"\1 \2"},
        {r"^(\w+):(?P<id>\d+)": r"\1 of \g<id>"},
        {re.compile("^A", re.IGNORECASE): "a"},
        {"(a+)+": "whatever it takes"},
        {f"^{n}": "x" for n in range(MOST_RULES)},
    ],
)
def test_sound_rules_have_no_problem(rules: Any) -> None:
    assert list(rule_problems(rules)) == []


@pytest.mark.parametrize(
    ("rules", "says", "hint"),
    [
        (200, "is 200, not a dict", "MAX_KEY_GROUPS"),
        ([("a", "b")], "not a dict", "Write a dict"),
        ({"(": "x"}, "no regular expression: '('", "re.escape"),
        ({"[a": "x"}, "unterminated character set", "raw string"),
        ({"": "x"}, "has '' for a pattern", "Write a dict"),
        ({5: "x"}, "has 5 for a pattern", "Write a dict"),
        ({b"a": "x"}, "has b'a' for a pattern", "Write a dict"),
        ({re.compile(b"a"): "x"}, "has b'a' for a pattern", "Write a dict"),
        ({"a": 5}, "names the group of 'a' 5", "not empty"),
        ({"a": " "}, "names the group of 'a' ' '", "not empty"),
        ({"a": r"\2"}, "invalid group reference 2", r"\g<name>"),
        ({"a": r"\g<x>"}, "unknown group name 'x'", r"\1"),
        ({"a": "\\"}, "bad escape", "backslash"),
        ({"(?:(?:a{20}){20}){20}": "x"}, "too large: '(?:(?:a{20}", "1000 when multiplied"),
        ({"a" * 1001: "x"}, "too large", "1000 characters"),
        ({"a*b*(?:c){e<=x": "x"}, "the package regex does not take", "quote {"),
        ({f"^{n}": "x" for n in range(MOST_RULES + 1)}, "has 101 patterns", "no more than 100"),
    ],
)
def test_a_problem_is_named_with_what_to_write(rules: Any, says: str, hint: str) -> None:
    [problem] = rule_problems(rules)
    assert says in problem.message
    assert hint in problem.hint


def test_a_pattern_that_cannot_be_stopped_without_a_package_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "regex", None)
    assert list(rule_problems({r"^tenant:(\w+):": "x", "^(?:a|b):": "y"})) == []
    [problem] = rule_problems({"^(.*):(.*)": "x"})
    assert "takes the package regex, which is not installed: '^(.*):(.*)'" in problem.message
    assert "django-cache-monitor[key-groups]" in problem.hint


def test_every_bad_rule_is_named() -> None:
    assert len(list(rule_problems({"(": "x", "a": "fine", "b": 5}))) == 2
