"""The events that a store's trace has of a period, all at one level of sampling."""

from collections.abc import Iterable, Iterator
from math import inf
from typing import NamedTuple

from cache_monitor.trace.events import CLEAR, HIT, MISS, Event, Form, level_of
from cache_monitor.trace.slices import Stored


class Traced(NamedTuple):
    """What is known of one cache, or of one process's where each has its own.

    ``groups`` are those of the keys, by their hashes. ``share`` of the keys is in, the hottest
    apart, which always are. Where several aliases have their entries in one place, ``alias`` is the
    one whose lookups are meant; empty for all.
    """

    events: list[Event]
    groups: dict[int, str]
    share: float
    alias: str = ""

    def lookups(self, since: float = -inf) -> Iterator[Event]:
        """The lookups that are meant, from ``since`` (Unix time) on."""
        return (
            each
            for each in self.events
            if each.form.kind in {HIT, MISS}
            and each.began / 1e6 >= since
            and self.alias in {"", each.form.alias}
        )

    def of(self, alias: str) -> "Traced":
        """What concerns the entries of ``alias``."""
        own = {each.key for each in self.events if each.form.alias == alias}
        return Traced(
            # What concerns all entries has no key.
            [each for each in self.events if not each.key or each.key in own],
            {key: group for key, group in self.groups.items() if key in own},
            self.share,
            alias,
        )


def traced(slices: Iterable[Stored], hot: frozenset[int], since: float, until: float) -> Traced:
    """The events between ``since`` and ``until`` (Unix time) in ``slices``, in which a key is with
    all of its events or not at all: where their levels differ, at the highest."""
    parts = list(slices)
    level = max((part.level for part in parts), default=0)
    events: list[Event] = []
    groups: dict[int, str] = {}
    for part in parts:
        keys = part.traced()
        kept = {
            key.hash: key.group for key in keys if level_of(key.hash) >= level or key.hash in hot
        }
        groups.update(kept)
        for event in part.events(keys, hot):
            if event.key in kept:
                weight = 1 if event.key in hot else 1 << level
                events.append(event._replace(weight=weight))
        for sweep in part.swept():
            if sweep.pattern is None:
                form = Form(CLEAR, "", sweep.version)
                events.append(Event(0, form, sweep.began, sweep.ended, 0, 0, sweep.order))
    return Traced(
        sorted(
            (each for each in events if since <= each.began / 1e6 < until),
            key=lambda each: (each.began, each.order),
        ),
        groups,
        1 / (1 << level),
    )
