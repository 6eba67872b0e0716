"""The settings of the test suite, with a monitor that flushes twice a second."""

from tests.settings import *  # noqa: F403

CACHE_MONITOR = {"FLUSH_INTERVAL": 0.5}
