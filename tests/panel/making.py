"""Raw calls as the monitored caches record them, and the rows that the panel makes of them."""

from __future__ import annotations

from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from cache_monitor.calls import RawCall, Source
from cache_monitor.listeners import KeptCall
from cache_monitor.panel.request import CallRow, CallRows

MILLISECOND = 0.001
THREAD = 7


def call(
    operation: str,
    key: Any = "key",
    outcome: bool | tuple[bool, ...] | None = None,
    *,
    at: float = 0.0,
    took: float = 1.0,
    alias: str = "default",
    size: int | None = None,
    timeout: object = DEFAULT_TIMEOUT,
    version: Any = None,
    error: str | None = None,
    produced: float | None = None,
    context: int | None = THREAD,
) -> RawCall:
    """A call that began ``at`` milliseconds after the request and ``took`` so many in all."""
    return (
        Source(alias, operation),
        at * MILLISECOND,
        took * MILLISECOND,
        key,
        outcome,
        size,
        timeout,
        version,
        error,
        None,
        None if produced is None else produced * MILLISECOND,
        None if outcome is True else context,
    )


def rows_of(*calls: RawCall, route: str | None = None) -> list[CallRow]:
    """The rows of a request that made these calls in this order."""
    return CallRows(0.0, lambda: route).make([KeptCall(each) for each in calls])


def in_turn(*calls: tuple[Any, ...], took: float = 1.0, **options: Any) -> list[CallRow]:
    """The rows of calls one after the other, each given by operation, key and outcome."""
    return rows_of(
        *(call(*each, at=number * took, took=took, **options) for number, each in enumerate(calls))
    )
