"""With ``ENABLED`` False every cache is of its original class. A part of ``calls``."""

import sys

import django
from django.conf import settings
from django.core.cache import caches
from django.utils.module_loading import import_string

from tests.benchmarks.settings import MONITORED


def main() -> None:
    """Look at the class of every cache in the settings; exit with 1 where one is ours."""
    django.setup()
    changed = [
        alias for alias, entry in settings.CACHES.items() if type(caches[alias]) is not _real(entry)
    ]
    told = f"changed: {', '.join(changed)}" if changed else "the original class on every alias"
    sys.stdout.write(f"ENABLED False: {told} ({len(settings.CACHES)})\n")
    sys.exit(bool(changed))


def _real(entry: dict[str, str]) -> type:
    path = entry["WRAPS" if entry["BACKEND"] == MONITORED else "BACKEND"]
    real: type = import_string(path)
    return real


if __name__ == "__main__":
    main()
