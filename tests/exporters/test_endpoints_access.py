"""Tokens, and what the settings hold of them."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import call_command
from django.test import RequestFactory, override_settings

from cache_monitor.conf import problems
from cache_monitor.endpoints import bearer_token, digest, is_known, make_token


def test_a_token_is_known_by_its_digest() -> None:
    token = make_token()
    with override_settings(CACHE_MONITOR={"EXPORT_TOKENS": [digest("other"), digest(token)]}):
        assert is_known(token)
        assert is_known("other")
        assert not is_known(digest(token))
        assert not is_known("")


def test_without_digests_no_token_is_known() -> None:
    assert not is_known("")
    assert not is_known("anything")


def test_tokens_differ() -> None:
    assert len({make_token() for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Basic abc", None),
        ("Bearer", ""),
        ("", None),
        ("Bearer ä", "ä"),
    ],
)
def test_the_token_of_a_request(header: str, token: str | None) -> None:
    assert bearer_token(RequestFactory().get("/", headers={"Authorization": header})) == token


def test_the_command_makes_a_token_that_its_own_line_lets_in() -> None:
    out = StringIO()
    call_command("cache_token", stdout=out)
    token, known = (line.rpartition(": ")[2].strip('"') for line in out.getvalue().splitlines())
    with override_settings(CACHE_MONITOR={"EXPORT_TOKENS": [known]}):
        assert is_known(token)


@pytest.mark.parametrize("value", ["a", ["token-in-the-clear"], [5], None, ["A" * 64], ["a" * 63]])
def test_what_is_no_digest_is_a_problem_that_shows_nothing_of_it(value: object) -> None:
    [problem] = problems({"EXPORT_TOKENS": value})
    assert "token-in-the-clear" not in problem.message + problem.hint
    assert "manage.py cache_token" in problem.hint


def test_digests_are_no_problem() -> None:
    assert not list(problems({"EXPORT_TOKENS": [digest("a"), digest("b")]}))
    assert list(problems({"EXPORT_TOKENS": [digest("a"), digest("a")]}))
