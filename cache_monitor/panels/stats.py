"""What the toolbar's store keeps of a request: plain values that survive JSON."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from django.conf import settings

from cache_monitor.api import backend_path
from cache_monitor.capture import Capture, Totals, watched_aliases
from cache_monitor.panels.page_rows import page_row
from cache_monitor.panels.rows import Kept, Rows, milliseconds

Stats = dict[str, Any]


def request_stats(capture: Capture, kept: Kept, rows: Rows, seconds: float) -> Stats:
    """What ``capture`` heard in a request of so many ``seconds``, and of which caches nothing."""
    totals = capture.totals()
    watched = watched_aliases()
    total = _counts(_sum(totals.values()))
    total["request_milliseconds"] = milliseconds(seconds)
    return {
        "total": total,
        "caches": [
            {"alias": alias, "backend": backend_path(alias), **_counts(totals[alias])}
            for alias in settings.CACHES
            if alias in totals
        ],
        "not_called": [alias for alias in watched if alias not in totals],
        "not_watched": [alias for alias in settings.CACHES if alias not in (*watched, *totals)],
        "calls": rows.make(kept),
        "stacks": rows.stacks,
        "pages": [page_row(each) for each in capture.page_passes],
    }


def percent(part: int, whole: int) -> int | None:
    """A whole per cent; only a true none or all gives 0 or 100."""
    if whole == 0:
        return None
    if part in {0, whole}:
        return 100 if part else 0
    return min(max(round(100 * part / whole), 1), 99)


def _sum(parts: Iterable[Totals]) -> Totals:
    total = Totals()
    for part in parts:
        for each in fields(Totals):
            setattr(total, each.name, getattr(total, each.name) + getattr(part, each.name))
    return total


def _counts(totals: Totals) -> Stats:
    return {
        "calls": totals.calls,
        "reads": totals.reads,
        "writes": totals.writes,
        "deletes": totals.deletes,
        "others": totals.others,
        "lookups": totals.lookups,
        "hits": totals.hits,
        "misses": totals.misses,
        "hit_percent": percent(totals.hits, totals.lookups),
        "errors": totals.errors,
        "interrupted": totals.interrupted,
        "milliseconds": milliseconds(totals.seconds),
    }
