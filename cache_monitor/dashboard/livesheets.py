"""The report's lists of what is inside the caches: memory by group, large and stale entries."""

from collections.abc import Sequence
from typing import NamedTuple

from django.utils.translation import gettext as _

from cache_monitor.dashboard import formats
from cache_monitor.dashboard.links import Links
from cache_monitor.dashboard.present import share
from cache_monitor.dashboard.rows import Cell
from cache_monitor.dashboard.sheets import (
    ROWS_OF_SEVERAL,
    Caches,
    Field,
    Of,
    Sheet,
    aged,
    button,
    cache_column,
    coded,
    counted,
    dated,
    shared,
    sized,
    worded,
)
from cache_monitor.reports.schema import (
    LargestEntry,
    Memory,
    ProcessMemory,
    StaleEntry,
    StaleReason,
)
from cache_monitor.reports.sharing import once

STALE_REASONS: tuple[StaleReason, ...] = ("expired", "idle", "never_read", "no_expiry")


class Weighed(NamedTuple):
    """What the entries of one group weigh, and what the whole cache does."""

    group: str
    entries: int
    bytes: int | None
    whole: int | None
    exact: bool | None


def stale_words() -> dict[StaleReason, str]:
    """The words for the kinds of stale entries, by their names in the report."""
    return {
        "expired": _("expired"),
        "idle": _("idle"),
        "never_read": _("never read"),
        "no_expiry": _("no expiry"),
    }


def memory_groups(caches: Caches, links: Links, *, may_delete: bool = False) -> Sheet[Of[Weighed]]:
    """The groups by what they weigh; with a button each for whoever ``may_delete`` them."""
    every = [
        Of(alias, Weighed(each.group, each.entries, each.bytes, it.bytes, it.exact))
        for alias, it in _memories(caches)
        for each in it.groups
    ]
    return Sheet(
        "groups",
        _("Memory by key group"),
        [
            coded(
                "group",
                _("Group"),
                lambda each: each.it.group,
                lambda each: links.group(each.alias, each.it.group),
            ),
            *cache_column(caches),
            counted("entries", _("Entries"), lambda each: each.it.entries, _exact),
            sized("bytes", _("Size"), lambda each: each.it.bytes, _exact),
            shared("share", _("Share"), lambda each: share(each.it.bytes, each.it.whole)),
            *([_delete_column(links)] if may_delete else []),
        ],
        every,
        order="-bytes",
        empty=_("Nobody has looked into a cache yet, or there is nothing in it."),
        rows=ROWS_OF_SEVERAL,
    )


def largest(caches: Caches, links: Links) -> Sheet[Of[LargestEntry]]:
    return Sheet(
        "largest",
        _("Largest entries"),
        [
            coded(
                "key",
                _("Key"),
                lambda each: each.it.key,
                lambda each: links.entry(each.alias, each.it.key),
            ),
            *cache_column(caches),
            sized("bytes", _("Size"), lambda each: each.it.bytes),
        ],
        [Of(alias, each) for alias, it in _memories(caches) for each in it.largest],
        order="-bytes",
        empty=_("No entry's size is known."),
        rows=ROWS_OF_SEVERAL,
    )


def processes(caches: Caches) -> Sheet[Of[ProcessMemory]]:
    """What each process holds of the caches that live in each process."""
    return Sheet(
        "processes",
        _("Per process"),
        [
            dated("measured_at", _("Seen at"), lambda each: each.it.measured_at),
            *cache_column(caches),
            counted("entries", _("Entries"), lambda each: each.it.entries),
            sized("bytes", _("Size"), lambda each: each.it.bytes),
        ],
        [Of(alias, each) for alias, it in _memories(caches) for each in it.processes],
        order="-bytes",
        rows=ROWS_OF_SEVERAL,
    )


def stale_entries(caches: Caches, links: Links, why: str = "") -> Sheet[Of[StaleEntry]]:
    """The entries that no longer earn their place, those stale for ``why`` alone if given."""
    words = stale_words()
    return Sheet(
        "entries",
        _("Entries"),
        [
            coded(
                "key",
                _("Key"),
                lambda each: each.it.key,
                lambda each: links.entry(each.alias, each.it.key, each.it.group),
            ),
            *cache_column(caches),
            worded("why", _("Why"), lambda each: ", ".join(words[why] for why in each.it.why)),
            coded("group", _("Group"), lambda each: each.it.group),
            aged("age", _("Age"), lambda each: each.it.age),
            aged("idle", _("Not read for"), lambda each: each.it.idle),
            _expiry_column(),
            sized("bytes", _("Size"), lambda each: each.it.bytes),
        ],
        [
            Of(alias, each)
            for alias, cache in once(caches).items()
            for each in cache.stale.entries
            if why in {"", *each.why}
        ],
        order="-bytes",
        empty=(
            _("No stale entry was seen at the last look into the caches.")
            if any(cache.memory.measured_at for cache in caches.values())
            else _("Nobody has looked into the caches yet.")
        ),
    )


def _expiry_column() -> Field[Of[StaleEntry]]:
    return Field(
        "expires_in",
        _("Expires in"),
        lambda each: each.it.expires_in,
        lambda each: Cell(expiry(each.it.expires_in, never="no_expiry" in each.it.why)),
    )


def expiry(seconds: float | None, *, never: bool) -> str:
    """When an entry expires, or how long ago it did."""
    if never:
        return _("never")
    if seconds is not None and seconds < 0:
        return _("%(age)s ago") % {"age": formats.age(-seconds)}
    return formats.age(seconds)


def _memories(caches: Caches) -> Sequence[tuple[str, Memory]]:
    return [(alias, cache.memory) for alias, cache in once(caches).items()]


def _exact(each: Of[Weighed]) -> bool | None:
    return each.it.exact


def _delete_column(links: Links) -> Field[Of[Weighed]]:
    return button(
        _("Delete…"),
        lambda each: links.action("delete_group", alias=each.alias, group=each.it.group),
    )
