"""A row that somebody has tampered with, or that a fault wrote, is skipped and counted: whatever
stands in it, every face answers."""

import math
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import msgspec
import pytest
from django.core.cache import caches
from django.test import Client, override_settings
from django.urls import reverse

import cache_monitor
from cache_monitor.dashboard.views import PAGES
from cache_monitor.exporters import json
from cache_monitor.findings import history
from cache_monitor.findings.history import Mute, Sighting
from cache_monitor.scan.schedule import ScanState, stored_states
from cache_monitor.scan.snapshot import (
    FreedWithin,
    LargestEntry,
    MemoryGroup,
    ProcessTotals,
    Snapshot,
    StaleEntry,
    Sums,
)
from cache_monitor.stats.codec import encode
from cache_monitor.stats.details import Details
from cache_monitor.stats.hot_keys import HotKeys
from cache_monitor.stats.sketches import Histogram
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Kind, Row, get_store
from cache_monitor.worker.rollup import roll_up
from tests.anew import begin_anew

ODD: list[object] = [1e300, math.inf, -math.inf, math.nan, -1, -1e12, 2**63, 2**64 - 1, "x", None]
ODD += [[], {}, b"\xff" * 9, True, -(2**63)]
MEMORY = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}
LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
NOW = int(time.time())
START = NOW // 60 * 60 - 120


def _window() -> Window:
    window = Window(START, 10, newest=NOW - 60.0, processes={1}, final=True)
    window.bytes_read, window.bytes_written, window.memory_bytes = 1, 1, 1
    window.reasons, window.evictions, window.own_memory = {"expired": 1}, 1, {1: 1}
    get = window.operation("get")
    get.calls = get.keys = get.misses = 1
    get.seconds = get.slowest = 0.1
    get.times = Histogram({5: 1})
    return window


def _details() -> Details:
    details = Details(START, 60, HotKeys(10), 10, uses=1, final=True)
    details.hot_keys.entry("key", "key").count(False, True, 1)
    group = details.group("key", "key")
    group.count(False, True, 1, "key")
    group.reasons, group.ages, group.bytes_read, group.produced = {"expired": 1}, {5: 1}, 1, 1
    details.view("view").requests = 1
    return details


def _look(scope: Any = "shared") -> Snapshot:
    sample = StaleEntry(
        key="key", group="key", why=["idle"], age=1.0, idle=1.0, expires_in=1.0, bytes=1
    )
    return Snapshot(
        alias="default",
        measured_at=NOW - 1.0,
        scope=scope,
        examined=1,
        entries=1,
        bytes=1,
        limit_bytes=1,
        limit_entries=1,
        evictions=1,
        groups=[MemoryGroup(group="key", entries=1, bytes=1)],
        largest=[LargestEntry(key="key", bytes=1)],
        expired=1,
        idle=1,
        never_read=1,
        no_expiry=1,
        stale_bytes=1,
        stale=[sample],
        freed_within=FreedWithin(minute=1, hour=1, day=1, never=1),
        processes=[ProcessTotals(measured_at=NOW - 1.0, entries=1, bytes=1)],
    )


def _progress() -> ScanState:
    sums = Sums(examined=1, scanned=1, sized=1, bytes=1, groups={"key": [1, 1]}, counts={"idle": 1})
    return ScanState(scanned_at=NOW - 1.0, sums=sums, whole=_look())


def _seen() -> Sighting:
    return Sighting(NOW - 60.0, NOW - 1.0)


def _mute() -> Mute:
    return Mute("no-expiry", "default", None, None, "admin", "known", NOW - 1.0)


ROWS: dict[str, tuple[Kind, Callable[[], msgspec.Struct], int, int]] = {
    "window": ("window", _window, START, 10),
    "details": ("details", _details, START, 60),
    "look": ("scan", _look, 0, 1),
    "look of a process": ("scan", lambda: _look("per process"), 0, 1),
    "progress": ("scan", _progress, 1, 1),
    "sighting": ("finding", _seen, 0, 0),
    "mute": ("finding", _mute, 0, 1),
}
"""For each type of row its kind, a sound value, and where it stands."""


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every part of ``value``."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _places(each, (*path, key))
    elif isinstance(value, list):
        for at, each in enumerate(value):
            yield from _places(each, (*path, at))


def _tampered(sound: bytes) -> Iterator[bytes]:
    """``sound`` with each of its parts as something odd, one after the other."""
    whole = msgspec.msgpack.decode(sound[1:])
    for path in _places(whole):
        for odd in ODD:
            other = deepcopy(whole)
            *way, last = path
            place = other
            for step in way:
                place = place[step]
            place[last] = odd
            yield sound[:1] + msgspec.msgpack.encode(other)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    with override_settings(CACHES={"default": LOCMEM}, CACHE_MONITOR=MEMORY):
        begin_anew()
        yield
        begin_anew()
        caches["default"].clear()


def _rows(name: str) -> Iterator[Row]:
    kind, make, start, seconds = ROWS[name]
    for number, payload in enumerate(_tampered(encode(make()))):
        yield Row(kind, f"p{number}", "default", start, seconds, payload)


@pytest.mark.parametrize("name", ROWS)
def test_a_sound_row_is_no_corrupt_one(name: str) -> None:
    kind, make, start, seconds = ROWS[name]
    get_store().put([Row(kind, "p", "default", start, seconds, encode(make()))], NOW)
    assert cache_monitor.report().quality.corrupt_windows == 0


@pytest.mark.parametrize("name", ROWS)
def test_the_report_is_made_whatever_one_row_says(name: str) -> None:
    store = get_store()
    for row in _rows(name):
        store.put([row], NOW)
        json.encode(cache_monitor.report())
        stored_states(store)
        history.read(store)
        store.replace([row], [], NOW)


@pytest.mark.django_db
@pytest.mark.parametrize("name", ROWS)
def test_every_page_is_shown_whatever_all_rows_say(name: str, admin_client: Client) -> None:
    get_store().put([*_rows(name)], NOW)
    for page in PAGES:
        asked = {"alias": "default", "key": "key"} if page == "entry" else {}
        answer = admin_client.get(reverse(f"admin:cache_monitor_{page}"), asked)
        assert answer.status_code == 200, page
    answer = admin_client.get(reverse("admin:cache_monitor_stats_json"))
    assert answer.status_code == 200
    if name in {"window", "details", "scan"}:
        assert answer.json()["quality"]["corrupt_windows"] > 0
    roll_up(get_store(), NOW + 200 * 86400)


@pytest.mark.django_db
@pytest.mark.parametrize("timeout", [math.inf, 1e300, -math.inf, math.nan])
def test_any_timeout_that_django_allows_is_shown(timeout: float, admin_client: Client) -> None:
    caches["default"].set("key", "value", timeout=timeout)
    caches["default"].get("key")
    assert cache_monitor.flush()
    for page in PAGES:
        asked = {"alias": "default", "key": "key"} if page == "entry" else {}
        answer = admin_client.get(reverse(f"admin:cache_monitor_{page}"), asked)
        assert answer.status_code == 200, page
    json.encode(cache_monitor.report())
