"""All rules, the findings of a report, their explanations, and the notification of new ones."""

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from django.conf import settings
from django.utils.translation import gettext as _

from cache_monitor.conf import THRESHOLDS, Thresholds, get_conf
from cache_monitor.findings import (
    finding_detected,
    history,
    rules_backend,
    rules_groups,
    rules_requests,
)
from cache_monitor.findings.context import Environment, RuleContext
from cache_monitor.findings.texts import ADVICE, TITLES
from cache_monitor.keys.grouping import printable
from cache_monitor.reports import Cache, Finding, Report
from cache_monitor.stats.codec import CorruptPayload, decode
from cache_monitor.stats.window import Window
from cache_monitor.stores.base import Row, Store

logger = logging.getLogger("cache_monitor")
finding_logger = logging.getLogger("cache_monitor.findings")

Rule = Callable[[RuleContext], Iterator[Finding]]

RULES: Mapping[str, Rule] = {
    "backend-errors": rules_backend.backend_errors,
    "dummy-backend": rules_backend.dummy_backend,
    "local-memory-many-processes": rules_backend.local_memory_many_processes,
    "evicted-early": rules_backend.evicted_early,
    "lost-entries": rules_backend.lost_entries,
    "large-values": rules_backend.large_values,
    "clear-under-traffic": rules_backend.clear_under_traffic,
    "stampede": rules_requests.stampede,
    "short-timeout": rules_groups.short_timeout,
    "unchanged-rewrites": rules_groups.unchanged_rewrites,
    "no-expiry": rules_backend.no_expiry,
    "aged-content": rules_groups.aged_content,
    "expired-stored": rules_backend.expired_stored,
    "page-not-stored": rules_requests.page_not_stored,
    "never-read": rules_groups.never_read,
    "overwritten": rules_groups.overwritten,
    "key-explosion": rules_groups.key_explosion,
    "deleted-early": rules_groups.deleted_early,
    "single-gets": rules_requests.single_gets,
    "repeated-gets": rules_requests.repeated_gets,
    "cheap-to-recompute": rules_groups.cheap_to_recompute,
    "hot-key": rules_backend.hot_key,
    "never-stored": rules_groups.never_stored,
    "cache-bound-view": rules_requests.cache_bound_view,
    # Last: it is silent on groups that another rule has explained.
    "low-hit-ratio": rules_groups.low_hit_ratio,
}
"""By code."""

_OF_THE_SETUP = frozenset({"backend-errors", "dummy-backend"})
_EXPLAIN_ALL_MISSES = _OF_THE_SETUP | {
    "local-memory-many-processes",
    "evicted-early",
    "lost-entries",
    "clear-under-traffic",
}
"""Findings that make every group of their cache miss."""
_OVERRULED: Mapping[str, frozenset[str]] = {
    "single-gets": frozenset({"never-stored", "cheap-to-recompute"}),
    "repeated-gets": frozenset({"never-stored", "cheap-to-recompute"}),
    "cache-bound-view": frozenset(
        {"never-stored", "cheap-to-recompute", "single-gets", "repeated-gets"}
    ),
    "short-timeout": frozenset({"cheap-to-recompute"}),
    "unchanged-rewrites": frozenset({"short-timeout", "cheap-to-recompute"}),
}
"""What is not said of a group of which one of these is true: it would advise the contrary, or the
same once more."""
_OF_ENTRIES = frozenset({"large-values", "no-expiry", "expired-stored"})
"""Findings of what is stored, whoever stores and asks for it."""
_broken: set[str] = set()
"""Codes of rules that have failed, which is logged once."""


def find(
    caches: Mapping[str, Cache], environment: Environment, limits: Thresholds
) -> list[Finding]:
    """The findings of ``caches``: errors first, then by cost. A rule that fails finds nothing."""
    found: list[Finding] = []
    for alias, cache in caches.items():
        if cache.lookups or cache.operations or cache.memory.entries:
            found += _find(RuleContext(alias, cache, environment, limits))
    found = list(_once_a_store(found, caches))
    return sorted(
        found,
        key=lambda each: (each.severity != "error", -_weight(each, limits), each.alias, each.code),
    )


def _once_a_store(found: Iterable[Finding], caches: Mapping[str, Cache]) -> Iterator[Finding]:
    """``found`` without what was found of the same entries under another alias."""
    seen: set[tuple[str, str, str | None]] = set()
    for each in found:
        if each.code in _OF_ENTRIES:
            place = caches[each.alias].memory.counted_in or each.alias
            if (place, each.code, each.group) in seen:
                continue
            seen.add((place, each.code, each.group))
        yield each


def _weight(finding: Finding, limits: Thresholds) -> float:
    """How many times its threshold a finding costs an hour."""
    worth = finding.worth
    return max(
        (worth.seconds or 0.0) / max(3600 * limits.lost_share, 1e-9),
        (worth.bytes or 0) / max(limits.idle_memory_bytes, 1),
        (worth.failed_calls or 0) / max(limits.min_errors, 1) if worth.seconds is None else 0.0,
    )


