"""Recorded calls: what is kept of each, and the bounded buffer that they wait in.

Appending to a deque is atomic, so threads, tasks and greenlets need no lock. The buffer knows
neither who fills nor who empties it.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Hashable
from itertools import repeat, starmap
from typing import Final, NamedTuple, cast

from msgspec import Struct

from cache_monitor.concurrency import new_rlock
from cache_monitor.errors import Faults, is_interruption, is_passing, let_pass

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
    ``actual`` is NaN where it gave several keys different ones, or where nobody could see it."""

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


class RaisedAfter(float):
    """How long the site's function in a ``get_or_set`` took until it raised: so the call failed by
    no fault of the backend's."""

    __slots__ = ()


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


KEYS_LIMIT = 500_000
"""Keys that calls of several keys may hold in the buffer together; it counts calls, not keys."""


class Culled(NamedTuple):
    """How many entries a cache threw out to make room, and when it did so for the first and for
    the last time, by ``time.perf_counter``."""

    entries: int
    first: float
    last: float


class _Guard:
    """Keeps our faults from the site: one inside is noted. An interruption goes on."""

    __slots__ = ("_failed",)

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        self._failed = failed

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if not isinstance(error, Exception) or is_passing(error):
            return False
        self._failed(error)
        return True


class Recorder:
    """Holds finished calls until somebody drains them.

    ``limit`` is the length from which on the recording thread calls :meth:`relieve`. It is 0
    until the first call, so that relief, and with it the draining thread, starts when there is
    something to drain, in each process by itself.
    """

    def __init__(self) -> None:
        self.buffer: deque[Recorded] = deque()
        self.append = self.buffer.append
        self.limit = 0
        self.process = ""
        """Under which name the store has what this process does."""
        self.reported_at = 0.0
        """Until when the store has that, in Unix time."""
        self._on_pressure: Callable[[], None] | None = None
        self._dropped: Counter[str] = Counter()
        self.culling: set[str] = set()
        """The aliases of which it is counted what they throw out to make room."""
        self._culled: dict[str, Culled] = {}
        # A signal's handler that makes calls may come while its own thread holds it.
        self._lock = new_rlock()
        self.faults = Faults()
        self.guard = _Guard(self.failed)
        self._keys = 0
        self._wanted = 0
        self._usual_limit = 0
        self._take_stack: Callable[[int], object] | None = None
        self._stacks: list[tuple[RawCall, object]] = []

    def attach(
        self,
        on_pressure: Callable[[], None],
        take_stack: Callable[[int], object] | None = None,
    ) -> None:
        """Call ``on_pressure`` when the buffer is longer than ``limit``. ``take_stack`` takes the
        stack from the frame on that is so many calls outside of it; None where that says nothing
        new."""
        self._on_pressure, self._take_stack = on_pressure, take_stack

    def relieve(self, call: Recorded | None = None) -> None:
        """Make room, after ``call``. Runs on the caller's path and raises nothing of ours."""
        try:
            if self.limit < 0 and call is not None:
                self._note_stack(call)
                if len(self.buffer) <= self._usual_limit:
                    return
            if self._on_pressure is None:
                self.drop(len(self.buffer))
            else:
                self._on_pressure()
        except Exception as error:
            let_pass(error)
            self.drop(len(self.buffer))
            self.failed(error)
            # Without relief there may be no thread.
            self.faults.log()

    def want_stacks(self, calls: int, limit: int) -> None:
        """Have the stacks taken of the next ``calls`` that are made outside of requests: what finds
        the buffer longer than its limit goes a longer way, and a negative one is never kept. The
        limit that is in force is ``limit`` at most."""
        before = self._usual_limit if self.limit < 0 else self.limit
        self._usual_limit, self._wanted = min(before, limit), calls
        is_asking = calls > 0 and self._usual_limit > 0 and self._take_stack is not None
        self.limit = -1 if is_asking else self._usual_limit

    def take_stacks(self) -> list[tuple[RawCall, object]]:
        """Remove and return the stacks that were taken, each with its call."""
        taken, self._stacks = self._stacks, []
        return taken

    def _note_stack(self, call: Recorded) -> None:
        self._wanted -= 1
        if self._wanted <= 0:
            self.limit = self._usual_limit
        stack = None if self._take_stack is None else self._take_stack(3)
        if stack is not None:
            self._stacks.append((whole(call), stack))

    def weigh(self, keys: int) -> None:
        """Note that a call just appended holds ``keys`` keys; make room where it gets too much."""
        # Without the lock: threads may lose a few of each other's, and it is a rough figure.
        self._keys += keys
        if self._keys > KEYS_LIMIT // 2:
            self.relieve()
        if self._keys > KEYS_LIMIT:
            self.drop(len(self.buffer) // 2)

    def drop(self, most: int) -> None:
        """Remove the oldest calls, at most ``most``, and count them as dropped."""
        gone = self.take(most)
        with self._lock:
            self._dropped.update(call[SOURCE].alias for call in gone)

    def take(self, most: int) -> list[Recorded]:
        """Remove and return the oldest calls, at most ``most``."""
        popleft = self.buffer.popleft
        with self._lock:
            waiting = len(self.buffer)
            taken = min(most, waiting)
            self._keys -= self._keys * taken // max(waiting, 1)
            # One by one, since others append meanwhile; but in C.
            return list(starmap(popleft, repeat((), taken)))

    def has_more(self) -> bool:
        """Whether there is anything that nobody has taken."""
        return bool(self.buffer or self._dropped or self._culled or self._stacks)

    def take_dropped(self) -> Counter[str]:
        """How many calls were dropped since the last time, by alias."""
        if not self._dropped:
            return Counter()
        with self._lock:
            dropped, self._dropped = self._dropped, Counter()
        return dropped

    def note_culled(self, alias: str, entries: int) -> None:
        """Note that ``alias`` threw out ``entries`` to make room."""
        now = time.perf_counter()
        with self._lock:
            before = self._culled.get(alias, Culled(0, now, now))
            self._culled[alias] = Culled(before.entries + entries, before.first, now)

    def take_culled(self) -> dict[str, Culled]:
        """What was thrown out since the last time, by alias."""
        if not self._culled:
            return {}
        with self._lock:
            culled, self._culled = self._culled, {}
        return culled

    def failed(self, error: BaseException) -> None:
        """Note a fault of ours, to be logged by the draining thread; it must not become the
        site's."""
        self.faults.note(error)
        if self._on_pressure is None:
            # Where there is no such thread.
            self.faults.log()

    def after_fork(self) -> None:
        """Begin anew in a forked child: the calls in the buffer are the parent's."""
        self.buffer.clear()
        self.limit = 0
        self._dropped, self._culled = Counter(), {}
        self._keys = self._wanted = 0
        self._stacks = []


recorder = Recorder()
