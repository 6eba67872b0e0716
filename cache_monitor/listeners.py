"""Who listens to calls one by one: to those of a piece of code, and to all of the process.

A :class:`Capture` is called on the caller's path, right after each call: the toolbar's, and that of
a user's test. A :class:`Subscriber` gets all calls after they were counted, in the draining thread,
never on the site's path: the call log, OpenTelemetry. If one is slow, calls wait up to a limit;
further calls are dropped and counted.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, NamedTuple

from django.conf import settings
from django.core.cache.backends.base import DEFAULT_TIMEOUT

from cache_monitor.calls import (
    KEY,
    LOOKUPS,
    SOURCE,
    STARTED,
    RawCall,
    Recorded,
    given_timeout,
    is_fault,
    is_interrupted,
    keys_of,
    outcomes_of,
    recorder,
    whole,
)
from cache_monitor.concurrency import new_lock
from cache_monitor.conf import EXPLICIT, get_conf
from cache_monitor.keys.known_keys import is_toolbar_key
from cache_monitor.keys.naming import unmasked_name
from cache_monitor.page_cache import PagePass
from cache_monitor.stacks import RawStack
from cache_monitor.stats.window import percent
from cache_monitor.trace.state import ClassifiedMiss

Timeout = float | Literal["default", "n/a"] | None
"""Seconds; None for "no expiry"; ``"default"`` where the caller gave none; ``"n/a"`` where the
operation takes none."""

READS = LOOKUPS | {"has_key"}
WRITES = frozenset({"set", "add", "set_many", "touch", "incr", "decr"})
WRITES |= {"incr_version", "decr_version"}
DELETES = frozenset({"delete", "delete_many", "clear"})
_KINDS = {
    operation: kind
    for kind, own in (("reads", READS), ("writes", WRITES), ("deletes", DELETES))
    for operation in own
}
_TAKE_TIMEOUT = frozenset({"set", "add", "set_many", "get_or_set", "touch"})

_BATCH = 4096
"""Calls that wait to be counted; a bound for memory, and the counting is quicker in one go."""


@dataclass(frozen=True, slots=True)
class CapturedCall:
    """One cache call.

    ``keys`` are the keys that it named, as the monitor shows them: long ones cut, a session's
    masked. ``groups`` and ``outcomes`` have an element for each of them; an outcome is True for a
    hit, False for a miss, None where nothing was looked up. ``started`` is a reading of
    ``time.perf_counter``, ``bytes`` the size of the values moved where it is known, ``timeout``
    what the caller gave (see :data:`Timeout`), ``error`` the name of the exception that it raised,
    ``interrupted`` whether that came from outside (a cancelled task, a time limit), ``value_type``
    the name of the type of the value that it found or wrote, of several values their types with a
    comma between.
    """

    alias: str
    operation: str
    keys: tuple[str, ...]
    groups: tuple[str, ...]
    outcomes: tuple[bool | None, ...]
    seconds: float
    started: float
    bytes: int | None = None
    timeout: Timeout = "n/a"
    error: str | None = None
    value_type: str | None = None
    interrupted: bool = False

    @property
    def hits(self) -> int:
        """How many of the keys were found."""
        return self.outcomes.count(True)

    @property
    def misses(self) -> int:
        """How many of the keys were looked up and not there."""
        return self.outcomes.count(False)

    def __str__(self) -> str:
        words = {True: " hit", False: " miss", None: ""}
        keys = ", ".join(
            repr(key) + words[outcome]
            for key, outcome in zip(self.keys, self.outcomes, strict=True)
        )
        verb = "interrupted by" if self.interrupted else "raised"
        raised = f" {verb} {self.error}" if self.error else ""
        return f"{self.alias}.{self.operation}({keys}){raised}"


@dataclass(slots=True)
class Totals:
    """Counts of calls: ``reads + writes + deletes + others = calls``.

    ``seconds`` is the time of the caches' own: what a ``get_or_set`` took to produce its value,
    and any calls made meanwhile, are no part of it.
    """

    calls: int = 0
    reads: int = 0
    writes: int = 0
    deletes: int = 0
    others: int = 0
    hits: int = 0
    misses: int = 0
    errors: int = 0
    seconds: float = 0.0
    interrupted: int = 0

    @property
    def lookups(self) -> int:
        return self.hits + self.misses

    @property
    def hit_percent(self) -> int | None:
        """Hits in whole per cent of lookups; None without lookups."""
        return percent(self.hits, self.lookups)

    def __add__(self, other: "Totals") -> "Totals":
        names = Totals.__slots__
        return Totals(*(getattr(self, name) + getattr(other, name) for name in names))

    def add(self, call: RawCall) -> None:
        source, _, seconds, _, outcome, _, _, _, error, _, produced, *_ = call
        self.calls += 1
        self.seconds += seconds if produced is None else max(seconds - produced, 0.0)
        self.errors += is_fault(source.operation, error)
        self.interrupted += is_interrupted(error)
        if isinstance(outcome, tuple):
            self.hits += outcome.count(True)
            self.misses += outcome.count(False)
        elif outcome is not None:
            self.hits += outcome
            self.misses += not outcome
        kind = _KINDS.get(source.operation, "others")
        setattr(self, kind, getattr(self, kind) + 1)


class KeptCall(NamedTuple):
    """A call with its ``value_type``, as in :class:`CapturedCall`, and the stack of its caller."""

    call: RawCall
    value_type: str | None = None
    stack: RawStack | None = None


class Capture:
    """A listener that counts all calls and keeps the first ``keep`` (None: all).

    ``take_stack``, if given, is called on the caller's path, only for the calls that are kept. Any
    number of threads may make calls at once. The debug toolbar's own calls are left out.
    """

    def __init__(
        self, keep: int | None = None, take_stack: Callable[[], RawStack] | None = None
    ) -> None:
        self._keep = keep
        self._take_stack = take_stack
        self._stacks_left = keep
        self._kept: list[KeptCall] = []
        self._totals: dict[str, Totals] = {}
        self.page_passes: list[PagePass] = []
        self._pending: deque[tuple[RawCall, str | None, RawStack | None]] = deque()
        self._lock = new_lock()

    def on_page(self, page_pass: PagePass) -> None:
        self.page_passes.append(page_pass)

    def on_call(self, call: RawCall, kind: str | None = None) -> None:
        take_stack = self._take_stack
        stack = None if take_stack is None else self._stack_of(call, take_stack)
        self._pending.append((call, kind, stack))
        # Whoever has the lock counts this call too. Waiting would lock up a call made by a
        # destructor or a signal handler that runs in the middle of counting.
        if len(self._pending) >= _BATCH and not self._lock.locked():
            with self._lock:
                self._count()

    def calls(self) -> tuple[CapturedCall, ...]:
        """The calls kept, in the order in which they began."""
        return tuple(_captured(each) for each in self.kept())

    def kept(self) -> list[KeptCall]:
        """The same, as they were recorded."""
        with self._lock:
            self._count()
            return sorted(self._kept, key=lambda each: each.call[STARTED])

    def totals(self) -> Mapping[str, Totals]:
        """The counts of all calls, by alias."""
        with self._lock:
            self._count()
            return dict(self._totals)

    def _stack_of(self, call: RawCall, take_stack: Callable[[], RawStack]) -> RawStack | None:
        # Threads may let each other take a few too many, which does no harm.
        if self._stacks_left is not None:
            if self._stacks_left <= 0 or is_toolbar_key(call[KEY]):
                return None
            self._stacks_left -= 1
        return take_stack()

    def _count(self) -> None:
        for _ in range(len(self._pending)):
            pending = self._pending.popleft()
            call = pending[0]
            if is_toolbar_key(call[KEY]):
                continue
            alias = call[SOURCE].alias
            if alias not in self._totals:
                self._totals[alias] = Totals()
            self._totals[alias].add(call)
            if self._keep is None or len(self._kept) < self._keep:
                self._kept.append(KeptCall(*pending))


def watched_aliases() -> tuple[str, ...]:
    """The caches whose calls are recorded, as far as the settings tell."""
    conf = get_conf()
    if not conf.enabled:
        return ()
    return tuple(
        alias
        for alias, entry in settings.CACHES.items()
        if conf.instrument == "all" or entry.get("BACKEND") == EXPLICIT
    )


def timeout_of(call: RawCall) -> Timeout:
    """What the caller gave."""
    given = given_timeout(call)
    if call[SOURCE].operation not in _TAKE_TIMEOUT:
        return "n/a"
    if given is DEFAULT_TIMEOUT:
        return "default"
    if given is None:
        return None
    if isinstance(given, timedelta):
        return given.total_seconds()
    try:
        return float(given)  # type: ignore[arg-type]  # whatever a backend may take
    except Exception:
        return "n/a"


def _captured(kept: KeptCall) -> CapturedCall:
    call = kept.call
    source, started, seconds, _, _, size, _, _, error, *_ = call
    names = [unmasked_name(each, source.alias) for each in keys_of(call)]
    return CapturedCall(
        alias=source.alias,
        operation=source.operation,
        keys=tuple(name.shown for name in names),
        groups=tuple(name.group for name in names),
        outcomes=outcomes_of(call),
        seconds=seconds,
        started=started,
        bytes=size,
        timeout=timeout_of(call),
        error=None if error is None else str(error),
        value_type=kept.value_type,
        interrupted=is_interrupted(error),
    )


MOST_WAITING = 50_000
"""Calls, passes and misses that wait for the subscribers: some 15 MB."""


class Subscriber:
    """Overrides the methods for what it wants to know."""

    def on_calls(self, calls: Sequence[RawCall], clock_offset: float) -> None:
        """Called with the calls in order; ``clock_offset`` added to their times gives Unix time."""

    def on_reasons(self, misses: Sequence[ClassifiedMiss]) -> None:
        """Called with classified misses of all processes, each in one process."""

    def on_pages(self, passes: Sequence[PagePass]) -> None:
        """Called with passes through Django's page cache."""

    def on_dropped(self, number: int) -> None:
        """Called with the number of calls that were dropped."""


