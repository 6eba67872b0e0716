"""What the rules read: one cache of the report, the processes that run the site, the predictions.

A prediction is evidence only if it promises more than its error.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from cache_monitor.calls import LOOKUPS
from cache_monitor.conf import Thresholds
from cache_monitor.findings.texts import advice, docs_url
from cache_monitor.keys.display import is_nameless
from cache_monitor.reports.keys import whole_groups
from cache_monitor.reports.schema import (
    Cache,
    Finding,
    KeyGroup,
    MissReasons,
    Severity,
    View,
    Worth,
)
from cache_monitor.reports.what_if import CacheWhatIf, Entries, TimeoutOption, Timeouts
from cache_monitor.stats.details import OTHER_GROUPS
from cache_monitor.stats.payloads import CorruptPayload, decode
from cache_monitor.stats.window import CountedWindow
from cache_monitor.stores.base import Row

Evidence = Iterable[tuple[str, int | float | str | None]]

_OWN_KINDS = frozenset({"key", "page", "fragment"})
"""Kinds of groups that the project decides on; sessions and the header lists of pages are
Django's."""


def is_most(count: int, misses: int, reasons: MissReasons) -> bool:
    """Whether ``count`` of the ``misses`` have one reason and are most of them, whatever the error
    of a sample."""
    return count - misses * (reasons.error or 0.0) > misses / 2


IN_PROCESS = frozenset({"LocMemCache", "FileBasedCache"})
"""Backends that ask no server, and whose ``get_many`` is a loop of ``get``."""


class Environment(NamedTuple):
    """What the report does not have: whether ``DEBUG`` is on, and how many processes of the site
    now use each alias."""

    is_debug: bool
    processes: Mapping[str, int]


class Cost(NamedTuple):
    """The cost of a mistake: bytes are stored, or were written, for nothing."""

    seconds: float | None = None
    bytes: int | None = None
    failed_calls: int | None = None

    def per_hour(self, hours: float) -> Worth:
        """The cost in an hour, which is ``hours`` times as long."""
        seconds, calls = self.seconds, self.failed_calls
        return Worth(
            seconds=None if seconds is None else round(seconds * hours, 3),
            bytes=self.bytes,
            failed_calls=None if calls is None else round(calls * hours),
        )


NOTHING = Cost()


class Waste(NamedTuple):
    """The cost of useless writes, and whether it is above its threshold."""

    cost: Cost
    is_costly: bool


