"""Whether the entries of one version of a key had changed when they were written anew."""

from collections.abc import Callable, Iterable
from typing import Annotated

from msgspec import Meta, Struct

from cache_monitor.stats.changes import ChangeStats
from cache_monitor.trace.events import (
    DELETE,
    FAILED,
    MOVE,
    NEVER,
    REFUSED,
    SECOND,
    SWEEP,
    TOUCH,
    UNTOLD,
    WRITE,
    Event,
)
from cache_monitor.trace.history import EXPIRY_TOLERANCE

Figures = Callable[[str, int], ChangeStats | None]
"""Where the values of an alias that were written at a time are counted."""

_FORGETTING = frozenset({DELETE, SWEEP, MOVE, FAILED, REFUSED})
"""What is written after these was not written because the entry had expired."""


class Written(Struct, array_like=True, gc=False, frozen=True):
    """The last write: when it was, when it expires, and the fingerprint of its value."""

    at: Annotated[int, Meta(ge=0, le=253_000_000_000 * SECOND)]
    expires: Annotated[int, Meta(ge=-2, le=253_000_000_000 * SECOND)]
    print: Annotated[int, Meta(ge=0, le=2**53)]


def follow(before: Written | None, made: Iterable[Event], figures: Figures) -> Written | None:
    """Count the writes among ``made`` that came when the entry had expired; the last write."""
    last = before
    for event in sorted(made, key=lambda each: each.ended):
        kind, lasts = event.form.kind, event.form.lasts
        expires = lasts if lasts in {NEVER, UNTOLD} else event.ended + lasts
        if kind in _FORGETTING:
            last = None
        elif kind == TOUCH and last is not None:
            last = Written(last.at, expires, last.print)
        elif kind == WRITE:
            if last is not None and 0 <= last.expires <= event.began + EXPIRY_TOLERANCE:
                _count(last, event, figures)
            last = Written(event.ended, expires, event.print)
    return last


def _count(last: Written, event: Event, figures: Figures) -> None:
    counted = figures(event.form.alias, event.ended)
    if counted is not None and event.began > last.at:
        is_known = bool(last.print and event.print)
        is_same = last.print == event.print if is_known else None
        counted.add((event.began - last.at) / SECOND, event.weight, is_same)
