"""Long jobs beside the counting: in small steps, and never more than is allowed."""

from collections.abc import Callable
from queue import SimpleQueue

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