class RuleContext(NamedTuple):
    """A cache, its environment, and the thresholds."""

    alias: str
    cache: Cache
    environment: Environment
    limits: Thresholds

    @property
    def backend(self) -> str:
        """The name of the backend's class."""
        return self.cache.backend.rpartition(".")[2]

    @property
    def active_seconds(self) -> float:
        """The seconds in which the cache was used: quiet hours must not hide a busy minute."""
        times = [datetime.fromisoformat(point.at) for point in self.cache.series[:2]]
        step = (times[1] - times[0]).total_seconds() if len(times) > 1 else 60.0
        busy = sum(1 for point in self.cache.series if point.lookups or point.seconds)
        return step * max(busy, 1)

    @property
    def lookup_seconds(self) -> float:
        """The mean seconds of a lookup of one key."""
        reads = [each for name, each in self.cache.operations.items() if name in LOOKUPS]
        keys = sum((each.hits or 0) + (each.misses or 0) for each in reads)
        return sum(each.seconds.total for each in reads) / keys if keys else 0.0

    @property
    def typical_lookup_seconds(self) -> float:
        """The median seconds of a lookup of one key, which a few slow ones do not change."""
        reads = [each for name, each in self.cache.operations.items() if name in LOOKUPS]
        calls = sum(each.calls for each in reads)
        keys = sum((each.hits or 0) + (each.misses or 0) for each in reads)
        if not keys:
            return 0.0
        seconds = sum(each.calls * (each.seconds.p50 or 0.0) for each in reads)
        return seconds / max(calls, keys)

    @property
    def per_hour(self) -> float:
        """The factor from figures of the report to those of an hour of use."""
        return 3600.0 / self.active_seconds

    @property
    def until(self) -> datetime | None:
        """The end of the report's period; None without a series."""
        points = self.cache.series
        if not points:
            return None
        times = [datetime.fromisoformat(point.at) for point in (points[0], *points[-2:])]
        return times[-1] + (times[-1] - times[-2])

    def groups(self) -> Iterator[KeyGroup]:
        """The groups that the project decides on; a page and its list of headers are one."""
        for group in whole_groups(self.cache.key_groups):
            if group.kind in _OWN_KINDS and group.group != OTHER_GROUPS:
                yield group

    def copies(self) -> Iterator[KeyGroup]:
        """Those of them whose values can be computed again, as state cannot."""
        return (group for group in self.groups() if not group.is_state)

    def view_of(self, group: str) -> View | None:
        """The view that spends most time on ``group``; None if unknown."""
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

    def seconds_lost(self, group: KeyGroup, misses: int) -> float:
        """The seconds that ``misses`` of ``group`` cost: the compute time of their values if they
        were filled, otherwise the time of the lookup."""
        filled = min(misses, group.sets)
        own = group.lookup_seconds / group.lookups if group.lookups else 0.0
        return filled * self.produce_seconds(group) + (misses - filled) * own

    def produce_seconds(self, group: KeyGroup) -> float:
        """The compute time of a value of ``group``, measured or assumed."""
        known = group.produce_seconds
        return self.limits.assumed_produce_seconds if known is None else known

    @property
    def mean_produce_seconds(self) -> float:
        """The mean seconds that a miss of any group costs."""
        groups = [group for group in whole_groups(self.cache.key_groups) if group.misses]
        misses = sum(group.misses for group in groups)
        if not misses:
            return self.limits.assumed_produce_seconds
        return sum(self.seconds_lost(group, group.misses) for group in groups) / misses

    def is_costly(self, seconds: float) -> bool:
        """Whether ``seconds``, lost in the report's period, are above the threshold."""
        return seconds >= self.limits.lost_share * self.active_seconds

    def waste(self, group: KeyGroup, writes: int) -> Waste:
        """The cost of ``writes`` of ``group`` that are of no use: compute time and bytes."""
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
        """The finding ``code`` of this cache; ``cost`` is that of the report's period."""
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
            worth=cost.per_hour(self.per_hour),
            advice=advice(code, self.alias, self.cache.backend, key or group),
            docs=docs_url(code),
        )


_RECENT = 300
"""The seconds of windows that are read."""
_MIN_WINDOWS = 3
"""With calls in fewer windows a process does not run the site, but a command that ends."""
_MIN_OVERLAP = 30
"""Seconds for which processes must run together, unlike one that replaces another at a
deployment."""

_SeenSpan = tuple[int, int]
"""When a process was first and last seen."""


def concurrent_processes(windows: Iterable[Row], until: float) -> dict[str, int]:
    """The number of processes that use each alias at the same time, in the minutes before
    ``until`` (Unix time)."""
    seen: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
    for row in windows:
        if until - _RECENT <= row.start <= until:
            try:
                window = decode(row.payload, CountedWindow)
            except CorruptPayload:
                continue
            if window.calls:
                for process in window.processes:
                    seen[row.alias, process].add(row.start)
    spans: defaultdict[str, list[_SeenSpan]] = defaultdict(list)
    for (alias, _), starts in seen.items():
        if len(starts) >= _MIN_WINDOWS:
            spans[alias].append((min(starts), max(starts)))
    return {alias: _most_at_once(own) for alias, own in spans.items()}


def _most_at_once(spans: list[_SeenSpan]) -> int:
    """The most of ``spans`` that overlap for long enough."""
    # One that has just begun overlaps only itself.
    return max(
        max(1, sum(first <= at and at + _MIN_OVERLAP <= last for first, last in spans))
        for at, _ in spans
    )


EvidenceList = list[tuple[str, int | float | str | None]]

_ENOUGH = 0.8
"""The smallest change is named that brings this share of the greatest gain."""

