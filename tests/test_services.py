"""What the tests' own servers do where a test run does not end as it should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import find_or_leave
from tests.services import LOOPBACK, REDIS, Server, answers_line, free_port
from tests.stores.conftest import wait_until

ROOT = Path(__file__).resolve().parents[1]
RUN = """
import sys, time
from tests.services import run_redis
with run_redis(sys.argv[1]) as server:
    print(server.port, flush=True)
    time.sleep(600)
"""
PORTS = """
from tests.services import free_port
print(*[free_port() for _ in range(50)], flush=True)
input()
"""


def test_a_run_that_is_killed_leaves_no_server_behind(pytestconfig: pytest.Config) -> None:
    redis = find_or_leave(REDIS, pytestconfig)
    argv = [sys.executable, "-c", RUN, redis]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        server = Server("redis", LOOPBACK, int(run.stdout.readline()))
        assert answers_line(server, b"PING", b"+PONG")
        run.kill()
    wait_until(lambda: not answers_line(server, b"PING", b"+PONG"))


def test_no_port_is_given_to_two_runs() -> None:
    argv = [sys.executable, "-c", PORTS]
    runs = [
        subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    given = [free_port() for _ in range(50)]
    for run in runs:
        assert run.stdout is not None
        given += map(int, run.stdout.readline().split())
    for run in runs:
        run.communicate("\n")
    assert len(given) == len(set(given)) == 200
