"""The monitored cache: a real backend whose operations are recorded."""

from cache_monitor.backends.explicit import MonitoredCache

__all__ = ["MonitoredCache"]
