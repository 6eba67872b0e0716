"""The demo's own commands."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from tests.demo_site.site import NOBODY, Demo, RunningDemo
from tests.forked import DEADLINE
from tests.services import kill, start

pytestmark = pytest.mark.at_once("demo")

SHOP_TABLES: Final = ("shop_category", "shop_product", "shop_review", "shop_article")
SUMMARY: Final = re.compile(r"^(\d+) requests, (\d+) errors$", re.MULTILINE)


def shop_rows(demo: Demo) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(demo.var / "demo.sqlite3")) as database:
        return {
            table: database.execute(f"SELECT * FROM {table} ORDER BY id").fetchall()  # noqa: S608
            for table in SHOP_TABLES
        }


def test_seeding_gives_a_shop_of_some_thousand_rows(prepared_demo: Demo) -> None:
    counts = {table: len(rows) for table, rows in shop_rows(prepared_demo).items()}

    assert counts["shop_product"] == 2000
    assert counts["shop_review"] == 6000


def test_seeding_twice_changes_nothing(prepared_demo: Demo, tmp_path: Path) -> None:
    own_demo = prepared_demo.copy(tmp_path / "var")
    before = shop_rows(own_demo)
    again = own_demo.manage("demo_seed")

    assert again.returncode == 0
    assert "already" in again.stdout
    assert shop_rows(own_demo) == before


@pytest.mark.slow
def test_seeding_makes_the_same_shop_everywhere(prepared_demo: Demo, tmp_path: Path) -> None:
    own_demo = prepared_demo.copy(tmp_path / "var")
    emptied = own_demo.manage("flush", "--no-input")
    seeded = own_demo.manage("demo_seed")

    assert (emptied.returncode, seeded.returncode) == (0, 0), seeded.stderr
    assert shop_rows(own_demo) == shop_rows(prepared_demo)


@pytest.mark.slow
def test_the_admin_login_is_printed_and_can_be_made_again(
    prepared_demo: Demo, tmp_path: Path
) -> None:
    own_demo = prepared_demo.copy(tmp_path / "var")
    done = own_demo.manage("demo_admin")

    assert done.returncode == 0
    assert "admin with the password admin" in done.stdout


def test_the_admin_login_is_refused_where_debug_is_off(prepared_demo: Demo, tmp_path: Path) -> None:
    own_demo = prepared_demo.copy(tmp_path / "var")
    done = own_demo.manage("demo_admin", DEMO_DEBUG="0")

    assert done.returncode != 0
    assert "DEBUG" in done.stderr


def test_the_project_passes_its_checks_with_and_without_debug(prepared_demo: Demo) -> None:
    for debug in ("0", "1"):
        done = prepared_demo.manage("check", "--fail-level", "ERROR", DEMO_DEBUG=debug)
        assert done.returncode == 0, done.stderr


def test_the_models_have_their_migrations(prepared_demo: Demo) -> None:
    done = prepared_demo.manage("makemigrations", "shop", "--check", "--dry-run")

    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_traffic_visits_the_site_and_stops_by_itself(running_demo: RunningDemo) -> None:
    done = running_demo.demo.manage(
        "demo_traffic", "--base-url", running_demo.url, "--seconds", "2", "--rate", "20"
    )
    summary = SUMMARY.search(done.stdout)

    assert done.returncode == 0, done.stderr
    assert summary is not None
    assert 1 <= int(summary[1]) <= 40
    assert int(summary[2]) == 0
    assert re.search(r"^ +\d+  product$", done.stdout, re.MULTILINE)


VISITS: Final = """
from itertools import islice
from shop.management.commands.demo_traffic import popular_first
from shop.traffic import Visitors
for seed in {seeds}:
    for visit in islice(Visitors(popular_first(), seed), 500):
        print(visit.page, visit.path, visit.form)
"""


def visits(demo: Demo, *seeds: int) -> list[str]:
    done = demo.manage("shell", "--verbosity", "0", "--command", VISITS.format(seeds=seeds))
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_the_same_seed_sends_the_same_visits(prepared_demo: Demo) -> None:
    first, other = visits(prepared_demo, 7), visits(prepared_demo, 7, 8)

    assert len(first) == 500
    assert other[:500] == first
    assert len(other) == 1000
    assert other[500:] != first


def test_traffic_fails_when_no_server_answers(prepared_demo: Demo) -> None:
    done = prepared_demo.manage(
        "demo_traffic", "--base-url", f"http://{NOBODY}", "--seconds", "1", "--wait", "0.3"
    )

    assert done.returncode != 0
    assert "No answer" in done.stderr


def test_traffic_that_is_interrupted_still_sums_up(running_demo: RunningDemo) -> None:
    traffic = start(
        running_demo.demo.command("demo_traffic", "--base-url", running_demo.url),
        env=running_demo.demo.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert traffic.stdout is not None
        # The first progress: from here on the interrupt finds it at work.
        while traffic.stdout.read(1) != ",":
            assert traffic.poll() is None
        traffic.send_signal(signal.SIGINT)
        output, errors = traffic.communicate(timeout=DEADLINE)
    finally:
        kill(traffic)

    assert traffic.returncode == 0, errors
    assert "Stopped." in output
    assert SUMMARY.search(output)
    assert "Traceback" not in errors
