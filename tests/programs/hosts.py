"""A worker of a site on one of several hosts: ``python -m tests.programs.hosts``.

``SITE`` has the settings ``CACHES``, ``CACHE_MONITOR`` and ``DATABASES`` as JSON. Each line that
comes in is JSON too: an operation of the default cache, its arguments, and the keys that it is
done for, one after the other; where there are none the arguments are all. Says when it has done so.
What comes as "pause" lets time pass; "forget" lets entries go behind the site's back.
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


def main() -> None:
    configure()
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


if __name__ == "__main__":
    main()
