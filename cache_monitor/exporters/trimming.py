"""Less of a report, for those who want the top of each list."""

from msgspec.structs import replace

from cache_monitor.reports.schema import Cache, Report

MOST = 100_000


def parse_top(text: str) -> int:
    """The number of elements that ``text`` asks for. Raises ``ValueError``."""
    # A look at the length first: Python refuses to read numbers of many thousand digits.
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= number <= MOST:
        raise ValueError(f"Write a whole number from 1 to {MOST}, such as 10.")
    return number


def trim(report: Report, top: int) -> Report:
    """``report`` with at most ``top`` elements in each list that is ordered by weight.

    Findings and the series stay whole: what is wrong has no rank, and a gap would be no point.
    """
    return replace(
        report, caches={alias: _trimmed(each, top) for alias, each in report.caches.items()}
    )


def _trimmed(cache: Cache, top: int) -> Cache:
    memory, stale = cache.memory, cache.stale
    return replace(
        cache,
        hot_keys=cache.hot_keys[:top],
        key_groups=cache.key_groups[:top],
        views=cache.views[:top],
        memory=replace(memory, groups=memory.groups[:top], largest=memory.largest[:top]),
        stale=replace(stale, entries=stale.entries[:top]),
    )
