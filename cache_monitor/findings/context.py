"""What the rules see: one cache, the processes that run the site, and what was predicted.

Only where the change is known to bring something: more than the prediction may be wrong by.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from cache_monitor.findings.texts import advice, docs_url
from cache_monitor.keys.display import is_nameless
from cache_monitor.reports.pages import whole_groups
from cache_monitor.reports.schema import Cache, Finding, KeyGroup, Severity, View, Worth
from cache_monitor.reports.what_if import CacheWhatIf, Entries, TimeoutOption, Timeouts
from cache_monitor.stats.codec import CorruptPayload, decode
from cache_monitor.stats.details import OTHER_GROUPS
from cache_monitor.stats.window import CountedWindow
from cache_monitor.stores.base import Row
from cache_monitor.thresholds import Thresholds

Evidence = Iterable[tuple[str, int | float | str | None]]

_READS = ("get", "get_many", "get_or_set")
_OWN_KINDS = frozenset({"key", "page", "fragment"})
"""Kinds of groups that the project decides on: Django reads and writes sessions and the pages'
header lists as it must."""

IN_PROCESS = frozenset({"LocMemCache", "FileBasedCache"})
"""Backends that ask no server, and whose ``get_many`` is a loop of ``get``."""


class Environment(NamedTuple):
    """What the rules must know beside the report: whether ``DEBUG`` is on, and how many processes
    run the site by now and use an alias."""

    is_debug: bool
    processes: Mapping[str, int]


class Cost(NamedTuple):
    """What a mistake has cost; bytes are held, or were written, for nothing."""

    seconds: float | None = None
    bytes: int | None = None
    failed_calls: int | None = None

    def an_hour(self, hours: float) -> Worth:
        """The same in an hour, which is so many times as long."""
        seconds, calls = self.seconds, self.failed_calls
        return Worth(
            seconds=None if seconds is None else round(seconds * hours, 3),
            bytes=self.bytes,
            failed_calls=None if calls is None else round(calls * hours),
        )


NOTHING = Cost()


class Waste(NamedTuple):
    """What was done in vain, and whether it is worth a word."""

    cost: Cost
    is_costly: bool


class RuleContext(NamedTuple):
    """A cache, its circumstances, and what is worth a word."""

    alias: str
    cache: Cache
    circumstances: Environment
    limits: Thresholds

    @property
    def backend(self) -> str:
        """The name of the backend's class."""
        return self.cache.backend.rpartition(".")[2]

    @property
    def active_seconds(self) -> float:
        """The time in which the cache was used: quiet hours must not hide a busy minute."""
        moments = [datetime.fromisoformat(point.at) for point in self.cache.series[:2]]
        step = (moments[1] - moments[0]).total_seconds() if len(moments) > 1 else 60.0
        busy = sum(1 for point in self.cache.series if point.lookups or point.seconds)
        return step * max(busy, 1)

    @property
    def lookup_seconds(self) -> float:
        """What one lookup takes on average."""
        reads = [self.cache.operations[name] for name in _READS if name in self.cache.operations]
        keys = sum((each.hits or 0) + (each.misses or 0) for each in reads)
        return sum(each.seconds.total for each in reads) / keys if keys else 0.0

    @property
    def usual_lookup_seconds(self) -> float:
        """What a lookup of one key mostly takes: not what a few slow ones make of it."""
        reads = [self.cache.operations[name] for name in _READS if name in self.cache.operations]
        calls = sum(each.calls for each in reads)
        keys = sum((each.hits or 0) + (each.misses or 0) for each in reads)
        if not keys:
            return 0.0
        seconds = sum(each.calls * (each.seconds.p50 or 0.0) for each in reads)
        return seconds / max(calls, keys)

    @property
    def an_hour(self) -> float:
        """What makes figures of an hour of use of those of the report."""
        return 3600.0 / self.active_seconds

    @property
    def until(self) -> datetime | None:
        """When the report's period ends."""
        points = self.cache.series
        if not points:
            return None
        moments = [datetime.fromisoformat(point.at) for point in (points[0], *points[-2:])]
        return moments[-1] + (moments[-1] - moments[-2])

    def groups(self) -> Iterator[KeyGroup]:
        """The groups of keys that the project itself chose; a page and its list of headers are
        one."""
        for group in whole_groups(self.cache.key_groups):
            if group.kind in _OWN_KINDS and group.group != OTHER_GROUPS:
                yield group

    def copies(self) -> Iterator[KeyGroup]:
        """Those of them whose values are copies of something: what is state cannot be had by
        other means."""
        return (group for group in self.groups() if not group.is_state)

    def view_of(self, group: str) -> View | None:
        """The view that spends most time on ``group``, as far as it is known."""
        users = [
            (use.seconds, view.view, view)
            for view in self.cache.views
            for use in view.groups
            if use.group == group
        ]
        return max(users, key=lambda each: each[:2])[2] if users else None

    def _line_of(self, group: str) -> str | None:
        return next(
            (each.called_from for each in self.cache.key_groups if each.group == group), None
        )

    def lost_by(self, group: KeyGroup, misses: int) -> float:
        """The seconds that ``misses`` of ``group`` cost: those that were filled what their values
        take to produce, the others their own time."""
        filled = min(misses, group.sets)
        own = group.lookup_seconds / group.lookups if group.lookups else 0.0
        return filled * self.produce_seconds(group) + (misses - filled) * own

    def produce_seconds(self, group: KeyGroup) -> float:
        """What producing a value of ``group`` takes, or is assumed to."""
        known = group.produce_seconds
        return self.limits.assumed_produce_seconds if known is None else known

    @property
    def usual_produce_seconds(self) -> float:
        """The same for a value of any group."""
        groups = [group for group in whole_groups(self.cache.key_groups) if group.misses]
        misses = sum(group.misses for group in groups)
        if not misses:
            return self.limits.assumed_produce_seconds
        return sum(self.lost_by(group, group.misses) for group in groups) / misses

    def is_costly(self, seconds: float) -> bool:
        """Whether ``seconds``, lost over the whole report, are worth a word."""
        return seconds >= self.limits.lost_share * self.active_seconds

    def waste(self, group: KeyGroup, writes: int) -> Waste:
        """What ``writes`` of ``group`` in vain cost: the time that it took to produce the values,
        and the room that they take."""
        size = round((group.bytes_written or 0) * writes / max(group.sets, 1))
        lost = writes * self.produce_seconds(group)
        is_costly = self.is_costly(lost) or size >= self.limits.idle_memory_bytes
        return Waste(Cost(lost, size), is_costly)

    def find(
        self,
        code: str,
        severity: Severity,
        evidence: Evidence,
        *,
        group: str | None = None,
        key: str | None = None,
        cost: Cost = NOTHING,
    ) -> Finding:
        """The finding ``code`` of this cache, which had this ``cost`` in the report's time."""
        figures = dict(evidence)
        if group is not None and is_nameless(group):
            if (view := self.view_of(group)) is not None:
                figures.setdefault("view", view.view)
            elif (line := self._line_of(group)) is not None:
                figures.setdefault("called_from", line)
        return Finding(
            code=code,
            severity=severity,
            alias=self.alias,
            group=group,
            key=key,
            evidence=figures,
            worth=cost.an_hour(self.an_hour),
            advice=advice(code, self.alias, self.cache.backend, key or group),
            docs=docs_url(code),
        )


