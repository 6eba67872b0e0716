"""What several processes record is all there, to the last call."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests import forked
from tests.services import LOOPBACK, free_port, run_process, run_server, wait_for_group
from tests.waiting import until

pytestmark = pytest.mark.at_once("processes")

ROOT = Path(__file__).resolve().parent.parent
MIXED_CALLS = int(os.environ.get("CACHE_MONITOR_MIXED_CALLS", "1200"))
"""Calls of each of the 32 threads; what is promised is CACHE_MONITOR_MIXED_CALLS=50004."""


class Site:
    """A project with a database of its own, whose commands run as processes."""

    def __init__(self, var: Path, settings: str = "tests.settings") -> None:
        self.environment: Mapping[str, str] = {
            **os.environ,
            "CACHE_MONITOR_TEST_VAR": str(var),
            "DJANGO_SETTINGS_MODULE": settings,
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=1200)
        assert process.returncode == 0, err
        return out, err

    def manage(self, *arguments: str) -> str:
        """What a command of Django's prints."""
        return forked.printed(["-m", "django", *arguments], self.environment)

    def stats(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.manage("cache_stats", "--format", "json"))
        return report

    def calls(self) -> dict[str, int]:
        return calls_in(self.stats())


def calls_in(report: dict[str, Any]) -> dict[str, int]:
    operations = report["caches"]["default"]["operations"]
    return {name: each["calls"] for name, each in operations.items()}


@pytest.mark.slow
def test_two_processes_with_four_threads_each_lose_no_call(tmp_path: Path) -> None:
    site = Site(tmp_path)
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


def test_a_program_that_ends_at_once_loses_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.run("tests.programs.hammer", "main", "10")
    assert site.calls() == {"get": 5, "set": 5}


