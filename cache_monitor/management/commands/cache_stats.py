"""``manage.py cache_stats``: the report, for programs and for the terminal."""

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cache_monitor import api
from cache_monitor.exporters import json, table
from cache_monitor.periods import parse_moment

_ENCODERS = {"json": lambda report: json.encode(report, indent=2).decode(), "table": table.encode}


class Command(BaseCommand):
    """Prints the statistics of the caches."""

    help = "Print what the site's caches did: hit ratios, latency, hot keys, memory."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """The options."""
        parser.add_argument(
            "--format", choices=sorted(_ENCODERS), default="table", help="default: table"
        )
        parser.add_argument(
            "--since", default="1h", help="how long ago (90m, 1h, 7d) or an RFC 3339 time"
        )
        parser.add_argument("--until", help="likewise; default: now")
        parser.add_argument("--alias", help="only this cache of CACHES")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the report."""
        now = datetime.now(UTC)
        try:
            report = api.report(
                since=parse_moment(options["since"], now),
                until=parse_moment(options["until"], now) if options["until"] else None,
                alias=options["alias"],
            )
        except ValueError as error:
            raise CommandError(str(error)) from error
        if problem := api.store_problem():
            self.stderr.write(self.style.WARNING(problem))
        self.stdout.write(_ENCODERS[options["format"]](report))
