"""``manage.py check --deploy``: caching mistakes that the settings alone show.

They are the static half of the findings: what traffic shows, the report says.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, register
from django.core.checks import Warning as Caution

from cache_monitor.instrument.explicit import PATH as EXPLICIT_PATH

_DUMMY = "django.core.cache.backends.dummy.DummyCache"
_LOCAL_MEMORY = "django.core.cache.backends.locmem.LocMemCache"


TENANT_APPS = ("django_tenants", "tenant_schemas")
"""Packages that serve several tenants from the same processes."""


def has_tenants() -> bool:
    """Whether the site tells tenants apart in each request, as the monitor does not."""
    return any(map(apps.is_installed, TENANT_APPS))


def register_deployment_checks() -> None:
    """Let ``manage.py check --deploy`` run :func:`check_deployment`."""
    register(check_deployment, "cache_monitor", deploy=True)


def check_deployment(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """W005: a cache that stores nothing. W006: one that each process has for itself. W007: one
    whose entries never expire."""
    return [each for alias in settings.CACHES for each in _warnings(alias, settings.CACHES[alias])]


def _warnings(alias: str, entry: Mapping[str, Any]) -> Iterator[CheckMessage]:
    backend = entry.get("BACKEND")
    backend = entry.get("WRAPS") if backend == EXPLICIT_PATH else backend
    if backend == _DUMMY and not settings.DEBUG:
        yield Caution(
            f"CACHES[{alias!r}] is a DummyCache: it stores nothing, so every lookup misses "
            "(dummy-backend).",
            hint="Write a real backend, such as django.core.cache.backends.redis.RedisCache.",
            id="cache_monitor.W005",
        )
    if backend == _LOCAL_MEMORY and not settings.DEBUG:
        yield Caution(
            f"CACHES[{alias!r}] is a LocMemCache: each process has one of its own, and goes on "
            "serving what another has deleted (local-memory-many-processes).",
            hint="Write django.core.cache.backends.redis.RedisCache or a memcached backend, "
            "unless a single process serves the site; then put this check into "
            "SILENCED_SYSTEM_CHECKS.",
            id="cache_monitor.W006",
        )
    if backend != _DUMMY and "TIMEOUT" in entry and entry["TIMEOUT"] is None:
        yield Caution(
            f"CACHES[{alias!r}]['TIMEOUT'] is None: entries stay until the cache is full "
            "(no-expiry).",
            hint="Write seconds, such as 3600, and timeout=None in the calls whose entries are "
            "to stay.",
            id="cache_monitor.W007",
        )
