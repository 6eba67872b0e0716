"""The report's lists as bounded tables."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from django.utils.translation import gettext as _

from cache_monitor.dashboard import formats
from cache_monitor.dashboard.rows import Cell, Column, Table
from cache_monitor.reports.schema import (
    Cache,
    HotKey,
    KeyGroup,
    Memory,
    Operation,
    Stale,
    StaleEntry,
)

MOST_ROWS = 20
# Beyond this a key is no longer read, only carried in every refresh.
MOST_TITLE = 1000

Item = TypeVar("Item")


def operations(cache: Cache) -> Table:
    labels = [_("Calls"), _("Keys"), _("Hits"), _("Misses"), _("Errors")]
    times = [_("p50"), _("p90"), _("p99"), _("Max"), _("Total")]
    return _table(
        _("Operations"),
        [Column(_("Operation"), numeric=False), *map(Column, labels + times)],
        cache.operations.items(),
        _operation_cells,
    )


def _operation_cells(item: tuple[str, Operation]) -> Sequence[Cell]:
    name, operation = item
    seconds = operation.seconds
    counts = (operation.calls, operation.keys, operation.hits, operation.misses, operation.errors)
    times = (seconds.p50, seconds.p90, seconds.p99, seconds.max, seconds.total)
    return [
        Cell(name, numeric=False, code=True),
        *(Cell(formats.count(each)) for each in counts),
        *(Cell(formats.duration(each)) for each in times),
    ]


def key_groups(cache: Cache) -> Table:
    labels = [_("Keys"), _("Lookups"), _("Hit ratio"), _("Misses"), _("Sets"), _("Deletes")]
    sizes = [_("Errors"), _("Read"), _("Written")]
    return _table(
        _("Key groups"),
        [Column(_("Group"), numeric=False), *map(Column, labels + sizes)],
        cache.key_groups,
        _key_group_cells,
    )


def _key_group_cells(group: KeyGroup) -> Sequence[Cell]:
    return [
        _code(group.group),
        Cell(formats.count(group.distinct_keys)),
        Cell(formats.count(group.lookups)),
        Cell(formats.ratio(group.hit_ratio)),
        Cell(formats.count(group.misses)),
        Cell(formats.count(group.sets)),
        Cell(formats.count(group.deletes)),
        Cell(formats.count(group.errors)),
        Cell(formats.size(group.bytes_read)),
        Cell(formats.size(group.bytes_written)),
    ]


def hot_keys(cache: Cache) -> Table:
    labels = [_("Lookups"), _("Share"), _("Hits"), _("Misses"), _("Sets"), _("Size")]
    over = max((key.max_overcount for key in cache.hot_keys), default=0)
    note = _("~ at most %(count)s too high: only the busiest keys are counted one by one.")
    return _table(
        _("Hot keys"),
        [Column(_("Key"), numeric=False), *map(Column, labels)],
        cache.hot_keys,
        _hot_key_cells,
        note=note % {"count": formats.count(over)} if over else "",
    )


def _hot_key_cells(key: HotKey) -> Sequence[Cell]:
    return [
        _code(key.key),
        Cell(formats.about(formats.count(key.lookups), exact=key.max_overcount == 0)),
        Cell(formats.ratio(key.share)),
        Cell(formats.count(key.hits)),
        Cell(formats.count(key.misses)),
        Cell(formats.count(key.sets)),
        Cell(formats.size(key.bytes)),
    ]


def miss_reasons(cache: Cache) -> Table:
    words = {
        "never_set": _("never set"),
        "expired": _("expired"),
        "evicted": _("evicted: written, not expired, yet gone"),
        "deleted": _("deleted"),
        "cleared": _("cleared"),
        "version_changed": _("version changed"),
        "unknown": _("unknown"),
    }
    found = [(word, getattr(cache.miss_reasons, reason)) for reason, word in words.items()]
    return _table(
        _("Misses by reason"),
        [Column(_("Reason"), numeric=False), Column(_("Misses")), Column(_("Share"))],
        sorted((each for each in found if each[1]), key=lambda each: -each[1]),
        lambda each: [
            Cell(each[0], numeric=False),
            Cell(formats.count(each[1])),
            Cell(formats.ratio(each[1] / cache.misses)),
        ],
    )


def views(cache: Cache) -> Table:
    labels = [_("Requests"), _("Lookups"), _("Misses"), _("Misses per request"), _("Time")]
    return _table(
        _("Views"),
        [Column(_("View"), numeric=False), *map(Column, labels)],
        cache.views,
        lambda view: [
            _code(view.view),
            Cell(formats.count(view.requests)),
            Cell(formats.count(view.lookups)),
            Cell(formats.count(view.misses)),
            Cell(formats.decimal(view.misses_per_request)),
            Cell(formats.duration(view.seconds)),
        ],
    )


def memory_groups(memory: Memory) -> Table:
    return _table(
        _("Memory by group"),
        [Column(_("Group"), numeric=False), Column(_("Entries")), Column(_("Size"))],
        memory.groups,
        lambda group: [
            _code(group.group),
            Cell(formats.about(formats.count(group.entries), exact=memory.exact)),
            Cell(formats.about(formats.size(group.bytes), exact=memory.exact)),
        ],
    )


def largest(memory: Memory) -> Table:
    return _table(
        _("Largest entries"),
        [Column(_("Key"), numeric=False), Column(_("Size"))],
        memory.largest,
        lambda entry: [_code(entry.key), Cell(formats.size(entry.bytes))],
    )


def stale_entries(stale: Stale) -> Table:
    labels = [_("Age"), _("Not read for"), _("Expires in"), _("Size")]
    return _table(
        _("Entries"),
        [
            Column(_("Key"), numeric=False),
            Column(_("Why"), numeric=False),
            *map(Column, labels),
        ],
        stale.entries,
        _stale_cells,
    )


def _stale_cells(entry: StaleEntry) -> Sequence[Cell]:
    words = {
        "expired": _("expired"),
        "idle": _("idle"),
        "never_read": _("never read"),
        "no_expiry": _("no expiry"),
    }
    return [
        _code(entry.key),
        Cell(", ".join(words[reason] for reason in entry.why), numeric=False),
        Cell(formats.age(entry.age)),
        Cell(formats.age(entry.idle)),
        Cell(_expiry(entry)),
        Cell(formats.size(entry.bytes)),
    ]


def _expiry(entry: StaleEntry) -> str:
    if "no_expiry" in entry.why:
        return _("never")
    if entry.expires_in is not None and entry.expires_in < 0:
        return _("%(age)s ago") % {"age": formats.age(-entry.expires_in)}
    return formats.age(entry.expires_in)


def _table(
    caption: str,
    columns: Sequence[Column],
    items: Iterable[Item],
    cells: Callable[[Item], Sequence[Cell]],
    *,
    note: str = "",
) -> Table:
    every = list(items)
    shown = every[:MOST_ROWS]
    bounded = formats.some_of(len(shown), len(every))
    return Table(caption, columns, [cells(item) for item in shown], bounded, note)


def _code(text: str) -> Cell:
    shown = formats.visible(formats.cut(text))
    title = "" if shown == text else formats.visible(text[:MOST_TITLE])
    return Cell(shown, numeric=False, code=True, title=title)
