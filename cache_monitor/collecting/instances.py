"""The monitor's own instances of the site's caches, one in each thread that needs one.

Django gives out its instances under a lock of ``caches``. What a signal's handler raises in the
midst of that leaves the lock held by the thread that it interrupts, which goes on all the same,
while every other thread waits for good. So the monitor's threads never ask ``caches``.
"""

from threading import local

from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.base import BaseCache


class _Instances(local):
    """What the thread has made, of the settings that were in force then."""

    def __init__(self) -> None:
        self.settings: object = None
        self.made: dict[str, BaseCache] = {}


_instances = _Instances()


def instance(alias: str) -> BaseCache:
    """The cache ``alias``.

    Raises ``InvalidCacheBackendError`` where there is none, as in tests that change the settings,
    and whatever its backend raises.
    """
    if _instances.settings is not caches.settings:
        _instances.settings, _instances.made = caches.settings, {}
    cache = _instances.made.get(alias)
    if cache is None:
        if alias not in caches.settings:
            raise InvalidCacheBackendError(f"There is no cache {alias!r} by now.")
        cache = _instances.made[alias] = caches.create_connection(alias)
    return cache
