"""Reading when a cached file expires, without unpickling anything."""

import os
import pickle
import time
from math import inf
from pathlib import Path

import pytest

from cache_monitor.scan.local import HEADER, expiry_of, read_head


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("expiry", [1795397998.61611, 0.0, -1.5, None, 1e300])
def test_what_pickle_wrote_is_understood(protocol: int, expiry: float | None) -> None:
    written = pickle.dumps(expiry, protocol) + b"x\x9c the value"
    assert expiry_of(written[:HEADER]) == (inf if expiry is None else expiry)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_header_that_was_cut_is_no_expiry(protocol: int) -> None:
    written = pickle.dumps(time.time(), protocol)
    for length in range(1, len(written)):
        assert expiry_of(written[:length]) is None, length


def test_an_empty_file_counts_as_expired_as_it_does_for_django() -> None:
    assert expiry_of(b"") == 0.0


class Trap:
    """A value whose pickle runs a program when it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("the-trap-was-sprung",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_is_executed(
    protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert expiry_of(pickle.dumps(Trap(), protocol)[:HEADER]) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("head", [b"\x80", b"\x80\x05", b"\x00" * 64, b"G", b"Fx\n.", b"<html>"])
def test_anything_else_is_no_expiry(head: bytes) -> None:
    assert expiry_of(head) is None


def test_reading_leaves_the_access_time_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    os.utime(path, (1000, 2000))
    assert read_head(str(path)) == b"x" * HEADER
    assert (path.stat().st_atime, path.stat().st_mtime) == (1000, 2000)
