"""The table of what each backend can tell; that it is true, the contract's tests show."""

import pytest
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache

from cache_monitor.scan.backends import COLUMNS, MATRIX, NO, documentation
from tests.scan.inspection import capability_of


def test_every_row_answers_every_column() -> None:
    for row in MATRIX:
        assert tuple(row.cells) == COLUMNS, row.backend
        assert set(row.notes) <= set(COLUMNS)


def test_what_cannot_be_told_is_explained() -> None:
    for row in MATRIX:
        if row.backend not in {"DummyCache", "others"}:
            unexplained = [
                name for name in COLUMNS if row.cells[name] == NO and name not in row.notes
            ]
            assert unexplained == [], row.backend


@pytest.mark.parametrize(
    ("cache", "row"),
    [
        (LocMemCache("abilities", {}), "LocMemCache"),
        (type("Monitored", (LocMemCache,), {})("abilities", {}), "LocMemCache"),
        (DummyCache("", {}), "DummyCache"),
        (BaseCache({}), "others"),
    ],
)
def test_a_caches_row_is_found_by_its_class(cache: BaseCache, row: str) -> None:
    assert capability_of(cache).backend == row


def test_the_documentation_has_a_line_for_each_backend() -> None:
    text = documentation()
    noted = [line.split("**")[1] for line in text.splitlines() if line.startswith("- **")]
    named = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    for row in MATRIX:
        assert any(row.backend in each for each in named)
        assert any(row.backend in each for each in noted)
