"""A site that plants entries of every kind in all its caches, and says what a look finds.

``SITE`` has the settings ``CACHES``, ``CACHE_MONITOR`` and ``DATABASES`` as JSON. Prints, by alias,
how long ago each entry was really written and last used, as it was when the look began, and what
the look told: the counts, and each entry.
"""

import json
import sys
import time
from typing import Any

from tests.programs.hosts import configure

LATER = 2.5


def own_key(key: str, prefix: str, version: int) -> str:
    """What a project's own function makes of a key."""
    return f"{prefix}~{version}~{key}"


def plant(cache: Any) -> dict[str, list[float]]:
    """When each entry was written, and when it was last used; the readings of one clock."""
    at: dict[str, list[float]] = {}

    def write(name: str, timeout: float | None = 300, value: object = "x" * 50) -> None:
        cache.set(name, value, timeout)
        at[name] = [time.monotonic()] * 2

    def use(name: str) -> None:
        at[name][1] = time.monotonic()

    for name in ("unread", "read", "again", "asked", "touched", "fresh", "late"):
        write(name)
    write("counted", value=20_000)
    write("forever", None)
    write("expired", 1)
    cache.get_or_set("made", lambda: "x" * 50, 300)
    cache.set_many({"many": "x" * 50, "some": "x" * 50}, 300)
    for name in ("made", "many", "some"):
        at[name] = [time.monotonic()] * 2
    for name in ("read", "again", "touched", "late"):
        cache.get(name)
        use(name)
    cache.incr("counted")
    use("counted")
    assert "asked" in cache
    use("asked")
    cache.get_many(["many"])
    use("many")
    cache.touch("touched", 300)
    use("touched")
    write("again")
    return at


def main() -> None:
    configure()
    from django.core.cache import caches
    from django.core.management import call_command

    import cache_monitor
    from cache_monitor.calls import recorder
    from cache_monitor.scan import entries
    from cache_monitor.scan.recorded import Reporter
    from cache_monitor.scan.schedule import ScanScheduler
    from cache_monitor.stores.base import get_store

    call_command("createcachetable", verbosity=0)
    planted = {alias: plant(caches[alias]) for alias in caches}
    time.sleep(LATER)
    for alias, at in planted.items():
        caches[alias].get("fresh")
        at["fresh"][1] = time.monotonic()
        caches[alias].set("late", "y" * 50, 300)
        at["late"] = [time.monotonic()] * 2
    cache_monitor.flush()
    reporter = Reporter(recorder.process, recorder.reported_at)
    looks = ScanScheduler().scan_due(recorder.process, get_store(), reporter=reporter)
    told = {}
    for alias, at in planted.items():
        now = time.monotonic()
        step = entries.list_entries(alias, entries.Selection())
        told[alias] = {
            "real": {name: [now - each for each in times] for name, times in at.items()},
            "counts": {
                name: getattr(looks[alias], name)
                for name in ("idle", "idle_error", "never_read", "never_read_error", "no_expiry")
            },
            "entries": {
                each.shown: {"idle": each.idle, "age": each.age, "never_read": each.never_read}
                for each in step.entries
            },
            "problem": looks[alias].problem or step.problem,
        }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
