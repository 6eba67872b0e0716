"""Let four forked workers produce one value: ``python -m tests.programs.rush BACKEND WAY``.

BACKEND is ``files``, ``locmem``, or ``redis``, whose location is in ``SERVER``. WAY is ``at-once``:
all miss, work and set; ``get-or-set``: the same in one call; ``all-of-many``: the same for two keys
together; ``in-turn``: one after the other, for what each finds deleted; ``one-for-all``: one works,
and the others wait for it. Prints as JSON how many values were produced, how many of them in vain,
and the codes of what was found.
"""

import json
import multiprocessing
import os
import sys
import time
from multiprocessing.synchronize import Barrier

from django.core.cache import BaseCache, caches

from tests.programs import misses

WORKERS = 4
ROUNDS = 6
WORK = 0.1
KEYS = ("rush:1", "rush:2")
KEY = KEYS[0]


class Worker:
    """One of the four."""

    def __init__(self, number: int, barrier: Barrier) -> None:
        self.number = number
        self.barrier = barrier
        self.cache: BaseCache = caches["large"]

    def run(self, way: str) -> None:
        for _ in range(ROUNDS):
            # Each of its own, where each has its own cache.
            self.cache.delete_many(KEYS)
            self.barrier.wait()
            getattr(self, way.replace("-", "_"))()
            self.barrier.wait()

    def at_once(self) -> None:
        assert self.cache.get(KEY) is None
        self.cache.set(KEY, self.work_with_all())

    def get_or_set(self) -> None:
        self.cache.get_or_set(KEY, self.work_with_all)

    def all_of_many(self) -> None:
        assert self.cache.get_many(KEYS) == {}
        self.cache.set_many(dict.fromkeys(KEYS, self.work_with_all()))

    def in_turn(self) -> None:
        for turn in range(WORKERS):
            self.barrier.wait()
            if turn == self.number:
                self.cache.delete(KEY)
                assert self.cache.get(KEY) is None
                self.cache.set(KEY, self.work())

    def one_for_all(self) -> None:
        assert self.cache.get(KEY) is None
        # Not by cache.add: of files two may take a lock at the same time.
        if self.number == 0:
            self.cache.set(KEY, self.work())
        self.barrier.wait()
        assert self.cache.get(KEY) == WORK

    def work_with_all(self) -> float:
        """Nobody begins before all have missed."""
        self.barrier.wait()
        return self.work()

    def work(self) -> float:
        time.sleep(WORK)
        return WORK


def fork(way: str) -> None:
    barrier = multiprocessing.get_context("fork").Barrier(WORKERS, timeout=60)
    for number in range(WORKERS):
        if os.fork() == 0:
            Worker(number, barrier).run(way)
            sys.exit()
    assert all(os.wait()[1] == 0 for _ in range(WORKERS))


def found() -> dict[str, object]:
    import cache_monitor

    report = cache_monitor.report()
    [group] = [each for each in report.caches["large"].key_groups if each.group == "rush:{int}"]
    return {
        "produced": group.produced,
        "in_vain": group.stampedes,
        "codes": [each.code for each in report.findings],
    }


if __name__ == "__main__":
    misses.configure(sys.argv[1])
    fork(sys.argv[2])
    sys.stdout.write(json.dumps(found()))
