import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.stats import codec
from cache_monitor.stats.codec import CorruptPayload, decode, encode
from cache_monitor.stats.details import Details, DetailsMerge, StoredDetails, pack_details
from cache_monitor.stats.hot_keys import (
    Columns,
    HotKeys,
    KeyStats,
    Ranking,
    SparseCounts,
    StoredKeys,
    pack,
)
from tests.stored import read_details

counts = st.integers(0, codec.MAX_COUNT // 4)
reasons = st.dictionaries(st.sampled_from(["expired", "deleted"]), counts, min_size=1)


def _keys() -> HotKeys:
    keys = HotKeys(10, floor=3)
    keys.table["a"] = KeyStats("one", 5, 4, 1, 2, bytes=100, produced=1, produce_seconds=0.5)
    keys.table["b"] = KeyStats("two", 4, 4, missing=3)
    keys.table["c"] = KeyStats("one", 3, 0, 3, bytes=0, reasons={"expired": 2, "evicted": 1})
    return keys


def _unpacked(stored: StoredKeys) -> HotKeys:
    ranking = Ranking()
    ranking.add(stored)
    keys, floor = ranking.top(stored.capacity)
    return HotKeys(stored.capacity, floor, ranking.gather([stored], keys))


def test_a_table_comes_out_of_its_columns_as_it_went_in() -> None:
    assert _unpacked(pack(_keys())) == _keys()


@st.composite
def key_stats(draw: st.DrawFn) -> KeyStats:
    hits, misses, produced = draw(counts), draw(counts), draw(st.integers(0, 5))
    return KeyStats(
        draw(st.sampled_from(["one", "two", "three"])),
        hits + misses,
        hits,
        misses,
        draw(counts),
        draw(st.none() | counts),
        draw(counts),
        produced,
        draw(st.floats(0, 1e6)) if produced else 0.0,
        draw(st.none() | reasons),
    )


@given(st.dictionaries(st.text(max_size=5), key_stats(), max_size=30), st.integers(0, 5))
def test_any_table_comes_out_of_its_bytes_as_it_went_in(
    table: dict[str, KeyStats], floor: int
) -> None:
    for stats in table.values():
        # The least that a key can weigh that entered the table later.
        stats.missing += floor
    details = Details(0, 60, HotKeys(100, floor, table), 10)
    hot_keys = read_details(encode(details)).hot_keys
    assert (hot_keys.table, hot_keys.floor) == (table, floor)


def test_figures_beyond_all_counts_can_be_merged_and_stored_again() -> None:
    """Of rows that somebody has tampered with, each of which could be read."""
    most = codec.MAX_COUNT
    stats = KeyStats("one", most, 0, most, most, most - 1, reasons={"expired": most})
    rows = [encode(Details(0, 60, HotKeys(10, 0, {"a": stats}), 10)) for _ in range(2)]
    merging = DetailsMerge(0, 60, 10)
    for row in rows:
        merging.add(decode(row, StoredDetails))
    again = read_details(encode(merging.whole(10)))
    assert again.hot_keys.table["a"].lookups == most
    assert again.hot_keys.table["a"].reasons == {"expired": most}


def test_a_weight_below_the_tables_floor_counts_as_that() -> None:
    tampered = HotKeys(10, 9, {"a": KeyStats("one", 1, 1)})
    assert _unpacked(pack(tampered)).table["a"].weight() == 9


def test_many_reasons_in_one_table_can_be_read() -> None:
    table = {
        key: KeyStats("one", 20, 0, 20, reasons={f"{key}{n}": 1 for n in range(20)})
        for key in ("a", "b")
    }
    details = Details(0, 60, HotKeys(10, 0, table), 10)
    assert read_details(encode(details)).hot_keys.table == table


def test_keys_of_one_group_stand_together() -> None:
    columns = pack(_keys()).columns
    assert columns.keys == ["a", "c", "b"]
    assert columns.groups == {"one": 2, "two": 1}
    assert list(codec.unpack_ints(columns.excess)) == [4, 0, 4]


@pytest.mark.parametrize(
    "change",
    [
        {"keys": ["a", "b"]},
        {"excess": codec.NO_INTS},
        {"sizes": codec.pack_ints([0, 0])},
        {"misses": b""},
        {"misses": b"\x02\x00"},
        {"misses": b"\x03\x00\x00\x00"},
        {"lookups": b"\x08" + (codec.MAX_COUNT + 1).to_bytes(8, "little")},
        {"groups": {"one": 2}},
        {"groups": {}},
        {"reasons": {"expired": SparseCounts(codec.pack_ints([1]), codec.pack_ints([1]))}},
        {"reasons": {"expired": SparseCounts(codec.pack_ints([0]), codec.NO_INTS)}},
        {"produced": SparseCounts(codec.pack_ints([0]), codec.pack_ints([1]))},
        {"produce_seconds": [1.0]},
    ],
    ids=str,
)
def test_columns_that_do_not_fit_together_are_refused(change: dict[str, Any]) -> None:
    fitting: dict[str, Any] = {
        "keys": ["a"],
        "groups": {"one": 1},
        "excess": codec.pack_ints([1]),
        "lookups": codec.pack_ints([1]),
        "misses": codec.pack_ints([0]),
        "sets": codec.pack_ints([0]),
        "sizes": codec.pack_ints([0]),
    }
    Columns(**fitting)
    with pytest.raises(ValueError, match=r"columns|numbers|number"):
        Columns(**{**fitting, **change})


@given(
    st.sampled_from(["excess", "lookups", "misses", "sets", "sizes", "places", "counts"]),
    st.binary(max_size=10) | st.binary(min_size=1, max_size=1).map(b"\x01".__add__),
)
def test_arbitrary_bytes_for_a_column_are_read_or_refused(name: str, column: bytes) -> None:
    details = Details(0, 60, HotKeys(10), 10)
    details.hot_keys.entry("a", "group").add_reasons({"expired": 1})
    stored = pack_details(details)
    columns = stored.hot_keys.columns
    setattr(columns if hasattr(columns, name) else columns.reasons["expired"], name, column)
    with contextlib.suppress(CorruptPayload):
        assert list(read_details(encode(stored)).hot_keys.table) == ["a"]
