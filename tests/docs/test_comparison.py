"""What the comparison says of other tools is what they do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import DOCS, ROOT
from tests.packaging.sites import create_environment, run

TOOLS = ROOT / "tests" / "docs" / "tools.py"
AS_THEY_ARE = {
    "get": None,
    "get with a default": None,
    "get_or_set": "made",
    "get_many": ["none"],
}
"""What the calls give without any tool."""


def ask(tool: str, python: str = sys.executable) -> tuple[Any, Any]:
    """What the calls gave beside the tool, and what it told of them."""
    done = subprocess.run(
        [python, str(TOOLS), tool],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": ""},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return answer["given"], answer["told"]


def test_ours_counts_what_was_called_and_takes_a_stored_none_for_a_hit() -> None:
    assert ask("ours") == (
        AS_THEY_ARE,
        # Calls, hits, misses.
        {"set": [1, 0, 0], "get": [2, 2, 0], "get_or_set": [1, 0, 1], "get_many": [1, 1, 1]},
    )


def test_the_toolbar_takes_a_stored_none_for_a_miss_and_a_value_just_made_for_a_hit() -> None:
    given, (counts, hits, misses) = ask("toolbar")
    assert given == AS_THEY_ARE
    assert counts == {"set": 1, "get": 2, "get_or_set": 1, "get_many": 1}
    # The get with a default, the get_or_set, one key; the plain get, one key.
    assert (hits, misses) == (3, 2)


def test_sentry_makes_spans_of_the_calls_inside() -> None:
    pytest.importorskip("sentry_sdk")
    given, spans = ask("sentry")
    assert given == AS_THEY_ARE
    assert spans == [
        ["none", False],
        ["none", True],
        # Of the get_or_set: before it makes the value, and after, with the value as the default.
        ["made", False],
        ["made", False],
        ["none, no", True],
        ["none", True],
        ["no", False],
    ]


@pytest.mark.slow
def test_django_prometheus_counts_gets_and_gives_the_default_for_a_stored_none(
    tmp_path: Path,
) -> None:
    python = create_environment(tmp_path / "environment", ["prometheus-client"])
    # Alone, for it does not declare every Django that it works on.
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    run([*pip, "django-prometheus"], tmp_path)
    given, (gets, hits, misses) = ask("prometheus", str(python))
    # A get_many of LocMemCache gets with a default of its own, to tell what is not there.
    assert given == {**AS_THEY_ARE, "get with a default": "default", "get_many": []}
    # Two gets, two of the get_or_set, two of the get_many.
    assert (gets, hits, misses) == (6, 1, 5)


def test_the_page_says_so() -> None:
    text = (DOCS / "comparison.md").read_text()
    assert "| a `get` of a stored `None` | hit | miss; a hit with a default | miss |" in text
    assert "| what it gives with a default | `None` | `None` | the default | `None` |" in text
    assert "| a `get_or_set` that makes its value | one operation, a miss | one, a hit |" in text
