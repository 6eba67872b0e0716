"""What the rules read: one cache of the report, the processes that run the site, the predictions.

A prediction is evidence only if it promises more than its error.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from cache_monitor.calls import LOOKUPS
from cache_monitor.conf import Thresholds
from cache_monitor.findings.texts import advice, docs_url
from cache_monitor.keys.grouping import is_nameless
from cache_monitor.reports import (
    Cache,
    Finding,
    KeyGroup,
    MissReasons,
    Severity,
    View,
    Worth,
)
from cache_monitor.reports.keys import whole_groups
from cache_monitor.stats.details import OTHER_GROUPS
from cache_monitor.stats.sketches import SIZE
from cache_monitor.what_if import CacheWhatIf, Option, TimeoutOption, Timeouts, gaining

Figure = int | float | str | None
Evidence = dict[str, Figure]

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


class Waste(NamedTuple):
    """The cost of useless writes, and whether it is above its threshold."""

    cost: Cost
    is_costly: bool


# Which figures of the evidence are estimates, and by how much they may be off.

_ALWAYS = frozenset(
    {
        # By the mean or the median of each call or value.
        *("load_share", "lookup_seconds", "lost_request_seconds", "written_bytes"),
        # By those values that have a fingerprint.
        *("stale_share", "unchanged_share"),
    }
)
_MEASURED = frozenset({"never-stored", "cache-bound-view", "page-not-stored"})
"""Findings whose lost time was measured call by call. That of the others is by means."""
_OF_SCAN: Mapping[str, frozenset[str]] = {
    "evicted-early": frozenset({"entries"}),
    "expired-stored": frozenset({"expired", "entries", "expired_bytes"}),
    "no-expiry": frozenset({"entries_without_expiry", "entries", "bytes_without_expiry", "bytes"}),
}
"""Figures of the scan, by the finding's code."""
_OF_REASONS = frozenset({"evicted", "expired", "lost", "misses_by_clear", "misses_by_deletion"})
_OF_TRACE = frozenset(
    {
        *("produced_in_vain", "expired_rewrites", "deleted_unread", "overwritten_unread"),
        *("lost_by_new_directory", "lost_by_refusal", "lost_by_replica", "lost_by_restart"),
    }
)
_OF_CACHE = frozenset({"dummy-backend", "evicted-early", "lost-entries", "clear-under-traffic"})
"""Findings of the misses of the whole cache, even if they name a group."""
_OF_SKETCHES = frozenset({"distinct_keys", "one_of_a_kind"})
_SKETCH_ERROR = 0.3
"""Three standard errors."""
_AGES = frozenset({"median_age", "p90_age"})
_AGE_ERROR = 0.05

_SEVERITIES: Mapping[str, Severity] = {"backend-errors": "error", "cheap-to-recompute": "info"}
"""By code; that of the others is "warning"."""


