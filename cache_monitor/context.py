"""What surrounds a call: the call that it is part of, and who listens.

One context variable answers both questions, because reading one is all that the hot path can
afford. Context variables follow threads, tasks and greenlets, and asgiref carries them into the
threads that run sync code for async callers.
"""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from math import isclose, nan
from types import CodeType
from typing import Protocol, cast

from msgspec import Struct

from cache_monitor.calls import ChangedTimeout, RawCall


class Listener(Protocol):
    """Hears of every call made in its scope, right after the call.

    One whose ``wants_values`` is False is told of a value only what passes by anyway: not its
    ``kind``, nor its size where that takes a look.
    """

    def on_call(self, call: RawCall, kind: str | None = None) -> None:
        """Take note of ``call``; runs on the caller's path and must be quick.

        ``kind`` is the name of the type of the value that it moved, of several values their types
        with a comma between; None where there was no value, or where it was not looked at.
        """


class CallContext(Struct, eq=False):
    """The surroundings of a call; made anew where they change.

    ``inside`` names the cache whose operation is under way: what that cache calls on itself is
    part of the operation, and leaves word here of what the operation cannot see. ``sizes`` gathers
    the sizes of the values that it moves, ``prints`` the fingerprints of those that it writes, 0
    where one was not taken; ``found`` says whether the last lookup found its key,
    ``wrote`` whether a value was written; ``swallowed`` names an error that the cache's client
    keeps to itself; ``callback`` is the code of the caller's function that the operation calls.
    ``finals`` gathers what a key function of the project's own makes of keys; ``timeouts`` the
    timeouts that the parts of the operation gave, each with its key; ``used`` says whether a call
    was made that is not recorded.

    ``only`` is one of those who listen, where none of them wants values described and nothing is
    under way: so it is in nearly every request, which must not be slower for it.
    """

    listeners: tuple[Listener, ...] = ()
    inside: str | None = None
    muted: bool = False
    sizes: list[int] = []
    prints: list[int] = []
    only: Listener | None = None
    found: bool | None = None
    wrote: bool = False
    produced: float | None = None
    swallowed: str | None = None
    callback: CodeType | None = None
    finals: dict[Hashable, tuple[str, bool] | None] | None = None
    timeouts: list[tuple[Hashable, object]] | None = None
    used: bool = False

    def note_timeout(self, key: Hashable, timeout: object, before: int = 0) -> None:
        """Note that a part of the operation gave ``key`` a timeout. What has been noted since
        there were ``before`` was given by parts of that part, closer to the server."""
        noted = self.timeouts = [] if self.timeouts is None else self.timeouts
        inner = noted[before:] or [(None, timeout)]
        noted[before:] = [(key if each is None else each, given) for each, given in inner]

    def timeout_of(self, key: Hashable, given: object) -> object:
        """The timeout of the operation on ``key``, whose caller gave ``given``."""
        noted = self.timeouts
        if not noted:
            return given
        keys = (None, key, *key) if isinstance(key, tuple) else (None, key)
        own = [timeout for each, timeout in noted if each in keys]
        first, *others = own or [timeout for _, timeout in noted]
        actual = first if all(_are_alike(first, each) for each in others) else nan
        return given if _are_alike(given, actual) else ChangedTimeout(given, actual)

    def hides(self, alias: str) -> bool:
        """Whether a call on the cache ``alias`` made here is no call of its own."""
        return self.muted or self.inside == alias


def _are_alike(one: object, other: object) -> bool:
    if one is other:
        return True
    # By their types: any other comparison would run somebody's code.
    are_numbers = type(one) in _NUMBERS and type(other) in _NUMBERS
    return are_numbers and isclose(cast("float", one), cast("float", other), abs_tol=_INSTANT)


_NUMBERS = (int, float)
_INSTANT = 0.01
"""Seconds by which timeouts differ that were made of the same one, one after the other."""

_scope: ContextVar[CallContext | None] = ContextVar("cache_monitor_scope", default=None)

current: Callable[[], CallContext | None] = _scope.get
enter: Callable[[CallContext | None], Token[CallContext | None]] = _scope.set
leave: Callable[[Token[CallContext | None]], None] = _scope.reset


def enter_callback() -> Token[CallContext | None]:
    """Enter the user's code inside an operation, whose calls are calls of their own."""
    scope = _scope.get()
    return _scope.set(_of(scope.listeners) if scope else None)


def under_way() -> CallContext | None:
    """The operation of a cache that is under way, if one is."""
    scope = _scope.get()
    return None if scope is None or scope.inside is None else scope


def start_listening(listener: Listener) -> None:
    """Let ``listener`` hear the calls made from now on in this context and those under it."""
    scope = _scope.get()
    listeners = scope.listeners if scope else ()
    _scope.set(_of((*listeners, listener)))


def stop_listening(listener: Listener) -> None:
    """End what :func:`start_listening` began, in the same or in another context."""
    scope = _scope.get()
    if scope is not None:
        _scope.set(_of(tuple(each for each in scope.listeners if each is not listener)))


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Let ``listener`` hear the calls made inside."""
    start_listening(listener)
    try:
        yield
    finally:
        stop_listening(listener)


def _of(listeners: tuple[Listener, ...]) -> CallContext | None:
    """The scope in which ``listeners`` hear of the calls."""
    if not listeners:
        return None
    is_plain = not any(getattr(each, "wants_values", True) for each in listeners)
    return CallContext(listeners, only=listeners[0] if is_plain else None)


def forget_leftovers() -> None:
    """Leave an operation that never ended; what is called inside of one is not recorded. There
    should be none: this is the net below what :mod:`cache_monitor.instrument` does against it."""
    scope = _scope.get()
    if scope is not None and scope.inside is not None:
        _scope.set(None)


@contextmanager
def muted() -> Iterator[None]:
    """Record nothing inside: the monitor does not watch itself."""
    outer = _scope.get()
    try:
        _scope.set(CallContext(muted=True))
        yield
    finally:
        _scope.set(outer)
