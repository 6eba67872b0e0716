"""Figures over time, in steps that a chart can show: of a cache, and of single keys; why lookups
missed in each."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from math import sqrt
from typing import NamedTuple

from django.conf import settings
from msgspec import Struct

from cache_monitor.periods import rfc3339
from cache_monitor.reports.schema import REASONS, MissReasons, Point, Report
from cache_monitor.stats import codec
from cache_monitor.stats.codec import CorruptPayload, decode
from cache_monitor.stats.details import DetailedKeys
from cache_monitor.stats.groups import GroupStats
from cache_monitor.stats.hot_keys import Columns
from cache_monitor.stats.window import (
    MINUTE,
    MemoryByProcess,
    OperationStats,
    Reasons,
    Window,
    greater,
)
from cache_monitor.stores.base import Row, get_store
from cache_monitor.stores.rows import DAY, HOUR, longest


def miss_reasons(misses: int, traced: Window | GroupStats, hours: float) -> MissReasons:
    """The reasons of ``misses`` from those of the ``traced`` ones.

    If all keys are traced each miss counts for itself; those without a reason yet are unknown. If a
    sample is traced, all misses have its shares, with an error of about one by the square root of
    the classified ones. The error is larger if some keys are missed again and again, since a key is
    traced with all its misses: ``variance`` says by how much, for each of the ``hours`` of the
    period. How these correlate is unknown, so that more hours do not make it smaller.
    """
    weight = sum(traced.reasons.values())
    if weight <= traced.traced_misses:
        return exact_reasons(misses, traced.reasons)
    # An hour of the period need not begin with one of the clock.
    least_error = sqrt((1 + hours) * traced.variance) / weight
    classified = min(traced.classified_misses, misses)
    error = round(min(1.0, max(1 / sqrt(classified), least_error)), 4) if classified else None
    counts = _divided(misses, traced.reasons, weight)
    return MissReasons(**counts, judged=classified, error=error)


def exact_reasons(misses: int, known: Reasons) -> MissReasons:
    """The reasons of ``misses``, each of which counts for itself."""
    left = misses
    counts = {}
    for reason in REASONS:
        # A reason that was found late may be counted in a later bucket than its miss.
        counts[reason] = min(known.get(reason, 0), left)
        left -= counts[reason]
    judged = misses - left
    return MissReasons(**counts, unknown=left, judged=judged, error=0.0 if judged else None)


def _divided(misses: int, known: Reasons, weight: int) -> dict[str, int]:
    """``misses`` by reason, divided as ``known`` is, to the last one."""
    counts = {reason: misses * known.get(reason, 0) // weight for reason in (*REASONS, "unknown")}
    # Those that are left over go to the reasons that lost most by the rounding down.
    rests = sorted(counts, key=lambda reason: -(misses * known.get(reason, 0) % weight))
    for reason in rests[: misses - sum(counts.values())]:
        counts[reason] += 1
    return counts


class ReportPeriod(NamedTuple):
    """The period that a report covers, in Unix time; ``now`` is when it was asked for."""

    since: float
    until: float
    now: float


STEPS = (10, 30, 60, 300, 900, 3600, 6 * 3600, 86400, 7 * 86400)
MOST_POINTS = 200


class Series:
    """The steps between two moments (Unix time), as they are at ``now``; steps without calls are
    zero, not left out. The memory of a process is known for ``known_for`` seconds."""

    def __init__(
        self, since: float, until: float, now: float, known_for: float = 2 * MINUTE
    ) -> None:
        # A finer step than the rows of its time would leave a gap beside each of them.
        finest = max(longest("window", now - since), (until - since) / MOST_POINTS)
        self.step = next((step for step in STEPS if step >= finest), STEPS[-1])
        self.since = since
        self._first = int(since // self.step)
        self._last = int(-(-until // self.step))
        self._windows: dict[int, Window] = {}
        self._held = MemoryByProcess(known_for)

    @property
    def hours(self) -> float:
        """How long the steps are together."""
        return (self._last - self._first) * self.step / HOUR

    def add(self, window: Window) -> None:
        """Add ``window``, which stays as it is, to the step that it begins in."""
        step = window.start // self.step
        whole = self._windows.get(step)
        if whole is None:
            whole = self._windows[step] = Window(int(step * self.step), self.step)
        whole.merge(window)
        self._held.add(window)

    def total(self) -> Window:
        """All windows merged."""
        total = Window(int(self._first * self.step), self.step)
        for window in self._windows.values():
            total.merge(window)
        return total

    def points(self) -> Iterator[Point]:
        """The steps in order."""
        evicted, held = self._evicted(), self._memory()
        for step in range(self._first, self._last):
            yield self._point(step, evicted.get(step), held.get(step))

    def _memory(self) -> dict[int, int | None]:
        """The bytes that the cache held in each step, at most."""
        found: dict[int, int | None] = {
            step: window.memory_bytes for step, window in self._windows.items()
        }
        for start, size in self._held.sums():
            step = int(start // self.step)
            found[step] = greater(found.get(step), size)
        return found

    def _evicted(self) -> dict[int, int]:
        """How many entries were evicted in each step that knows it; by each that knows its server's
        counter, since the one before that does."""
        evicted: dict[int, int] = {
            step: window.culled
            for step, window in self._windows.items()
            if window.culled is not None
        }
        before: int | None = None
        for step, window in sorted(self._windows.items()):
            counter = window.evictions
            if counter is None:
                continue
            # One that became smaller began anew with its server. Of several servers that are added
            # up nobody knows which one, and what it had evicted by then.
            if before is not None and counter >= before:
                evicted[step] = counter - before
            before = counter
        return evicted

    def _point(self, step: int, evicted: int | None, held: int | None) -> Point:
        window = self._windows.get(step)
        sums = OperationStats()
        if window is not None:
            for operation in window.operations.values():
                sums.merge(operation)
        lookups = sums.hits + sums.misses
        p50, p90, p99 = sums.times.quantiles((0.5, 0.9, 0.99), sums.slowest)
        return Point(
            at=rfc3339(step * self.step),
            lookups=lookups,
            hits=sums.hits,
            misses=sums.misses,
            errors=sums.faults,
            calls=sums.calls,
            seconds=sums.seconds,
            p50=p50,
            p90=p90,
            p99=p99,
            memory_bytes=held,
            evictions=evicted,
            miss_reasons=(
                miss_reasons(sums.misses, window, window.seconds / HOUR)
                if window and lookups
                else None
            ),
        )


def sums_since(since: int, now: float, alias: str | None = None) -> dict[str, Window]:
    """What was counted from ``since`` to ``now`` (Unix times, the first a full hour) in
    each cache, or in that of ``alias``. Raises :class:`StoreError`."""
    sums = {name: Window(since, DAY) for name in settings.CACHES if alias in (None, name)}
    # One read: a roll-up could move a row between two. Buckets of all lengths begin with the hour.
    for row in get_store().read("window", since, int(now) + HOUR, alias):
        if row.alias in sums:
            with suppress(CorruptPayload):  # the report's quality counts them
                sums[row.alias].merge(decode(row.payload, Window))
    return sums


def calls_per_second(report: Report) -> Callable[[Point], float | None]:
    """Reads the calls a second in a step of ``report``; None for the newest one, which is not
    over."""
    until = datetime.fromisoformat(report.until)
    line = next((each.series for each in report.caches.values() if len(each.series) > 1), [])
    moments = [datetime.fromisoformat(each.at) for each in line[:2]]
    step = moments[1] - moments[0] if moments else None

    def rate(point: Point) -> float | None:
        if step is None or datetime.fromisoformat(point.at) + step > until:
            return None
        return point.calls / step.total_seconds()

    return rate


def misses_of(points: Iterable[Point], reason: str) -> int | None:
    """The misses of ``reason`` in one step of several caches; None where none was asked."""
    known = [each.miss_reasons for each in points if each.miss_reasons is not None]
    return sum(getattr(each, reason) or 0 for each in known) if known else None


KEY_POINTS = 60


class KeyPoint(Struct, frozen=True, kw_only=True):
    """What is known of one key in one step of time; ``at`` is its beginning.

    Nothing is 0 here, and not None: a key that was not among the hot ones of a step has at most
    as many lookups as the report's ``max_overcount`` says for the whole period.
    """

    at: str
    lookups: int
    hits: int


def key_series(
    keys: Collection[str], rows: Iterable[Row], period: ReportPeriod
) -> dict[str, list[KeyPoint]]:
    """For each of ``keys``, named as the report names them, its steps in order, at most
    ``KEY_POINTS``: all keys have the same ones. ``rows`` are the details of one cache."""
    step = _step(period)
    first, last = int(period.since // step), int(-(-period.until // step))
    lines = {key: ([0] * (last - first), [0] * (last - first)) for key in keys}
    for row in rows:
        at = row.start // step - first
        if 0 <= at < last - first:
            try:
                columns = decode(row.payload, DetailedKeys).hot_keys.columns
            except CorruptPayload:
                continue
            _add(lines, at, columns)
    moments = [rfc3339(number * step) for number in range(first, last)]
    return {
        key: [
            KeyPoint(at=at, lookups=of, hits=found)
            for at, of, found in zip(moments, lookups, hits, strict=True)
        ]
        for key, (lookups, hits) in lines.items()
    }


def _step(period: ReportPeriod) -> int:
    """As fine as the period's oldest rows are, or a multiple of it: none leaves a gap."""
    finest = longest("details", period.now - period.since)
    # One more than fits: a period seldom begins where a step does.
    steps = (period.until - period.since) / finest + 1
    return finest * max(1, int(-(-steps // KEY_POINTS)))


def _add(lines: Mapping[str, tuple[list[int], list[int]]], at: int, columns: Columns) -> None:
    all_lookups = codec.unpack_ints(columns.lookups)
    all_misses = codec.unpack_ints(columns.misses)
    for key, of, missed in zip(columns.keys, all_lookups, all_misses, strict=False):
        if key in lines:
            lookups, hits = lines[key]
            lookups[at] += of
            hits[at] += max(0, of - missed)
