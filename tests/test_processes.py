"""What several processes record is all there, to the last call."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


class Site:
    """A project with a database of its own, whose commands run as processes."""

    def __init__(self, var: Path) -> None:
        self.environment: Mapping[str, str] = {
            **os.environ,
            "CACHE_MONITOR_TEST_VAR": str(var),
            "DJANGO_SETTINGS_MODULE": "tests.settings",
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        return out, err

    def stats(self) -> dict[str, Any]:
        out, _ = self.run("django", "cache_stats", "--format", "json")
        report: dict[str, Any] = json.loads(out)
        return report

    def calls(self) -> dict[str, int]:
        operations = self.stats()["caches"]["default"]["operations"]
        return {name: each["calls"] for name, each in operations.items()}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.run("django", "migrate", "--verbosity", "0")
    return site


@pytest.mark.slow
def test_two_processes_with_four_threads_each_lose_no_call(site: Site) -> None:
    processes = [site.start("tests.programs.hammer", "threads", "10000") for _ in range(2)]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
    report = site.stats()
    operations = report["caches"]["default"]["operations"]
    assert {name: each["calls"] for name, each in operations.items()} == {
        "get": 40_000,
        "set": 40_000,
    }
    assert operations["get"]["hits"] + operations["get"]["misses"] == 40_000
    assert report["quality"]["processes"] == 2
    assert report["quality"]["dropped_calls"] == 0


def test_a_program_that_ends_at_once_loses_nothing(site: Site) -> None:
    site.run("tests.programs.hammer", "main", "10")
    assert site.calls() == {"get": 5, "set": 5}


def test_forked_workers_record_too_and_count_nothing_of_their_parents(site: Site) -> None:
    site.run("tests.programs.hammer", "fork", "200")
    assert site.calls() == {"get": 300, "set": 300}
    assert site.stats()["quality"]["processes"] == 3


def test_the_workers_of_a_pool_lose_nothing(site: Site) -> None:
    site.run("tests.programs.hammer", "pool", "200")
    assert site.calls() == {"get": 400, "set": 400}


def test_without_the_table_the_program_works_and_says_once_what_to_do(tmp_path: Path) -> None:
    _, err = Site(tmp_path).run("tests.programs.hammer", "threads", "1000")
    assert err.count("run manage.py migrate") == 1
    assert "Traceback" not in err
