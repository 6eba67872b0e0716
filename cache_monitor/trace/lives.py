"""The lives of the entries of one version of a key: from a write to what ended it.

Told only where the order of what happened is sure. A life of which that is not so is not counted.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct

from cache_monitor.stats.lifetimes import ChangeStats, End, LifeStats
from cache_monitor.trace.events import (
    CLEAR,
    DELETE,
    FAILED,
    HIT,
    MISS,
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
from cache_monitor.trace.miss_reasons import (
    BEFORE,
    EXPIRY_TOLERANCE,
    UNSURE,
    EntryChange,
    TracedLookup,
    relation,
)

UNREAD, READ, PERHAPS = range(3)
_ENDS: dict[int, End] = {
    WRITE: "overwritten",
    DELETE: "deleted",
    SWEEP: "deleted",
    CLEAR: "cleared",
    MOVE: "version_changed",
}


class Life(Struct, array_like=True, gc=False, frozen=True):
    """An entry that is there: when it was written, and when it will expire. ``read`` says whether
    somebody has read it since."""

    written: Annotated[int, Meta(ge=0, le=253_000_000_000 * SECOND)]
    expires: Annotated[int, Meta(ge=-2, le=253_000_000_000 * SECOND)]
    alias: Annotated[str, Meta(max_length=512)]
    weight: Annotated[int, Meta(ge=1, le=2**48)]
    read: Annotated[int, Meta(ge=UNREAD, le=PERHAPS)] = UNREAD

    def is_over(self, at: int) -> bool:
        """Whether it has expired by ``at``."""
        return 0 <= self.expires <= at


class Gone(NamedTuple):
    """A life that a miss found to be over, for a reason to be told."""

    written: int
    is_unread: bool


Figures = Callable[[str, int], LifeStats | None]
"""Where the lives of an alias that ended at a time are counted."""


class Living:
    """Follows the lives of one version of a key. ``missing`` are those that misses ended, by the
    order of the misses."""

    def __init__(self, life: Life | None, figures: Figures, tolerance: int) -> None:
        self.life = life
        self.missing: dict[tuple[int, int], Gone] = {}
        self._figures = figures
        self._tolerance = tolerance
        self._last: EntryChange | None = None
        self._read_until = 0

    def follow(
        self, changes: Iterable[tuple[EntryChange, str, int]], asked: Iterable[Event]
    ) -> None:
        """Go on with what happened: the changes, each with its alias and weight, and the
        lookups and other uses."""
        steps: list[tuple[int, int, tuple[EntryChange, str, int] | Event]] = []
        steps += [(each[0].ended, 0, each) for each in changes]
        steps += [(each.began if each.form.kind == HIT else each.ended, 1, each) for each in asked]
        steps.sort(key=lambda each: each[:2])
        for at, _, step in steps:
            self.expire(at)
            if isinstance(step, Event):
                self._ask(step)
            else:
                self._change(*step)

    def expire(self, at: int) -> None:
        """Let the entry expire, if it has by ``at``."""
        life = self.life
        if life is not None and life.is_over(at):
            self._end(life, "expired", life.expires)

    def close(self, since: int) -> Life | None:
        """What of it is carried on. Nothing that changes it is still to come before ``since``."""
        self.expire(since)
        return self.life

    def _change(self, change: EntryChange, alias: str, weight: int) -> None:
        life, last = self.life, self._last
        is_sure = last is None or relation(last, change, self._tolerance) == BEFORE
        if last is None and life is not None and change.began < life.written:
            is_sure = False  # It comes late: something else has been told since.
        self._last = change
        if life is not None and is_sure and change.kind in _ENDS:
            self._end(life, _ENDS[change.kind], change.ended)
        self.life = None
        if change.kind == WRITE and is_sure:
            # Of reads that went on meanwhile nobody knows which value they found.
            read = PERHAPS if self._read_until > change.began else UNREAD
            self.life = Life(change.ended, change.expires, alias, weight, read)
        elif change.kind == TOUCH and life is not None and is_sure:
            self.life = Life(life.written, change.expires, life.alias, life.weight, life.read)

    def _ask(self, event: Event) -> None:
        life = self.life
        if event.form.kind != MISS:
            self._read_until = max(self._read_until, event.ended)
        if life is None:
            return
        asked = TracedLookup(event.began, event.ended, event.process, event.host, event.order)
        order = BEFORE if self._last is None else relation(self._last, asked, self._tolerance)
        if event.form.kind == MISS and life.is_over(event.ended + EXPIRY_TOLERANCE):
            self._end(life, "expired", min(event.ended, life.expires))
        elif event.form.kind == MISS:
            if order == BEFORE:
                self.missing[event.process, event.order] = Gone(life.written, life.read == UNREAD)
            self.life = None
        elif life.read != READ:
            is_first = life.read == UNREAD and order == BEFORE and event.form.kind == HIT
            figures = self._figures(life.alias, event.began) if is_first else None
            if figures is not None:
                figures.read((event.began - life.written) / SECOND, life.weight)
            read = PERHAPS if order == UNSURE else READ
            self.life = Life(life.written, life.expires, life.alias, life.weight, read)

    def _end(self, life: Life, how: End, at: int) -> None:
        self.life = None
        figures = self._figures(life.alias, at)
        if figures is not None:
            lasted = (at - life.written) / SECOND
            figures.end(how, lasted, life.weight, life.read == UNREAD)


Rewritten = Callable[[str, int], ChangeStats | None]
"""Where the values of an alias that were written at a time are counted."""

_FORGETTING = frozenset({DELETE, SWEEP, MOVE, FAILED, REFUSED})
"""What is written after these was not written because the entry had expired."""


class LastWrite(Struct, array_like=True, gc=False, frozen=True):
    """The last write: when it was, when it expires, and the fingerprint of its value."""

    at: Annotated[int, Meta(ge=0, le=253_000_000_000 * SECOND)]
    expires: Annotated[int, Meta(ge=-2, le=253_000_000_000 * SECOND)]
    print: Annotated[int, Meta(ge=0, le=2**53)]


def follow(before: LastWrite | None, made: Iterable[Event], figures: Rewritten) -> LastWrite | None:
    """Count the writes among ``made`` that came when the entry had expired; the last write."""
    last = before
    for event in sorted(made, key=lambda each: each.ended):
        kind, lasts = event.form.kind, event.form.lasts
        expires = lasts if lasts in {NEVER, UNTOLD} else event.ended + lasts
        if kind in _FORGETTING:
            last = None
        elif kind == TOUCH and last is not None:
            last = LastWrite(last.at, expires, last.print)
        elif kind == WRITE:
            if last is not None and 0 <= last.expires <= event.began + EXPIRY_TOLERANCE:
                _count(last, event, figures)
            last = LastWrite(event.ended, expires, event.print)
    return last


def _count(last: LastWrite, event: Event, figures: Rewritten) -> None:
    counted = figures(event.form.alias, event.ended)
    if counted is not None and event.began > last.at:
        is_known = bool(last.print and event.print)
        is_same = last.print == event.print if is_known else None
        counted.add((event.began - last.at) / SECOND, event.weight, is_same)
