"""Mistakes in what is cached: entries that nobody wants, or that do not last until he comes."""

from collections.abc import Iterator
from datetime import datetime

from msgspec import structs

from cache_monitor.findings.context import (
    IN_PROCESS,
    Cost,
    Evidence,
    RuleContext,
    predicted_longer_timeout,
    predicted_room,
)
from cache_monitor.reports.schema import Finding, KeyGroup, MissReasons

_HARDLY = 0.1
"""Uses for each write below which a group is hardly asked for."""
_AGAIN = 5
"""Writes for each key, unasked for, from which on they overwrite one another."""
_ESTIMATE = 1.3
"""How many more keys there may be than is told: three standard errors of the estimate."""
_AN_HOUR = 3300.0
"""Seconds; a report of the last hour covers a little less."""
_SEEN = 10
"""Values that must have been seen: of fewer the mean tells little."""
_SELDOM = 4
"""Lookups for each write of what is cached to be found again."""
_BY_CHANCE = 200
"""One hit in so many: keys out of many thousands meet by chance sooner."""
_RARELY = 4
"""A hit ratio below one in four, not counting each key's first miss."""


def never_read(context: RuleContext) -> Iterator[Finding]:
    """A group is written ``min_calls`` times and not asked for a tenth as often though half of its
    timeout, or an hour, has passed since, and that wastes more than ``lost_share`` of a worker's
    time, or ``idle_memory_bytes``."""
    for group in _written(context):
        # A page is written by who has asked for it, maybe under another key.
        uses = group.lookups + group.other_uses
        waste = context.waste(group, group.sets)
        if (
            group.kind != "page"
            and uses < _HARDLY * group.sets
            and not _is_overwritten(group)
            and _had_time(context, group)
            and waste.is_costly
        ):
            yield context.find(
                "never-read",
                "warning",
                _use(group),
                group=group.group,
                cost=waste.cost,
            )


def overwritten(context: RuleContext) -> Iterator[Finding]:
    """The same keys are set five times and more without a miss before, at least twice for each
    time that one is found, and that wastes more than ``lost_share`` of a worker's time, or
    ``idle_memory_bytes``. Or each value that is found is written anew, as a growing list is, at
    ``idle_memory_bytes`` in all and more."""
    for group in context.groups():
        unasked = _unasked(group)
        waste = context.waste(group, unasked)
        in_vain = group.sets >= context.limits.min_calls and _is_overwritten(group)
        size = waste.cost.bytes or 0
        if (in_vain and not group.is_state and waste.is_costly) or (
            _is_rewritten(group) and size >= context.limits.idle_memory_bytes
        ):
            spent = waste.cost.seconds if in_vain else group.seconds - group.lookup_seconds
            yield context.find(
                "overwritten",
                "warning",
                [
                    *_use(group),
                    *_unread("overwritten_unread", group.lives.overwritten_unread),
                    ("written_bytes", size),
                    *predicted_longer_timeout(context, group.group),
                ],
                group=group.group,
                cost=Cost(spent, size),
            )


def key_explosion(context: RuleContext) -> Iterator[Finding]:
    """Each key of a group, or each but a few that are asked for often, is asked for once and then
    written in vain, ``min_calls`` times and more, and that wastes more than ``lost_share`` of a
    worker's time, or ``idle_memory_bytes``."""
    for group in _written(context):
        rest = _without_hot_keys(context, group)
        asked = max(rest.lookups, rest.sets) if group.kind == "page" else rest.lookups
        waste = context.waste(group, rest.sets)
        if (
            rest.sets >= context.limits.min_calls
            and 2 * asked > rest.sets
            and asked <= _ESTIMATE * max(rest.distinct_keys or 1, 1)
            and rest.hits * _BY_CHANCE < rest.sets
            and not group.other_uses
            and 2 * _explained(group.miss_reasons) < group.misses
            and waste.is_costly
        ):
            yield context.find(
                "key-explosion",
                "warning",
                [*_use(group), ("one_of_a_kind", rest.distinct_keys)],
                group=group.group,
                cost=waste.cost,
            )


