"""The patterns of ``KEY_GROUPS``: the groups that they name, with a time limit, and their faults.

Python's ``re`` cannot be stopped: it tries every way to divide a text among the repetitions of a
pattern, and no other thread of the process runs meanwhile. The package ``regex``, which reads the
same patterns, can. Patterns with one repetition at most have little to divide and need no package.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple

logger = logging.getLogger("cache_monitor")

LONGEST = 1000
"""Characters of a pattern."""
MOST_REPEATS = 1000
"""The greatest product of a pattern's counts, such as ``{20}``: ``regex`` writes them out."""
EXTRA = "django-cache-monitor[key-groups]"

_GROUP_SIGN = re.compile(r"\(\?")
_REPETITION = re.compile(r"[*+?{]")
_COUNT = re.compile(r"\{(\d*)(?:,(\d*))?\}")
_MOST_ALTERNATIVES = 6
_FLAGS = ("ASCII", "DOTALL", "IGNORECASE", "MULTILINE", "VERBOSE")


Search = Callable[[str, float], re.Match[str] | None]
"""Finds the first match in a text. Raises ``TimeoutError`` after so many seconds."""


def search_for(pattern: str | re.Pattern[str]) -> Search:
    """A search for ``pattern``. Raises ``ImportError`` where it needs ``regex`` and that is not
    installed."""
    compiled = re.compile(pattern)
    if is_simple(compiled.pattern):
        return lambda text, _: compiled.search(text)
    engine: Any = import_module("regex")
    # The numbers of the flags differ between the modules.
    flags = sum(getattr(engine, name) for name in _FLAGS if compiled.flags & getattr(re, name))
    limited = engine.compile(compiled.pattern, flags)
    return lambda text, seconds: limited.search(text, timeout=seconds)


def is_simple(text: str) -> bool:
    """Whether the pattern ``text`` can match in few ways only, by its special characters alone."""
    signs = _GROUP_SIGN.sub("(", text)
    repetitions, alternatives = len(_REPETITION.findall(signs)), signs.count("|")
    if repetitions:
        return repetitions == 1 and not alternatives
    return alternatives <= _MOST_ALTERNATIVES


def repeats(text: str) -> int:
    """The product of the counts of the pattern ``text``."""
    product = 1
    for least, most in _COUNT.findall(text):
        product *= max(int(least or 0), int(most or 0), 1)
    return product


SEARCHED_LENGTH = 250
"""Characters of a key that a pattern gets: memcached's limit, hence most whole keys."""
SLOW = 0.001
"""Seconds of CPU after which a search is slow: most take a thousandth of it."""
ALLOWANCE = 0.02
"""Seconds of CPU for all slow searches of one pattern. Each is repeated to exclude other causes, so
that a pattern costs 50 ms at most."""


class Rule:
    """A pattern, and the name of the group of matching keys."""

    def __init__(self, pattern: str | re.Pattern[str], name: str) -> None:
        self.name = name
        self.pattern = pattern.pattern if isinstance(pattern, re.Pattern) else pattern
        self._search = search_for(pattern)
        self._left = ALLOWANCE

    @property
    def has_retired(self) -> bool:
        """Whether its searches have used their allowance."""
        return self._left <= 0

    def find(self, text: str) -> re.Match[str] | None:
        """The match in ``text``; None as well after a timeout."""
        match, spent = self._timed(text)
        if spent > SLOW:
            # A garbage collection may slow one search, hardly two.
            match, spent = self._timed(text)
            if spent > SLOW:
                self._take(spent)
        return match

    def _timed(self, text: str) -> tuple[re.Match[str] | None, float]:
        began = time.thread_time()
        try:
            match = self._search(text, max(self._left, SLOW))
        except TimeoutError:
            return None, max(time.thread_time() - began, 2 * SLOW)
        return match, time.thread_time() - began

    def _take(self, spent: float) -> None:
        self._left -= spent
        if self.has_retired:
            logger.error(
                "CACHE_MONITOR['KEY_GROUPS']: the pattern %r took more than %.0f ms over keys, so"
                " this process no longer uses it. Anchor it with ^, and write what may not match in"
                " several ways, such as [^:]* instead of .*.",
                self.pattern,
                ALLOWANCE * 1e3,
            )


class ChosenGroups:
    """The rules in their order. Thread-safe."""

    def __init__(self, rules: Mapping[str | re.Pattern[str], str]) -> None:
        self._rules = tuple(Rule(*each) for each in rules.items())

    def group_of(self, text: str) -> str | None:
        """The name of the first matching pattern, or None."""
        text = text[:SEARCHED_LENGTH]
        for rule in self._rules:
            match = rule.find(text)
            if rule.has_retired:
                self._rules = tuple(each for each in self._rules if each is not rule)
            if match is not None:
                return match.expand(rule.name) or None
        return None


MOST_RULES = 100
"""Each may be tried for each new key."""

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
    """Why a pattern that ``re`` takes cannot be searched for with a time limit."""
    try:
        search_for(pattern)
    except ImportError:
        return RuleProblem(
            f"has a pattern that takes the package regex, which is not installed: {text!r}.",
            _ENGINE_HINT,
        )
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
        # The template is parsed even where nothing is replaced.
        re.sub(pattern, name, "")
    except (re.error, IndexError) as error:
        return RuleProblem(
            f"names the group of {shown!r} {name!r}: {error}.",
            r"Write back-references as \1 or \g<name>, to groups that the pattern has, and a "
            r"backslash of your own as \\.",
        )
    return None
