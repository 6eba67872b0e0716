"""Make a known number of calls on a cache: ``python -m tests.programs.hammer HOW CALLS``.

``threads``: from four threads; ``fork``: in two forked children and the parent; ``pool``: in the
workers of a multiprocessing pool; ``main``: in the main thread, and end at once; ``mixed``: in
eight forked processes of four threads each, twelve different operations in turn; ``child``: in a
child of multiprocessing; ``forkserver``: in one that its fork server forked; ``forever``: until a
signal comes, a dot for each ``CALLS`` calls; ``gevent``: in 100 greenlets that share the cache;
``gevent-late``: likewise, where gevent comes after Django, as in gunicorn's workers after
``--preload``; ``tasks``: in 1,000 concurrent tasks.
"""

import asyncio
import multiprocessing
import os
import sys
import time
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


def mixed(calls: int, own: str) -> None:
    """``calls`` calls, a multiple of twelve; every get of ``own`` a hit, every other a miss."""
    from django.core.cache import cache

    cache.get_or_set(own, 0)
    for n in range(calls // 12):
        cache.set(own, n)
        cache.get(own)
        cache.get("absent", None)
        cache.get_many([own, "absent"])
        cache.set_many({own: n})
        cache.get_or_set(own, 1)
        cache.add(own, 1)
        cache.incr(own)
        cache.touch(own, 60)
        cache.has_key(own)
        cache.delete("absent")
        cache.delete_many(["absent", "gone"])


def in_processes(calls: int) -> None:
    for process in range(8):
        if os.fork() == 0:
            threads = [Thread(target=mixed, args=(calls, f"key:{process}:{n}")) for n in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            sys.exit()
    ends = [os.wait()[1] for _ in range(8)]
    assert ends == [0] * 8, f"Processes ended with {ends}."


def in_child(calls: int) -> None:
    child = multiprocessing.get_context("fork").Process(target=work, args=(calls,))
    child.start()
    child.join()


def set_up_and_work(calls: int) -> None:
    django.setup()
    work(calls)


def in_served_child(calls: int) -> None:
    child = multiprocessing.get_context("forkserver").Process(target=set_up_and_work, args=(calls,))
    child.start()
    child.join()


def forever(calls: int) -> None:
    while True:
        work(calls)
        sys.stdout.write(".")
        sys.stdout.flush()
        time.sleep(0.05)


def in_greenlets(calls: int) -> None:
    import gevent

    def each(n: int) -> None:
        from django.core.cache import cache

        for _ in range(calls // 4):
            # The greenlets change places inside of an operation that is under way.
            cache.get_or_set(f"key:{n}", lambda: gevent.sleep(0) or cache.get("absent", 1))
            cache.delete(f"key:{n}")
            cache.get_many([f"key:{n}", "absent"])

    gevent.joinall([gevent.spawn(each, n) for n in range(100)], raise_error=True)


def in_tasks(calls: int) -> None:
    async def each(n: int) -> None:
        from django.core.cache import cache

        for _ in range(calls // 4):
            await cache.aset(f"key:{n}", n)
            await cache.aget(f"key:{n}")
            await cache.aget_or_set(f"key:{n}", 0)
            await asyncio.to_thread(cache.get, f"key:{n}")

    async def together() -> None:
        await asyncio.gather(*(each(n) for n in range(1000)))

    asyncio.run(together())


def in_pool(calls: int) -> None:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(work, [calls] * 4)
        pool.close()
        pool.join()


if __name__ == "__main__":
    if sys.argv[1] == "gevent":
        from gevent import monkey

        monkey.patch_all()
    django.setup()
    if sys.argv[1] == "gevent-late":
        from gevent import monkey

        monkey.patch_all()
    ways = {
        "threads": in_threads,
        "fork": in_forks,
        "pool": in_pool,
        "main": work,
        "mixed": in_processes,
        "child": in_child,
        "forkserver": in_served_child,
        "forever": forever,
        "gevent": in_greenlets,
        "gevent-late": in_greenlets,
        "tasks": in_tasks,
    }
    ways[sys.argv[1]](int(sys.argv[2]))
