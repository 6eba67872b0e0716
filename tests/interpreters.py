"""What runs on every interpreter, and what is enough to run once in a CI run.

Where several interpreters are tried one after the other (``.ci/run``, ``nox``), one of them runs
everything and the others leave out what does not depend on them: ``-m "not once"``.
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import django
import pytest

HERE: Final = Path(__file__).parent
ONCE_DIRECTORIES: Final = {HERE / name for name in ("demo_site", "packaging", "typing")}
"""The demo and its commands, the distributions (which are installed on the oldest and the newest
Python anyway), and the types."""
ONCE_FIXTURES: Final = {"axe_script", "built"}
"""The look of every page and the built documentation. Modules and tests say ``once`` besides."""

REPORT: Final = "TESTS_RAN"
"""The environment's name of a file to which a run adds what it ran."""


def mark_once(item: pytest.Item) -> None:
    if item.path.parent in ONCE_DIRECTORIES or ONCE_FIXTURES & set(
        getattr(item, "fixturenames", ())
    ):
        item.add_marker("once")


def is_once(item: Any) -> bool:
    """Of a test, or of a report of one."""
    return "once" in item.keywords


def told(stats: dict[str, list[Any]], left: int) -> list[str]:
    """What ran here, and how much of what runs once was left to another run."""
    ran = Counter(map(is_once, _ran(stats)))
    return [
        f"Python {platform.python_version()}, Django {django.get_version()}:"
        f" {ran[False]} tests of those for every interpreter, {ran[True]} of those for one;"
        f" {left or 'none'} of the latter left to another run."
    ]


def _ran(stats: dict[str, list[Any]]) -> Iterable[Any]:
    return [each for outcome in ("passed", "failed") for each in stats.get(outcome, [])]


def note(lines: list[str]) -> None:
    """Add it to the file that the environment names, if it names one."""
    if REPORT in os.environ:
        with Path(os.environ[REPORT]).open("a") as file:
            file.writelines(f"{line}\n" for line in lines)
