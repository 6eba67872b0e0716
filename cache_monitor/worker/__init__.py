"""The background thread of each process: from the recorder's buffer to the store.

It drains the recorder (:mod:`.worker`, :mod:`.drain`), counts what it took (:mod:`.aggregator`,
:mod:`.counting`, :mod:`.requests`), traces it (:mod:`.trace_events`, :mod:`.trace_writer`), flushes
both to the store (:mod:`.flush`), rolls up what is older in one process for all (:mod:`.rollup`,
:mod:`.trace_rollup`), and scans the live caches now and then
(:mod:`cache_monitor.scan.schedule`).
"""
