"""Patterns mean what they mean to Redis."""

import time

import pytest

from cache_monitor.ledger.patterns import matches, may_match


@pytest.mark.parametrize(
    ("pattern", "key", "is_one"),
    [
        ("user:*", "user:1", True),
        ("user:*", "page:1", False),
        ("*:1", "user:1", True),
        ("*", "", True),
        ("", "a", False),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("a[bc]d", "abd", True),
        ("a[^b]d", "abd", False),
        ("a[^b]d", "acd", True),
        ("a[a-c]*", "abzz", True),
        ("[z-a]", "m", True),
        (r"a\*b", "a*b", True),
        (r"a\*b", "axb", False),
        (r"[\]]", "]", True),
        ("a*b*c", "axxbyyc", True),
        ("a*b*c", "acb", False),
        ("*a*a", "aa", True),
        ("*a*a", "a", False),
        ("a.c", "abc", False),
        ("x[", "x[", True),
        ("a\nb*", "a\nbc", True),
    ],
)
def test_a_pattern_means_these_keys(pattern: str, key: str, is_one: bool) -> None:
    assert matches(pattern, key) is is_one


def test_of_a_pattern_that_was_cut_the_sure_part_tells_who_is_out() -> None:
    assert may_match("user:", "user:1")
    assert not may_match("user:", "page:1")
    assert may_match("user:[ab", "user:c")
    assert not may_match("user:[ab", "page:c")


def test_no_pattern_takes_for_ever() -> None:
    """One that backtracks over every star would not end in the lifetime of the machine."""
    started = time.process_time()
    assert not matches("*a" * 40 + "b", "a" * 512)
    assert time.process_time() - started < 60
