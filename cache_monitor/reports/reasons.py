"""Why lookups missed, as the report tells it."""

from math import sqrt

from cache_monitor.reports.schema import MissReasons
from cache_monitor.stats.window import Reasons

REASONS = (
    "never_set",
    "expired",
    "evicted",
    "lost",
    "deleted",
    "cleared",
    "version_changed",
)


def of(misses: int, known: Reasons, traced: int, judged: int) -> MissReasons:
    """The reasons of ``misses``, made of those of the ``traced`` ones, of which ``judged`` have a
    reason that is known.

    Where all keys are traced each miss counts for itself, and those of which nothing is told, or
    not yet, are unknown. Where each stands for several, the reasons have its shares of the misses,
    known to about one by the square root of those that were judged.
    """
    told = sum(known.values())
    if told > traced:
        return _shared(misses, known, told, judged)
    left = misses
    counts = {}
    for reason in REASONS:
        # A reason that was found late may be counted in a later stretch than its miss.
        counts[reason] = min(known.get(reason, 0), left)
        left -= counts[reason]
    return MissReasons(**counts, unknown=left, judged=misses - left, error=_error(misses - left, 0))


def _shared(misses: int, known: Reasons, told: int, judged: int) -> MissReasons:
    """``misses`` parted as ``known`` is, to the last one."""
    counts = {reason: misses * known.get(reason, 0) // told for reason in (*REASONS, "unknown")}
    # Those that are left over go to the reasons that lost most by the rounding down.
    rests = sorted(counts, key=lambda reason: -(misses * known.get(reason, 0) % told))
    for reason in rests[: misses - sum(counts.values())]:
        counts[reason] += 1
    judged = min(judged, misses)
    return MissReasons(**counts, judged=judged, error=_error(judged, 1))


def _error(judged: int, sampled: int) -> float | None:
    """How far off a share of the reasons may be; None where none is known."""
    if not judged:
        return None
    return round(min(1.0, 1 / sqrt(judged)), 4) if sampled else 0.0
