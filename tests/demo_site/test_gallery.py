"""Every planted fault is found, with the right keys; the shop beside it has no finding."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from cache_monitor.findings.engine import RULES
from tests.demo_site.shoppers import SESSIONS, Shopper, categories_of, report_of, running_site
from tests.demo_site.site import Demo, RunningDemo, Visitor
from tests.services import Server

FINDINGS_DEADLINE: Final = 60.0
POLL_INTERVAL: Final = 0.5
OLD_AFTER: Final = 8.0
SEEN_AGAIN_AFTER: Final = 2.0

Found = set[tuple[str, str, str | None]]
"""Code, alias and group."""


def findings_of(demo: Demo) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = report_of(demo)["findings"]
    return found


def found_in(demo: Demo) -> Found:
    return {(each["code"], each["alias"], each["group"]) for each in findings_of(demo)}


def faults_of(demo: Demo) -> list[dict[str, Any]]:
    """The gallery's faults as the demo knows them."""
    code = (
        "import json; from gallery.faults import FAULTS;"
        "print(json.dumps([[f.code, f.alias, f.group] for f in FAULTS.values()]))"
    )
    done = demo.manage("shell", "--verbosity", "0", "--command", code)
    assert done.returncode == 0, done.stderr
    return [
        {"code": code, "alias": alias, "group": group}
        for code, alias, group in json.loads(done.stdout)
    ]


def commit(visitor: Visitor, code: str) -> None:
    answer = visitor.submit(f"/gallery/{code}/", f"/gallery/{code}/commit/")
    assert answer.status == 200, code


@pytest.mark.slow
@pytest.mark.at_once("demo", longest=True)
def test_every_fault_of_the_gallery_is_found_once_and_nothing_else(
    prepared_demo: Demo, tmp_path: Path
) -> None:
    faults = faults_of(prepared_demo)
    assert {each["code"] for each in faults} == RULES.keys() - {"local-memory-many-processes"}
    # A DummyCache is a mistake where DEBUG is off.
    demo = prepared_demo.copy(tmp_path / "var", DEMO_DEBUG="0", DEMO_AGED_AFTER=str(OLD_AFTER))
    with demo.running(ready="/gallery/") as gallery:
        visitor = gallery.visitor()
        commit(visitor, "aged-content")
        for fault in faults:
            if fault["code"] != "aged-content":
                commit(visitor, fault["code"])
        time.sleep(OLD_AFTER)
        commit(visitor, "aged-content")

        expected = {(each["code"], each["alias"], each["group"]) for each in faults}
        ends = time.monotonic() + FINDINGS_DEADLINE
        while (found := found_in(demo)) != expected and time.monotonic() < ends:
            time.sleep(POLL_INTERVAL)
    assert found == expected


@pytest.mark.at_once("demo")
def test_the_gallery_shows_a_page_for_each_fault(running_demo: RunningDemo) -> None:
    visitor = running_demo.visitor()
    listed = visitor.get("/gallery/").text
    for fault in faults_of(running_demo.demo):
        page = f"/gallery/{fault['code']}/"
        assert f'href="{page}"' in listed
        assert "Make this mistake" in visitor.get(page).text
    assert visitor.get("/gallery/no-such-fault/").status == 404
    assert visitor.get("/gallery/no-expiry/commit/").status == 405


@pytest.mark.slow
@pytest.mark.at_once("demo", longest=True)
def test_local_memory_of_two_processes_is_found(prepared_demo: Demo, tmp_path: Path) -> None:
    """They must have been seen together for half a minute, and have made a hundred lookups."""
    demo = prepared_demo.copy(tmp_path / "var", DEMO_DEBUG="0")
    with demo.running(ready="/gallery/") as one, demo.running(ready="/gallery/") as other:
        visitors = [one.visitor(), other.visitor()]
        ends = time.monotonic() + 2 * FINDINGS_DEADLINE
        while not (found := found_in(demo)) and time.monotonic() < ends:
            for product in range(1, 11):
                for visitor in visitors:
                    assert visitor.get(f"/products/{product}/").status == 200
            time.sleep(SEEN_AGAIN_AFTER)
    assert found == {("local-memory-many-processes", "default", None)}


VISITORS: Final = 4
VISITS: Final = 300
VISITS_IN_DEBUG: Final = 100
"""With the toolbar, which takes its time for each."""


SHOPS: Final = {"one process": ("0", False), "debug": ("1", False), "workers": ("0", True)}
"""Whether DEBUG is on, and whether four gunicorn workers with Redis serve."""
LATER: Final = 12.0
"""Seconds after the last visit until a scan of the caches, and the reasons of the last misses, are
there."""


def _visit(running: RunningDemo, each: int) -> int:
    """Let all visitors come at once, each so often; how many visits that were."""
    categories = categories_of(running.demo)

    def come(seed: int) -> None:
        shopper = Shopper(running.visitor(), seed, categories)
        for _ in range(each):
            shopper.visit()

    with ThreadPoolExecutor(VISITORS) as threads:
        list(threads.map(come, range(VISITORS)))
    return VISITORS * each


@pytest.mark.slow
@pytest.mark.at_once("demo", longest=True)
@pytest.mark.parametrize("shop", SHOPS)
def test_a_healthy_shop_has_no_finding(
    prepared_demo: Demo, redis_server: Server, tmp_path: Path, shop: str
) -> None:
    """Sessions, cached pages, fragments, querysets and get-then-set, by several at once, in one
    process or in four gunicorn workers with Redis; what an hour of a small shop brings, in a
    minute: each mistake costs sixty times its share of time. The hour itself:
    ``python -m tests.demo_site.shoppers``."""
    debug, is_shared = SHOPS[shop]
    demo = prepared_demo.copy(tmp_path / "var", **SESSIONS, DEMO_DEBUG=debug)
    with running_site(demo, redis_server.url if is_shared else "") as running:
        visits = _visit(running, VISITS_IN_DEBUG if debug == "1" else VISITS)
        time.sleep(LATER)
        report = report_of(running.demo)
    assert sum(each["lookups"] for each in report["caches"].values()) > visits / 2
    assert report["findings"] == []
