"""The groups that a project names itself: ``KEY_GROUPS``, regular expressions and their names."""

import logging
import re
import time
from collections.abc import Mapping

from cache_monitor.keys.display import bounded, printable
from cache_monitor.keys.grouping import GROUP_LENGTH
from cache_monitor.patterns.searching import Match, Search, search_for

logger = logging.getLogger("cache_monitor")

LOOKED_AT = 250
"""Characters of a key that a pattern sees: memcached's limit, hence most keys as a whole."""
SLOW = 0.001
"""Seconds of CPU after which a search is slow: most take a thousandth of it."""
ALLOWANCE = 0.02
"""Seconds of CPU that all slow searches for one pattern may take. Each is made twice, to tell them
from what else may fall into one, so that a pattern costs 50 ms in all at most."""


class Rule:
    """A pattern, and the name of the group of the keys that it is found in."""

    def __init__(self, pattern: str | re.Pattern[str], name: str) -> None:
        self.name = name
        self.pattern = pattern.pattern if isinstance(pattern, re.Pattern) else pattern
        self._search: Search = search_for(pattern)
        self._left = ALLOWANCE

    @property
    def has_retired(self) -> bool:
        """Whether its searches have taken all of their time."""
        return self._left <= 0

    def find(self, text: str) -> Match | None:
        """Where the pattern is in ``text``; None as well where that takes longer than it may."""
        match, spent = self._timed(text)
        if spent > SLOW:
            # A collection of the process's garbage may fall into any search; hardly into two.
            match, spent = self._timed(text)
            if spent > SLOW:
                self._take(spent)
        return match

    def _timed(self, text: str) -> tuple[Match | None, float]:
        began = time.thread_time()
        try:
            match = self._search(text, seconds=max(self._left, SLOW))
        except TimeoutError:
            return None, max(time.thread_time() - began, 2 * SLOW)
        return match, time.thread_time() - began

    def _take(self, spent: float) -> None:
        self._left -= spent
        if self.has_retired:
            logger.error(
                "CACHE_MONITOR['KEY_GROUPS']: the pattern %r took more than %.0f ms over keys, so"
                " this process does without it. Anchor it with ^, and write what may not match in"
                " several ways, such as [^:]* instead of .*.",
                self.pattern,
                ALLOWANCE * 1e3,
            )


class ChosenGroups:
    """The rules in their order. Any number of threads may ask at once."""

    def __init__(self, rules: Mapping[str | re.Pattern[str], str]) -> None:
        self._rules = tuple(Rule(*each) for each in rules.items())

    def group_of(self, text: str) -> str | None:
        """The name that goes with the first pattern found in ``text``; None where none is.

        At most 120 printable characters. Never raises.
        """
        text = text[:LOOKED_AT]
        for rule in self._rules:
            match = rule.find(text)
            if rule.has_retired:
                self._rules = tuple(each for each in self._rules if each is not rule)
            if match is not None:
                return bounded(printable(match.expand(rule.name)), GROUP_LENGTH) or None
        return None
