"""Mistakes in what is cached: entries that nobody wants, or that do not last until he comes."""

from collections.abc import Iterator

from cache_monitor.findings.case import IN_PROCESS, Case, Evidence
from cache_monitor.reports.schema import Finding, KeyGroup, MissReasons

_HARDLY = 0.1
"""Uses for each write below which a group is hardly asked for."""
_AGAIN = 5
"""Writes for each key, unasked for, from which on they overwrite one another."""
_ESTIMATE = 1.3
"""How many more keys there may be than is told: three standard errors of the estimate."""
_BY_CHANCE = 200
"""One hit in so many: keys out of many thousands meet by chance sooner."""
_RARELY = 4
"""A hit ratio below one in four, not counting each key's first miss."""


def never_read(case: Case) -> Iterator[Finding]:
    """A group is written ``min_calls`` times and not asked for a tenth as often, and that wastes
    more than ``lost_share`` of a worker's time, or ``idle_memory_bytes``."""
    for group in _written(case):
        # A page is written by who has asked for it, maybe under another key.
        uses = group.lookups + group.other_uses
        if (
            group.kind != "page"
            and uses < _HARDLY * group.sets
            and not _is_overwritten(group)
            and case.is_waste(group, group.sets)
        ):
            yield case.find("never-read", "warning", _use(group), group=group.group)


def overwritten(case: Case) -> Iterator[Finding]:
    """The same keys are set five times and more without a miss before, at least twice for each
    time that one is found, and that wastes more than ``lost_share`` of a worker's time, or
    ``idle_memory_bytes``."""
    for group in _written(case):
        if _is_overwritten(group) and case.is_waste(group, _unasked(group)):
            yield case.find("overwritten", "warning", _use(group), group=group.group)


def key_explosion(case: Case) -> Iterator[Finding]:
    """Each key of a group is asked for once and then written in vain, ``min_calls`` times and
    more, and that wastes more than ``lost_share`` of a worker's time, or ``idle_memory_bytes``."""
    for group in _written(case):
        asked = max(group.lookups, group.sets) if group.kind == "page" else group.lookups
        if (
            2 * asked > group.sets
            and asked <= _ESTIMATE * max(group.distinct_keys or 1, 1)
            and group.hits * _BY_CHANCE < group.sets
            and not group.other_uses
            and 2 * _explained(group.miss_reasons) < group.misses
            and case.is_waste(group, group.sets)
        ):
            yield case.find("key-explosion", "warning", _use(group), group=group.group)


def deleted_early(case: Case) -> Iterator[Finding]:
    """Most misses of a group come from a deletion, it is deleted ``min_calls`` times and more often
    than found, and to produce the values anew costs more than ``lost_share`` of a worker's
    time."""
    for group in case.groups():
        deleted = group.miss_reasons.deleted or 0
        lost = deleted * case.produce_seconds(group)
        if (
            group.deletes >= case.limits.min_calls
            and group.hits + group.other_uses < group.deletes
            and 2 * deleted > group.misses
            and case.is_costly(lost)
        ):
            yield case.find(
                "deleted-early",
                "warning",
                [
                    *_use(group),
                    ("deletes", group.deletes),
                    ("misses_by_deletion", deleted),
                    ("lost_seconds", round(lost, 3)),
                ],
                group=group.group,
            )


def cheap_to_recompute(case: Case) -> Iterator[Finding]:
    """A group was found ``min_calls`` times, and to produce a value takes no longer than to look it
    up."""
    for group in case.groups():
        to_produce = group.produce_seconds
        lookup = case.usual_lookup_seconds * _share_of_lookup(case, group)
        if group.hits >= case.limits.min_calls and to_produce is not None and to_produce <= lookup:
            yield case.find(
                "cheap-to-recompute",
                "info",
                [
                    ("produce_seconds", to_produce),
                    ("lookup_seconds", round(lookup, 9)),
                    ("hits", group.hits),
                ],
                group=group.group,
            )


def _share_of_lookup(case: Case, group: KeyGroup) -> float:
    """What a lookup of ``group`` takes, of what one of its cache takes. Where no server is asked,
    it is the value that must be unpickled; a server's answer takes its way, whatever is in it."""
    if case.backend not in IN_PROCESS:
        return 1.0
    own, every = group.bytes_read, case.cache.bytes_read
    if not (own and every and group.hits):
        # Of what several keys at once have brought nobody knows what each was.
        return 0.0
    return min(1.0, own / group.hits / (every / max(case.cache.hits, 1)))


def low_hit_ratio(case: Case) -> Iterator[Finding]:
    """A group is looked up ``min_calls`` times, and three in four miss though they could have been
    there: each key's first miss does not count. That costs more than ``lost_share`` of a worker's
    time, and no other finding says why."""
    for group in case.groups():
        # The first of a key that is then stored cannot be helped.
        first = min(round(_ESTIMATE * (group.distinct_keys or 0)), group.sets)
        avoidable = max(group.misses - first, 0)
        lost = avoidable * case.produce_seconds(group)
        if (
            group.lookups >= case.limits.min_calls
            and (group.hits + avoidable) >= case.limits.min_calls
            and group.hits * _RARELY < group.hits + avoidable
            and case.is_costly(lost)
        ):
            yield case.find(
                "low-hit-ratio",
                # Maybe a flag that is rarely set: then a miss is the usual answer.
                "warning" if group.sets else "info",
                [*_use(group), ("hit_ratio", group.hit_ratio), ("lost_seconds", round(lost, 3))],
                group=group.group,
            )


def _written(case: Case) -> Iterator[KeyGroup]:
    return (group for group in case.groups() if group.sets >= case.limits.min_calls)


def _unasked(group: KeyGroup) -> int:
    """The writes that no miss has asked for."""
    return max(group.sets - group.misses, 0)


def _explained(reasons: MissReasons) -> int:
    """The misses of entries that had been there."""
    gone = reasons.expired, reasons.evicted, reasons.deleted, reasons.cleared
    return sum(each or 0 for each in (*gone, reasons.version_changed))


def _is_overwritten(group: KeyGroup) -> bool:
    unasked, keys = _unasked(group), max(group.distinct_keys or 1, 1)
    return unasked >= _AGAIN * keys and 2 * (group.hits + group.other_uses) < unasked


def _use(group: KeyGroup) -> Evidence:
    return [
        ("sets", group.sets),
        ("lookups", group.lookups),
        ("hits", group.hits),
        ("distinct_keys", group.distinct_keys),
    ]
