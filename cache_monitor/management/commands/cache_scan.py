"""``manage.py cache_scan``: a full scan of the live caches."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from cache_monitor.api import backend_path
from cache_monitor.context import muted
from cache_monitor.exporters import table
from cache_monitor.management.output import ProgressBar, as_json, as_table
from cache_monitor.scan.schedule import NO_LIMIT, FullScan
from cache_monitor.scan.snapshot import Snapshot
from cache_monitor.stores.base import StoreError
from cache_monitor.stores.opening import get_store

COMPLETE, INCOMPLETE, INTERRUPTED = 0, 3, 130

_NICENESS = 5
"""By how much it yields to the site's own processes where the CPU is busy."""

_FORMS = {"json": as_json, "table": as_table}


class Command(BaseCommand):
    """Scans every entry of the caches."""

    help = (
        "Scan every entry of the caches and print their entries, bytes, key groups, largest and"
        " stale entries. The dashboard shows the result too. Exit status: 0 if all entries were"
        " scanned; 3 if --limit ended the scan or a cache could not be scanned completely; 130 if"
        " Ctrl-C ended it, after printing the result so far."
    )
    requires_system_checks: list[str] = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Run as a program of its own, with a lower priority."""
        with suppress(AttributeError, OSError):
            os.nice(_NICENESS)
        super().run_from_argv(argv)

    def add_arguments(self, parser: CommandParser) -> None:
        """The options."""
        parser.add_argument("--alias", help="only this cache of CACHES")
        parser.add_argument("--format", choices=sorted(_FORMS), default="table")
        parser.add_argument(
            "--top", type=int, default=10, help="how many of each list to print (default: 10)"
        )
        parser.add_argument("--limit", type=int, help="stop after so many entries of a cache")
        parser.add_argument("--output", help="write the result to this file")

    def handle(self, *args: Any, **options: Any) -> None:
        """Scan, print, and write the result to the store."""
        aliases = _aliases(options["alias"])
        for name in ("top", "limit"):
            if options[name] is not None and options[name] < 1:
                raise CommandError(f"--{name} must be at least 1.")
        found, status = self._scan(aliases, options["limit"] or NO_LIMIT)
        backends = {alias: backend_path(alias) for alias in found}
        self._write(_FORMS[options["format"]](found, backends, options["top"]), options["output"])
        if status != COMPLETE:
            sys.exit(status)

    def _scan(self, aliases: Sequence[str], limit: int) -> tuple[dict[str, Snapshot], int]:
        bar = ProgressBar(self.stderr)
        try:
            store = get_store()
        except StoreError as error:
            raise CommandError(str(error)) from error
        with muted(), _interruptible() as interrupted:
            scan = FullScan(store, bar.show, lambda: not interrupted.is_set())
            found = dict(scan.run(aliases, limit))
            bar.clear()
        if scan.problem is not None:
            self.stderr.write(self.style.WARNING(f"{scan.problem} The result is printed only."))
        if interrupted.is_set():
            return found, INTERRUPTED
        whole = all(each.exact and not each.problem for each in found.values())
        return found, COMPLETE if whole else INCOMPLETE

    def _write(self, text: str, path: str | None) -> None:
        if path is None:
            is_json = text.startswith(("{", "["))
            self.stdout.write(table.harmless_json(text) if is_json else table.harmless(text))
            return
        try:
            Path(path).write_text(f"{text}\n", encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}.") from error


def _aliases(alias: str | None) -> list[str]:
    if alias is not None and alias not in settings.CACHES:
        known = ", ".join(map(repr, settings.CACHES))
        raise CommandError(f"There is no cache {alias!r} in CACHES; there is {known}.")
    return list(settings.CACHES) if alias is None else [alias]


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Set by the first Ctrl-C, so that the result so far is printed; the second ends at once."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def interrupt(*_: object) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
