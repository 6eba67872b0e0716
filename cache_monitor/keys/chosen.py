"""The groups that a project names itself: ``KEY_GROUPS``, regular expressions and their names."""

import logging
import re
import time
from collections.abc import Mapping
from typing import NamedTuple

from cache_monitor.keys.display import bounded, printable
from cache_monitor.keys.grouping import GROUP_LENGTH

logger = logging.getLogger("cache_monitor")

LOOKED_AT = 250
"""Characters of a key that a pattern sees: memcached's limit, hence most keys as a whole."""
PATIENCE = 0.05
"""Seconds of CPU that one key may take; no other thread of the process runs meanwhile."""


class Rule(NamedTuple):
    """A pattern and the name of the group of the keys that it is found in."""

    pattern: re.Pattern[str]
    name: str


class ChosenGroups:
    """The rules in their order. Any number of threads may ask at once."""

    def __init__(self, rules: Mapping[str | re.Pattern[str], str]) -> None:
        self._rules = tuple(Rule(re.compile(pattern), name) for pattern, name in rules.items())

    def group_of(self, text: str) -> str | None:
        """The name that goes with the first pattern found in ``text``; None where none is.

        At most 120 printable characters. Never raises.
        """
        rules = self._rules
        if not rules:
            return None
        text = text[:LOOKED_AT]
        began = time.thread_time()
        slowest, match, name = _first_found(rules, text)
        if time.thread_time() - began > PATIENCE:
            self._retire_if_slow(slowest, text)
        if match is None:
            return None
        return bounded(printable(match.expand(name)), GROUP_LENGTH) or None

    def _retire_if_slow(self, slow: Rule, text: str) -> None:
        """Do without a rule that holds the process up, if it was the rule and not a collection
        of the process's garbage."""
        began = time.thread_time()
        slow.pattern.search(text)
        spent = time.thread_time() - began
        if spent <= PATIENCE:
            return
        self._rules = tuple(rule for rule in self._rules if rule is not slow)
        logger.error(
            "CACHE_MONITOR['KEY_GROUPS']: the pattern %r took %.0f ms for one key, so this process"
            " does without it. Anchor it with ^, and write what may not match in several ways,"
            " such as [^:]* instead of .*.",
            slow.pattern.pattern,
            spent * 1e3,
        )


def _first_found(rules: tuple[Rule, ...], text: str) -> tuple[Rule, re.Match[str] | None, str]:
    """The rule that took longest, the first match, and the name that goes with it."""
    slowest, longest, before = rules[0], 0.0, time.perf_counter()
    for rule in rules:
        match = rule.pattern.search(text)
        now = time.perf_counter()
        if now - before > longest:
            slowest, longest = rule, now - before
        before = now
        if match is not None:
            return slowest, match, rule.name
    return slowest, None, ""
