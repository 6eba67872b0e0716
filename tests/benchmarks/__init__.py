"""What the monitor costs, measured on real caches and beside its rivals.

Nothing here is collected by pytest: each module below is a program of its own, run as
``python -m tests.benchmarks.<name>`` from the project's root.

- ``calls``: the cost of a single call, beside other ways to watch a cache
- ``drawing``: how long a browser takes to show the dashboard
- ``memory``: the memory that the monitor takes under hostile traffic
- ``servers``: whether the models of Redis and memcached hit what these do
- ``pages``: the requests a second that a site serves with the monitor and without
"""