_Event = Callable[[Subscriber], None]


class Subscribers:
    """Keeps calls from the threads that count them until the draining thread passes them on."""

    def __init__(self) -> None:
        self._subscribers: dict[Subscriber, Callable[[], bool]] = {}
        self._lock = new_lock()
        self.reset()

    def reset(self) -> None:
        """Drop what waits: in a forked child it is the parent's."""
        self._events: deque[_Event] = deque()
        self._waiting = self._dropped = 0

    def add(self, subscriber: Subscriber, is_active: Callable[[], bool] = lambda: True) -> None:
        """Add a subscriber, if it is not there yet. ``is_active`` says whether it wants anything
        now; asked for every batch, so it must be quick."""
        self._subscribers = {**self._subscribers, subscriber: is_active}

    def remove(self, subscriber: Subscriber) -> None:
        self._subscribers = {each: f for each, f in self._subscribers.items() if each != subscriber}

    def _active(self) -> list[Subscriber]:
        return [each for each, is_active in self._subscribers.items() if is_active()]

    def add_calls(self, calls: Sequence[Recorded], clock_offset: float) -> None:
        """Keep ``calls``. Quick, and never raises: a thread of the site's may call it."""
        if calls and self._active():
            kept = [*map(whole, calls)]
            if not self._keep(len(calls), lambda each: each.on_calls(kept, clock_offset)):
                with self._lock:
                    self._dropped += len(calls)

    def add_pages(self, passes: Sequence[PagePass]) -> None:
        if passes and self._active():
            self._keep(len(passes), lambda each: each.on_pages(passes))

    def add_reasons(self, misses: Sequence[ClassifiedMiss]) -> None:
        if misses and self._active():
            self._keep(len(misses), lambda each: each.on_reasons(misses))

    def _keep(self, number: int, event: _Event) -> bool:
        with self._lock:
            has_room = self._waiting + number <= MOST_WAITING
            if has_room:
                self._waiting += number
                self._events.append(event)
        return has_room

    def notify(self) -> None:
        """Call the subscribers with all that waits. Only for the draining thread."""
        active = self._active()
        with self._lock:
            events, dropped = self._events, self._dropped
            self.reset()
        for subscriber in active:
            try:
                for event in events:
                    event(subscriber)
                if dropped:
                    subscriber.on_dropped(dropped)
            except Exception as error:
                recorder.failed(error)


subscribers = Subscribers()