class RuleContext(NamedTuple):
    """A cache, its environment, the thresholds, and the code of the rule that reads them."""

    alias: str
    cache: Cache
    environment: Environment
    limits: Thresholds
    code: str = ""

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
        """The cost of ``writes`` of ``group`` that are of no use: compute time and bytes, which are
        None where sizes are unknown."""
        written = group.bytes_written
        size = None if written is None else round(written * writes / max(group.sets, 1))
        lost = writes * self.produce_seconds(group)
        is_costly = self.is_costly(lost) or (size or 0) >= self.limits.idle_memory_bytes
        return Waste(Cost(lost, size), is_costly)

    def find(
        self,
        group: str | None = None,
        cost: Cost | None = None,
        key: str | None = None,
        /,
        **evidence: Figure,
    ) -> Finding:
        """The finding of the rule that has this context. ``cost`` is that of the report's period:
        without one, the evidence's ``lost_seconds``."""
        if isinstance(lost := evidence.get("lost_seconds"), int | float):
            cost = cost or Cost(lost)
            evidence["lost_seconds"] = round(lost, 3)
        if group is not None and is_nameless(group):
            if (view := self.view_of(group)) is not None:
                evidence.setdefault("view", view.view)
            elif (line := self._line_of(group)) is not None:
                evidence.setdefault("called_from", line)
        return Finding(
            code=self.code,
            severity=_SEVERITIES.get(self.code, "warning"),
            alias=self.alias,
            group=group,
            key=key,
            evidence=evidence,
            evidence_errors=self._errors_of(group, evidence),
            worth=(cost or Cost()).per_hour(self.per_hour),
            advice=advice(self.code, self.alias, self.cache.backend, key or group),
            docs=docs_url(self.code),
        )

    def _errors_of(self, group: str | None, evidence: Evidence) -> dict[str, float | None]:
        """The figures of ``evidence`` that are estimates, each with its error; None where
        unknown."""
        of_scan = _OF_SCAN.get(self.code, frozenset())
        errors: dict[str, float | None] = dict.fromkeys(_ALWAYS)
        if self.code not in _MEASURED:
            errors["lost_seconds"] = None
        if self.cache.memory.exact is False:
            errors |= dict.fromkeys(of_scan)
        reasons, misses = self._misses_of(group)
        if reasons.error:
            errors |= dict.fromkeys(_OF_TRACE)
            errors |= dict.fromkeys(_OF_REASONS - of_scan, round(misses * reasons.error))
        for name, value in evidence.items():
            if isinstance(value, int | float):
                if name in _OF_SKETCHES and value > SIZE:
                    errors[name] = round(_SKETCH_ERROR * value)
                elif name in _AGES:
                    errors[name] = round(_AGE_ERROR * value, 3)
        known = {name for name, value in evidence.items() if value is not None}
        return {name: error for name, error in sorted(errors.items()) if name in known}

    def _misses_of(self, name: str | None) -> tuple[MissReasons, int]:
        """The misses that the evidence on a group is of, by reason and in all."""
        if self.code not in _OF_CACHE:
            for group in whole_groups(self.cache.key_groups):
                if group.group == name:
                    return group.miss_reasons, group.misses
        return self.cache.miss_reasons, self.cache.misses


_ENOUGH = 0.8
"""The smallest change is named that brings this share of the greatest gain."""


def predicted_longer_timeout(context: RuleContext, group: str) -> Evidence:
    """The prediction for the shortest longer timeout that gains about as much as any."""
    found = _predicted_timeouts(context, group)
    if found is None:
        return {}
    longer = [each for each in found.gaining if each.factor > 1]
    return _of_timeout(found, _smallest(longer, found.hit_ratio))


def predicted_shorter_timeout(context: RuleContext, group: str) -> Evidence:
    """The prediction for half of the timeout."""
    found = _predicted_timeouts(context, group)
    if found is None or found.hit_ratio is None:
        return {}
    halved = (each for each in found.options if each.factor == 0.5 and each.hit_ratio is not None)
    return _of_timeout(found, next(halved, None))


def predicted_room(context: RuleContext) -> Evidence:
    """The prediction for the smallest larger size that gains about as much as any."""
    what_if = _predicted(context)
    if what_if is None:
        return {}
    larger = [each for each in what_if.entries if each.entries > (what_if.size or 0)]
    best = _smallest(gaining(larger, what_if.hit_ratio), what_if.hit_ratio)
    if best is None:
        return {}
    bytes_of = {each.entries: each.bytes for each in what_if.bytes}
    return {
        "predicted_instead_entries": what_if.size,
        "predicted_entries": best.entries,
        **_known(
            predicted_instead_bytes=bytes_of.get(what_if.size),
            predicted_bytes=bytes_of.get(best.entries),
        ),
        **_of_gain(best, what_if.hit_ratio),
    }


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


def _gain(option: Option, now: float | None) -> float:
    return (option.hit_ratio or 0.0) - (now or 0.0)


def _smallest(options: Sequence[Option], now: float | None) -> Option | None:
    most = max((_gain(each, now) for each in options), default=0.0)
    return next((each for each in options if _gain(each, now) >= _ENOUGH * most), None)


def _of_timeout(group: Timeouts, option: TimeoutOption | None) -> Evidence:
    if option is None:
        return {}
    return {
        "predicted_instead_timeout": group.timeout,
        "predicted_timeout": option.timeout,
        **_of_gain(option, group.hit_ratio),
        **_known(unchanged_share=group.unchanged, predicted_stale_share=option.stale_share),
    }


def _of_gain(option: Option, now: float | None) -> Evidence:
    error: float | None = option.error
    return {
        "predicted_points": round(100 * _gain(option, now), 2),
        **_known(
            predicted_error_points=error and round(100 * error, 2),
            predicted_saved_seconds=option.seconds_saved_per_hour,
        ),
    }


def _known(**figures: Figure) -> Evidence:
    return {name: figure for name, figure in figures.items() if figure is not None}
