"""Rows that the package itself wrote are in ``tests/docs/stores``."""

from typing import Any

import msgspec
import pytest

from cache_monitor.stats.columns import StoredKeys, unpack
from cache_monitor.stats.top_keys import KeyStats

LISTED: dict[str, Any] = {
    "keys": ["a", "b"],
    "excess": [4, 1],
    "lookups": [5, 1],
    "misses": [1, 0],
    "sets": [2, 0],
    "groups": ["one", "two"],
    "group": [0, 1],
    "bytes": [100, None],
    "produced": {0: (1, 0.5)},
    "reasons": {0: {"expired": 1}},
}


def _read(**change: Any) -> StoredKeys:
    listed = list({**LISTED, **change}.values())
    return msgspec.msgpack.decode(msgspec.msgpack.encode((10, 3, {}, listed)), type=StoredKeys)


def test_columns_of_lists_can_be_read() -> None:
    found = unpack(_read())
    assert (found.capacity, found.floor) == (10, 3)
    assert found.table == {
        "a": KeyStats("one", 5, 4, 1, 2, 100, 0, 1, 0.5, {"expired": 1}),
        "b": KeyStats("two", 1, 1, missing=3),
    }


@pytest.mark.parametrize("change", [{"keys": ["a"]}, {"excess": []}, {"groups": ["one"]}], ids=str)
def test_lists_that_do_not_fit_together_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        _read(**change)


def test_a_table_as_it_was_stored_at_first_can_be_read() -> None:
    written = msgspec.msgpack.encode((10, 3, {"a": ("one", 5, 4, 1, 2, 100, 3)}))
    stored = msgspec.msgpack.decode(written, type=StoredKeys)
    assert unpack(stored).table == {"a": KeyStats("one", 5, 4, 1, 2, 100, missing=3)}
    assert stored.floor == 3
