"""However many keys pass, and however large they are, the monitor's memory has its limits."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def _grown(load: str, switch: str, tmp_path: Path) -> float:
    done = subprocess.run(
        [sys.executable, "-m", "tests.programs.bounds", load, switch],
        cwd=ROOT,
        env={**os.environ, "CACHE_MONITOR_TEST_VAR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout.split()[0])


@pytest.mark.slow
@pytest.mark.at_once("processes")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize(
    ("load", "most"),
    [("keys", 150), ("many", 150), ("long", 50), ("large", 50), ("odd", 100), ("failing", 100)],
)
def test_memory_stays_within_its_limits(load: str, most: int, tmp_path: Path) -> None:
    """The limits are in MiB above what the same load takes without the monitor."""
    bare = _grown(load, "off", tmp_path) if load == "large" else 0.0
    assert _grown(load, "on", tmp_path) - bare < most
