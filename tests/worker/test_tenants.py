"""Why lookups missed where the keys depend on who calls, as with django-tenants."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests import forked
from tests.programs.tenants import KEYS
from tests.services import Server
from tests.stores.servers import PostgresDaemon

ROOT = Path(__file__).parents[2]

pytest.importorskip("django_tenants")


@pytest.mark.parametrize("backend", ["locmem", "redis"])
def test_the_entries_of_one_tenant_explain_nothing_of_anothers(
    postgresql_server: PostgresDaemon, redis_server: Server, backend: str
) -> None:
    engine = {"ENGINE": "django_tenants.postgresql_backend"}
    address = f"redis://{redis_server.host}:{redis_server.port}/8"
    caches: dict[str, Any] = {
        "locmem": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "redis": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": address},
    }
    options = {"OPTIONS": {"MAX_ENTRIES": 1000}} if backend == "locmem" else {}
    make_key = {"KEY_FUNCTION": "django_tenants.cache.make_key"}
    site = {
        "DATABASES": {"default": {**postgresql_server.settings, **engine}},
        "CACHES": {"default": {**caches[backend], **make_key, **options}},
        "CACHE_MONITOR": {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}},
    }
    told = forked.printed(["-m", "tests.programs.tenants"], {"SITE": json.dumps(site)})
    assert json.loads(told) == {
        "others": {"never_set": 2 * KEYS, "cleared": KEYS},
        "deleted": {"deleted": KEYS},
        "later": {"never_set": KEYS},
        "away": {"version_changed": KEYS},
    }
