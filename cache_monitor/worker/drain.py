"""From the recorder's buffer to the statistics of one process: counting, and what takes longer.

Counting is done with a batch at once. Why a lookup missed, and how old a hit was, is told later,
when the other processes had time to say what they did; how long a value took to produce, when it
is written.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from functools import cached_property
from threading import get_ident

from cache_monitor.calls import SECONDS, SOURCE, STARTED, RawCall, Recorder
from cache_monitor.errors import let_pass
from cache_monitor.page_cache import watch
from cache_monitor.stats.compute_time import MissSetMatcher
from cache_monitor.worker import requests
from cache_monitor.worker.batch import Batch
from cache_monitor.worker.flush import Flusher
from cache_monitor.worker.subscribers import subscribers

_MOST_REQUESTS = 10_000
"""Beginnings of requests that wait for the calls that were made meanwhile."""


class Drainer:
    """Takes calls from the recorder and makes statistics of them.

    Whoever calls holds the lock of the draining, but for :meth:`begin_request`.
    """

    def __init__(
        self,
        recorder: Recorder,
        make_flusher: Callable[[], Flusher],
    ) -> None:
        self._recorder = recorder
        self._make_flusher = make_flusher
        self._matcher = MissSetMatcher()
        self._requests: deque[tuple[float, int]] = deque(maxlen=_MOST_REQUESTS)
        self._changed: deque[tuple[str, list[RawCall]]] = deque(maxlen=_MOST_REQUESTS)
        self.active_at = 0.0
        """When calls were last taken in, Unix time."""

    @cached_property
    def flusher(self) -> Flusher:
        """Made when first asked for: the settings may not be there before."""
        return self._make_flusher()

    def begin_request(self) -> None:
        """Note that this thread begins with a new request, on whose path this runs."""
        self._requests.append((time.perf_counter(), get_ident()))

    def has_more(self) -> bool:
        """Whether there is anything to be counted; needs no lock."""
        return self._recorder.has_more() or bool(requests.waiting or watch.finished)

    def drain(self, most: int) -> bool:
        """Count the oldest calls in the buffer, at most ``most``, and all requests; whether there
        was anything."""
        has_more = self.has_more()
        now = time.time()
        aggregator = self.flusher.aggregator
        clock_offset = _clock_offset()
        calls = self._recorder.take(most)
        called: set[str] = set()
        if calls:
            self.active_at = now
            batch = aggregator.add(calls, clock_offset)
            called = batch.aliases()
            subscribers.add_calls(calls, clock_offset)
            with self._going_on():
                self._look_closer(batch, clock_offset)
        with self._going_on():
            aggregator.callers.add(self._recorder.take_stacks())
        dropped = self._recorder.take_dropped()
        aggregator.add_dropped(dropped, now)
        for alias in dropped:
            self.flusher.tracer.note_gap(alias, now)
        self._count_culled(called, clock_offset)
        records = requests.take()
        for request_record in records:
            aggregator.add_request(request_record, now)
            if changes := request_record.stats.changes():
                self._changed.append((request_record.view, changes))
        passes = watch.take() if watch.finished else ()
        for page_pass in passes:
            aggregator.add_page(page_pass, now)
        subscribers.add_pages(passes)
        return has_more or bool(calls or dropped or records or passes)

    def note_views(self) -> None:
        """Let the trace know whose writes those are that it has by now: a request's calls are in
        the buffer before it has ended."""
        while self._changed:
            view, changes = self._changed.popleft()
            with self._going_on():
                self.flusher.tracer.note_view(view, changes)

    def _count_culled(self, called: Set[str], clock_offset: float) -> None:
        """Count what caches evicted, ``called`` among them."""
        culled = self._recorder.take_culled()
        # Where it is counted, none is a figure too.
        evicted = dict.fromkeys(called & self._recorder.culling, 0)
        evicted.update({alias: each.entries for alias, each in culled.items()})
        self.flusher.aggregator.add_culled(evicted, time.time())
        for alias, each in culled.items():
            # It was full then, whatever it was when somebody looked.
            for at in {each.first, each.last}:
                self.flusher.tracer.note_full(alias, at + clock_offset)

    def _look_closer(self, batch: Batch, clock_offset: float) -> None:
        others = batch.others
        made = self._matcher.match(others, self._requests) if others else {}
        for place, values in made.items():
            call = others[place]
            at = call[STARTED] + call[SECONDS] + clock_offset
            self.flusher.aggregator.add_produced(call[SOURCE].alias, at, values)
        computed = {place: dict(values) for place, values in made.items()}
        self.flusher.tracer.trace(batch, clock_offset, computed)

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        """A fault of ours in here must not stop the counting."""
        try:
            yield
        except Exception as error:
            let_pass(error)
            self._recorder.failed(error)


def _clock_offset() -> float:
    """What makes Unix time of the readings of ``time.perf_counter``.

    A thread that is interrupted between the two clocks gets too little. Of events some
    microseconds apart the order tells why a get missed, so it is tried more than once.
    """
    return max(time.time() - time.perf_counter() for _ in range(3))
