"""A process that has recorded nothing, for code of the documentation that asks for figures."""

from collections.abc import Iterator

import pytest
from django.core.cache import cache
from django.test import override_settings

from tests.anew import begin_anew

MEMORY = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}


@pytest.fixture
def fresh() -> Iterator[None]:
    """Nothing is recorded, and the store is in memory."""
    with override_settings(CACHE_MONITOR=MEMORY):
        begin_anew()
        yield
        begin_anew()
        cache.clear()
