"""Where a store is used: on a site, or under a test runner."""

import sys


def is_testing() -> bool:
    """Whether Django's test runner is at work. Its database is not ours to write to on our own:
    a second connection would meet the tests' locks, and keep the database from being dropped."""
    # Not ``mail.outbox``, which a site with the locmem mail backend has too.
    utils = sys.modules.get("django.test.utils")
    return hasattr(getattr(utils, "_TestState", None), "saved_data")
