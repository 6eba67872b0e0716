"""What it costs to merge the rows of many processes: ``python -m tests.benchmarks.merging``.

For some minutes 32 processes write what they did with 5 caches, and one of them merges and rolls up
as often as :mod:`cache_monitor.worker.rollup` does. Printed: CPU time for a process and a
cache each minute. Name a store to measure another than SQLite.
"""

import statistics
import time

from tests.benchmarks.reading import ALIASES, PROCESSES, chosen, details, fill, windows

MINUTES = 10


def main() -> None:
    with chosen(__doc__):
        first = int(time.time()) // 3600 * 3600
        spent = [1e3 * minute(first + 60 * number) for number in range(MINUTES)]
        each = [cost / len(ALIASES) / len(PROCESSES) for cost in spent[1:]]
        print(
            f"{statistics.median(each):.2f} ms for a process and a cache each minute"
            f" ({min(each):.2f} to {max(each):.2f})"
        )


def minute(start: int) -> float:
    """Seconds of CPU time that it takes to merge what was done from ``start`` on."""
    from cache_monitor.stores.base import get_store
    from cache_monitor.stores.rows import SETTLED
    from cache_monitor.worker.jobs import MERGE_INTERVAL
    from cache_monitor.worker.rollup import merge_processes, roll_up

    busy = 0.0
    for now in range(start, start + 60, MERGE_INTERVAL):
        rows: list[object] = []
        for alias in ALIASES:
            for process in PROCESSES:
                # What has begun since the last time.
                begun = -(-(now - MERGE_INTERVAL) // 10) * 10
                rows += windows(process, alias, range(begun, now, 10), 200)
                if now == start:
                    rows += details(process, alias, range(start - 60, start, 60), 1000)
        fill(rows)
        began = time.process_time()
        # When they have had time to come.
        merge_processes(get_store(), now + SETTLED)
        if now == start:
            roll_up(get_store(), now + SETTLED)
        busy += time.process_time() - began
    return busy


if __name__ == "__main__":
    main()
