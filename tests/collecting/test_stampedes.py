"""Who produces what somebody else produces meanwhile does so in vain, in whatever process."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cache_monitor.collecting.production import Produced
from cache_monitor.collecting.stampedes import MOST_WAITING, Stampedes
from cache_monitor.collecting.telling import Facts
from cache_monitor.ledger import Busy, Ledger, Production
from tests.services import Server
from tests.test_processes import Site

NOW = 1_700_000_000.0
SHARED = Facts(space="redis", default_timeout=300, version=1)


class BusyLedger(Ledger):
    """One that others hold for as long as ``is_busy``."""

    is_busy = True

    def note_produced(self, produced: Sequence[Production]) -> list[bool]:
        if self.is_busy:
            raise Busy
        return super().note_produced(produced)


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    ledger = Ledger(None, slots=8)
    yield ledger
    ledger.close()


def _process(ledger: Ledger, **facts: Any) -> Stampedes:
    known = SHARED._replace(**facts)
    return Stampedes(ledger, lambda alias: None if alias == "dummy" else known)


def _made(key: str = "rush", alias: str = "default") -> Produced:
    return Produced(alias, key, NOW, 1.0)


def test_what_two_processes_produce_at_once_one_of_them_produced_in_vain(ledger: Ledger) -> None:
    one, other = _process(ledger), _process(ledger)
    one.hear(_made(), None, NOW, NOW + 1)
    other.hear(_made(), None, NOW + 0.5, NOW + 1.5)
    assert [*other.in_vain()] == []
    assert [*one.in_vain()] == [_made()]
    assert [*one.in_vain()] == []


def test_what_each_process_has_for_itself_each_must_produce(ledger: Ledger) -> None:
    for process in ("one", "other"):
        own = _process(ledger, space=f"locmem {process}", is_own=True)
        own.hear(_made(), None, NOW, NOW + 1)
        assert [*own.in_vain()] == []


def test_a_version_is_the_same_whether_it_is_given_or_the_caches_own(ledger: Ledger) -> None:
    stampedes = _process(ledger)
    for version in (None, 1, "1", 2):
        stampedes.hear(_made(), version, NOW, NOW + 1)
    assert [*stampedes.in_vain()] == [_made()] * 2


def test_entries_under_another_prefix_are_other_entries(ledger: Ledger) -> None:
    for prefix in ("", "shop", "blog"):
        stampedes = _process(ledger, prefix=prefix)
        stampedes.hear(_made(), None, NOW, NOW + 1)
        assert [*stampedes.in_vain()] == []


def test_a_cache_that_stores_nothing_is_passed_over(ledger: Ledger) -> None:
    stampedes = _process(ledger)
    for _ in range(2):
        stampedes.hear(_made(alias="dummy"), None, NOW, NOW + 1)
    assert [*stampedes.in_vain()] == []


def test_what_the_ledger_is_too_busy_for_waits() -> None:
    ledger = BusyLedger(None, slots=8)
    stampedes = _process(ledger)
    for _ in range(3):
        stampedes.hear(_made(), None, NOW, NOW + 1)
    assert [*stampedes.in_vain()] == []
    ledger.is_busy = False
    assert [*stampedes.in_vain()] == [_made()] * 2
    ledger.close()


def test_endlessly_many_productions_wait_in_bounded_memory() -> None:
    ledger = BusyLedger(None, slots=8)
    stampedes = _process(ledger)
    for number in range(MOST_WAITING + 10):
        stampedes.hear(_made(str(number % 5)), None, NOW, NOW + 1)
    ledger.is_busy = False
    assert len([*stampedes.in_vain()]) == MOST_WAITING - 5
    ledger.close()


def _found(site: Site, backend: str, way: str) -> dict[str, Any]:
    """The group of the key that four forked workers have asked for."""
    site.run("django", "migrate", "--verbosity", "0")
    out, err = site.run("tests.programs.rush", backend, way)
    assert err == ""
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["redis", "files"])
@pytest.mark.parametrize(
    ("way", "produced", "in_vain", "codes"),
    [
        ("at-once", 24, 18, ["stampede"]),
        ("get-or-set", 24, 18, ["stampede"]),
        ("all-of-many", 48, 36, ["stampede"]),
        ("in-turn", 24, 0, []),
        ("one-for-all", 6, 0, []),
    ],
)
def test_four_workers_stampede_where_they_do_not_wait_for_each_other(
    redis_server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
    way: str,
    produced: int,
    in_vain: int,
    codes: list[str],
) -> None:
    """Six rounds, in each of which the entry is gone, and four who miss it: three of them need
    not have produced it."""
    monkeypatch.setitem(os.environ, "SERVER", redis_server.url)
    found = _found(Site(tmp_path), backend, way)
    assert (found["produced"], found["in_vain"]) == (produced, in_vain)
    assert found["codes"] == codes


@pytest.mark.slow
def test_workers_with_a_memory_each_do_not_stampede(tmp_path: Path) -> None:
    found = _found(Site(tmp_path), "locmem", "at-once")
    assert (found["produced"], found["in_vain"]) == (24, 0)
