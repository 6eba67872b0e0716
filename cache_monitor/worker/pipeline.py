"""The way of calls in the background thread: from the recorder's buffer into the time buckets of
this process, and from these to the store.

Counting is done with a batch at once. Why a lookup missed, and how old a hit was, is classified
later, when the other processes had time to report what they did; how long a value took to compute,
when it is written.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Set
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from threading import Lock, get_ident
from uuid import uuid4

from cache_monitor.calls import SECONDS, SOURCE, STARTED, Culled, RawCall, Recorder
from cache_monitor.instrument import pages
from cache_monitor.listeners import subscribers
from cache_monitor.stats.codec import encode
from cache_monitor.stats.compute_time import MissSetMatcher
from cache_monitor.stats.details import Details
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Kind, Row, Store
from cache_monitor.stores.rows import ABANDONED_AFTER
from cache_monitor.trace import SECOND
from cache_monitor.trace.slices import Slice
from cache_monitor.worker import requests
from cache_monitor.worker.aggregator import Aggregator
from cache_monitor.worker.batch import Batch, forget_names
from cache_monitor.worker.trace_writer import Tracer

logger = logging.getLogger("cache_monitor")

Bucket = Window | Details | Slice

MOST_BUCKETS = 1000
"""The most buckets that wait for a store that refuses them; the oldest are dropped, and their calls
counted."""
STEP = 10.0
"""Seconds by which the clock may be set back without a new era; calls are late in a report by no
more than that."""
HANGS_AFTER = 10.0
"""Seconds after which a store that has not answered counts as refusing."""
_CLOSED_AFTER = 5.0
"""Seconds after the end of a bucket in which late calls are still added to it."""
_MOST_REQUESTS = 10_000
"""Beginnings of requests that wait for the calls that were made meanwhile."""


class Drainer:
    """Takes calls from the recorder and makes statistics of them.

    Whoever calls holds the lock of the draining, but for :meth:`begin_request`.
    """

    def __init__(self, recorder: Recorder, make_flusher: Callable[[], "Flusher"]) -> None:
        self._recorder = recorder
        self._make_flusher = make_flusher
        self._matcher = MissSetMatcher()
        self._requests: deque[tuple[float, int]] = deque(maxlen=_MOST_REQUESTS)
        self._changed: deque[tuple[str, list[RawCall]]] = deque(maxlen=_MOST_REQUESTS)
        self.active_at = 0.0
        """When calls were last taken in, Unix time."""

    @cached_property
    def flusher(self) -> "Flusher":
        """Made when first asked for: the settings may not be there before."""
        return self._make_flusher()

    def begin_request(self) -> None:
        """Note that this thread begins with a new request, on whose path this runs."""
        self._requests.append((time.perf_counter(), get_ident()))

    def has_more(self) -> bool:
        """Whether there is anything to be counted; needs no lock."""
        return self._recorder.has_more() or bool(requests.waiting or pages.finished)

    def drain(self, most: int) -> bool:
        """Count the oldest calls in the buffer, at most ``most``, and all requests; whether there
        was anything."""
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
            with self._recorder.guard:
                self._look_closer(batch, clock_offset)
        stacks = self._recorder.take_stacks()
        with self._recorder.guard:
            aggregator.callers.add(stacks)
        dropped = self._recorder.take_dropped()
        aggregator.add_dropped(dropped, now)
        for alias in dropped:
            self.flusher.tracer.note_gap(alias, now)
        culled = self._recorder.take_culled()
        self._count_culled(culled, called, clock_offset)
        records = requests.take()
        for request_record in records:
            aggregator.add_request(request_record, now)
            if changes := request_record.stats.changes():
                self._changed.append((request_record.view, changes))
        passes = pages.take() if pages.finished else ()
        for page_pass in passes:
            aggregator.add_page(page_pass, now)
        subscribers.add_pages(passes)
        return bool(calls or stacks or dropped or culled or records or passes)

    def note_views(self) -> None:
        """Let the trace know whose writes those are that it has by now: a request's calls are in
        the buffer before it has ended."""
        while self._changed:
            view, changes = self._changed.popleft()
            with self._recorder.guard:
                self.flusher.tracer.note_view(view, changes)

    def _count_culled(
        self, culled: Mapping[str, Culled], called: Set[str], clock_offset: float
    ) -> None:
        """Count what was ``culled``, and that the others of the caches ``called`` evicted none."""
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


def _clock_offset() -> float:
    """What makes Unix time of the readings of ``time.perf_counter``.

    A thread that is interrupted between the two clocks gets too little. Of events some
    microseconds apart the order tells why a get missed, so it is tried more than once.
    """
    return max(time.time() - time.perf_counter() for _ in range(3))


@dataclass(slots=True)
class _ClockEra:
    """What is counted until the clock is set back. ``stored``: the revision and the calls of each
    bucket in the store."""

    process: str
    aggregator: Aggregator
    tracer: Tracer
    stored: dict[tuple[Kind, str, int], tuple[object, int]] = field(default_factory=dict)
    is_over: bool = False

    def stored_revision(self, alias: str, bucket: Bucket) -> object:
        return self.stored.get(_name(alias, bucket), (None, 0))[0]

    def undelivered(self, alias: str, bucket: Bucket) -> int:
        return _calls(bucket) - self.stored.get(_name(alias, bucket), (None, 0))[1]

    def buckets(self) -> Iterator[tuple[str, Bucket]]:
        yield from self.aggregator.buckets()
        yield from self.tracer.slices

    def seal(self, bucket: Bucket) -> None:
        if isinstance(bucket, Slice):
            self.tracer.slices.seal(bucket)
        else:
            self.aggregator.seal(bucket)

    def forget(self, alias: str, bucket: Bucket) -> None:
        if isinstance(bucket, Slice):
            self.tracer.slices.forget(alias, bucket)
        else:
            self.aggregator.forget(alias, bucket)
        self.stored.pop(_name(alias, bucket), None)

    def row(self, alias: str, bucket: Bucket, written_at: float) -> Row:
        if isinstance(bucket, Slice):
            payload = self.tracer.slices.encode(bucket, written_at)
        else:
            # A site's thread may have counted calls since the bucket before was encoded.
            self.aggregator.settle()
            payload = encode(bucket)
        return Row(_kind(bucket), self.process, alias, bucket.start, bucket.seconds, payload)


@dataclass(slots=True)
class _ChangedBucket:
    era: _ClockEra
    alias: str
    bucket: Bucket
    revision: object
    calls: int
    row: Row


class Flusher:
    """Brings the buckets of one process to the store.

    A bucket that is written again replaces its row, so a process must not have two buckets of the
    same time. If the clock is set back, time repeats: from then on it counts under another name, as
    if another process had begun.

    The caller holds the drain lock, except for :meth:`put`, which waits for the store.
    """

    def __init__(self, process: str, aggregator: Aggregator, tracer: Tracer) -> None:
        # The aggregator of a new era is a copy of this one while it is empty.
        self._empty = deepcopy(aggregator)
        self._eras = [_ClockEra(process, aggregator, tracer)]
        self._clock_offset = -inf
        self._dropped = 0
        self._being_written: list[_ChangedBucket] = []
        self._hangs_at = inf
        self.faults: deque[Exception] = deque(maxlen=10)
        """Our faults that kept a bucket from being written."""

    @property
    def aggregator(self) -> Aggregator:
        """The aggregator of the present era."""
        self._follow_clock()
        if self._being_written and time.monotonic() > self._hangs_at:
            self._hangs_at += HANGS_AFTER
            self.refused()
        return self._eras[-1].aggregator

    @property
    def tracer(self) -> Tracer:
        """The tracer of the present era."""
        return self._eras[-1].tracer

    def _follow_clock(self) -> None:
        offset = time.time() - time.perf_counter()
        if offset < self._clock_offset - STEP:
            self._eras[-1].is_over = True
            process = uuid4().hex
            tracer = self._eras[-1].tracer.renewed(process)
            before = time.perf_counter() + self._clock_offset
            tracer.slices.note_set_back(int(before * SECOND))
            self._eras.append(_ClockEra(process, deepcopy(self._empty), tracer))
            self._clock_offset = offset
        # The latest ever: many short steps back add up to a long one.
        self._clock_offset = max(self._clock_offset, offset)

    def changes(self, last: bool) -> Iterator[_ChangedBucket]:
        """The buckets that changed since they were stored; those whose time is over are sealed, and
        all of them at the ``last`` flush. Each is encoded when it is asked for: in between the lock
        may be free."""
        now = time.time()
        self._drop_abandoned(now)
        if last:
            self.aggregator.note_end(now)
            self.tracer.slices.end(now)
        for era, _, bucket in self._buckets():
            if last or era.is_over or bucket.start + bucket.seconds + _CLOSED_AFTER < now:
                era.seal(bucket)
        for era, alias, bucket in [each for each in self._buckets() if _is_changed(*each)]:
            row = self._row(era, alias, bucket, now)
            if row is not None:
                yield _ChangedBucket(era, alias, bucket, bucket.revision, _calls(bucket), row)

    def _row(self, era: _ClockEra, alias: str, bucket: Bucket, written_at: float) -> Row | None:
        """The row of a bucket, to be written at ``written_at``; None if it cannot be
        encoded, which must not keep others from the store."""
        try:
            return era.row(alias, bucket, written_at)
        except Exception as error:
            self.faults.append(error)
            self._dropped += era.undelivered(alias, bucket)
            era.forget(alias, bucket)
            return None

    def put(self, store: Store, changes: list[_ChangedBucket]) -> None:
        """Write ``changes``. Raises :class:`StoreError`."""
        if not changes:
            return
        self._being_written, self._hangs_at = changes, time.monotonic() + HANGS_AFTER
        try:
            store.put([change.row for change in changes], int(time.time()))
        finally:
            self._being_written, self._hangs_at = [], inf

    def delivered(self, changes: list[_ChangedBucket]) -> None:
        """The store has ``changes``: forget the buckets that will not change any more."""
        for change in changes:
            name = _name(change.alias, change.bucket)
            change.era.stored[name] = (change.revision, change.calls)
        for era, alias, bucket in list(self._buckets()):
            if bucket.final and era.stored_revision(alias, bucket) == bucket.revision:
                era.forget(alias, bucket)
        self._drop_finished()
        if not any(self._buckets()):
            # Nobody calls. A few names from the midst of a burst would keep its memory for good.
            forget_names()
            for era in self._eras:
                era.tracer.forget_keys()

    def refused(self) -> None:
        """Drop the oldest buckets if too many wait, but for those that are being written."""
        written_now = {id(change.bucket) for change in self._being_written}
        # Era by era: the first may have later times.
        buckets = [
            (era, alias, bucket)
            for era in self._eras
            for alias, bucket in sorted(era.buckets(), key=lambda each: each[1].start)
            if id(bucket) not in written_now
        ]
        for era, alias, bucket in buckets[: max(0, len(buckets) - MOST_BUCKETS)]:
            self._dropped += era.undelivered(alias, bucket)
            era.forget(alias, bucket)
        self._drop_finished()

    def _drop_abandoned(self, now: float) -> None:
        """Drop buckets that the store has had in part for so long that it may have rolled them up:
        written whole now, that part would count twice."""
        for era, alias, bucket in list(self._buckets()):
            is_begun = _name(alias, bucket) in era.stored
            if is_begun and bucket.start + bucket.seconds < now - ABANDONED_AFTER / 2:
                self._dropped += era.undelivered(alias, bucket)
                era.forget(alias, bucket)

    def missing(self, store_works: bool) -> int:
        """The calls missing from the store: dropped, or, if it refuses, not written yet."""
        if store_works:
            return self._dropped
        return self._dropped + sum(
            era.undelivered(alias, bucket) for era, alias, bucket in self._buckets()
        )

    def _drop_finished(self) -> None:
        """Forget past eras without buckets."""
        self._eras = [era for era in self._eras if not era.is_over or any(era.buckets())]

    def _buckets(self) -> Iterator[tuple[_ClockEra, str, Bucket]]:
        for era in self._eras:
            for alias, bucket in era.buckets():
                yield era, alias, bucket


class StoreWriter:
    """Writes what a process has drained to its store, and knows how far that came.

    ``lock`` is held while the flusher is used; ``failed`` is called with faults of ours.
    """

    def __init__(
        self,
        get_flusher: Callable[[], Flusher],
        lock: Lock,
        failed: Callable[[Exception], None],
    ) -> None:
        self.problem: str | None = None
        """What is wrong with the store; None if nothing is known to be."""
        self.missing = 0
        """Calls that the store lacks: dropped, or refused so far."""
        self.taken = 0
        """How often something was drained; told before it is taken out of where it waits."""
        self.is_busy = False
        """Whether other processes kept the store from being written the last time."""
        self.is_parents = False
        """Whether this is the copy in a forked child, where a greenlet of the parent's may go on:
        what it has encoded may be older than what the parent has written by then."""
        self._written = 0
        self._get_flusher = get_flusher
        self.lock = lock
        self._failed = failed

    @property
    def has_all(self) -> bool:
        """Whether the store has all that was drained."""
        return self._written == self.taken

    def write(self, store: Store, last: bool, pace: Callable[[], None]) -> None:
        """Write what has changed. Encoding it keeps to ``pace``. Raises :class:`StoreError`."""
        with self.lock:
            flusher, taken = self._get_flusher(), self.taken
            flusher.aggregator.learn_groups()
        changed = flusher.changes(last)
        changes: list[_ChangedBucket] = []
        while True:
            pace()
            with self.lock:
                change = next(changed, None)
            if change is None:
                break
            changes.append(change)
        while flusher.faults:
            self._failed(flusher.faults.popleft())
        if self.is_parents:
            return
        flusher.put(store, changes)
        with self.lock:
            flusher.delivered(changes)
            self._written = taken
            self.missing = flusher.missing(store_works=True)

    def note_success(self) -> None:
        """The store works."""
        self.is_busy = False
        if self.problem is not None:
            logger.info("The cache monitor's store works again.")
            self.problem = None

    def note_failure(self, problem: str) -> None:
        """The store failed: log that, and drop the oldest buckets where too many wait."""
        if problem != self.problem:
            logger.error("%s Until then the statistics wait in memory.", problem)
            self.problem = problem
        with self.lock:
            flusher = self._get_flusher()
            flusher.refused()
            self.missing = flusher.missing(store_works=False)


def _is_changed(era: _ClockEra, alias: str, bucket: Bucket) -> bool:
    return era.stored_revision(alias, bucket) != bucket.revision


def _kind(bucket: Bucket) -> Kind:
    if isinstance(bucket, Slice):
        return "trace"
    return "window" if isinstance(bucket, Window) else "details"


def _name(alias: str, bucket: Bucket) -> tuple[Kind, str, int]:
    return _kind(bucket), alias, bucket.start


def _calls(bucket: Bucket) -> int:
    """The calls of a bucket: each is in a window, and again in details."""
    return bucket.calls if isinstance(bucket, Window) else 0
