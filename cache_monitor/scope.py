"""What surrounds a call: the call that it is part of, and who listens.

One context variable answers both questions, because reading one is all that the hot path can
afford. Context variables follow threads, tasks and greenlets, and asgiref carries them into the
threads that run sync code for async callers.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Protocol

from msgspec import Struct

from cache_monitor.calls import RawCall


class Listener(Protocol):
    """Hears of every call made in its scope, right after the call."""

    def heard(self, call: RawCall) -> None:
        """Take note of ``call``; runs on the caller's path and must be quick."""


class Scope(Struct, eq=False):
    """The surroundings of a call; made anew where they change, never changed itself.

    ``inside`` names the cache whose operation is under way: what that cache calls on itself is
    part of the operation. ``sizes`` gathers the sizes of the values that it moves.
    """

    listeners: tuple[Listener, ...] = ()
    inside: str | None = None
    muted: bool = False
    sizes: list[int] = []

    def hides(self, alias: str) -> bool:
        """Whether a call on the cache ``alias`` made here is no call of its own."""
        return self.muted or self.inside == alias


_scope: ContextVar[Scope | None] = ContextVar("cache_monitor_scope", default=None)

current: Callable[[], Scope | None] = _scope.get
enter: Callable[[Scope | None], Token[Scope | None]] = _scope.set
leave: Callable[[Token[Scope | None]], None] = _scope.reset


def enter_operation(scope: Scope | None, alias: str) -> Token[Scope | None]:
    """Enter an operation of the cache ``alias``, to be left with :func:`leave`."""
    return _scope.set(Scope(scope.listeners if scope else (), inside=alias))


def enter_callback() -> Token[Scope | None]:
    """Enter the user's code inside an operation, whose calls are calls of their own."""
    scope = _scope.get()
    return _scope.set(Scope(scope.listeners) if scope and scope.listeners else None)


def note_size(size: int) -> None:
    """Tell the operation under way that it moved a value of ``size`` bytes."""
    scope = _scope.get()
    if scope is not None and scope.inside is not None:
        scope.sizes.append(size)


def start_listening(listener: Listener) -> None:
    """Let ``listener`` hear the calls made from now on in this context and those under it."""
    scope = _scope.get()
    listeners = scope.listeners if scope else ()
    _scope.set(Scope((*listeners, listener)))


def stop_listening(listener: Listener) -> None:
    """End what :func:`start_listening` began, in the same or in another context."""
    scope = _scope.get()
    if scope is not None:
        rest = tuple(each for each in scope.listeners if each is not listener)
        _scope.set(Scope(rest) if rest else None)


def forget_leftovers() -> None:
    """Leave an operation that never ended: an exception that a signal raised at the wrong moment
    can skip the leaving, and what is called inside an operation is not recorded."""
    scope = _scope.get()
    if scope is not None and scope.inside is not None:
        _scope.set(None)


@contextmanager
def muted() -> Iterator[None]:
    """Record nothing inside: the monitor does not watch itself."""
    token = _scope.set(Scope(muted=True))
    try:
        yield
    finally:
        _scope.reset(token)
