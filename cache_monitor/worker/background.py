"""Long jobs beside the counting: in small steps, and never more than is allowed."""

import time
from collections.abc import Callable, Collection, Iterator
from queue import SimpleQueue
from typing import Generic, TypeVar

from cache_monitor import concurrency, context

Job = Callable[[], None]


class BackgroundJob:
    """Does one job at a time in a thread of its own, which begins with the first one.

    ``failed`` takes note of a fault, ``at_end`` gives back what the thread holds.
    """

    def __init__(
        self, name: str, failed: Callable[[Exception], None], at_end: Callable[[], None]
    ) -> None:
        self._name = f"{concurrency.THREAD_NAME}-{name}"
        self._failed = failed
        self._at_end = at_end
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._is_running = False
        self.is_busy = False

    def do(self, job: Job) -> bool:
        """Have ``job`` done, unless another one is or no thread is to be had for it; only the
        draining thread asks for it."""
        if self.is_busy:
            return False
        self.is_busy = True
        self._jobs.put(job)
        if not self._is_running:
            self._is_running = True
            try:
                concurrency.start(self._run, self._name, self._failed)
            except RuntimeError as error:
                self._is_running = self.is_busy = False
                self._jobs.get()
                if not concurrency.is_too_late(error):
                    self._failed(error)
                return False
        return True

    def end(self) -> None:
        """Let the thread end after what it is at; it is not waited for."""
        self._jobs.put(None)

    def _run(self) -> None:
        with context.muted():
            while (job := self._jobs.get()) is not None:
                try:
                    job()
                except Exception as error:
                    self._failed(error)
                self.is_busy = False
            self._at_end()


Item = TypeVar("Item")

STEP_SECONDS = 0.002
"""Of work between two pauses. Only one thread of a process computes at a time, and another that
wants to waits for the end of such a step."""
_BETWEEN = 100
"""Items of a collection between two looks at the clock."""


class OutOfTime(Exception):
    """What was allowed has been used up, or the process ends."""


class Pace:
    """Called now and then by the thread that computes: pauses so that this takes ``share`` of a
    core at most.

    It raises :class:`OutOfTime` after ``seconds`` of computing, or where ``is_over``. A computation
    of other processes takes none of it: it is this thread's time that counts.
    """

    def __init__(self, seconds: float, share: float, is_over: Callable[[], bool]) -> None:
        self._most = seconds
        self._pauses = 1 / share - 1
        self._is_over = is_over
        self._began = self._paused = time.thread_time()

    def __call__(self) -> None:
        """Pause, if it is time to."""
        now = time.thread_time()
        if now - self._paused < STEP_SECONDS:
            return
        if now - self._began > self._most or self._is_over():
            raise OutOfTime
        time.sleep((now - self._paused) * self._pauses)
        self._paused = now

    @property
    def used(self) -> float:
        """Seconds of computing so far."""
        return time.thread_time() - self._began


class Paced(Generic[Item], Collection[Item]):
    """The same items, whoever goes through which keeps to a pace."""

    def __init__(self, items: Collection[Item], pace: Callable[[], None]) -> None:
        self._items = items
        self._pace = pace

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def only(self, wanted: Callable[[Item], bool]) -> "Paced[Item]":
        """Those that are ``wanted``, at the same pace."""
        return Paced([each for each in self if wanted(each)], self._pace)

    def __iter__(self) -> Iterator[Item]:
        for place, item in enumerate(self._items):
            if place % _BETWEEN == 0:
                self._pace()
            yield item
