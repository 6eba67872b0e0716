"""Use a monitored cache where there is nothing that only Unix has: ``python -m
tests.programs.windows``. Prints as JSON what the report says of the calls.
"""

import importlib
import json
import os
import sys

BEFORE = ["asyncio", "logging.handlers", "multiprocessing.util", "random", "subprocess", "tempfile"]
"""Modules of the standard library that look for it when they are imported."""
UNIX_MODULES = ["fcntl", "grp", "pwd", "resource", "termios", "tty"]
UNIX_NAMES = ["fork", "geteuid", "getuid", "memfd_create", "posix_fallocate", "register_at_fork"]
UNIX_FLAGS = ["O_NOATIME", "O_NOFOLLOW", "O_NONBLOCK"]


def leave_unix() -> None:
    """Hide what Python has on Unix alone."""
    for module in BEFORE:
        importlib.import_module(module)
    for module in UNIX_MODULES:
        sys.modules[module] = None  # type: ignore[assignment]
    for name in UNIX_NAMES + UNIX_FLAGS:
        if hasattr(os, name):
            delattr(os, name)


def report() -> dict[str, object]:
    import django
    from django.core.cache import caches

    django.setup()
    cache = caches["default"]
    cache.get("rush")
    cache.set("rush", 1)
    cache.get("rush")
    from django.core.management import call_command

    import cache_monitor
    import cache_monitor.dashboard.views
    import cache_monitor.management.commands.cache_top
    import cache_monitor.panel

    call_command("migrate", verbosity=0)
    flushed = cache_monitor.flush()
    found = cache_monitor.report().caches["default"]
    return {"flushed": flushed, "hits": found.hits, "misses": found.misses}


if __name__ == "__main__":
    leave_unix()
    sys.stdout.write(json.dumps(report()))
