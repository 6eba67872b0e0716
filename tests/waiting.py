"""Waiting for what another thread or process does."""

import time
from collections.abc import Callable

MOST = 60.0
"""Seconds after which it will not come any more."""


def until(is_so: Callable[[], object]) -> None:
    """Come back when ``is_so``."""
    ends = time.monotonic() + MOST
    while not is_so():
        assert time.monotonic() < ends, "nothing comes"
        time.sleep(0.01)
