"""One recorded call: its raw form on the hot path."""

from collections.abc import Hashable
from typing import Final, NamedTuple, cast

from msgspec import Struct

from cache_monitor.errors import is_interruption, let_pass

KEY_LIMIT = 512
"""Characters of a key that are kept; longer keys are cut when they are recorded."""


LOOKUPS = frozenset({"get", "get_many", "get_or_set"})
"""The operations whose keys are lookups, which are found or missed."""

Entries = tuple[tuple[str, ...], bool]
"""What a key function of the project's own made of the keys of a call, with the cache's own
version; and whether it makes others for other versions."""


class Source(Struct, eq=False, gc=False):
    """Where calls come from: one operation of one cache. Compared by identity, hence fast.

    Out of the garbage collector's sight, and with it nearly every :data:`RawCall`: a buffer full
    of tuples that it had to visit would set off full collections of the site's memory.
    """

    alias: str
    operation: str


# Where a call has what. Off the hot path: a name takes some nanoseconds more than a number.
SOURCE: Final = 0
STARTED: Final = 1
SECONDS: Final = 2
KEY: Final = 3
OUTCOME: Final = 4
SIZE: Final = 5
TIMEOUT: Final = 6
VERSION: Final = 7
ERROR: Final = 8
EFFECT: Final = 9
PRODUCED: Final = 10
CONTEXT: Final = 11
ENTRIES: Final = 12
PRINTS: Final = 13


class Call(NamedTuple):
    """One finished call.

    The hot path appends plain tuples of this layout (:data:`RawCall`), because making a
    ``NamedTuple`` costs more than all else it does.

    ``started`` is a reading of ``time.perf_counter``, ``seconds`` the duration. ``key`` is the
    key, a tuple of keys, or None. ``outcome`` says for lookups whether the key was there: one
    bool, a tuple of bools for a tuple of keys, None for other operations. ``size`` is the bytes
    of the values read or written where the backend had them at hand. ``timeout`` is what the
    caller gave as ``timeout`` or ``when``, by the operation's own measure: milliseconds for
    django-redis's ``pexpire``, a time for its ``expire_at``; a :class:`ChangedTimeout` where the
    backend made another of it. ``error`` is the name of the
    exception's type, an :class:`Interruption` where that came from outside.
    ``effect`` is what the backend answered where that was yes or no: whether
    ``add`` stored, whether ``touch`` found the key; for ``incr_version`` and ``decr_version`` it
    is the version that the entry has now, an int.
    ``produced`` is the part of ``seconds`` that the caller's own function took to produce the
    value of a ``get_or_set``. ``context`` names the thread or the task that called, where a
    lookup missed or a value was written: both in one tell how long the value took to produce.
    ``entries`` is there for caches alone whose keys the project makes itself, and ``prints`` where
    something was written that the backend had as bytes: the fingerprints of the values, one for
    each key. The calls of others are shorter.
    """

    source: Source
    started: float
    seconds: float
    key: Hashable = None
    outcome: bool | tuple[bool, ...] | None = None
    size: int | None = None
    timeout: object = None
    version: Hashable = None
    error: str | None = None
    effect: bool | int | None = None
    produced: float | None = None
    context: int | None = None
    entries: Entries | None = None
    prints: tuple[int, ...] = ()


_Usual = tuple[
    Source,
    float,
    float,
    Hashable,
    bool | tuple[bool, ...] | None,
    int | None,
    object,
    Hashable,
    str | None,
    bool | int | None,
    float | None,
    int | None,
]
_WithEntries = tuple[*_Usual, Entries | None]
_WithPrints = tuple[*_WithEntries, tuple[int, ...]]
RawCall = _Usual | _WithEntries | _WithPrints
PlainHit = tuple[Source, float, float, Hashable]
"""A hit of one key of which nothing else is to be said, cut off behind its key: most calls on local
memory are such hits, and a shorter tuple is made, kept and read in less time."""
Recorded = PlainHit | RawCall
"""A call as it waits in the buffer."""

