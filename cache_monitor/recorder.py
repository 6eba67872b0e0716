"""The hot path's end: a bounded buffer that finished calls are appended to.

Appending to a deque is atomic, so threads, tasks and greenlets need no lock. The buffer knows
neither who fills nor who empties it.
"""

import time
from collections import Counter, deque
from collections.abc import Callable
from itertools import repeat, starmap
from typing import NamedTuple

from cache_monitor.calls import SOURCE, RawCall, Recorded, whole
from cache_monitor.concurrency import new_rlock
from cache_monitor.context import current
from cache_monitor.errors import Faults, let_pass

KEYS_LIMIT = 500_000
"""Keys that calls of several keys may hold in the buffer together; it counts calls, not keys."""


class Culled(NamedTuple):
    """How many entries a cache threw out to make room, and when it did so for the first and for
    the last time, by ``time.perf_counter``."""

    entries: int
    first: float
    last: float


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
        stack from the frame on that is so many calls outside of it."""
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
        outer = current()
        if self._take_stack is not None and (outer is None or not outer.listeners):
            # Of a request it will be known which view it was for.
            self._stacks.append((whole(call), self._take_stack(3)))

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
