"""See what your Django caches do: hit ratios, hot keys, stale entries and memory."""

from cache_monitor.api import UnknownAlias, flush, report

__all__ = ["UnknownAlias", "flush", "report"]
