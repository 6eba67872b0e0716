"""One cache as the rules see it."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from cache_monitor.findings.advice import advice
from cache_monitor.findings.reference import docs_url
from cache_monitor.reports.schema import Cache, Finding, KeyGroup, Severity
from cache_monitor.stats.details import OTHER_GROUPS
from cache_monitor.thresholds import Thresholds

Evidence = Iterable[tuple[str, int | float | str | None]]

_READS = ("get", "get_many", "get_or_set")
_OWN_KINDS = frozenset({"key", "page", "fragment"})
"""Kinds of groups that the project decides on: Django reads and writes sessions and the pages'
header lists as it must."""

IN_PROCESS = frozenset({"LocMemCache", "FileBasedCache"})
"""Backends that ask no server, and whose ``get_many`` is a loop of ``get``."""


class Circumstances(NamedTuple):
    """What the rules must know beside the report: whether ``DEBUG`` is on, and how many processes
    run the site by now and use an alias."""

    is_debug: bool
    processes: Mapping[str, int]


class Case(NamedTuple):
    """A cache, its circumstances, and what is worth a word."""

    alias: str
    cache: Cache
    circumstances: Circumstances
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

    def groups(self) -> Iterator[KeyGroup]:
        """The groups of keys that the project itself chose."""
        for group in self.cache.key_groups:
            if group.kind in _OWN_KINDS and group.group != OTHER_GROUPS:
                yield group

    def produce_seconds(self, group: KeyGroup) -> float:
        """What producing a value of ``group`` takes, or is assumed to."""
        known = group.produce_seconds
        return self.limits.assumed_produce_seconds if known is None else known

    @property
    def usual_produce_seconds(self) -> float:
        """The same for a value of any group."""
        groups = [group for group in self.cache.key_groups if group.misses]
        misses = sum(group.misses for group in groups)
        if not misses:
            return self.limits.assumed_produce_seconds
        return sum(group.misses * self.produce_seconds(group) for group in groups) / misses

    def is_costly(self, seconds: float) -> bool:
        """Whether ``seconds``, lost over the whole report, are worth a word."""
        return seconds >= self.limits.lost_share * self.active_seconds

    def is_waste(self, group: KeyGroup, writes: int) -> bool:
        """Whether ``writes`` of ``group`` in vain are worth a word: for the time that it took to
        produce the values, or the room that they take."""
        size = (group.bytes_written or 0) * writes / max(group.sets, 1)
        lost = writes * self.produce_seconds(group)
        return self.is_costly(lost) or size >= self.limits.idle_memory_bytes

    def find(
        self,
        code: str,
        severity: Severity,
        evidence: Evidence,
        *,
        group: str | None = None,
        key: str | None = None,
    ) -> Finding:
        """The finding ``code`` of this cache."""
        return Finding(
            code=code,
            severity=severity,
            alias=self.alias,
            group=group,
            key=key,
            evidence=dict(evidence),
            advice=advice(code, self.alias, self.cache.backend, key or group),
            docs=docs_url(code),
        )
