"""``make demo`` with several processes, with ASGI, with services: real HTTP, real Ctrl-C."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conftest import find_or_leave
from tests.demo_site.made import installed, made, refused
from tests.demo_site.site import Demo, Visitor
from tests.demo_site.test_counts import calls, stats_after_gets
from tests.services import MEMCACHED, REDIS, Server, free_port

MADE_BY: Final = re.compile(r"process,? (\d+)")
REQUEST_ID: Final = re.compile(r'data-request-id="(\w+)"')
VISITS: Final = 40
DEADLINE: Final = 60.0

pytestmark = [pytest.mark.slow, pytest.mark.at_once("demo")]


def process_of(page: str) -> int:
    found = MADE_BY.search(page)
    assert found is not None, page[-500:]
    return int(found[1])


def visit(url: str, times: int) -> Counter[int]:
    """Visits of one product, each over a connection of its own, by the process that answered."""
    answers = Counter[int]()
    for _ in range(times):
        answer = Visitor(url).get("/products/7/")
        assert answer.status == 200
        answers[process_of(answer.visible_text)] += 1
    return answers


def visit_until_several_answer(url: str) -> Counter[int]:
    """At least VISITS, and until two processes have answered: the system gives each connection to
    whichever process is awake first."""
    answers = visit(url, VISITS)
    ends = time.monotonic() + DEADLINE
    while len(answers) < 2:
        assert time.monotonic() < ends, f"one process answers all: {answers}"
        answers += visit(url, 1)
    return answers


def assert_reported(demo: Demo, answers: Counter[int]) -> None:
    """One report has the calls of all; each process had to fill a local memory of its own."""
    stats: dict[str, Any] = stats_after_gets(demo, answers.total())
    assert calls(stats, "get") == answers.total()
    assert calls(stats, "set") == stats["misses"] == len(answers)


def assert_files_are_served(url: str) -> None:
    for name in ("shop/shop.css", "admin/css/base.css", "cache_monitor/dashboard/dashboard.css"):
        answer = Visitor(url).get(f"/static/{name}")
        assert (answer.status, answer.headers.get_content_type()) == (200, "text/css"), name


def assert_any_process_opens_the_panel(url: str) -> None:
    """The toolbar asks for it by a second request, over whatever connection."""
    found = REQUEST_ID.search(Visitor(url).get("/products/8/").text)
    assert found is not None
    query = f"request_id={found[1]}&panel_id=CacheMonitorPanel"
    for _ in range(10):
        answer = Visitor(url).get(f"/__debug__/render_panel/?{query}")
        assert "product:8" in answer.text


@pytest.mark.parametrize(
    "choices",
    [{"WORKERS": "3"}, {"WORKERS": "2", "ASGI": "1"}],
    ids=" ".join,
)
def test_the_calls_of_all_processes_are_in_one_report(
    prepared_demo: Demo, tmp_path: Path, choices: dict[str, str]
) -> None:
    own_demo = prepared_demo.copy(tmp_path / "var")
    with made(own_demo, installed(tmp_path), TRAFFIC="0", **choices) as running:
        answers = visit_until_several_answer(running.url)
        assert_reported(own_demo, answers)
        assert_files_are_served(running.url)
        assert_any_process_opens_the_panel(running.url)
        output = running.interrupt()

    assert f"{choices['WORKERS']} processes" in output
    assert "Traceback" not in output


def test_one_process_serves_asgi(prepared_demo: Demo, tmp_path: Path) -> None:
    own_demo = prepared_demo.copy(tmp_path / "var")
    with made(own_demo, installed(tmp_path), TRAFFIC="0", ASGI="1") as running:
        answers = visit(running.url, 5)
        assert_reported(own_demo, answers)
        assert_files_are_served(running.url)
        assert "uvicorn from one process" in running.visitor().get("/").visible_text
        output = running.interrupt()

    assert len(answers) == 1
    assert "Traceback" not in output


def test_without_a_choice_the_development_server_serves(
    prepared_demo: Demo, tmp_path: Path
) -> None:
    own_demo = prepared_demo.copy(tmp_path / "var")
    with made(own_demo, installed(tmp_path), TRAFFIC="0") as running:
        assert "runserver from one process" in running.visitor().get("/").visible_text
        output = running.interrupt()

    assert "Ctrl-C ends it" in output
    assert "Traceback" not in output


def test_services_and_traffic_go_with_workers_and_end_with_them(
    prepared_demo: Demo, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    own_demo = prepared_demo.copy(tmp_path / "var")
    find_or_leave(REDIS, pytestconfig)
    find_or_leave(MEMCACHED, pytestconfig)
    with made(own_demo, installed(tmp_path), WORKERS="2", SERVICES="1") as running:
        visitor = running.visitor()
        for alias in ("redis", "redis-builtin", "memcached"):
            visitor.get(f"/backends/{alias}/")
            answer = visitor.get(f"/backends/{alias}/")
            assert "12 of 12 prices were in the cache" in answer.visible_text, alias
        # The visitors of the traffic come by themselves.
        stats_after_gets(own_demo, 5)
        output = running.interrupt()

    assert "gunicorn, 2 processes" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("WORKERS=0", "WORKERS is a whole number from 1 to 32, not '0'"),
        ("WORKERS=many", "WORKERS is a whole number from 1 to 32, not 'many'"),
        ("WORKERS=-2", "WORKERS is a whole number from 1 to 32, not '-2'"),
        ("WORKERS=33", "WORKERS is a whole number from 1 to 32, not '33'"),
        ("ASGI=yes", "ASGI is 0 or 1, not 'yes'"),
        ("SERVICES=2", "SERVICES is 0 or 1, not '2'"),
        ("TRAFFIC=lots", "TRAFFIC is 0 or 1, not 'lots'"),
        ("PORT=65536", "PORT is a whole number from 1 to 65535, not '65536'"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_an_example(
    prepared_demo: Demo, tmp_path: Path, choice: str, said: str
) -> None:
    name, _, value = choice.partition("=")
    output = refused(prepared_demo, installed(tmp_path), free_port(), **{name: value})

    assert said in output
    assert f"For example: make demo {name}=" in output


def test_a_server_that_is_not_installed_is_named(prepared_demo: Demo, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(empty)], check=True)
    venv = installed(tmp_path, str(empty / "bin" / "python"))
    output = refused(prepared_demo, venv, free_port(), ASGI="1")

    assert "ASGI=1 needs uvicorn, which is not installed" in output


def test_a_port_that_is_taken_is_named(
    prepared_demo: Demo, tmp_path: Path, redis_server: Server
) -> None:
    output = refused(prepared_demo, installed(tmp_path), redis_server.port)

    assert f"Something listens on port {redis_server.port} already" in output
