"""Make a known number of calls on a cache: ``python -m tests.programs.hammer HOW CALLS``.

``threads``: from four threads; ``fork``: in two forked children and the parent; ``pool``: in the
workers of a multiprocessing pool; ``main``: in the main thread, and end at once.
"""

import multiprocessing
import os
import sys
from threading import Thread

import django


def work(calls: int) -> None:
    from django.core.cache import cache

    for n in range(calls // 2):
        cache.set(f"key:{n % 50}", n)
        cache.get(f"key:{n % 50}")


def in_threads(calls: int) -> None:
    threads = [Thread(target=work, args=(calls,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def in_forks(calls: int) -> None:
    work(calls)
    for _ in range(2):
        if os.fork() == 0:
            work(calls)
            sys.exit()
    for _ in range(2):
        os.wait()


def in_pool(calls: int) -> None:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(work, [calls] * 4)
        pool.close()
        pool.join()


if __name__ == "__main__":
    django.setup()
    ways = {"threads": in_threads, "fork": in_forks, "pool": in_pool, "main": work}
    ways[sys.argv[1]](int(sys.argv[2]))