_LATELY = 300
"""Seconds that the windows are looked at for."""
_STEADY = 3
"""Windows with calls of a process that runs the site: a command makes some in a row and ends."""
_TOGETHER = 30
"""Seconds that processes must be at work beside each other: one that takes another's place, after
a deployment, is not."""

_Span = tuple[int, int]
"""When a process was seen first and last."""


def running(windows: Iterable[Row], until: float) -> dict[str, int]:
    """The number of processes that use each alias at the same time, in the minutes before
    ``until`` (Unix time)."""
    seen: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
    for row in windows:
        if until - _LATELY <= row.start <= until:
            try:
                window = decode(row.payload, CountedWindow)
            except CorruptPayload:
                continue
            if window.calls:
                for process in window.processes:
                    seen[row.alias, process].add(row.start)
    spans: defaultdict[str, list[_Span]] = defaultdict(list)
    for (alias, _), starts in seen.items():
        if len(starts) >= _STEADY:
            spans[alias].append((min(starts), max(starts)))
    return {alias: _at_once(those) for alias, those in spans.items()}


def _at_once(spans: list[_Span]) -> int:
    """The most of ``spans`` that overlap by more than a moment."""
    # One that has just begun overlaps itself alone.
    return max(
        max(1, sum(first <= at and at + _TOGETHER <= last for first, last in spans))
        for at, _ in spans
    )