def deleted_early(context: RuleContext) -> Iterator[Finding]:
    """Most misses of a group come from a deletion, it is deleted ``min_calls`` times and more often
    than found, and to produce the values anew costs more than ``lost_share`` of a worker's
    time."""
    for group in context.copies():
        deleted = group.miss_reasons.deleted or 0
        lost = context.seconds_lost(group, deleted)
        if (
            group.deletes >= context.limits.min_calls
            and group.hits + group.other_uses < group.deletes
            and 2 * deleted > group.misses
            and (group.lives.deleted < _SEEN or group.lives.deleted_unread)
            and context.is_costly(lost)
        ):
            yield context.find(
                "deleted-early",
                "warning",
                [
                    *_use(group),
                    ("deletes", group.deletes),
                    ("misses_by_deletion", deleted),
                    *_unread("deleted_unread", group.lives.deleted_unread),
                    ("lost_seconds", round(lost, 3)),
                ],
                group=group.group,
                cost=Cost(lost),
            )


def cheap_to_recompute(context: RuleContext) -> Iterator[Finding]:
    """A group was found ``min_calls`` times, four times as often as it was written, and to produce
    a value, which was seen ten times and more, takes no longer than to look it up."""
    for group in context.copies():
        to_produce = group.produce_seconds
        if (
            group.hits >= context.limits.min_calls
            and group.produced >= _SEEN
            and group.lookups >= _SELDOM * group.sets
            and to_produce is not None
            and to_produce <= (lookup := _lookup_seconds(context, group))
            and not _is_made_elsewhere(context, group)
        ):
            yield context.find(
                "cheap-to-recompute",
                "info",
                [
                    ("produce_seconds", to_produce),
                    ("lookup_seconds", round(lookup, 9)),
                    ("hits", group.hits),
                ],
                group=group.group,
                cost=Cost(group.lookups * lookup - group.hits * to_produce),
            )


def _is_made_elsewhere(context: RuleContext, group: KeyGroup) -> bool:
    """Whether the requests that find values of ``group`` have hardly missed any: those who write
    them, as a task does its result, had them before they looked."""
    uses = [use for view in context.cache.views for use in view.groups if use.group == group.group]
    hits = sum(use.hits for use in uses)
    return hits > 0 and 2 * (sum(use.lookups for use in uses) - hits) < group.produced


def _lookup_seconds(context: RuleContext, group: KeyGroup) -> float:
    """What a lookup of ``group`` mostly takes: the mean of its own ones, or less where a few slow
    ones have made that. Where no server is asked, it is the value that must be unpickled."""
    own = group.lookup_seconds / group.lookups if group.lookups else 0.0
    return min(own, context.typical_lookup_seconds * _share_of_lookup(context, group))


def _share_of_lookup(context: RuleContext, group: KeyGroup) -> float:
    """What a lookup of ``group`` takes, of what one of its cache takes. Where no server is asked,
    it is the value that must be unpickled; a server's answer takes its way, whatever is in it."""
    if context.backend not in IN_PROCESS:
        return 1.0
    own, every = group.bytes_read, context.cache.bytes_read
    if not (own and every and group.hits):
        # Of what several keys at once have brought nobody knows what each was.
        return 0.0
    return min(1.0, own / group.hits / (every / max(context.cache.hits, 1)))


def never_stored(context: RuleContext) -> Iterator[Finding]:
    """Requests ask for keys of a group again and again, or for many of them one by one, and none
    was ever written or found, ``min_calls`` times and more. A flag that is never set is asked for
    once in a request, and is no finding unless that costs more than ``lost_share`` of a worker's
    time."""
    for group in context.groups():
        in_loops = (group.repeated_gets or 0) + (group.single_gets or 0)
        if (
            group.lookups >= context.limits.min_calls
            and not (group.hits or group.sets or group.other_uses or group.deletes)
            and (2 * in_loops >= group.lookups or context.is_costly(group.lookup_seconds))
        ):
            view = context.view_of(group.group)
            yield context.find(
                "never-stored",
                "warning",
                [
                    ("lookups", group.lookups),
                    ("lookups_share", round(group.lookups / context.cache.lookups, 4)),
                    ("distinct_keys", group.distinct_keys),
                    ("view", view.view if view else None),
                    ("lost_seconds", round(group.lookup_seconds, 3)),
                ],
                group=group.group,
                cost=Cost(group.lookup_seconds, failed_calls=group.lookups),
            )


