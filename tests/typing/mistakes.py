"""Mistakes with the package that a type checker has to find, each on a line that says so.

Nothing here is run: see ``tests/typing/test_public_api.py``.
"""

import cache_monitor
from cache_monitor.testing import assert_cache_calls

cache_monitor.report(alias=1)  # a mistake: an alias is a text
cache_monitor.report(since="1h")  # a mistake: only the command takes texts
cache_monitor.report("2026-01-01")  # a mistake: a text again
_ = cache_monitor.report().cashes  # a mistake: there is no such field
cache_monitor.report().caches["default"].hits = 1  # a mistake: a report does not change
assert_cache_calls(misses="0")  # a mistake: a number
cache_monitor.flush(timeout=1)  # a mistake: there is no such argument
