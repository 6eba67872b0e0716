"""Which figures of a finding's evidence are estimates, and by how much they may be off."""

from collections.abc import Mapping

from cache_monitor.findings.context import RuleContext
from cache_monitor.reports.keys import MissReasons, whole_groups
from cache_monitor.reports.schema import Finding
from cache_monitor.stats.distinct import SIZE

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


def evidence_errors(context: RuleContext, finding: Finding) -> dict[str, float | None]:
    """The figures of ``finding`` that are estimates, each with its error; None where unknown."""
    of_scan = _OF_SCAN.get(finding.code, frozenset())
    errors: dict[str, float | None] = dict.fromkeys(_ALWAYS)
    if finding.code not in _MEASURED:
        errors["lost_seconds"] = None
    if context.cache.memory.exact is False:
        errors |= dict.fromkeys(of_scan)
    reasons, misses = _misses(context, finding)
    if reasons.error:
        errors |= dict.fromkeys(_OF_TRACE)
        errors |= dict.fromkeys(_OF_REASONS - of_scan, round(misses * reasons.error))
    for name, value in finding.evidence.items():
        if isinstance(value, int | float):
            if name in _OF_SKETCHES and value > SIZE:
                errors[name] = round(_SKETCH_ERROR * value)
            elif name in _AGES:
                errors[name] = round(_AGE_ERROR * value, 3)
    known = {name for name, value in finding.evidence.items() if value is not None}
    return {name: error for name, error in sorted(errors.items()) if name in known}


def _misses(context: RuleContext, finding: Finding) -> tuple[MissReasons, int]:
    """The misses that the evidence is of, by reason and in all."""
    if finding.code not in _OF_CACHE:
        for group in whole_groups(context.cache.key_groups):
            if group.group == finding.group:
                return group.miss_reasons, group.misses
    return context.cache.miss_reasons, context.cache.misses
