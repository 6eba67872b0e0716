"""The settings of the test suite, with a monitor that hardly ever flushes by itself."""

from tests.settings import *  # noqa: F403 - all of them

ROOT_URLCONF = "tests.programs.served"
MIDDLEWARE = []
CACHE_MONITOR = {"FLUSH_INTERVAL": 3600}
