"""Files are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cache_monitor.management import whole_file


def _write(path: Path, content: bytes) -> None:
    with whole_file(path) as file:
        file.write(content)


def test_a_new_file_has_the_content_and_the_usual_rights(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    before = os.umask(0o027)
    try:
        _write(path, b"{}")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"{}"
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    path, link = tmp_path / "report.json", tmp_path / "latest.json"
    path.write_text("old")
    link.symlink_to(path)
    _write(link, b"new")
    assert link.is_symlink()
    assert path.read_text() == "new"


def test_what_fails_leaves_the_old_file_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "report.json"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        _write(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="is not a file"):
        _write(tmp_path, b"")


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        _write(tmp_path / "nowhere" / "report.json", b"")
