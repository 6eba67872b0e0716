"""Every command and every piece of code in the documentation is run by a test.

A block between marks that name a test module is run by that module. The others are run here, or
stand in :data:`NOT_RUN` with the reason.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import debug_toolbar.settings
import pytest
from django.core.cache import InvalidCacheBackendError, caches
from django.test import override_settings
from django.utils.module_loading import import_string

from cache_monitor.checks import check_settings
from tests import forked
from tests.docs.pages import ROOT, Block, blocks, executed

NOT_RUN: Final = {
    "python -m pip install --upgrade django-cache-monitor": "There is no release to come from.",
}
"""Commands that no test runs, and why."""

BLOCKS: Final = blocks()
ELSEWHERE: Final = [block for block in BLOCKS if block.runner]
HERE: Final = [block for block in BLOCKS if not block.runner]


def _commands(block: Block) -> list[str]:
    lines = block.code.splitlines()
    assert all(line.startswith("$ ") for line in lines), f"{block}: no prompt before a command"
    return [line.removeprefix("$ ") for line in lines]


RUN_ELSEWHERE: Final = {
    command for block in ELSEWHERE if block.language == "console" for command in _commands(block)
}
COMMANDS: Final = sorted(
    {
        command
        for block in HERE
        if block.language == "console"
        for command in _commands(block)
        if command not in {*NOT_RUN, *RUN_ELSEWHERE}
    }
)


def test_there_are_blocks() -> None:
    assert len(BLOCKS) > 30


@pytest.mark.parametrize("block", ELSEWHERE, ids=str)
def test_the_module_that_a_mark_names_runs_its_blocks(block: Block) -> None:
    assert f'"{block.mark}"' in (ROOT / block.runner).read_text()


@pytest.mark.parametrize("block", HERE, ids=str)
def test_every_other_block_is_of_a_kind_that_is_run_here(block: Block) -> None:
    assert block.language in {"python", "console"}


def test_what_is_not_run_is_still_there() -> None:
    texts = "".join(block.code for block in HERE)
    assert [command for command in NOT_RUN if f"$ {command}\n" not in texts] == []


SETTINGS: Final = """
from tests.settings import *

CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment of a site with one cache, whose tables are there."""
    var = tmp_path_factory.mktemp("site")
    (var / "reader_settings.py").write_text(SETTINGS)
    environment = {
        "CACHE_MONITOR_TEST_VAR": str(var),
        "TMPDIR": str(var),
        "PYTHONPATH": f"{var}{os.pathsep}{ROOT}",
        "DJANGO_SETTINGS_MODULE": "reader_settings",
    }
    forked.printed(["-m", "django", "migrate", "--verbosity", "0"], environment)
    return environment


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs(command: str, site: Mapping[str, str], tmp_path: Path) -> None:
    program, *arguments = shlex.split(command)
    if program == "make":
        # What is made takes its time; that it can be made, and of what, is asked here.
        assert subprocess.check_output(["make", "--dry-run", *arguments], cwd=ROOT)
        return
    assert (program, arguments[0]) == ("python", "manage.py")
    if arguments[1] == "cache_top":
        # Live it needs a terminal: see tests/management/test_cache_top.py.
        arguments.append("--once")
    done = forked.run(["-m", "django", *arguments[1:]], site, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    # What the checks have to say goes to the other stream.
    assert done.stdout + done.stderr or list(tmp_path.iterdir())


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("block", [block for block in HERE if block.language == "python"], ids=str)
def test_a_piece_of_code_does_what_it_is_for(block: Block) -> None:
    names = executed(block.code)
    told = {name: value for name, value in names.items() if not name.startswith("__")}
    unchecked = told.keys() - CHECKS.keys() - {"cache_monitor", "report"}
    assert not unchecked, f"{block}: nothing here looks at {unchecked}"
    for name in told.keys() & CHECKS.keys():
        CHECKS[name](told[name])


def _are_importable(paths: list[str]) -> None:
    assert [path for path in paths if not callable(import_string(path))] == []


def _are_apps(apps: list[str]) -> None:
    assert apps == ["cache_monitor"]


def _is_accepted(conf: dict[str, Any]) -> None:
    with override_settings(CACHE_MONITOR=conf):
        assert check_settings(None) == []


def _can_be_made(entries: dict[str, Any]) -> None:
    with override_settings(CACHES=entries):
        assert check_settings(None) == []
        try:
            assert [caches[alias] for alias in entries]
        except InvalidCacheBackendError as error:
            pytest.fail(str(error))


def _knows_the_toolbar(config: dict[str, Any]) -> None:
    for name, value in config.items():
        assert set(debug_toolbar.settings.CONFIG_DEFAULTS[name]) < set(value)


CHECKS: Final[Mapping[str, Callable[[Any], None]]] = {
    "CACHES": _can_be_made,
    "CACHE_MONITOR": _is_accepted,
    "DEBUG_TOOLBAR_CONFIG": _knows_the_toolbar,
    "DEBUG_TOOLBAR_PANELS": _are_importable,
    "INSTALLED_APPS": _are_apps,
    "MIDDLEWARE": _are_importable,
}
"""For each name that a piece of code makes, what looks whether its value is right."""


def test_the_list_of_commands_is_complete() -> None:
    """``manage.py`` has no command that the documentation does not name."""
    files = (ROOT / "cache_monitor" / "management" / "commands").glob("cache_*.py")
    texts = "".join(path.read_text() for path in ROOT.glob("docs/*.md"))
    assert [path.stem for path in files if not re.search(rf"\b{path.stem}\b", texts)] == []
