"""Backends as projects write them, over whichever backend they derive from.

Each is made anew for each use, since some keep something on their class. ``seen`` holds what the
methods that the project wrote were given, in the form in which it was given.
"""

from collections.abc import Callable
from functools import lru_cache, singledispatchmethod, wraps
from typing import Any

from django.core.cache import caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

Current: Any = None
"""The class in use, for the settings to name."""

seen: list[Any] = []


def note(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    seen.append((name, args, kwargs))


def fallback(base: Any) -> type:
    class Fallback(base):  # type: ignore[misc]
        """Reads a second store where the first has nothing."""

        second = {"old": "of the second store"}

        def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
            value = super().get(key, default, version)
            return self.second.get(key, value) if value is None else value

    return Fallback


def chain(base: Any) -> type:
    class Chain(base):  # type: ignore[misc]
        """Asks its links in turn, of which it is the last."""

        def get(self, key: Any, default: Any = None, **options: Any) -> Any:
            note("get", (key, default), options)
            for prefix in ("first:", ""):
                value = super().get(prefix + key, default, **options)
                if value is not default:
                    return value
            return default

        def set(self, key: Any, value: Any, *options: Any, **more: Any) -> Any:
            note("set", (key, value, *options), more)
            return super().set(key, value, *options, **more)

    return Chain


def memo(base: Any) -> type:
    class Memo(base):  # type: ignore[misc]
        """Keeps for a request whatever it has answered, the caller's default too."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.memo: dict[Any, Any] = {}

        def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
            if key not in self.memo:
                self.memo[key] = super().get(key, default, version)
            value = self.memo[key]
            return default if value is None else value

        def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, **more: Any) -> Any:
            self.memo.pop(key, None)
            return super().set(key, value, timeout, **more)

    return Memo


def two_layers(base: Any) -> type:
    class TwoLayers(base):  # type: ignore[misc]
        """A near store before a far one, which keeps what the far one gave for its default."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.near: dict[Any, Any] = {}

        def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
            if key in self.near:
                return self.near[key]
            self.near[key] = found = super().get(key, default, version)
            return found

        def get_many(self, keys: Any, version: Any = None) -> Any:
            note("get_many", (type(keys).__name__,), {"version": version})
            return super().get_many(list(keys), version)

    return TwoLayers


def wrapper(base: Any) -> type:
    class Wrapper(BaseCache):
        """Hands all on to a cache that it makes itself."""

        def __init__(self, location: Any, params: dict[str, Any]) -> None:
            super().__init__(params)
            self.wrapped = base(location, params)

        def __getattribute__(self, name: str) -> Any:
            if name in {"get", "set", "get_many", "delete", "clear", "incr", "has_key"}:
                return getattr(object.__getattribute__(self, "wrapped"), name)
            return super().__getattribute__(name)

        def add(self, *args: Any, **kwargs: Any) -> Any:
            note("add", args, kwargs)
            return self.wrapped.add(*args, **kwargs)

    return Wrapper


def class_state(base: Any) -> type:
    class ClassState(base):  # type: ignore[misc]
        """Counts on its class."""

        counts: dict[str, int] = {}
        made = 0

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            type(self).made += 1

        def get(self, *args: Any, **kwargs: Any) -> Any:
            note("get", args, kwargs)
            self.counts["get"] = self.counts.get("get", 0) + 1
            value = super().get(*args, **kwargs)
            if value is None:
                self.counts["miss"] = self.counts.get("miss", 0) + 1
            return value

        def told(self) -> Any:
            return type(self).made, self.counts, vars(type(self)).get("made")

    return ClassState


class _Single(type):
    instances: dict[type, Any] = {}

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls not in cls.instances:
            cls.instances[cls] = super().__call__(*args, **kwargs)
        return cls.instances[cls]


def singleton(base: Any) -> type:
    class Singleton(base, metaclass=_Single):  # type: ignore[misc]
        """One for all."""

        def told(self) -> Any:
            return self is type(self)("", {}), type(type(self)).__name__

    return Singleton


def on_the_instance(base: Any) -> type:
    class OnTheInstance(base):  # type: ignore[misc]
        """Sets methods on the instance."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            original: Any = super().get

            def get(*given: Any, **named: Any) -> Any:
                note("get", given, named)
                return original(*given, **named)

            self.get = get

    return OnTheInstance


def other_signatures(base: Any) -> type:
    class OtherSignatures(base):  # type: ignore[misc]
        """Names of its own for Django's arguments, and more of them."""

        def get(
            self, name: Any, fallback: Any = None, ver: Any = None, *, raw: bool = False
        ) -> Any:
            value = super().get(name, fallback, ver)
            return (value, None) if raw else value

        def set(self, name: Any, value: Any, /, ttl: Any = DEFAULT_TIMEOUT, **more: Any) -> Any:
            note("set", (name, value, ttl), more)
            return super().set(name, value, ttl)

        def told(self) -> Any:
            return self.get("no", 5, raw=True), self.get(name="no", fallback=6)

    return OtherSignatures


def own_class(base: Any) -> type:
    class OwnClass(base):  # type: ignore[misc]
        """Relies on its class being the one that it was written as."""

        registry: list[str] = []

        def __init_subclass__(cls, **kwargs: Any) -> None:
            super().__init_subclass__(**kwargs)
            OwnClass.registry.append(cls.__name__)

        def get(self, *args: Any, **kwargs: Any) -> Any:
            if type(self) is not OwnClass:
                raise TypeError("a class of somebody else")
            return super(self.__class__, self).get(*args, **kwargs)

        def told(self) -> Any:
            return self.registry, type(self).__subclasses__(), type(self).__name__

    return OwnClass


def own_get_or_set(base: Any) -> type:
    class OwnGetOrSet(base):  # type: ignore[misc]
        """Looks at the function that it is given, and calls the cache for it."""

        def get_or_set(self, key: Any, default: Any, *args: Any, **kwargs: Any) -> Any:
            note("get_or_set", (key, getattr(default, "__name__", default), *args), kwargs)
            return super().get_or_set(key, default, *args, **kwargs)

    return OwnGetOrSet


def calls_another(base: Any) -> type:
    class CallsAnother(base):  # type: ignore[misc]
        """Keeps a copy in another alias."""

        def set(self, key: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
            caches["other"].set(key, value)
            return super().set(key, value, *args, **kwargs)

        def told(self) -> Any:
            return caches["other"].get("a")

    return CallsAnother


def counted(method: Any) -> Any:
    """Counts on the function itself."""

    @wraps(method)
    def counting(*args: Any, **kwargs: Any) -> Any:
        counting.calls += 1  # type: ignore[attr-defined]  # as people write it
        return method(*args, **kwargs)

    counting.calls = 0  # type: ignore[attr-defined]  # likewise
    return counting


def noted_last(method: Any) -> Any:
    """The same without ``wraps``, and not before the first call."""

    def noting(cache: Any, key: Any, *args: Any, **kwargs: Any) -> Any:
        noting.last = key  # type: ignore[attr-defined]  # likewise
        return method(cache, key, *args, **kwargs)

    return noting


def decorated(base: Any) -> type:
    class Decorated(base):  # type: ignore[misc]
        """Has methods that decorators made, which keep something on what they make."""

        @counted
        def get(self, key: Any, *args: Any, **kwargs: Any) -> Any:
            return super().get(key, *args, **kwargs)

        @noted_last
        def set(self, key: Any, *args: Any, **kwargs: Any) -> Any:
            return super().set(key, *args, **kwargs)

        @lru_cache(maxsize=8)  # noqa: B019  # the instance lives as long as the class
        def has_key(self, key: Any, version: Any = None) -> Any:
            """Keep what was asked."""
            return super().has_key(key, version)

        @singledispatchmethod
        def delete(self, key: Any, version: Any = None) -> Any:
            return super().delete(key, version)

        @delete.register
        def _(self, key: int, version: Any = None) -> Any:
            return super().delete(f"number:{key}", version)

        @staticmethod
        def touch(key: Any, *args: Any, **kwargs: Any) -> Any:
            return key, args, kwargs

        def told(self) -> Any:
            own: Any = type(self)
            asked = own.has_key.cache_info(), own.has_key.cache_clear(), own.has_key.__doc__
            counts = self.get.calls, own.get.calls, getattr(own.set, "last", None)
            own.get.calls = 0
            return asked, counts, own.get.calls, own.touch("k"), self.delete(1)

    return Decorated


FACTORIES: dict[str, Callable[[Any], type]] = {
    each.__name__: each
    for each in (
        fallback,
        chain,
        memo,
        two_layers,
        wrapper,
        class_state,
        singleton,
        on_the_instance,
        other_signatures,
        own_class,
        own_get_or_set,
        calls_another,
        decorated,
    )
}
