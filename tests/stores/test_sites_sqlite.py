"""The site's own SQLite file is the site's alone: no transaction of it fails, no value is lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ITERATIONS = 150
"""Of each kind; ``python -m tests.programs.sqlite_loop --seconds 3600`` goes on for an hour."""


@pytest.mark.parametrize("mode", ["", "IMMEDIATE"])
@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_transaction_that_reads_and_then_writes_never_fails(
    journal: str, mode: str, tmp_path: Path
) -> None:
    arguments = ["--iterations", str(ITERATIONS), "--seconds", "600", "--flush-interval", "0.1"]
    arguments += ["--journal", journal, "--mode", mode]
    done = subprocess.run(
        [sys.executable, "-m", "tests.programs.sqlite_loop", *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "iterations": ITERATIONS,
        "failed": 0,
        "lost": 0,
        "missing": 0,
        "flushed": True,
        "recorded": ITERATIONS,
    }
