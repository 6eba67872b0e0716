"""See what your Django caches do: hit ratios, hot keys, stale entries and memory."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cache_monitor.api import UnknownAlias, flush, report

__all__ = ["UnknownAlias", "flush", "report"]


def __getattr__(name: str) -> object:
    """What makes reports is imported when it is asked for: each start of the site would take 80 ms
    of CPU time for it. So no module of the package may have the name of one of these."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cache_monitor import api  # noqa: PLC0415 - dear at each start

    return getattr(api, name)
