"""From the recorder's buffer to the store: counting calls, and bringing the counts away.

One collector a process. It drains the recorder in a thread of its own (:mod:`.collector`,
:mod:`.intake`), makes statistics of what it took (:mod:`.aggregator`, :mod:`.counting`,
:mod:`.misses`, :mod:`.visits`), brings them to the store (:mod:`.delivery`), and looks into the
live caches now and then (:mod:`.looks`).
"""
