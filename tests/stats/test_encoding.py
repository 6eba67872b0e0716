import contextlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.stats import encoding
from cache_monitor.stats.encoding import CorruptPayload, decode, encode
from cache_monitor.stats.window import Window


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
    monkeypatch.setattr(encoding, "MAX_BYTES", 3)
    with pytest.raises(CorruptPayload, match="more than 3"):
        decode(_payload(), Window)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_read_or_refused(payload: bytes) -> None:
    with contextlib.suppress(CorruptPayload):
        decode(b"\x01" + payload, Window)


def test_figures_that_no_window_can_have_are_refused() -> None:
    window = Window(0, 10)
    window.operation("get").buckets[70_000] = 1
    with pytest.raises(CorruptPayload):
        decode(encode(window), Window)
