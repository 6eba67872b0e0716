# ruff: noqa: ASYNC109 - the arguments are Django's
"""Backends as nobody should write them and somebody has: still caches, still to be recorded."""

from abc import ABCMeta
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from django.core.cache import CacheHandler
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.cache.backends.locmem import LocMemCache


class Registered(ABCMeta):
    """A metaclass that keeps book of the classes made, and lets them say more than others."""

    made: list[str] = []

    def __new__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], *, loud: bool = False
    ) -> Any:
        cls.made.append(name.upper() if loud else name)
        return super().__new__(cls, name, bases, namespace)


class OddCache(BaseCache, metaclass=Registered, loud=True):
    """Names and places of its own for what Django's methods take."""

    __slots__ = ("entries", "log")

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        self.entries = LocMemCache(location, params)
        self.log: list[str] = []

    # Positional names of its own, and a default that may be called.
    def get(self, name: Any, fallback: Any = None, ver: int | None = None) -> Any:
        value = self.entries.get(name, self, ver)
        if value is not self:
            return value
        return fallback() if callable(fallback) else fallback

    # Positional only, and more options than Django knows.
    def set(  # type: ignore[override]
        self,
        key: Any,
        value: Any,
        /,
        timeout: Any = DEFAULT_TIMEOUT,
        *rest: Any,
        version: int | None = None,
        tags: Iterable[str] = (),
    ) -> tuple[str, ...]:
        self.entries.set(key, value, timeout, *(rest or (version,)))
        return tuple(tags)

    def add(self, *args: Any, **kwargs: Any) -> bool:
        return self.entries.add(*args, **kwargs)

    def touch(self, key: Any, *options: Any, **more: Any) -> bool:
        return self.entries.touch(key, *options, **more)

    def delete(self, name: Any, ver: int | None = None) -> bool:
        return self.entries.delete(name, ver)

    # Its keys under another name, iterated twice and asked for their length.
    def get_many(self, names: Any, ver: int | None = None) -> dict[Any, Any]:
        if not names:
            return {}
        found = {name: self.entries.get(name, self, ver) for name in names}
        return {name: value for name, value in found.items() if value is not self}

    def has_key(self, *key: Any, **version: Any) -> bool:
        return self.entries.has_key(*key, **version)

    def clear(self) -> None:
        self.entries.clear()

    # Beyond Django's API.

    def iter_values(self, *names: Any) -> Iterator[Any]:
        for name in names:
            sent = yield self.get(name)
            if sent is not None:
                self.log.append(sent)

    async def scan(self, *names: Any) -> AsyncIterator[Any]:
        for name in names:
            yield await self.aget(name)

    @classmethod
    def family(cls) -> str:
        return cls.__name__

    @staticmethod
    def double(number: int) -> int:
        return 2 * number

    @property
    def size(self) -> int:
        return len(self.entries._cache)  # type: ignore[attr-defined]

    def with_tag(self, tag: str, /, *, deep: bool = False) -> tuple[str, bool]:
        return tag, deep

    def __len__(self) -> int:
        return self.size


class NativeCache(LocMemCache):
    """``get_or_set`` and the async methods of its own: the sync ones are not called for them."""

    def get_or_set(
        self, key: Any, default: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> Any:
        """Like Django's, but that it stores what it is given before it looks what that is."""
        missing = object()
        value = self.get(key, missing, version)
        if value is not missing:
            return value
        made = default() if callable(default) else default
        self.set(key, made, timeout, version)
        return made

    async def aget(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        return LocMemCache.get(self, key, default, version)

    async def aset(
        self,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> None:
        LocMemCache.set(self, key, value, timeout, version)

    async def aadd(
        self,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> bool:
        return LocMemCache.add(self, key, value, timeout, version)

    async def adelete(self, key: Any, version: int | None = None) -> bool:
        return LocMemCache.delete(self, key, version)

    async def aget_or_set(
        self,
        key: Any,
        default: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
    ) -> Any:
        """Awaits what the callable gives, as Django's does not."""
        missing = object()
        value = await self.aget(key, missing, version)
        if value is not missing:
            return value
        made = default() if callable(default) else default
        if hasattr(made, "__await__"):
            made = await made
        await self.aset(key, made, timeout, version)
        return made


class ValuesOnlyCache(LocMemCache):
    """``get_or_set`` takes values alone: a callable would be stored."""

    def get_or_set(self, key: Any, default: Any, *options: Any, **more: Any) -> Any:
        self.add(key, default, *options, **more)
        return self.get(key)


class DelegatingCache(BaseCache):
    """Hands everything to another alias, of a handler of its own."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        entry = {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": f"{location}-{params.get('KEY_PREFIX', '')}",
        }
        self.others = CacheHandler({"default": entry})

    @property
    def other(self) -> BaseCache:
        return self.others["default"]

    def get(self, *args: Any, **kwargs: Any) -> Any:
        return self.other.get(*args, **kwargs)

    def set(self, *args: Any, **kwargs: Any) -> None:
        return self.other.set(*args, **kwargs)

    def add(self, *args: Any, **kwargs: Any) -> bool:
        return self.other.add(*args, **kwargs)

    def touch(self, *args: Any, **kwargs: Any) -> bool:
        return self.other.touch(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> bool:
        return self.other.delete(*args, **kwargs)

    def clear(self) -> None:
        self.other.clear()


class CallingCache(LocMemCache):
    """Calls its own operations from where LocMemCache calls none."""

    def make_and_validate_key(self, key: Any, version: int | None = None) -> str:
        if key.endswith(":asked"):
            self.has_key("other")
        made: str = super().make_and_validate_key(key, version)
        return made
