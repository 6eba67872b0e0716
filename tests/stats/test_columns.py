from typing import Any

import msgspec
import pytest

from cache_monitor.stats.columns import Columns, StoredKeys, pack, unpack
from cache_monitor.stats.hotkeys import HotKeys, KeyStats


def _keys() -> HotKeys:
    keys = HotKeys(10, floor=3)
    keys.table["a"] = KeyStats("one", 5, 4, 1, 2, bytes=100, produced=1, produce_seconds=0.5)
    keys.table["b"] = KeyStats("two", 4, 4, missing=3)
    keys.table["c"] = KeyStats("one", 3, 0, 3, reasons={"expired": 2})
    return keys


def test_a_table_comes_out_of_its_columns_as_it_went_in() -> None:
    assert unpack(pack(_keys())) == _keys()


def test_the_heaviest_come_first_and_a_group_is_named_once() -> None:
    columns = pack(_keys()).columns
    assert columns.keys == ["a", "b", "c"]
    assert columns.excess == [4, 4, 0]
    assert columns.groups == ["one", "two"]


def test_a_table_as_it_was_stored_at_first_can_be_read() -> None:
    written = msgspec.msgpack.encode((10, 3, {"a": ("one", 5, 4, 1, 2, 100, 3)}))
    stored = msgspec.msgpack.decode(written, type=StoredKeys)
    assert unpack(stored).table == {"a": KeyStats("one", 5, 4, 1, 2, 100, missing=3)}
    assert stored.floor == 3


@pytest.mark.parametrize(
    "change",
    [{"keys": ["a", "b"]}, {"excess": []}, {"bytes": [None, None]}, {"group": [1]}, {"groups": []}],
    ids=str,
)
def test_columns_that_do_not_fit_together_are_refused(change: dict[str, Any]) -> None:
    fitting: dict[str, Any] = {
        "keys": ["a"],
        "excess": [1],
        "lookups": [1],
        "misses": [0],
        "sets": [0],
        "groups": ["one"],
        "group": [0],
        "bytes": [None],
    }
    assert Columns(**fitting).stats(0).hits == 1
    with pytest.raises(ValueError, match=r"columns|group"):
        Columns(**{**fitting, **change})
