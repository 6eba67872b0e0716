"""The use of single hot keys over time, for those who look at them."""

from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct

from cache_monitor.collecting.rollup import longest
from cache_monitor.reports.build import Period
from cache_monitor.reports.series import moment
from cache_monitor.stats import numbers
from cache_monitor.stats.columns import Columns
from cache_monitor.stats.details import DetailedKeys
from cache_monitor.stats.encoding import CorruptPayload, decode
from cache_monitor.stores.base import Row

MOST_POINTS = 60


class KeyPoint(Struct, frozen=True, kw_only=True):
    """What is known of one key in one step of time; ``at`` is its beginning.

    Nothing is 0 here, and not None: a key that was not among the hot ones of a step has at most
    as many lookups as the report's ``max_overcount`` says for the whole period.
    """

    at: str
    lookups: int
    hits: int


def key_series(
    keys: Collection[str], rows: Iterable[Row], period: Period
) -> dict[str, list[KeyPoint]]:
    """For each of ``keys``, named as the report names them, its steps in order, at most
    ``MOST_POINTS``: all keys have the same ones. ``rows`` are the details of one cache."""
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
    moments = [moment(number * step) for number in range(first, last)]
    return {
        key: [
            KeyPoint(at=at, lookups=of, hits=found)
            for at, of, found in zip(moments, lookups, hits, strict=True)
        ]
        for key, (lookups, hits) in lines.items()
    }


def _step(period: Period) -> int:
    """As fine as the period's oldest rows are, or a multiple of it: none leaves a gap."""
    finest = longest("details", period.now - period.since)
    # One more than fits: a period seldom begins where a step does.
    steps = (period.until - period.since) / finest + 1
    return finest * max(1, int(-(-steps // MOST_POINTS)))


def _add(lines: Mapping[str, tuple[list[int], list[int]]], at: int, columns: Columns) -> None:
    all_lookups, all_misses = numbers.unpack(columns.lookups), numbers.unpack(columns.misses)
    for place, key in enumerate(columns.keys):
        if key in lines:
            lookups, hits = lines[key]
            lookups[at] += all_lookups[place]
            hits[at] += max(0, all_lookups[place] - all_misses[place])
