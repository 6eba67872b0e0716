"""Where a store is used: in a thread of the monitor's own, or under a test runner."""

import sys
from threading import current_thread

from cache_monitor.threads import THREAD_NAME


def is_own_thread() -> bool:
    """Whether this is a thread of the monitor's own."""
    return current_thread().name.startswith(THREAD_NAME)


def is_testing() -> bool:
    """Whether Django's test runner is at work. Its database is not ours to write to on our own:
    a second connection would meet the tests' locks, and keep the database from being dropped."""
    # Not ``mail.outbox``, which a site with the locmem mail backend has too.
    utils = sys.modules.get("django.test.utils")
    return hasattr(getattr(utils, "_TestState", None), "saved_data")