def test_forked_workers_record_too_and_count_nothing_of_their_parents(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.run("tests.programs.hammer", "fork", "200")
    report = site.stats()
    assert calls_in(report) == {"get": 300, "set": 300}
    assert report["quality"]["processes"] == 3


def test_the_workers_of_a_pool_lose_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.run("tests.programs.hammer", "pool", "200")
    assert site.calls() == {"get": 400, "set": 400}


def test_without_the_table_the_program_works_and_says_once_what_to_do(tmp_path: Path) -> None:
    site = Site(tmp_path, "tests.stores.site")
    store = {"BACKEND": "cache_monitor.stores.database.DatabaseStore"}
    given = {"CACHE_MONITOR": {"STORE": store}, "DATABASES": {}}
    site.environment = {**site.environment, "CACHE_MONITOR_TEST_SETTINGS": json.dumps(given)}
    _, err = site.run("tests.programs.hammer", "threads", "1000")
    assert err.count("run manage.py migrate") == 1
    assert "Traceback" not in err


@pytest.mark.slow
def test_eight_forked_processes_of_four_threads_lose_no_operation(tmp_path: Path) -> None:
    site = Site(tmp_path)
    _, err = site.run("tests.programs.hammer", "mixed", str(MIXED_CALLS))
    assert not err
    report = site.stats()
    rounds = 32 * (MIXED_CALLS // 12)
    found = {
        name: (each["calls"], each["keys"], each["hits"], each["misses"], each["errors"])
        for name, each in report["caches"]["default"]["operations"].items()
    }
    assert found == {
        "get_or_set": (rounds + 32, rounds + 32, rounds, 32, 0),
        "set": (rounds, rounds, None, None, 0),
        "get": (2 * rounds, 2 * rounds, rounds, rounds, 0),
        "get_many": (rounds, 2 * rounds, rounds, rounds, 0),
        "set_many": (rounds, rounds, None, None, 0),
        "add": (rounds, rounds, None, None, 0),
        "incr": (rounds, rounds, None, None, 0),
        "touch": (rounds, rounds, None, None, 0),
        "has_key": (rounds, rounds, None, None, 0),
        "delete": (rounds, rounds, None, None, 0),
        "delete_many": (rounds, 2 * rounds, None, None, 0),
    }
    assert report["quality"]["processes"] == 8
    assert report["quality"]["dropped_calls"] == 0


@pytest.mark.parametrize("forked_by", ["child", "forkserver"])
def test_a_child_of_multiprocessing_loses_nothing(tmp_path: Path, forked_by: str) -> None:
    site = Site(tmp_path)
    site.run("tests.programs.hammer", forked_by, "200")
    assert site.calls() == {"get": 100, "set": 100}


@pytest.mark.slow
def test_a_thousand_concurrent_tasks_lose_nothing_and_count_nothing_twice(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.run("tests.programs.hammer", "tasks", "8")
    assert site.calls() == {"set": 2000, "get": 4000, "get_or_set": 2000}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["gevent", "gevent-late"])
def test_greenlets_that_share_a_cache_lose_nothing_and_count_nothing_twice(
    how: str, tmp_path: Path
) -> None:
    site = Site(tmp_path)
    _need("gevent")
    _, errors = site.run("tests.programs.hammer", how, "40")
    assert "Traceback" not in errors
    assert site.calls() == {"get_or_set": 1000, "get": 1000, "delete": 1000, "get_many": 1000}


@pytest.mark.slow
def test_a_killed_process_loses_no_more_than_its_last_flush_interval(tmp_path: Path) -> None:
    site = Site(tmp_path, settings="tests.programs.impatient")
    process = site.start("tests.programs.hammer", "forever", "100")
    assert process.stdout is not None
    made = 100 * len(process.stdout.read(10))
    # Drained every half second and flushed as often, each perhaps late on a busy machine.
    until(lambda: sum(site.calls().values()) >= made)
    process.kill()
    written = made + 100 * len(process.communicate(timeout=60)[0])
    assert made <= sum(site.calls().values()) <= written + 100
    out, _ = site.run("tests.programs.later", "600")
    assert json.loads(out) == {"processes": 1, "cut off": 1}


def _need(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")


def _ask(url: str) -> str:
    for _ in range(20):
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310
                return str(answer.read().decode())
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--max-requests", "10"), ("--preload", "--threads", "4")])
def test_gunicorns_workers_lose_nothing_when_they_end(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    site = Site(tmp_path)
    _need("gunicorn")
    address = f"{LOOPBACK}:{free_port()}"
    argv = [sys.executable, "-m", "gunicorn", "tests.programs.web:application", "-w", "2"]
    argv += ["-b", address, "--no-control-socket", *options]
    with run_server(argv, site.environment, f"http://{address}/", cwd=ROOT) as server:
        workers = {_ask(f"http://{address}/") for _ in range(40)}
        server.process.send_signal(signal.SIGTERM)
        wait_for_group(server.process)
    if "--max-requests" in options:
        assert len(workers) > 2
    answers = (tmp_path / "answers").stat().st_size
    # The first is the one that found that the server answers.
    assert answers >= 41
    assert site.calls() == {"set": answers, "get": 2 * answers}


@pytest.mark.slow
@pytest.mark.parametrize("program", ["web", "warm"])
@pytest.mark.parametrize("options", [(), ("--lazy-apps",)], ids=["preforked", "lazy"])
def test_uwsgis_workers_lose_nothing_when_they_end(
    tmp_path: Path, program: str, options: tuple[str, ...]
) -> None:
    """Python is not told of its forks, which are made in C: before the first call, or after the
    draining thread has begun in the parent."""
    site = Site(tmp_path)
    uwsgi = Path(sys.executable).with_name("uwsgi")
    if not uwsgi.exists():
        pytest.skip("uwsgi is not installed (pip install uWSGI, which takes a compiler)")
    address = f"{LOOPBACK}:{free_port()}"
    argv = [str(uwsgi), "--http-socket", address, "--module", f"tests.programs.{program}"]
    argv += ["--master", "--processes", "2", "--enable-threads", "--die-on-term", *options]
    with run_server(argv, site.environment, f"http://{address}/", cwd=ROOT) as server:
        for _ in range(40):
            _ask(f"http://{address}/")
        ends = time.monotonic() + 60
        # uWSGI itself forgets to end a worker that is still loading its own application.
        while server.output.count("ready in") < (2 if options else 1) and time.monotonic() < ends:
            time.sleep(0.1)
        server.process.send_signal(signal.SIGTERM)
        wait_for_group(server.process)
        # Who looks whether the server answers, and gives up too soon, is answered all the same.
        pages = server.output.count("GET / =>")
    assert pages > 40
    calls = site.calls()
    assert (calls["set"], calls["get"]) == (pages, 2 * pages)


@pytest.mark.slow
def test_celerys_workers_lose_nothing_when_they_end(tmp_path: Path) -> None:
    """Some because they have done their share of tasks, the others because of a SIGTERM."""
    site = Site(tmp_path)
    _need("celery")
    site.run("tests.programs.tasks")
    argv = [sys.executable, "-m", "celery", "-A", "tests.programs.tasks", "worker"]
    argv += ["-P", "prefork", "-c", "2", "--without-gossip", "--without-mingle"]
    argv += ["--max-tasks-per-child", "2"]

    def are_done() -> bool:
        return len(list(tmp_path.glob("done-*"))) == 10

    with run_process(argv, are_done, env=site.environment, cwd=ROOT, deadline=60) as worker:
        worker.process.send_signal(signal.SIGTERM)
        wait_for_group(worker.process)
    assert site.calls() == {"set": 500, "get": 500}
