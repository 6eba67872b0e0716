"""The demo site's settings as in production, with the monitor on or off (``BENCH_ENABLED``)."""

import os

from config import settings as demo

globals().update({name: getattr(demo, name) for name in dir(demo) if name.isupper()})

CACHE_MONITOR = {"ENABLED": os.environ.get("BENCH_ENABLED") != "0"}
