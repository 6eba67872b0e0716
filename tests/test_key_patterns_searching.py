"""Which patterns take a package to search for them with a limit."""

import pytest

from cache_monitor.key_patterns import is_simple, repeats, search_for


@pytest.mark.parametrize(
    "pattern", ["^search:", r"^tenant:(\w+):", "(?i)^A", "^(?:user|account|team):", "[0-9]{32}$"]
)
def test_a_pattern_with_one_repetition_or_a_few_alternatives_is_simple(pattern: str) -> None:
    assert is_simple(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+",
        "(?:a|aa)+",
        "(?:a|a)" * 7,
        r"^(\w+):(\w+)",
        "a?a?",
        ".*:.*:x",
        "a{2}{3}",
        "(?=a+)b*",
    ],
)
def test_every_other_pattern_is_not(pattern: str) -> None:
    assert not is_simple(pattern)


@pytest.mark.parametrize(
    ("pattern", "product"),
    [("a", 1), ("a{3}b{4}", 12), ("(a{,5}){2,}", 10), ("a{0}", 1), ("a{2,7}", 7), ("{x}", 1)],
)
def test_counts_are_multiplied(pattern: str, product: int) -> None:
    assert repeats(pattern) == product


@pytest.mark.parametrize("pattern", ["^(?:a|aa)+$", r"^(([a-z])+.)+[A-Z]([a-z])+$", "(a+)+$c"])
def test_a_search_that_would_take_for_ever_is_stopped(pattern: str) -> None:
    with pytest.raises(TimeoutError):
        search_for(pattern)("a" * 250 + "!", 0.001)
