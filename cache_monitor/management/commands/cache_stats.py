"""``manage.py cache_stats``: the report, for programs and for the terminal."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from cache_monitor import api
from cache_monitor.errors import MissingExtra
from cache_monitor.exporters import json
from cache_monitor.exporters.json import parse_top, trim
from cache_monitor.management import (
    MonitorCommand,
    count,
    duration,
    harmless,
    moment_option,
    plain,
    processes,
    refusal,
    share,
)
from cache_monitor.reports import REASONS, Cache, Finding, MissReasons, Report

FOUND = 1
"""The exit status where there are findings of that severity."""

_SEVERITIES = {"error": ("error",), "warning": ("warning", "error")}


class Command(MonitorCommand):
    help = (
        "Print what the site's caches did: hit ratios, latency, hot keys, memory. "
        "Exit status: 0; 1 with --fail-on where there are such findings; "
        "2 for bad arguments or a store that cannot be read."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_options(
            *(parser, "since", "until", "alias", "output", "schema"),
            format={"choices": ("json", "table", "prometheus")},
        )
        parser.add_argument("--top", metavar="N", help="at most N of each list: keys, groups, …")
        parser.add_argument(
            "--fail-on",
            choices=sorted(_SEVERITIES),
            help="exit with 1 where a finding is at least this grave",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["schema"]:
            self.give_json(json.schema(), options["output"])
            return
        report = self._report(options)
        # The exposition format is UTF-8, whatever the terminal's encoding is.
        is_exposition = options["format"] == "prometheus"
        self.give(_encoded(report, options), options["output"], utf_8=is_exposition)
        _fail_on(report.findings, options["fail_on"])

    def _report(self, options: dict[str, Any]) -> Report:
        now = datetime.now(UTC)
        since, until = (moment_option(options, name, now) for name in ("since", "until"))
        try:
            report = api.report(since=since, until=until, alias=options["alias"])
        except ValueError as error:
            raise refusal(str(error)) from error
        if problem := api.problem_of(report):
            raise refusal(problem)
        self.note_store()
        return report


def _encoded(report: Report, options: dict[str, Any]) -> str:
    if options["format"] == "prometheus":
        return _metrics(options)
    top = _top(options["top"])
    if options["format"] == "table":
        return harmless("\n".join(_lines(report, _HOT_KEYS if top is None else top)))
    return json.encode(report if top is None else trim(report, top), indent=2).decode()


def _top(text: str | None) -> int | None:
    try:
        return None if text is None else parse_top(text)
    except ValueError as error:
        raise refusal(f"--top is {text!r}. {error}") from error


def _metrics(options: dict[str, Any]) -> str:
    given = [name for name in ("since", "until", "top") if options[name] is not None]
    if given:
        raise refusal(f"Metrics are of no period and no top: leave out --{given[0]}.")
    # Imported here: it needs the package of an extra.
    try:
        from cache_monitor.exporters import prometheus  # noqa: PLC0415 - an optional dependency
    except MissingExtra as error:
        raise refusal(str(error)) from error
    return prometheus.exposition(options["alias"])


def _fail_on(findings: Sequence[Finding], severity: str | None) -> None:
    grave = [each for each in findings if each.severity in _SEVERITIES.get(severity or "", ())]
    if grave:
        named = "; ".join(_in_words(each) for each in grave)
        raise CommandError(f"Findings: {named}", returncode=FOUND)


def _in_words(finding: Finding) -> str:
    where = finding.key or finding.group
    return harmless(f"{finding.code} on {finding.alias}" + (f" ({where})" if where else ""))


_HOT_KEYS = 5
"""Hot keys of each cache in the table."""
_WIDTH = 80


def _lines(report: Report, hot_keys: int) -> Iterator[str]:
    """The report as a table for a terminal of 80 columns."""
    quality = report.quality
    yield f"{report.since} to {report.until}, {processes(quality.processes)} reporting"
    if quality.dropped_calls:
        yield f"{quality.dropped_calls} calls are missing: they could not be recorded or stored"
    if quality.cut_off_processes:
        cut_off = quality.cut_off_processes
        yield f"{cut_off} of them stopped reporting: killed, or unable to reach the store"
    for app in quality.not_recorded:
        yield f"{app} is not recorded: it talks to its server past CACHES"
    for alias, cache in report.caches.items():
        yield ""
        yield from _cache(alias, cache, hot_keys)
    if not any(cache.operations for cache in report.caches.values()):
        yield ""
        yield "Nothing has called a cache in this period. Use a page that caches something,"
        yield "and wait for FLUSH_INTERVAL (10 seconds, unless you say otherwise)."
    if report.findings:
        yield ""
    for finding in report.findings:
        yield from _finding(finding)


def _cache(alias: str, cache: Cache, hot_keys: int) -> Iterator[str]:
    yield f"{alias} ({cache.backend})"
    yield (
        f"  hit ratio {share(cache.hit_ratio)}   hits {cache.hits:,}   misses {cache.misses:,}"
        f"   errors {cache.errors:,}   entries {_about(cache.memory.entries, cache.memory.exact)}"
        f"   bytes {_about(cache.memory.bytes, cache.memory.exact)}"
    )
    yield from _inside(cache)
    if cache.interrupted:
        yield f"  interrupted {cache.interrupted:,}"
    if not cache.operations:
        yield "  not called"
        return
    yield from _miss_reasons(cache.miss_reasons)
    yield f"  {'operation':<16}{'calls':>10}{'hits':>10}{'misses':>10}{'p50':>10}{'p99':>10}"
    for name, operation in cache.operations.items():
        yield (
            f"  {name:<16}{operation.calls:>10,}{count(operation.hits):>10}"
            f"{count(operation.misses):>10}{duration(operation.seconds.p50):>10}"
            f"{duration(operation.seconds.p99):>10}"
        )
    hottest = cache.hot_keys[:hot_keys]
    if hottest:
        yield f"  {'of lookups':>10}  hot key"
    for key in hottest:
        yield f"  {share(key.share):>10}  {plain(key.key, 60)}"


def _inside(cache: Cache) -> Iterator[str]:
    stale, exact = cache.stale, cache.memory.exact
    counts = {
        "expired": _about(stale.expired, exact),
        "idle": _about(stale.idle, exact, stale.idle_error),
        "never read": _about(stale.never_read, exact, stale.never_read_error),
        "no expiry": _about(stale.no_expiry, exact),
    }
    if stale.entries:
        yield f"  stale: {', '.join(f'{name} {figure}' for name, figure in counts.items())}"
    if cache.memory.problem:
        yield f"  {plain(cache.memory.problem, _WIDTH)}"


def _about(number: int | None, exact: bool | None, error: int | None = None) -> str:
    if number is None:
        return count(number)
    return f"{'' if exact and not error else '~'}{number:,}{f' ±{error:,}' if error else ''}"


def _miss_reasons(reasons: MissReasons) -> Iterator[str]:
    about = "" if reasons.exact else "~"
    counts = {name: getattr(reasons, name) for name in (*REASONS, "unknown")}
    known = [
        f"{name.replace('_', ' ')} {about}{number:,}" for name, number in counts.items() if number
    ]
    if known:
        yield f"  misses: {', '.join(known)}"


def _finding(finding: Finding) -> Iterator[str]:
    where = finding.key or finding.group
    named = f"{finding.severity}: {finding.code} on {finding.alias}"
    yield plain(f"{named}, {where}" if where else named, _WIDTH)
    yield f"  {finding.advice}"
