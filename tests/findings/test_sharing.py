"""What is stored once is found once, however many aliases lead to it."""

from msgspec.structs import replace

from cache_monitor.conf import Thresholds
from cache_monitor.findings.engine import find
from cache_monitor.reports import LargestEntry, Memory
from tests.findings.healthy import PRODUCTION, cache

LARGE = Memory(entries=1000, bytes=10**8, largest=[LargestEntry(key="report", bytes=5_000_000)])
ALIASES = ["default", "redis", "other"]


def test_a_large_value_of_a_shared_store_is_found_once() -> None:
    shared = replace(LARGE, aliases=ALIASES)
    caches = {
        "default": cache(memory=shared),
        "redis": cache(memory=replace(shared, counted_in="default")),
        "other": cache(memory=shared),
    }
    found = find(caches, PRODUCTION, Thresholds())
    assert [(each.code, each.alias) for each in found] == [
        ("large-values", "default"),
        # Under another prefix it is another entry.
        ("large-values", "other"),
    ]
