"""A process that has recorded nothing, for code of the documentation that asks for figures."""

from collections.abc import Iterator

import pytest
from django.core.cache import cache
from django.test import override_settings

from cache_monitor.collecting import joining

MEMORY = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}


@pytest.fixture
def fresh() -> Iterator[None]:
    """Nothing is recorded, and the store is in memory."""
    with override_settings(CACHE_MONITOR=MEMORY):
        joining.collector.stop()
        joining.collector.after_fork()
        yield
        joining.collector.stop()
        joining.collector.after_fork()
        cache.clear()