def _find(context: RuleContext) -> list[Finding]:
    """The findings of one cache, without those that another finding on the same group overrules."""
    found = list(_found(context))
    codes: defaultdict[str | None, set[str]] = defaultdict(set)
    for finding in found:
        codes[finding.group].add(finding.code)
    return [
        each
        for each in found
        if each.group is None
        or codes[each.group].isdisjoint(_OVERRULED.get(each.code, frozenset()))
    ]


def _found(context: RuleContext) -> Iterator[Finding]:
    explained: set[str | None] = set()
    codes: set[str] = set()
    for code, rule in RULES.items():
        # A DummyCache keeps nothing, whatever is done with it.
        if context.backend == "DummyCache" and code not in _OF_THE_SETUP:
            continue
        for finding in _found_by(code, rule, context):
            is_explained = finding.group in explained or not codes.isdisjoint(_EXPLAIN_ALL_MISSES)
            if code == "low-hit-ratio" and is_explained:
                continue
            explained.add(finding.group)
            codes.add(code)
            yield finding


def _found_by(code: str, rule: Rule, context: RuleContext) -> list[Finding]:
    try:
        return list(rule(context._replace(code=code)))
    except Exception as error:
        # The report goes without it.
        if code not in _broken:
            _broken.add(code)
            logger.error(
                "The rule for %s failed; further faults of it are not logged.",
                code,
                exc_info=error,
            )
        return []


_RECENT = 300
"""The seconds of windows that are read."""
_MIN_WINDOWS = 3
"""With calls in fewer windows a process does not run the site, but a command that ends."""
_MIN_OVERLAP = 30
"""Seconds for which processes must run together, unlike one that replaces another at a
deployment."""

_SeenSpan = tuple[int, int]
"""When a process was first and last seen."""


def concurrent_processes(windows: Iterable[Row], until: float) -> dict[str, int]:
    """The number of processes that use each alias at the same time, in the minutes before
    ``until`` (Unix time)."""
    seen: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
    for row in windows:
        if until - _RECENT <= row.start <= until:
            try:
                window = decode(row.payload, Window)
            except CorruptPayload:
                continue
            if window.calls:
                for process in window.processes:
                    seen[row.alias, process].add(row.start)
    spans: defaultdict[str, list[_SeenSpan]] = defaultdict(list)
    for (alias, _process), starts in seen.items():
        if len(starts) >= _MIN_WINDOWS:
            spans[alias].append((min(starts), max(starts)))
    return {alias: _most_at_once(own) for alias, own in spans.items()}


def _most_at_once(spans: list[_SeenSpan]) -> int:
    """The most of ``spans`` that overlap for long enough."""
    # One that has just begun overlaps only itself.
    return max(
        max(1, sum(first <= at and at + _MIN_OVERLAP <= last for first, last in spans))
        for at, _ in spans
    )


def detected(report: Report, windows: Iterable[Row], until: float) -> list[Finding]:
    """All findings, muted ones too, of a report that was made of ``windows`` and ends at ``until``
    (Unix time)."""
    environment = Environment(
        is_debug=settings.DEBUG, processes=concurrent_processes(windows, until)
    )
    return find(report.caches, environment, Thresholds.of(get_conf().findings))


def watch(store: Store, detect: Callable[[], Sequence[Finding]], now: float) -> None:
    """Add the findings of ``now`` to the history, and notify of new ones. Raises
    :class:`StoreError`."""
    notify(history.note(store, detect(), now))


_LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO}


def notify(findings: Iterable[Finding]) -> None:
    """Log each of ``findings`` and send :data:`finding_detected` for it."""
    for finding in findings:
        where = ", ".join(filter(None, [finding.alias, finding.group, finding.key]))
        finding_logger.log(
            _LEVELS[finding.severity],
            "%s (%s): %s",
            finding.code,
            printable(where),
            printable(finding.advice),
            extra={"finding": finding},
        )
        for receiver, answer in finding_detected.send_robust(sender=None, finding=finding):
            if isinstance(answer, Exception):
                finding_logger.error("The receiver %r failed.", receiver, exc_info=answer)


_QUOTED = re.compile(r"``([^`]+)``")


class Explanation(NamedTuple):
    """A rule for people: the finding's code and title, where it is found, what to do about it."""

    code: str
    title: str
    found_where: str
    advice: str


def explanations() -> list[Explanation]:
    """All rules. Title and advice are in the active language; where a finding is found is English,
    in Markdown."""
    return [
        Explanation(code, str(TITLES[code]), _condition(rule), _general_advice(code))
        for code, rule in sorted(RULES.items())
    ]


def _condition(rule: Rule) -> str:
    """The docstring of ``rule`` in Markdown."""

    def quoted(match: re.Match[str]) -> str:
        upper = match[1].upper()
        return f"`{upper if upper in THRESHOLDS else match[1]}`"

    return _QUOTED.sub(quoted, " ".join((rule.__doc__ or "").split()))


def _general_advice(code: str) -> str:
    """The advice without a particular cache."""
    anything = {"alias": "…", "what": "…"}
    words = {"backend": _("the backend"), "limit": _("the cache's limit")}
    return str(ADVICE[code]) % {**anything, **words}
