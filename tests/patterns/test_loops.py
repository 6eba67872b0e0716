"""How much work regular expressions may make."""

import re
import time
from math import inf

import pytest

from cache_monitor.keys.chosen import LOOKED_AT
from cache_monitor.patterns import loops
from cache_monitor.patterns.loops import degree
from cache_monitor.patterns.rules import MOST_WORK


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a+)+$",
        r"(?:a*)*b",
        r"(a|aa)+$",
        r"(?:a?a)+b",
        r"(?:a+b?)+c",
        r"(x+x+)+y",
        r"((?:ab)*)*c",
        r"(?:.+:)+x",
        r"(?:\w+?)+:",
        r"(?>(a+)+b)",
        r"(?=(a+)+b)",
        r"(?i)(?:a+A)+$",
        r"(?i)(?:ab|AB)+c",
        r"(q)?(?(1)(?:a+)+b|c)",
    ],
)
def test_a_round_that_may_end_in_several_places_may_take_for_ever(pattern: str) -> None:
    assert degree(re.compile(pattern)) == inf


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"^search:", 0),
        (r"search:", 1),
        (r"(?m)^search:", 1),
        (r"\Asearch:.*", 0),
        (r"^user:\d+", 0),
        (r"^user:\d+$", 1),
        (r"^([^:]+):([^:]+):([^:]+):([^:]+):(\d+)", 0),
        (r"^(\w+)-([0-9]+)[a-z]+\d", 0),
        (r"^(.*):(.*):(.*):", 3),
        (r"^(.*):(.*):(.*):(.*)$", 4),
        (r".*a.*a.*a.*b", 5),
        (r"^(?:\w+:)+\d", 1),
        (r"^(?:[a-z-]+/)*#", 1),
        (r"^(?:[a-z]+-?)x", 1),
        (r"^(?:foo|bar|quux)+!", 1),
        (r"^(?:[a-z]|[0-9])+!", 0),
        (r"^(?:\w++)+x", 1),
        (r"^(?>a+)b", 0),
        (r"^(?:a.*b|c.*d.*e)f", 2),
        (r"^(?:a+){2}b", 2),
        (r"^(?:[a-f0-9]{2}:){5}[a-f0-9]{2}$", 0),
        (r"^\w{1,8}\w{1,8}x", 0),
        (r"^(?=.*a)b", 1),
        (r"^(a)?(?(1).*b|c)", 1),
    ],
)
def test_the_work_grows_with_the_repetitions_that_may_end_anywhere(
    pattern: str, expected: int
) -> None:
    assert degree(re.compile(pattern)) == expected


@pytest.mark.parametrize(
    "pattern", [r"^(?:\w+:)+x$", r"^(?:[a-z-]+/)*#", r"(?:foo|bar)+!", r"(?:\w++)+x", r"(?>a+|b)*c"]
)
@pytest.mark.parametrize("text", ["a:" * 125, "a-/" * 83, "foobar" * 41, "a" * 250, "ab" * 125])
def test_what_is_let_pass_is_soon_done_with_a_text_that_nearly_fits(
    pattern: str, text: str
) -> None:
    began = time.thread_time()
    re.search(pattern, text)
    # An exponential one takes longer than the universe has lasted.
    assert time.thread_time() - began < 1


def test_without_the_engines_own_parser_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "import_module", lambda name: object())
    assert degree(re.compile("(a+)+$")) == 0


def test_the_most_work_that_is_let_pass_takes_less_than_a_second_or_two() -> None:
    pattern = re.compile(".*a.*a.*b")
    assert degree(pattern) == MOST_WORK
    began = time.thread_time()
    assert pattern.search("a" * LOOKED_AT) is None
    assert time.thread_time() - began < 3
