"""A worker of a site on one of several hosts: ``python -m tests.programs.hosts work``.

``SITE`` has the settings ``CACHES``, ``CACHE_MONITOR`` and ``DATABASES`` as JSON. Each line that
comes in is JSON too: an operation of the default cache, its arguments, and the keys that it is
done for, one after the other; where there are none the arguments are all. Says when it has done so.
What comes as "pause" lets time pass; "forget" lets entries go behind the site's back.

``migrate`` makes the monitor's tables; ``tell`` prints the reasons of the misses by the names of
the keys, before and after they are rolled up.
"""

import json
import os
import sys
import time
from typing import Any

import django
from django.conf import settings


def configure() -> None:
    site: dict[str, Any] = json.loads(os.environ["SITE"])
    settings.configure(
        INSTALLED_APPS=["cache_monitor"],
        SECRET_KEY="x",
        USE_TZ=True,
        **site,
    )
    django.setup()


def work() -> None:
    from django.core.cache import cache

    from cache_monitor import context

    for line in sys.stdin:
        operation, keys, named = json.loads(line)
        if operation == "pause":
            time.sleep(keys)
        elif operation == "forget":
            with context.muted():
                cache.delete_many(keys)
        elif keys is None:
            getattr(cache, operation)(**named)
        else:
            for key in keys:
                values = {"set": (1,), "get_or_set": (1,)}.get(operation, ())
                getattr(cache, operation)(key, *values, **named)
        sys.stdout.write("done\n")
        sys.stdout.flush()


def migrate() -> None:
    from django.core.management import call_command

    call_command("migrate", "cache_monitor", verbosity=0)


def tell() -> None:
    from cache_monitor.stores.base import get_store
    from cache_monitor.stores.rows import trace_settings
    from cache_monitor.worker import rollup

    before = _reasons()
    rollup.roll_trace(get_store(), int(time.time()) + 200, trace_settings())
    sys.stdout.write(json.dumps([before, _reasons()]))


def _reasons() -> dict[str, dict[str, int]]:
    import cache_monitor
    from cache_monitor.reports import REASONS

    return {
        each.group.split(":")[0]: {
            name: getattr(each.miss_reasons, name) for name in (*REASONS, "unknown")
        }
        for each in cache_monitor.report().caches["default"].key_groups
    }


if __name__ == "__main__":
    configure()
    {"work": work, "migrate": migrate, "tell": tell}[sys.argv[1]]()