PLAIN_HIT: Final = 4
"""The length of a :data:`PlainHit`."""


def whole(call: Recorded) -> RawCall:
    """``call`` in its full length."""
    if len(call) != PLAIN_HIT:
        return call
    source, started, seconds, key = call
    return (source, started, seconds, key, True, None, None, None, None, None, None, None)


def keys_of(call: RawCall) -> tuple[str, ...]:
    """The keys that ``call`` named."""
    key = call[KEY]
    if type(key) is str:
        return (key,)
    if isinstance(key, tuple):
        return cast("tuple[str, ...]", key)
    return () if key is None else (str(key),)


def outcomes_of(call: RawCall) -> tuple[bool | None, ...]:
    """For each of :func:`keys_of` whether it was found; None where nothing was looked up."""
    outcome, keys = call[OUTCOME], len(keys_of(call))
    if isinstance(outcome, tuple):
        # A failed operation may have outcomes of some keys only.
        return (*outcome[:keys], *[None] * (keys - len(outcome)))
    return (outcome,) * keys


def entries_of(call: RawCall) -> Entries | None:
    """What a key function of the project's own made of the keys of ``call``; None where that is
    not known, or where there is none."""
    found: Entries | None = next(iter(call[12:13]), None)
    return found


class ChangedTimeout(NamedTuple):
    """A timeout of which the project's backend made another, as one that adds jitter does;
    ``actual`` is NaN where it gave several keys different ones."""

    given: object
    actual: object


def actual_timeout(call: RawCall) -> object:
    """The timeout of the entries that ``call`` wrote."""
    timeout = call[TIMEOUT]
    return timeout.actual if type(timeout) is ChangedTimeout else timeout


def given_timeout(call: RawCall) -> object:
    """The timeout that the caller gave."""
    timeout = call[TIMEOUT]
    return timeout.given if type(timeout) is ChangedTimeout else timeout


def prints_of(call: RawCall) -> tuple[int, ...]:
    """The fingerprints of the values that ``call`` wrote; none where they are not known."""
    return next(iter(call[13:]), ())


class Interruption(str):
    """The name of what ended a call from outside: no fault of the backend's, and hence no error.

    Like any other ``error`` it says that the call did not come to its end. It equals no error of
    the same name, so that calls which are alike are of one kind.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is Interruption and str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


def raised(error: BaseException) -> str:
    """What is recorded as the ``error`` of a call that raised ``error``, where that was caught."""
    name = type(error).__name__
    return Interruption(name) if is_interruption(error) else name


def is_failure(error: str | None) -> bool:
    """Whether a call failed whose ``error`` that is: raised, and was not interrupted."""
    return error is not None and type(error) is not Interruption


def is_interrupted(error: str | None) -> bool:
    """Whether a call was interrupted whose ``error`` that is."""
    return type(error) is Interruption


_NEED_THE_KEY = frozenset({"incr", "decr", "incr_version", "decr_version"})


def is_fault(operation: str, error: str | None) -> bool:
    """Whether a call failed whose ``error`` that is, by a fault: that a counter's key is absent is
    an answer of ``incr``, by which Django's caches raise a ``ValueError``."""
    return is_failure(error) and not (error == "ValueError" and operation in _NEED_THE_KEY)


def bounded(key: object) -> Hashable:
    """``key`` in a form that holds little memory and nothing of the user's.

    Keys are strings nearly always; what is not is kept as text.
    """
    if type(key) is str and len(key) <= KEY_LIMIT:
        return key
    try:
        text = str(key)
        # A subclass of str (SafeString is one) slices to a plain str.
        kept = str.__getitem__(text, slice(KEY_LIMIT))
        return kept if len(text) <= KEY_LIMIT else f"{kept}… ({len(text)} characters)"
    except Exception as error:
        let_pass(error)
        return f"<{type(key).__name__}>"