Option = TypeVar("Option", Entries, TimeoutOption)


def predicted_longer_timeout(context: RuleContext, group: str) -> EvidenceList:
    """The prediction for the shortest longer timeout that gains about as much as any."""
    found = _predicted_timeouts(context, group)
    if found is None or found.hit_ratio is None:
        return []
    longer = [each for each in found.options if each.factor > 1]
    return _of_timeout(found, _smallest(_gains(longer, found.hit_ratio)))


def predicted_shorter_timeout(context: RuleContext, group: str) -> EvidenceList:
    """The prediction for half of the timeout."""
    found = _predicted_timeouts(context, group)
    half = (
        None
        if found is None
        else next((what_if for what_if in found.options if what_if.factor == 0.5), None)
    )
    if found is None or half is None or found.hit_ratio is None or half.hit_ratio is None:
        return []
    return _of_timeout(found, _Gain(half, half.hit_ratio - found.hit_ratio))


def predicted_room(context: RuleContext) -> EvidenceList:
    """The prediction for the smallest larger size that gains about as much as any."""
    what_if = _predicted(context)
    if what_if is None or what_if.hit_ratio is None:
        return []
    larger = [each for each in what_if.entries if each.entries > (what_if.size or 0)]
    best = _smallest(_gains(larger, what_if.hit_ratio))
    if best is None:
        return []
    bytes_of = {each.entries: each.bytes for each in what_if.bytes}
    return [
        ("predicted_instead_entries", what_if.size),
        ("predicted_entries", best.option.entries),
        *_if_known("predicted_instead_bytes", bytes_of.get(what_if.size)),
        *_if_known("predicted_bytes", bytes_of.get(best.option.entries)),
        *_of_gain(best),
    ]


class _Gain(NamedTuple, Generic[Option]):
    """A change, and by how much the hit ratio rises with it."""

    option: Option
    ratio: float


def _predicted(context: RuleContext) -> CacheWhatIf | None:
    """The predictions of the cache, if they are of the report's period."""
    what_if, points = context.cache.what_if, context.cache.series
    if (
        what_if is None
        or what_if.since is None
        or what_if.until is None
        or not points
        or context.until is None
    ):
        return None
    since, until = datetime.fromisoformat(what_if.since), datetime.fromisoformat(what_if.until)
    is_of_then = until >= datetime.fromisoformat(points[0].at) and since <= context.until
    return what_if if is_of_then else None


def _predicted_timeouts(context: RuleContext, group: str) -> Timeouts | None:
    what_if = _predicted(context)
    found = [] if what_if is None else [each for each in what_if.timeouts if each.group == group]
    return found[0] if found else None


def _gains(options: Sequence[Option], now: float) -> list[_Gain[Option]]:
    """The options that surely gain something."""
    return [
        _Gain(each, each.hit_ratio - now)
        for each in options
        if each.hit_ratio is not None and each.hit_ratio - now > (each.error or 0.0)
    ]


def _smallest(gains: Sequence[_Gain[Option]]) -> _Gain[Option] | None:
    most = max((each.ratio for each in gains), default=0.0)
    return next((each for each in gains if each.ratio >= _ENOUGH * most), None)


def _of_timeout(group: Timeouts, gain: _Gain[TimeoutOption] | None) -> EvidenceList:
    if gain is None:
        return []
    return [
        ("predicted_instead_timeout", group.timeout),
        ("predicted_timeout", gain.option.timeout),
        *_of_gain(gain),
        *_if_known("unchanged_share", group.unchanged),
        *_if_known("predicted_stale_share", gain.option.stale_share),
    ]


def _of_gain(gain: _Gain[Option]) -> EvidenceList:
    saved: float | None = gain.option.seconds_saved_per_hour
    error: float | None = gain.option.error
    return [
        ("predicted_points", round(100 * gain.ratio, 2)),
        *_if_known("predicted_error_points", error and round(100 * error, 2)),
        *_if_known("predicted_saved_seconds", saved),
    ]


def _if_known(name: str, value: float | None) -> EvidenceList:
    return [] if value is None else [(name, value)]
