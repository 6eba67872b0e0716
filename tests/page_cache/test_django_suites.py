"""Django's own tests of what the monitor wraps pass with it as they pass without."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Final

import django
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.at_once("processes", longest=True)]

ROOT: Final = Path(__file__).resolve().parents[2]
SUITES: Final = ("cache", "middleware", "csrf_tests", "sessions_tests", "decorators")
PROCESSES: Final = 4
"""They sleep most of the time, and so does nobody else's core."""
OUTCOME: Final = re.compile(r"^(?:FAIL|ERROR): .+|^Ran \d+ tests|^(?:OK|FAILED) .*", re.MULTILINE)
FOUND: Final = r"^Found (\d+) test"
RAN: Final = r"^Ran (\d+) tests"
SKIPPED: Final = r"^(?:OK|FAILED) .*skipped=(\d+)"
RECORDS: Final = "The monitor wraps"
MONITORED: Final = f'''
import __main__
import atexit

from test_sqlite import *  # What Django's own tests run with.

__main__.ALWAYS_INSTALLED_APPS.append("cache_monitor")


@atexit.register
def say_what_is_wrapped():
    from django.core.cache.backends.locmem import LocMemCache
    from django.middleware.cache import FetchFromCacheMiddleware

    from cache_monitor.instrument.install import is_ours

    get, fetch = LocMemCache.get, FetchFromCacheMiddleware.process_request
    print("{RECORDS}", is_ours(get), hasattr(fetch, "__wrapped__"))
'''


def _fetch_source(directory: Path) -> Path:
    """The Django that is installed here, with its tests, which only its sources bring."""
    wanted = ["--no-deps", "--no-binary", ":all:", f"Django=={django.get_version()}"]
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(directory), *wanted]
    subprocess.run(argv, check=True)
    (archive,) = directory.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(directory, filter="data")
    (source,) = directory.glob("*/tests")
    return source


def _run(source: Path, settings: str, modules: Path) -> str:
    chosen = [f"--settings={settings}", f"--parallel={PROCESSES}", "--noinput", *SUITES]
    done = subprocess.run(
        [sys.executable, "runtests.py", *chosen],
        cwd=source,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(modules), str(ROOT)])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


def _number(pattern: str, printed: str) -> int:
    found = re.search(pattern, printed, re.MULTILINE)
    assert found is not None, printed
    return int(found[1])


def test_django_s_own_suites_of_caches_and_middleware_pass_as_without_the_monitor(
    tmp_path: Path,
) -> None:
    source = _fetch_source(tmp_path)
    (tmp_path / "monitored.py").write_text(MONITORED)
    monitored = _run(source, "monitored", tmp_path)

    assert f"{RECORDS} True True" in monitored
    found, ran, skipped = (_number(each, monitored) for each in (FOUND, RAN, SKIPPED))
    assert found > 1500
    # Python 3.12.1 does not count those that are skipped.
    assert ran in {found, found - skipped}
    if not re.search(r"^OK ", monitored, re.MULTILINE):
        # What fails without it too is the machine's: root may write where a test may not.
        bare = _run(source, "test_sqlite", tmp_path)
        assert OUTCOME.findall(monitored) == OUTCOME.findall(bare), monitored
