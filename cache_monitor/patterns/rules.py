"""What is wrong with the patterns and names of ``KEY_GROUPS``, and what to write instead."""

import re
from collections.abc import Iterator, Mapping
from math import inf
from typing import NamedTuple

from cache_monitor.patterns.loops import degree

MOST_RULES = 100
"""Every one of them may be tried for every new key."""
MOST_WORK = 4
"""The power of a key's length that a pattern's work may grow with: a quarter of a second at worst,
for the 250 characters that it sees. With a power more it is eight seconds."""

_EXAMPLE = r'Write a dict such as {r"^tenant:(\w+):": r"tenant \1"}.'
_ENDLESS_HINT = (
    "A repetition inside a repetition, or alternatives that begin alike in one, can match in many "
    r"ways. Write the inner part so that it matches in one: \w++ instead of \w+, (?>one|other) "
    "instead of (?:one|other)."
)
_LONG_HINT = (
    "Repetitions one after another can divide a key among them in many ways. Anchor the pattern "
    "with ^, and write [^:]* instead of .* where a : follows."
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
        compiled = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        return RuleProblem(
            f"has a pattern that is no regular expression: {text!r} ({error}).",
            "Write it as Python's re module takes it, in a raw string; re.escape() quotes a text.",
        )
    work = degree(pattern if isinstance(pattern, re.Pattern) else compiled)
    if work > MOST_WORK:
        return RuleProblem(
            f"has a pattern that may take {'for ever' if work == inf else 'very long'}: {text!r}.",
            _ENDLESS_HINT if work == inf else _LONG_HINT,
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
