"""The cache backend that a project names in ``CACHES`` to have one alias monitored."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.cache.backends.base import BaseCache, InvalidCacheBackendError
from django.utils.module_loading import import_string

from cache_monitor.conf import EXPLICIT, get_conf
from cache_monitor.instrument.install import alias_being_created, can_be_recorded, instrument

__all__ = ["MonitoredCache"]

WRAPS_HINT = (
    'Write "WRAPS": "django.core.cache.backends.redis.RedisCache", or the backend that you use.'
)


class MonitoredCache(BaseCache):
    """A cache backend that records what another backend, named by ``WRAPS``, does.

    Making one gives an instance of the real backend, not of this class.

    Raises ``InvalidCacheBackendError`` where ``WRAPS`` is missing or cannot be used.
    """

    def __new__(cls, location: Any, params: dict[str, Any]) -> Any:
        rest = dict(params)
        alias = alias_being_created() or _alias_of(location, params)
        real = _real_backend(alias, rest.pop("WRAPS", None))
        cache = real(location, rest)  # type: ignore[call-arg]  # a backend's, not BaseCache's
        if get_conf().enabled:
            instrument(cache, alias)
        return cache


def wraps_problem(path: object) -> str | None:
    """What is wrong with ``path`` as ``WRAPS``, in a sentence; None where nothing is."""
    if not isinstance(path, str):
        return "WRAPS must be the dotted path of the real backend."
    try:
        real = import_string(path)
    except ImportError as error:
        return f"WRAPS names {path!r}, which cannot be imported: {error}."
    if real is MonitoredCache:
        return "WRAPS names MonitoredCache itself."
    if not (isinstance(real, type) and can_be_recorded(real)):
        return f"WRAPS names {path!r}, which is no cache backend."
    return None


def _real_backend(alias: str, path: object) -> type[BaseCache]:
    if problem := wraps_problem(path):
        # Checks of Django's own may open the cache before ours can say so.
        raise InvalidCacheBackendError(f"CACHES[{alias!r}]: {problem} {WRAPS_HINT}")
    real: type[BaseCache] = import_string(str(path))
    return real


def _alias_of(location: Any, params: Mapping[str, Any]) -> str:
    """The alias whose entry in ``CACHES`` reads so; for caches opened before the app is ready."""
    for alias, entry in settings.CACHES.items():
        rest = {key: each for key, each in entry.items() if key not in {"BACKEND", "LOCATION"}}
        if (
            entry.get("BACKEND") == EXPLICIT
            and entry.get("LOCATION", "") == location
            and rest == params
        ):
            return str(alias)
    return "default"
