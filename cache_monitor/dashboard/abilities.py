"""What each backend can tell of its entries, and why not, as a table."""

from collections.abc import Sequence

from django.utils.translation import gettext as _

from cache_monitor.dashboard.rows import Cell
from cache_monitor.dashboard.sheets import Field, Sheet, worded
from cache_monitor.inspectors.abilities import COLUMNS, ESTIMATED, RECORDED, YES, Ability, matrix


def abilities() -> Sheet[Ability]:
    """A row for each kind of backend."""
    columns = [_column(column, label) for column, label in _labels().items()]
    backend: Field[Ability] = worded("backend", _("Backend"), lambda each: each.backend)
    return Sheet("abilities", _("What each backend can tell"), [backend, *columns], matrix())


def ability_notes() -> Sequence[tuple[str, Sequence[tuple[str, str]]]]:
    """For each backend how far what it tells goes, or why it does not, by column."""
    labels = _labels()
    return [
        (each.backend, [(labels[column], note) for column, note in each.notes.items()])
        for each in matrix()
    ]


def _labels() -> dict[str, str]:
    known = {
        "entries": _("Entries"),
        "bytes": _("Bytes"),
        "limit": _("Limit"),
        "evictions": _("Evictions"),
        "expired": _("Expired"),
        "idle": _("Idle"),
        "never_read": _("Never read"),
        "no_expiry": _("No expiry"),
        "age": _("Age"),
        "keys": _("Keys"),
        "value_sizes": _("Size of each value"),
    }
    return {column: known.get(column, column) for column in COLUMNS}


def _column(column: str, label: str) -> Field[Ability]:
    def text(each: Ability) -> str:
        told = each.cells[column]
        words = {YES: _("yes"), RECORDED: _("recorded"), ESTIMATED: _("estimated")}
        return words.get(told, told)

    def cell(each: Ability) -> Cell:
        return Cell(text(each), numeric=False, title=each.notes.get(column, ""))

    return Field(column, label, text, cell, numeric=False)
