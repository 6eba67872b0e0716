"""A site on SQLite that reads and then writes in one transaction, again and again, as the monitor
writes beside it: what fails, and what of its DatabaseCache is lost.

``python -m tests.programs.sqlite_loop --seconds 3600 --journal wal --mode IMMEDIATE`` runs for an
hour. ``--store database`` shows what a monitor in the site's own file does to it.
"""

import argparse
import atexit
import json
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import django
from django.conf import settings

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
STORES = {
    "default": {},
    "database": {"STORE": {"BACKEND": "cache_monitor.stores.database.DatabaseStore"}},
}


def _configure(folder: Path, journal: str, mode: str, store: str, flush_interval: float) -> None:
    options: dict[str, Any] = {"init_command": f"PRAGMA journal_mode={journal};"}
    if mode:
        options["transaction_mode"] = mode
    settings.configure(
        SECRET_KEY="only for the loop",
        INSTALLED_APPS=["django.contrib.contenttypes", "cache_monitor"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": folder / "site.sqlite3",
                "OPTIONS": options,
            }
        },
        CACHES={
            "default": {"BACKEND": LOCMEM},
            "database": {
                "BACKEND": "django.core.cache.backends.db.DatabaseCache",
                "LOCATION": "cache_table",
            },
        },
        CACHE_MONITOR={**STORES[store], "FLUSH_INTERVAL": flush_interval, "INSPECT_INTERVAL": 1},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    django.setup()


def _loop(seconds: float, most: int) -> dict[str, int]:
    from django.contrib.contenttypes.models import ContentType
    from django.core.cache import caches
    from django.db import DatabaseError
    from django.db.transaction import atomic

    done, failed, lost = 0, 0, 0
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and done < most:
        done += 1
        caches["default"].get(f"key:{done % 100}")
        try:
            with atomic():
                ContentType.objects.filter(app_label="loop").count()
                ContentType.objects.create(app_label="loop", model=str(done))
        except DatabaseError:
            failed += 1
        # Django's cache swallows what its database refuses.
        caches["database"].set(f"key:{done % 100}", done)
        lost += caches["database"].get(f"key:{done % 100}") != done
    kept = ContentType.objects.filter(app_label="loop").count()
    return {"iterations": done, "failed": failed, "lost": lost, "missing": done - failed - kept}


def main() -> None:
    """Print what became of the loop, and what the monitor has recorded of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--iterations", type=int, default=10**9)
    parser.add_argument("--journal", choices=["delete", "wal"], default="delete")
    parser.add_argument("--mode", choices=["", "DEFERRED", "IMMEDIATE"], default="")
    parser.add_argument("--store", choices=STORES, default="default")
    parser.add_argument("--flush-interval", type=float, default=1.0)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    # Before the monitor's own end, which is thus the earlier one.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _configure(folder, given.journal, given.mode, given.store, given.flush_interval)
    from django.core.management import call_command

    import cache_monitor

    call_command("migrate", verbosity=0)
    call_command("createcachetable")
    outcome = _loop(given.seconds, given.iterations)
    flushed = cache_monitor.flush()
    since = datetime.now(UTC) - timedelta(seconds=given.seconds + 3600)
    report = cache_monitor.report(since=since)
    recorded = report.caches["default"].operations["get"].calls
    sys.stdout.write(json.dumps({**outcome, "flushed": flushed, "recorded": recorded}) + "\n")


if __name__ == "__main__":
    main()
