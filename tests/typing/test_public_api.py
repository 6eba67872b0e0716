"""The types that the package ships are those that its users need."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import leave

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as of a project: without the configuration of this one."""
    if find_spec("mypy") is None:
        leave("mypy is not installed")
    directory = tmp_path_factory.mktemp("project")
    (directory / "package").mkdir()
    (directory / "package" / "cache_monitor").symlink_to(ROOT / "cache_monitor")
    return directory


def check(module: str, elsewhere: Path) -> subprocess.CompletedProcess[str]:
    """What mypy says of a module of a project that has the package installed."""
    (elsewhere / module).write_text((HERE / module).read_text())
    # Silent: what is wrong inside the package is for our own run to find.
    argv = ["mypy", "--strict", "--follow-imports", "silent", "--ignore-missing-imports"]
    return subprocess.run(
        [sys.executable, "-m", *argv, "--config-file", "", "--cache-dir", "cache", module],
        cwd=elsewhere,
        env={"PATH": "", "MYPYPATH": str(elsewhere / "package")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_what_a_project_writes_has_the_types_that_it_expects(elsewhere: Path) -> None:
    checked = check("public_api.py", elsewhere)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.slow
def test_mistakes_are_found_on_their_lines(elsewhere: Path) -> None:
    checked = check("mistakes.py", elsewhere)
    found = {int(line) for line in re.findall(r"mistakes\.py:(\d+): error", checked.stdout)}
    lines = (HERE / "mistakes.py").read_text().splitlines()
    assert found == {number for number, line in enumerate(lines, 1) if "# a mistake" in line}
