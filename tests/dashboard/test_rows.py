"""What the templates are given."""

from pprint import pformat

from cache_monitor.dashboard.rows import Cell, Column, Table


def _table(rows: int) -> Table:
    return Table(
        name="hot_keys",
        caption="Hot keys",
        columns=[Column("Key", numeric=False)],
        rows=[[Cell(f"user:{number}:profile", code=True)] for number in range(rows)],
    )


def test_the_representation_of_a_table_does_not_grow_with_its_rows() -> None:
    assert len(repr(_table(1000))) == len(repr(_table(1)))
    assert len(pformat(_table(1000))) == len(pformat(_table(1)))


def test_tables_with_other_rows_differ() -> None:
    assert _table(2) != _table(3)
