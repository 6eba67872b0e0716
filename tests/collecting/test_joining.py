"""What is joined to the collector, and what is said where a part of it cannot work."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from django.core.cache import caches
from django.test import override_settings

import cache_monitor
from cache_monitor.collecting import joining
from cache_monitor.ledger import Ledger, Miss


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def ledger(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """The ledger of this process, as it is opened at ``path``."""
    opened: list[Ledger] = []

    def open_once() -> Ledger:
        opened.extend([] if opened else [Ledger(path, slots=64)])
        return opened[0]

    monkeypatch.setattr(joining, "open_ledger", open_once)
    yield open_once()
    opened[0].close()


def test_with_a_ledger_that_works_there_is_no_problem(ledger: Ledger) -> None:
    ledger.judge([Miss("shared", "key", 1, 1.0)])
    assert joining.reasons_problem() is None


def test_of_a_ledger_that_cannot_be_used_it_is_said_why(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path.touch(mode=0o666)
    path.chmod(0o666)
    ledger = Ledger(path, slots=64)
    monkeypatch.setattr(joining, "open_ledger", lambda: ledger)
    problem = joining.reasons_problem()
    assert problem is not None
    assert f"{path}: other users may read or write it" in problem
    ledger.judge([Miss("shared", "key", 1, 1.0)])
    assert len(caplog.records) == 1
    ledger.close()


def test_of_a_ledger_that_was_damaged_it_is_said_how_long_that_matters(
    ledger: Ledger, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.judge([Miss("shared", "key", 1, 1.0)])
    path.write_bytes(b"damage")
    for _ in range(3):
        ledger.judge([Miss("shared", "key", 1, 1.0)])
    problem = joining.reasons_problem()
    assert problem is not None
    assert "partly unknown" in problem
    assert len(caplog.records) == 1


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Ledger]]:
    """The ledgers that were opened by :func:`joining.open_ledger`, which has none yet."""
    made: list[Ledger] = []
    monkeypatch.setattr(joining, "_opening", joining._Opening())
    yield made
    for ledger in made:
        ledger.close()


def test_many_threads_that_ask_first_at_once_open_one_ledger(
    opened: list[Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_slowly(path: Path | None) -> Ledger:
        begun.wait()
        opened.append(Ledger(None, slots=8))
        return opened[-1]

    begun = Event()
    monkeypatch.setattr(joining, "Ledger", open_slowly)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(joining.open_ledger) for _ in range(4)]
        begun.set()
    assert {ledger.result() for ledger in asked} == {*opened}
    assert len(opened) == 1


def test_a_signals_handler_that_asks_while_one_is_opened_gets_the_one_that_stays(
    opened: list[Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_interrupted(path: Path | None) -> Ledger:
        opened.append(Ledger(None, slots=8))
        if len(opened) == 1:
            handled.append(joining.open_ledger())
        return opened[0] if handled else opened[-1]

    handled: list[Ledger] = []
    monkeypatch.setattr(joining, "Ledger", open_interrupted)
    assert joining.open_ledger() is handled[0] is opened[1]
    assert joining.open_ledger() is handled[0]


@override_settings(CACHE_MONITOR={"ENABLED": False})
def test_who_is_switched_off_opens_no_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "open_ledger", lambda: pytest.fail("opened"))
    assert joining.reasons_problem() is None


def test_calls_of_a_cache_that_the_settings_have_no_longer_are_counted_all_the_same() -> None:
    memory = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}
    backend = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    joining.collector.stop()
    joining.collector.after_fork()
    with override_settings(CACHE_MONITOR=memory):
        with override_settings(CACHES={"default": backend, "gone": backend}):
            caches["gone"].set("a", 1)
            caches["gone"].get("a")
        caches["default"].get("a")
        report = cache_monitor.report(alias="default")
        aliases = {alias for alias, _ in joining.collector._intake.delivery.aggregator.parts()}
    joining.collector.stop()
    joining.collector.after_fork()
    assert report.caches["default"].operations["get"].calls == 1
    assert aliases == {"default", "gone"}
