"""The figures that the monitor gives for known visits."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

import pytest

from tests.demo_site.site import Demo

FIGURES_DEADLINE: Final = 30.0
POLL_INTERVAL: Final = 0.2


def caches_of(demo: Demo) -> dict[str, dict[str, Any]]:
    """The figures of each cache."""
    done = demo.manage("cache_stats", "--format", "json")
    assert done.returncode == 0, done.stderr
    caches: dict[str, dict[str, Any]] = json.loads(done.stdout)["caches"]
    return caches


def calls(stats: dict[str, Any], operation: str) -> int:
    return int(stats.get("operations", {}).get(operation, {}).get("calls", 0))


def stats_after_gets(demo: Demo, count: int) -> dict[str, Any]:
    """The figures of “default” once that many gets have reached the store."""
    ends = time.monotonic() + FIGURES_DEADLINE
    while calls(stats := caches_of(demo).get("default", {}), "get") < count:
        assert time.monotonic() < ends, f"only {stats} reached the store"
        time.sleep(POLL_INTERVAL)
    return stats


@pytest.mark.slow
@pytest.mark.at_once("demo")
def test_fifty_visits_of_a_product_are_fifty_gets_and_one_set_of_one_cache(
    prepared_demo: Demo, tmp_path: Path
) -> None:
    own_demo = prepared_demo.copy(tmp_path / "var")
    with own_demo.running() as running:
        visitor = running.visitor()
        for _ in range(50):
            assert visitor.get("/products/42/").status == 200
        stats = stats_after_gets(own_demo, 50)
    caches = caches_of(own_demo)

    assert [alias for alias, each in caches.items() if each["operations"]] == ["default"]
    assert {operation: counts["calls"] for operation, counts in stats["operations"].items()} == {
        "get": 50,
        "set": 1,
    }
    assert (stats["lookups"], stats["hits"], stats["misses"]) == (50, 49, 1)
    assert stats["operations"]["get"]["hits"] == 49
    assert stats["operations"]["get"]["misses"] == 1
    assert stats["hit_ratio"] == 0.98
