"""Long jobs in a thread of their own, beside the draining thread."""

from collections.abc import Callable
from queue import SimpleQueue

from cache_monitor import concurrency, context

Job = Callable[[], None]


class BackgroundJob:
    """Does one job at a time in a thread, which starts with the first one.

    ``failed`` is called with exceptions; ``at_end`` when the thread ends, to close what it opened.
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
        """Start ``job``; returns False if another one is running or no thread can be started. Only
        for the draining thread."""
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
        """Let the thread end after its job, without waiting for it."""
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
