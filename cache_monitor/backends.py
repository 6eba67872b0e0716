"""The cache backend that a project names in ``CACHES`` to have one alias monitored."""

from cache_monitor.instrument.explicit import MonitoredCache

__all__ = ["MonitoredCache"]
