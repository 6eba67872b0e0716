"""A site of two tenants with django-tenants on PostgreSQL: ``python -m tests.programs.tenants``.

``SITE`` has the settings as JSON. Prints why the lookups of each tenant missed, by the names of the
groups of their keys.
"""

import json
import math
import os
import sys

import django
from django.conf import settings

KEYS = 60


def main() -> None:
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "cache_monitor"],
        SECRET_KEY="x",
        USE_TZ=True,
        **json.loads(os.environ["SITE"]),
    )
    django.setup()

    from asgiref.sync import async_to_sync
    from django.core.cache import cache
    from django_tenants.utils import schema_context

    import cache_monitor
    from cache_monitor.instrument import aliases
    from cache_monitor.reports import REASONS

    # However often a busy machine interrupts the function that makes the keys.
    aliases.SLOW = math.inf

    def each(name: str) -> list[str]:
        return [f"{name}:{n}" for n in range(KEYS)]

    async def delete_all(name: str) -> None:
        for key in each(name):
            await cache.adelete(key)

    with schema_context("one"):
        cache.set_many(dict.fromkeys(each("others"), 1))
        cache.set_many(dict.fromkeys(each("deleted"), 1))
        for key in each("later"):
            cache.get_or_set(key, 1)
        cache.set_many(dict.fromkeys(each("away"), 1), version=2)
    with schema_context("two"):
        cache.get_many(each("others"))
        cache.delete_many(each("deleted"))
        async_to_sync(delete_all)("later")
    with schema_context("one"):
        assert len(cache.get_many([*each("deleted"), *each("later")])) == 2 * KEYS
        for key in each("deleted"):
            cache.delete(key)
            cache.get(key)
        cache.get_many(each("away"))
        cache.clear()
    with schema_context("two"):
        cache.get_many(each("others"))
    with schema_context("one"):
        cache.get_many(each("others"))
    groups = cache_monitor.report().caches["default"].key_groups
    told = {
        group.group.split(":")[0]: {
            name: count for name in REASONS if (count := getattr(group.miss_reasons, name))
        }
        for group in groups
    }
    sys.stdout.write(f"{json.dumps(told)}\n")


if __name__ == "__main__":
    main()
