"""Operations that a backend has straight from ``BaseCache``.

From Django 6.1 on ``BaseCache.aget_many`` and its like compare ``self.get_many.__func__`` with
``BaseCache.get_many`` to find out whether a backend brought its own. A recorded method must
therefore show the original function while it runs another.
"""

from collections.abc import Callable
from types import MethodType
from typing import Any


class InheritedOperation:
    """The class attribute: hands out a :class:`BoundOperation` where a function would hand out a
    bound method."""

    def __init__(self, run: Callable[..., Any], real: type, name: str) -> None:
        self._run = run
        self._real = real
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        # Looked up each time: somebody may have patched BaseCache.
        original = getattr(self._real, self._name)
        return original if instance is None else BoundOperation(original, instance, self._run)


class BoundOperation:
    """A method bound to a cache, looking like the original bound method."""

    __slots__ = ("__func__", "__self__", "_run")

    def __init__(self, original: Any, instance: Any, run: Callable[..., Any]) -> None:
        self.__func__ = original
        self.__self__ = instance
        self._run = run

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._run(self.__self__, *args, **kwargs)

    # Read from the original each time, where the types have plain attributes.
    @property  # type: ignore[misc]  # an attribute of object
    def __class__(self) -> Any:
        # To inspect and mock it is the method that it stands for.
        return MethodType

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__func__, name)

    def __eq__(self, other: object) -> bool:
        if type(other) is not BoundOperation:
            return NotImplemented
        return self.__self__ is other.__self__ and self.__func__ is other.__func__

    def __hash__(self) -> int:
        return hash((id(self.__self__), self.__func__))

    def __repr__(self) -> str:
        return repr(MethodType(self.__func__, self.__self__))

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self.__self__, self.__func__.__name__)

    @property
    def __module__(self) -> Any:  # type: ignore[override]  # an attribute of object
        return self.__func__.__module__

    @property
    def __doc__(self) -> Any:  # type: ignore[override]  # an attribute of object
        return self.__func__.__doc__
