import contextlib
import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.stats import codec
from cache_monitor.stats.codec import CorruptPayload, decode, encode
from cache_monitor.stats.details import Details, StoredDetails, pack_details
from cache_monitor.stats.hot_keys import HotKeys
from cache_monitor.stats.sketches import hash_of
from cache_monitor.stats.window import Window
from tests.stored import read_details


def _payload() -> bytes:
    window = Window(0, 10)
    window.operation("get").calls = 3
    return encode(window)


def test_what_was_encoded_is_decoded_again() -> None:
    assert decode(_payload(), Window).operations["get"].calls == 3


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x01",
        b"\x02" + _payload()[1:],
        _payload()[:-3],
        b"\x01" + b"\x91" * 100_000,
        pickle.dumps({"calls": 3}),
        b"\x01\xc0",
    ],
    ids=["empty", "cut", "newer", "truncated", "nested", "pickle", "null"],
)
def test_what_is_no_payload_is_refused(payload: bytes) -> None:
    with pytest.raises(CorruptPayload):
        decode(payload, Window)


def test_a_payload_that_is_too_large_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_BYTES", 3)
    with pytest.raises(CorruptPayload, match="more than 3"):
        decode(_payload(), Window)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_read_or_refused(payload: bytes) -> None:
    with contextlib.suppress(CorruptPayload):
        decode(b"\x01" + payload, Window)


def test_figures_that_no_window_can_have_are_refused() -> None:
    window = Window(0, 10)
    window.operation("get").calls = 2**53 + 1
    with pytest.raises(CorruptPayload):
        decode(encode(window), Window)


def _with_times(times: object) -> bytes:
    written = (0, 10, 9.5, 0, [7], {"get": (3, 3, 2, 1, 0, 0.5, 0.5, times)})
    return b"\x01" + msgspec.msgpack.encode(written)


@pytest.mark.parametrize(
    "times",
    [
        b"\x01",
        b"\x03\x00\x00abc",
        b"\x02\x00\x00abc",
        b"\x01\xff\xffabc",
        b"\x01\x00\x00" + bytes(1000),
        b"\x08\x00\x00" + bytes(7) + b"\x01",
        {},
        {16_000: 1},
        [1],
        None,
    ],
    ids=str,
)
def test_what_is_no_histogram_is_refused(times: object) -> None:
    with pytest.raises(CorruptPayload):
        decode(_with_times(times), Window)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_for_a_histogram_are_read_or_refused(times: bytes) -> None:
    with contextlib.suppress(CorruptPayload):
        decode(_with_times(times), Window)


def test_rows_of_before_there_were_as_many_fields_can_be_read() -> None:
    """Written field by field as the first version laid them out."""
    group = ("key", 4, 3, 1, 1, 0, 0, None, 10)
    view = (2, 4, 1, 0.5)
    written: tuple[object, ...] = (
        60,
        60,
        (1000, 0, []),
        200,
        {"user:{int}": group},
        5,
        {"shop:product": view},
        True,
    )
    details = read_details(b"\x01" + msgspec.msgpack.encode(written))
    stats = details.groups["user:{int}"]
    assert (stats.lookups, stats.keys, stats.produced, stats.ages) == (4, set(), 0, {})
    assert details.views["shop:product"].request_seconds == 0
    assert (details.uses, details.final) == (5, True)


def test_a_window_of_before_evictions_were_noted_can_be_read() -> None:
    written = (
        0,
        10,
        9.5,
        0,
        [7],
        {"get": (3, 3, 2, 1)},
        None,
        None,
        500,
        True,
        {"expired": 1},
        True,
    )
    window = decode(b"\x01" + msgspec.msgpack.encode(written), Window)
    assert (window.calls, window.memory_bytes, window.final) == (3, 500, True)
    assert window.evictions is None


def test_a_window_of_a_later_version_can_be_read() -> None:
    written = msgspec.msgpack.decode(encode(Window(0, 10, evictions=5))[1:])
    later = msgspec.msgpack.encode([*written, "what it added"])
    assert decode(b"\x01" + later, Window).evictions == 5


def test_columns_of_hot_keys_that_do_not_fit_together_are_refused() -> None:
    details = Details(0, 60, HotKeys(10), 10)
    details.hot_keys.entry("a", "group")
    stored = pack_details(details)
    stored.hot_keys.columns.lookups = codec.pack_ints([0, 1])
    with pytest.raises(CorruptPayload, match="fit together"):
        decode(encode(stored), StoredDetails)


def test_details_of_too_many_groups_are_encoded_as_what_a_reader_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(codec, "MAX_BYTES", 2_000_000)
    details = Details(0, 60, HotKeys(10), 10_000)
    for number in range(5000):
        group = details.group(f"group:{number}", "key")
        group.count(True, False, 1 + number)
        group.count(False, True, 1)
        group.add_keys([hash_of(f"{number}:{key}") for key in range(150)])
    payload = encode(details)
    assert len(payload) <= codec.MAX_BYTES
    read = read_details(payload)
    for figure in ("lookups", "hits", "misses", "sets"):
        before, after = (
            sum(getattr(each, figure) for each in those.groups.values())
            for those in (details, read)
        )
        assert before == after
    assert "group:4999" in read.groups
    assert "group:0" not in read.groups
    assert len(details.groups) == 5000