def low_hit_ratio(context: RuleContext) -> Iterator[Finding]:
    """A group is looked up ``min_calls`` times, and three in four miss though they could have been
    there: each key's first miss does not count. What filling these misses again took is more than
    ``lost_share`` of a worker's time, and no other finding says why."""
    for group in context.copies():
        # The first of a key that is then stored cannot be helped.
        first = min(round(_ESTIMATE * (group.distinct_keys or 0)), group.sets)
        avoidable = max(min(group.misses, group.sets) - first, 0)
        lost = context.seconds_lost(group, avoidable)
        if (
            group.lookups >= context.limits.min_calls
            and (group.hits + avoidable) >= context.limits.min_calls
            and group.hits * _RARELY < group.hits + avoidable
            and context.is_costly(lost)
        ):
            yield context.find(
                "low-hit-ratio",
                "warning",
                [
                    *_use(group),
                    ("hit_ratio", group.hit_ratio),
                    ("lost_seconds", round(lost, 3)),
                    *(predicted_longer_timeout(context, group.group) or predicted_room(context)),
                ],
                group=group.group,
                cost=Cost(lost),
            )


def _written(context: RuleContext) -> Iterator[KeyGroup]:
    return (group for group in context.copies() if group.sets >= context.limits.min_calls)


def _had_time(context: RuleContext, group: KeyGroup) -> bool:
    """Whether the entries were there for long enough that somebody could have read them: the first
    one, and most others at least half as long."""
    if group.first_set_at is None or context.until is None:
        return False
    moments = group.first_set_at, group.mean_set_at or group.first_set_at
    first, mean = ((context.until - datetime.fromisoformat(it)).total_seconds() for it in moments)
    due = min(_AN_HOUR, group.timeout / 2 if group.timeout else _AN_HOUR)
    return first >= due and mean >= due / 2


def _without_hot_keys(context: RuleContext, group: KeyGroup) -> KeyGroup:
    """``group`` without those of the cache's hottest keys that were found."""
    hot = [key for key in context.cache.hot_keys if key.group == group.group and key.hits]
    return structs.replace(
        group,
        lookups=max(group.lookups - sum(key.hits + key.misses for key in hot), 0),
        hits=max(group.hits - sum(key.hits for key in hot), 0),
        sets=max(group.sets - sum(key.sets for key in hot), 0),
        distinct_keys=max((group.distinct_keys or 0) - len(hot), 0),
    )


def _is_rewritten(group: KeyGroup) -> bool:
    """Whether what is found is mostly written anew, key by key."""
    unasked = max(_unasked(group), group.rewrites or 0)
    again = group.sets >= _AGAIN * max(group.distinct_keys or 1, 1)
    return again and unasked >= _SEEN and 2 * unasked >= group.hits


def _unasked(group: KeyGroup) -> int:
    """The writes that no miss has asked for."""
    return max(group.sets - group.misses, 0)


def _explained(reasons: MissReasons) -> int:
    """The misses of entries that had been there."""
    gone = reasons.expired, reasons.evicted, reasons.lost, reasons.deleted, reasons.cleared
    return sum(each or 0 for each in (*gone, reasons.version_changed))


def _is_overwritten(group: KeyGroup) -> bool:
    unasked, keys = _unasked(group), max(group.distinct_keys or 1, 1)
    if group.lives.overwritten >= _SEEN and not group.lives.overwritten_unread:
        return False  # Each of the values was read, or may have been.
    return unasked >= _AGAIN * keys and 2 * (group.hits + group.other_uses) < unasked


def _unread(name: str, count: int) -> Evidence:
    """How many entries surely nobody read: that there were none is not known as surely."""
    return [(name, count)] if count else []


def _use(group: KeyGroup) -> Evidence:
    return [
        ("sets", group.sets),
        ("lookups", group.lookups),
        ("hits", group.hits),
        ("distinct_keys", group.distinct_keys),
    ]
