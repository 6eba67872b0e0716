"""The settings of the tests with another store, for programs that tests start."""

import json
import os

from tests import settings as _common

for _name in dir(_common):
    if _name.isupper():
        globals()[_name] = getattr(_common, _name)

_given = json.loads(os.environ["CACHE_MONITOR_TEST_SETTINGS"])
CACHE_MONITOR = _given["CACHE_MONITOR"]
DATABASES = {**_common.DATABASES, **_given["DATABASES"]}
