"""``manage.py cache_top``: what the caches do now, in the terminal."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cache_monitor import api
from cache_monitor.errors import MissingExtra
from cache_monitor.periods import parse_duration
from cache_monitor.reports.schema import Report

_missing: MissingExtra | None = None
try:
    from cache_monitor.exporters import terminal
except MissingExtra as error:
    _missing = error

REFUSED = 2
MOST = 3650 * 86400


class Command(BaseCommand):
    """Shows the caches, again and again, until ``q`` is pressed."""

    help = (
        "Watch the site's caches: hit ratios, misses by reason, hot keys. "
        "Press the first letter of an order to sort by it, a for the next cache, q to quit."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """The options."""
        parser.add_argument("--since", default="5m", help="the period that is shown; default: 5m")
        parser.add_argument("--interval", default="2s", help="how often to look again; default: 2s")
        parser.add_argument("--alias", help="only this cache of CACHES")
        parser.add_argument(
            "--sort",
            choices=None if _missing else tuple(terminal.ORDERS),
            default="lookups",
            help="the order of the hot keys",
        )
        parser.add_argument("--once", action="store_true", help="print once, for scripts")

    def handle(self, *args: Any, **options: Any) -> None:
        """Show the caches."""
        if _missing is not None:
            raise CommandError(str(_missing), returncode=REFUSED)
        try:
            seconds = _seconds("since", options["since"])
            interval = _seconds("interval", options["interval"])
            report = _report(seconds, options["alias"])
        except ValueError as error:
            raise CommandError(str(error), returncode=REFUSED) from error
        if note := api.store_note():
            self.stderr.write(note)
        view = terminal.ScreenView(options["sort"], options["alias"])
        if not options["once"]:
            read = partial(_report, seconds)
            terminal.watch(read, api.store_problem, seconds, interval, view)
        elif problem := api.problem_of(report):
            raise CommandError(problem, returncode=REFUSED)
        else:
            self.stdout.write(terminal.as_text(report, seconds, view))


def _report(seconds: float, alias: str | None) -> Report:
    return api.report(since=datetime.now(UTC) - timedelta(seconds=seconds), alias=alias)


def _seconds(option: str, text: str) -> float:
    seconds = parse_duration(text).total_seconds()
    if not 0 < seconds <= MOST:
        raise ValueError(f"--{option} is {text!r}. Write a time from 1s to 3650d, such as 5m.")
    return seconds
