"""``manage.py cache_stats``: the report, for programs and for the terminal."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from cache_monitor import api
from cache_monitor.errors import MissingExtra
from cache_monitor.exporters import json, table
from cache_monitor.exporters.json import parse_top, trim
from cache_monitor.exporters.table import harmless
from cache_monitor.management.base import MonitorCommand, moment_option, refusal
from cache_monitor.reports.schema import Finding, Report

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
        self.give(_encoded(report, options), options["output"])
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
        return table.encode(report) if top is None else table.encode(report, top)
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
