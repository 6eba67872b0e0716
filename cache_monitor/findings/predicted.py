"""What was predicted of the change that a finding asks for, as evidence.

Only where the change is known to bring something: more than the prediction may be wrong by.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from cache_monitor.findings.context import RuleContext
from cache_monitor.reports.what_if import CacheWhatIf, Entries, TimeoutOption, Timeouts

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
