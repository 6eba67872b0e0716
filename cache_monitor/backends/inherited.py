"""Operations that a backend has straight from ``BaseCache``.

From Django 6.1 on ``BaseCache.aget_many`` and its like compare ``self.get_many.__func__`` with
``BaseCache.get_many`` to find out whether a backend brought its own. A recorded method must
therefore show the original function while it runs another.
"""

from collections.abc import Callable
from types import FunctionType
from typing import Any


class InheritedOperation:
    """The class attribute: hands out a :class:`BoundOperation` where a function would hand out a
    bound method."""

    def __init__(self, run: Callable[..., Any], original: FunctionType) -> None:
        self._run = run
        self._original = original

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self._original
        return BoundOperation(self._run, self._original, instance)


class BoundOperation:
    """A method bound to a cache, looking like the original bound method."""

    __slots__ = ("__func__", "__self__", "_run")

    def __init__(self, run: Callable[..., Any], original: FunctionType, instance: Any) -> None:
        self._run = run
        self.__func__ = original
        self.__self__ = instance

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._run(self.__self__, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__func__.__get__(self.__self__), name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BoundOperation):
            return NotImplemented
        return self.__self__ is other.__self__ and self.__func__ is other.__func__

    def __hash__(self) -> int:
        return hash((id(self.__self__), self.__func__))

    def __repr__(self) -> str:
        return repr(self.__func__.__get__(self.__self__))

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self.__self__, self.__func__.__name__)

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        return self.__func__.__doc__
