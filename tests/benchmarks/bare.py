"""Backends that nothing watches, beside watched ones in the same process.

The monitor replaces methods in the backends' classes, so that a bare cache needs classes of its
own: here are those of the same modules, imported a second time.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

_COPIED = ("django.core.cache.backends.", "django_redis.")


def _imported_anew(*names: str) -> list[Any]:
    before = {each: sys.modules.pop(each) for each in list(sys.modules) if each.startswith(_COPIED)}
    try:
        return [import_module(name) for name in names]
    finally:
        for each in [each for each in sys.modules if each.startswith(_COPIED)]:
            del sys.modules[each]
        sys.modules |= before
        for each, module in before.items():
            parent, _, own = each.rpartition(".")
            setattr(sys.modules[parent], own, module)


__all__ = ["DEFAULT_TIMEOUT", "BaseCache", "LocMemCache", "RedisCache"]

if TYPE_CHECKING:
    from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
    from django.core.cache.backends.locmem import LocMemCache
    from django.core.cache.backends.redis import RedisCache
else:
    _NAMES = [f"django.core.cache.backends.{name}" for name in ("base", "locmem", "redis")]
    if find_spec("django_redis"):
        _NAMES += ["django_redis.cache", "django_redis.client"]
    _base, _locmem, _redis, *_rest = _imported_anew(*_NAMES)
    # A sentinel, which the copy knows by its identity.
    DEFAULT_TIMEOUT = _base.DEFAULT_TIMEOUT
    BaseCache = _base.BaseCache
    LocMemCache = _locmem.LocMemCache
    RedisCache = _redis.RedisCache
    if _rest:

        class DjangoRedisCache(_rest[0].RedisCache):
            """django-redis's, with its client of the same copy."""

            def __init__(self, server: str, params: dict[str, Any]) -> None:
                super().__init__(server, params)
                self._client_cls = _rest[1].DefaultClient
