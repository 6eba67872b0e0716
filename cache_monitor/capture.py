"""Listening to the calls of a stretch of code, for those who show them one by one."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from threading import Lock
from typing import Literal

from django.conf import settings
from django.core.cache.backends.base import DEFAULT_TIMEOUT

from cache_monitor.backends.explicit import PATH as EXPLICIT_PATH
from cache_monitor.calls import RawCall
from cache_monitor.conf import get_conf
from cache_monitor.keys.naming import name_key
from cache_monitor.keys.toolbar import is_toolbars_own

Timeout = float | Literal["default", "n/a"] | None
"""Seconds; None for "no expiry"; ``"default"`` where the caller gave none; ``"n/a"`` where the
operation takes none."""

_READS = frozenset({"get", "get_many", "get_or_set", "has_key"})
_WRITES = frozenset({"set", "add", "set_many", "touch", "incr", "decr"})
_WRITES |= {"incr_version", "decr_version"}
_DELETES = frozenset({"delete", "delete_many", "clear"})
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
    what the caller gave (see :data:`Timeout`), ``error`` the name of the exception that it raised.
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
        raised = f" raised {self.error}" if self.error else ""
        return f"{self.alias}.{self.operation}({keys}){raised}"


@dataclass(slots=True)
class Totals:
    """Counts of calls: ``reads + writes + deletes + others = calls``."""

    calls: int = 0
    reads: int = 0
    writes: int = 0
    deletes: int = 0
    others: int = 0
    hits: int = 0
    misses: int = 0
    errors: int = 0
    seconds: float = 0.0

    @property
    def lookups(self) -> int:
        """Keys asked for."""
        return self.hits + self.misses

    def add(self, call: RawCall) -> None:
        """Count ``call``."""
        source, _, seconds, _, outcome, _, _, _, error, _ = call
        self.calls += 1
        self.seconds += seconds
        self.errors += error is not None
        if isinstance(outcome, tuple):
            self.hits += outcome.count(True)
            self.misses += outcome.count(False)
        elif outcome is not None:
            self.hits += outcome
            self.misses += not outcome
        self._add_kind(source.operation)

    def _add_kind(self, operation: str) -> None:
        if operation in _READS:
            self.reads += 1
        elif operation in _WRITES:
            self.writes += 1
        elif operation in _DELETES:
            self.deletes += 1
        else:
            self.others += 1


class Capture:
    """A listener that counts every call it hears, and keeps the first ``keep`` (None: all).

    Any number of threads may be heard at once. The debug toolbar's own calls are left out.
    """

    def __init__(self, keep: int | None = None) -> None:
        self._keep = keep
        self._kept: list[RawCall] = []
        self._totals: dict[str, Totals] = {}
        self._pending: deque[RawCall] = deque()
        self._lock = Lock()

    def heard(self, call: RawCall) -> None:
        """Take note of ``call``."""
        self._pending.append(call)
        # Whoever has the lock counts this call too. Waiting would lock up a call made by a
        # destructor or a signal handler that runs in the middle of counting.
        if len(self._pending) >= _BATCH and self._lock.acquire(blocking=False):
            try:
                self._count()
            finally:
                self._lock.release()

    def calls(self) -> tuple[CapturedCall, ...]:
        """The calls kept, in the order in which they began."""
        with self._lock:
            self._count()
            kept = sorted(self._kept, key=lambda call: call[1])
        return tuple(map(_captured, kept))

    def totals(self) -> Mapping[str, Totals]:
        """The counts of all calls heard, by alias."""
        with self._lock:
            self._count()
            return dict(self._totals)

    def _count(self) -> None:
        for _ in range(len(self._pending)):
            call = self._pending.popleft()
            if is_toolbars_own(call[3]):
                continue
            alias = call[0].alias
            if alias not in self._totals:
                self._totals[alias] = Totals()
            self._totals[alias].add(call)
            if self._keep is None or len(self._kept) < self._keep:
                self._kept.append(call)


def watched_aliases() -> tuple[str, ...]:
    """The caches whose calls are recorded, as far as the settings tell."""
    conf = get_conf()
    if not conf.enabled:
        return ()
    return tuple(
        alias
        for alias, entry in settings.CACHES.items()
        if conf.instrument == "all" or entry.get("BACKEND") == EXPLICIT_PATH
    )


def _captured(call: RawCall) -> CapturedCall:
    source, started, seconds, key, outcome, size, timeout, _, error, _ = call
    keys = key if isinstance(key, tuple) else () if key is None else (key,)
    names = [name_key(each) for each in keys]
    return CapturedCall(
        alias=source.alias,
        operation=source.operation,
        keys=tuple(name.shown for name in names),
        groups=tuple(name.group for name in names),
        outcomes=_per_key(outcome, len(names)),
        seconds=seconds,
        started=started,
        bytes=size,
        timeout=_timeout(timeout) if source.operation in _TAKE_TIMEOUT else "n/a",
        error=error,
    )


def _per_key(outcome: bool | tuple[bool, ...] | None, keys: int) -> tuple[bool | None, ...]:
    if isinstance(outcome, tuple):
        return (*outcome[:keys], *[None] * (keys - len(outcome)))
    return (outcome,) * keys


def _timeout(given: object) -> Timeout:
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
