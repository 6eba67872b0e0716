"""The background thread of each process: from the recorder's buffer to the store.

:mod:`.worker` is the thread. It drains the recorder (:mod:`.drain`), counts what it took
(:mod:`.aggregator`, :mod:`.counting`, :mod:`.requests`), traces it (:mod:`.trace_events`,
:mod:`.trace_writer`), and flushes both to the store (:mod:`.flush`). :mod:`.jobs` are done beside
it: scans of the live caches, and by one process for all :mod:`.rollup`.
"""
