import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.stats import codec


@given(st.lists(st.integers(0, codec.MAX_COUNT)))
def test_numbers_come_out_of_their_bytes_as_they_went_in(given: list[int]) -> None:
    packed = codec.pack_ints(given)
    assert codec.length_of(packed) == len(given)
    assert list(codec.unpack_ints(packed)) == given


@pytest.mark.parametrize(
    ("greatest", "width"), [(255, 1), (256, 2), (65_535, 2), (65_536, 4), (2**32, 8)]
)
def test_each_takes_as_many_bytes_as_the_greatest_needs(greatest: int, width: int) -> None:
    assert len(codec.pack_ints([1, greatest])) == 1 + 2 * width


@pytest.mark.parametrize("packed", [b"", b"\x00", b"\x03\x01\x01\x01", b"\x02\x01", b"\xff"])
def test_bytes_that_are_no_numbers_have_no_length(packed: bytes) -> None:
    with pytest.raises(ValueError, match="cut"):
        codec.length_of(packed)


def test_a_number_beyond_all_counts_is_refused() -> None:
    with pytest.raises(ValueError, match="no count"):
        codec.length_of(b"\x08" + (codec.MAX_COUNT + 1).to_bytes(8, "little"))


def test_a_sum_beyond_all_counts_is_packed_as_the_greatest_count() -> None:
    packed = codec.pack_ints([1, codec.MAX_COUNT + 1, 2**70])
    assert codec.length_of(packed) == 3
    assert list(codec.unpack_ints(packed)) == [
        1,
        codec.MAX_COUNT,
        codec.MAX_COUNT,
    ]


def test_a_machine_of_the_other_byte_order_swaps_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    here = codec.pack_ints([1, 2, 300])
    other = "big" if sys.byteorder == "little" else "little"
    monkeypatch.setattr(sys, "byteorder", other)
    # What is swapped here, where it is not called for, would have been the right way round there.
    assert list(codec.unpack_ints(here)) == [0x0100, 0x0200, 0x2C01]
    assert list(codec.unpack_ints(codec.pack_ints([1, 2, 300]))) == [1, 2, 300]
    assert codec.pack_ints([1, 2, 300]) != here
