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


def of(
    misses: int,
    known: Reasons,
    traced: int,
    judged: int,
    squares: float = 0.0,
    hours: float = 0.0,
) -> MissReasons:
    """The reasons of ``misses``, made of those of the ``traced`` ones, of which ``judged`` have a
    reason that is known.

    Where all keys are traced each miss counts for itself, and those of which nothing is told, or
    not yet, are unknown. Where each stands for several, the reasons have its shares of the misses,
    known to about one by the square root of those that were judged.

    It is more where some keys are missed again and again: a key is in the trace with all its
    misses. ``squares`` says how much, for each of the ``hours`` of the period; how much these have
    in common is not known, so that more of them make it no less.
    """
    told = sum(known.values())
    if told > traced:
        # An hour of the period need not begin with one of the clock.
        error = sqrt((1 + hours) * squares) / told
        return _shared(misses, known, told, judged, error)
    left = misses
    counts = {}
    for reason in REASONS:
        # A reason that was found late may be counted in a later stretch than its miss.
        counts[reason] = min(known.get(reason, 0), left)
        left -= counts[reason]
    return MissReasons(**counts, unknown=left, judged=misses - left, error=_error(misses - left, 0))


def _shared(misses: int, known: Reasons, told: int, judged: int, error: float) -> MissReasons:
    """``misses`` parted as ``known`` is, to the last one."""
    counts = {reason: misses * known.get(reason, 0) // told for reason in (*REASONS, "unknown")}
    # Those that are left over go to the reasons that lost most by the rounding down.
    rests = sorted(counts, key=lambda reason: -(misses * known.get(reason, 0) % told))
    for reason in rests[: misses - sum(counts.values())]:
        counts[reason] += 1
    judged = min(judged, misses)
    return MissReasons(**counts, judged=judged, error=_error(judged, 1, error))


def _error(judged: int, sampled: int, least: float = 0.0) -> float | None:
    """How far off a share of the reasons may be; None where none is known."""
    if not judged:
        return None
    return round(min(1.0, max(1 / sqrt(judged), least)), 4) if sampled else 0.0
