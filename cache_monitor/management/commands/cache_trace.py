"""``manage.py cache_trace``: the trace as a file for other simulators of caches."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cache_monitor.api import UnknownAlias, refuse_unknown, store_note
from cache_monitor.exporters.trace_files import FORMATS, NothingTraced, WrittenTrace, write_trace
from cache_monitor.periods import parse_moment
from cache_monitor.scan.identity import store_of
from cache_monitor.stores.base import StoreError
from cache_monitor.stores.opening import get_store

REFUSED, INTERRUPTED = 2, 130


class Command(BaseCommand):
    """Writes the trace of a period."""

    help = (
        "Write the lookups of a cache to a file that other simulators read, with hashes instead of "
        "keys and without values. Exit status: 0; 2 for bad arguments, a period without "
        "a trace, a store that cannot be read or a file that cannot be written; 130 where Ctrl-C "
        "ended it. The file is written whole or not at all."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """The options."""
        parser.add_argument(
            "--format",
            choices=tuple(FORMATS),
            required=True,
            help="oracle-general for libCacheSim, twitter-csv, caffeine (a number a line), or csv",
        )
        parser.add_argument("--output", metavar="FILE", required=True, help="where to write")
        parser.add_argument("--alias", default="default", help="a cache of CACHES")
        parser.add_argument(
            "--since", default="1h", help="how long ago (90m, 1h) or an RFC 3339 time; default: 1h"
        )
        parser.add_argument("--until", help="likewise; default: now")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the file."""
        since, until = _period(options)
        alias, output = options["alias"], options["output"]
        try:
            refuse_unknown(alias)
            if note := store_note():
                self.stderr.write(note)
            family = store_of(alias)
            if family is None:
                raise NothingTraced
            written = write_trace(
                get_store(), family, since, until, options["format"], Path(output)
            )
        except (UnknownAlias, StoreError) as error:
            raise CommandError(str(error), returncode=REFUSED) from error
        except NothingTraced as error:
            message = f"The trace has no lookups of {alias!r} in this period. Name another --since."
            raise CommandError(message, returncode=REFUSED) from error
        except OSError as error:
            message = f"Nothing was written to {output}: {error.strerror or error}"
            raise CommandError(message, returncode=REFUSED) from error
        except KeyboardInterrupt:
            self.stderr.write("Interrupted: nothing was written.")
            sys.exit(INTERRUPTED)
        self.stderr.write(_summary(written, output))


def _period(options: dict[str, Any]) -> tuple[float, float]:
    now = datetime.now(UTC)
    moments = []
    for name in ("since", "until"):
        given = options[name]
        try:
            moments.append(now if given is None else parse_moment(given, now))
        except ValueError as error:
            raise CommandError(f"--{name} is {given!r}. {error}", returncode=REFUSED) from error
    since, until = moments
    if since >= until:
        raise CommandError("--since must be earlier than --until.", returncode=REFUSED)
    return since.timestamp(), until.timestamp()


def _summary(written: WrittenTrace, output: str) -> str:
    text = f"{written.lookups:,} lookups written to {output}."
    if written.one_in > 1:
        text += (
            f" They are of one key in {written.one_in:,}: simulate a cache of"
            f" 1/{written.one_in} of the size."
        )
    if written.processes > 1:
        text += (
            f" Each process has a cache of its own: this is the busiest of {written.processes:,}."
        )
    return text
