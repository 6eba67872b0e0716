"""What is wrong with the patterns and names of ``KEY_GROUPS``, and what to write instead."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from cache_monitor.patterns.searching import (
    EXTRA,
    LONGEST,
    MOST_REPEATS,
    has_engine,
    is_simple,
    repeats,
    search_for,
)

MOST_RULES = 100
"""Every one of them may be tried for every new key."""

_EXAMPLE = r'Write a dict such as {r"^tenant:(\w+):": r"tenant \1"}.'
_ENGINE_HINT = (
    f"Install it: python -m pip install '{EXTRA}'. Or write the pattern with one repetition "
    r"at most (one of * + ? {}) and no | beside it, such as ^tenant:(\w+):"
)


class RuleProblem(NamedTuple):
    """What is wrong with the rules, and what to write instead."""

    message: str
    hint: str


def rule_problems(value: object) -> Iterator[RuleProblem]:
    """What is wrong with ``value`` as ``KEY_GROUPS``."""
    if not isinstance(value, Mapping):
        hint = f"{_EXAMPLE} The number of groups kept is MAX_KEY_GROUPS."
        yield RuleProblem(f"is {value!r}, not a dict of patterns and names.", hint)
        return
    if len(value) > MOST_RULES:
        yield RuleProblem(
            f"has {len(value)} patterns; {MOST_RULES} are tried at most.",
            f"Write no more than {MOST_RULES}: several names can share a pattern, with "
            r"back-references such as \1.",
        )
    for pattern, name in value.items():
        problem = _pattern_problem(pattern) or _name_problem(pattern, name)
        if problem is not None:
            yield problem


def _pattern_problem(pattern: object) -> RuleProblem | None:
    text = pattern.pattern if isinstance(pattern, re.Pattern) else pattern
    if not isinstance(text, str) or not text:
        return RuleProblem(f"has {text!r} for a pattern.", _EXAMPLE)
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        return RuleProblem(
            f"has a pattern that is no regular expression: {text!r} ({error}).",
            "Write it as Python's re module takes it, in a raw string; re.escape() quotes a text.",
        )
    if len(text) > LONGEST or repeats(text) > MOST_REPEATS:
        return RuleProblem(
            f"has a pattern that is too large: {text[:100]!r}.",
            f"Write at most {LONGEST} characters, and counts such as {{20}} that come to at most "
            f"{MOST_REPEATS} when multiplied.",
        )
    return None if is_simple(text) else _engine_problem(pattern, text)


def _engine_problem(pattern: Any, text: str) -> RuleProblem | None:
    """What keeps a pattern, which ``re`` takes, from being searched for with a limit."""
    if not has_engine():
        return RuleProblem(
            f"has a pattern that takes the package regex, which is not installed: {text!r}.",
            _ENGINE_HINT,
        )
    try:
        search_for(pattern)
    except Exception as error:
        return RuleProblem(
            f"has a pattern that the package regex does not take: {text!r} ({error}).",
            "It reads what Python's re module reads, with signs of its own: quote { and [ where "
            "they stand for themselves.",
        )
    return None


def _name_problem(pattern: str | re.Pattern[str], name: object) -> RuleProblem | None:
    shown = pattern.pattern if isinstance(pattern, re.Pattern) else pattern
    if not isinstance(name, str) or not name.strip():
        return RuleProblem(
            f"names the group of {shown!r} {name!r}.", f"Write a text that is not empty. {_EXAMPLE}"
        )
    try:
        # A template is looked at whether or not there is something to replace.
        re.sub(pattern, name, "")
    except (re.error, IndexError) as error:
        return RuleProblem(
            f"names the group of {shown!r} {name!r}: {error}.",
            r"Write back-references as \1 or \g<name>, to groups that the pattern has, and a "
            r"backslash of your own as \\.",
        )
    return None