Figures = list[tuple[str, int | float | str | None]]

_ENOUGH = 0.8
"""The share of what is to be gained at most, for which the smallest change is named."""

Option = TypeVar("Option", Entries, TimeoutOption)


def of_longer_timeout(case: RuleContext, group: str) -> Figures:
    """What the shortest longer timeout brings that gains about as much as any."""
    found = _timeouts(case, group)
    if found is None or found.hit_ratio is None:
        return []
    longer = [each for each in found.options if each.factor > 1]
    return _of_timeout(found, _smallest(_gains(longer, found.hit_ratio)))


def of_shorter_timeout(case: RuleContext, group: str) -> Figures:
    """What half of the timeout costs."""
    found = _timeouts(case, group)
    half = None if found is None else next((it for it in found.options if it.factor == 0.5), None)
    if found is None or half is None or found.hit_ratio is None or half.hit_ratio is None:
        return []
    return _of_timeout(found, _Gain(half, half.hit_ratio - found.hit_ratio))


def of_room(case: RuleContext) -> Figures:
    """What the smallest larger size brings that gains about as much as any."""
    it = _predicted(case)
    if it is None or it.hit_ratio is None:
        return []
    larger = [each for each in it.entries if each.entries > (it.size or 0)]
    best = _smallest(_gains(larger, it.hit_ratio))
    if best is None:
        return []
    bytes_of = {each.entries: each.bytes for each in it.bytes}
    return [
        ("predicted_instead_entries", it.size),
        ("predicted_entries", best.option.entries),
        *_known("predicted_instead_bytes", bytes_of.get(it.size)),
        *_known("predicted_bytes", bytes_of.get(best.option.entries)),
        *_of_gain(best),
    ]


class _Gain(NamedTuple, Generic[Option]):
    """A change, and by how much the hit ratio rises with it."""

    option: Option
    ratio: float


def _predicted(case: RuleContext) -> CacheWhatIf | None:
    """What was predicted of the cache, if it is of the time of the report."""
    it, points = case.cache.what_if, case.cache.series
    if it is None or it.since is None or it.until is None or not points or case.until is None:
        return None
    since, until = datetime.fromisoformat(it.since), datetime.fromisoformat(it.until)
    is_of_then = until >= datetime.fromisoformat(points[0].at) and since <= case.until
    return it if is_of_then else None


def _timeouts(case: RuleContext, group: str) -> Timeouts | None:
    it = _predicted(case)
    found = [] if it is None else [each for each in it.timeouts if each.group == group]
    return found[0] if found else None


def _gains(options: Sequence[Option], now: float) -> list[_Gain[Option]]:
    """Those that are known to gain anything."""
    return [
        _Gain(each, each.hit_ratio - now)
        for each in options
        if each.hit_ratio is not None and each.hit_ratio - now > (each.error or 0.0)
    ]


def _smallest(gains: Sequence[_Gain[Option]]) -> _Gain[Option] | None:
    most = max((each.ratio for each in gains), default=0.0)
    return next((each for each in gains if each.ratio >= _ENOUGH * most), None)


def _of_timeout(group: Timeouts, gain: _Gain[TimeoutOption] | None) -> Figures:
    if gain is None:
        return []
    return [
        ("predicted_instead_timeout", group.timeout),
        ("predicted_timeout", gain.option.timeout),
        *_of_gain(gain),
        *_known("unchanged_share", group.unchanged),
        *_known("predicted_stale_share", gain.option.stale_share),
    ]


def _of_gain(gain: _Gain[Option]) -> Figures:
    saved: float | None = gain.option.seconds_saved_per_hour
    error: float | None = gain.option.error
    return [
        ("predicted_points", round(100 * gain.ratio, 2)),
        *_known("predicted_error_points", error and round(100 * error, 2)),
        *_known("predicted_saved_seconds", saved),
    ]


def _known(name: str, value: float | None) -> Figures:
    return [] if value is None else [(name, value)]
