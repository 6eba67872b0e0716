"""The file behind the ledger: what may be wrong with it harms nobody."""

import os
import random
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cache_monitor.ledger import Busy, Event, Ledger, Miss, files, memory
from cache_monitor.ledger.memory import DOUBT, MAGIC
from tests.ledger.test_reasons import NOW, event, reason

SLOTS = 1024
DELETED = [event("written", 0), event("deleted", 1)]


def test_the_file_is_for_its_owner_alone(ledger: Ledger, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert ledger.is_shared
    assert ledger.problem is None


def test_the_file_is_as_large_as_stated(path: Path) -> None:
    Ledger(path).close()
    assert 9_200_000 < path.stat().st_size < 9_300_000


def test_another_ledger_of_the_same_file_knows_it_all(ledger: Ledger, path: Path) -> None:
    ledger.post(DELETED)
    ledger.close()
    other = Ledger(path, slots=SLOTS)
    assert reason(other, [], 2) == "deleted"
    other.close()


def test_without_a_path_the_ledger_works_alone() -> None:
    ledger = Ledger(None, slots=SLOTS)
    assert reason(ledger, DELETED, 2) == "deleted"
    assert not ledger.is_shared
    assert ledger.problem is None
    ledger.close()


def truncate(path: Path) -> None:
    os.truncate(path, 0)


def cut(path: Path) -> None:
    os.truncate(path, 5000)


def scribble(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"garbage" * 100)


def remove(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    path.with_suffix(".new").write_bytes(b"something else")
    path.with_suffix(".new").chmod(0o600)
    path.with_suffix(".new").replace(path)


def test_a_file_is_no_shorter_while_it_is_begun(path: Path) -> None:
    """Processes that start together map it while one of them begins it."""
    size = 3_000_000
    file = files.open_shared(path)
    files.grow(file, size)

    def begin_often() -> None:
        for _ in range(200):
            files.empty(file, size)

    beginner = threading.Thread(target=begin_often)
    beginner.start()
    while beginner.is_alive():
        assert os.fstat(file).st_size == size
    beginner.join()
    os.close(file)


@pytest.mark.parametrize("before", [b"", b"too short", b"longer than it should be" * 100])
def test_whatever_a_file_held_it_is_zeros_of_its_size_then(path: Path, before: bytes) -> None:
    path.write_bytes(before)
    path.chmod(0o600)
    file = files.open_shared(path)
    files.empty(file, 1000)
    os.close(file)
    assert path.read_bytes() == bytes(1000)


DAMAGES = [truncate, cut, scribble, remove, replace]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_under_a_live_ledger_costs_its_records_alone(
    ledger: Ledger, path: Path, damage: Callable[[Path], None]
) -> None:
    ledger.post(DELETED)
    damage(path)
    assert reason(ledger, [], 2) == "unknown"
    assert reason(ledger, DELETED, 2) == "deleted"
    assert ledger.is_shared


@pytest.mark.parametrize("damage", DAMAGES)
def test_after_damage_all_processes_share_a_ledger_again(
    ledger: Ledger, path: Path, damage: Callable[[Path], None]
) -> None:
    other = Ledger(path, slots=SLOTS)
    damage(path)
    ledger.post(DELETED)
    assert reason(other, [], 2) == "deleted"
    other.close()


@pytest.mark.parametrize("damage", [cut, scribble, replace])
def test_a_damaged_file_is_started_afresh(path: Path, damage: Callable[[Path], None]) -> None:
    before = Ledger(path, slots=SLOTS)
    before.post(DELETED)
    before.close()
    damage(path)
    ledger = Ledger(path, slots=SLOTS)
    assert reason(ledger, [], 2) == "unknown"
    assert reason(ledger, DELETED, 2) == "deleted"
    assert ledger.is_shared
    ledger.close()


def test_the_doubt_after_damage_ends(ledger: Ledger, path: Path) -> None:
    truncate(path)
    ledger.post(DELETED)
    after = path.stat().st_mtime + DOUBT + 60
    assert ledger.judge([Miss("shared", "new", 1, after)]) == ["never_set"]


@pytest.mark.parametrize("seed", range(20))
def test_garbage_behind_a_good_header_is_survived(ledger: Ledger, path: Path, seed: int) -> None:
    ledger.post(DELETED)
    with path.open("r+b") as file:
        file.seek(memory.HEADER)
        file.write(random.Random(seed).randbytes(path.stat().st_size - memory.HEADER))
    for number in range(300):
        ledger.post([Event("shared", "written", NOW + number, f"key {number}")])
        ledger.post([Event(f"space {number}", "cleared", NOW)])
    ledger.judge([Miss(f"space {n}", f"key {n}", 1, NOW) for n in range(300)])
    ledger.judge([Miss("shared", f"key {n}", 1, NOW) for n in range(300)])


def test_a_file_of_another_layout_is_started_afresh(path: Path) -> None:
    path.write_bytes(struct.pack("<8sII", MAGIC, 999, 7) + bytes(100))
    path.chmod(0o600)
    ledger = Ledger(path, slots=SLOTS)
    assert reason(ledger, DELETED, 2) == "deleted"
    assert ledger.is_shared
    ledger.close()


def test_a_newer_process_with_another_size_takes_the_file_over(ledger: Ledger, path: Path) -> None:
    ledger.post(DELETED)
    newer = Ledger(path, slots=SLOTS // 2)
    newer.post(DELETED)
    assert reason(ledger, [], 2) == "unknown"
    assert not ledger.is_shared
    assert "newer process" in str(ledger.problem)
    assert reason(ledger, DELETED, 2) == "deleted"
    assert reason(newer, [], 2) == "deleted"
    newer.close()


def test_a_symbolic_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    path.symlink_to(target)
    ledger = Ledger(path, slots=SLOTS)
    assert reason(ledger, DELETED, 2) == "deleted"
    assert not ledger.is_shared
    assert ledger.problem
    assert target.read_text() == "precious"
    ledger.close()


def test_a_file_that_others_may_write_is_refused(path: Path) -> None:
    path.touch()
    path.chmod(0o622)
    ledger = Ledger(path, slots=SLOTS)
    assert "other users" in str(ledger.problem)
    assert path.stat().st_size == 0
    ledger.close()


def test_a_file_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    ledger = Ledger(path, slots=SLOTS)
    assert "another user" in str(ledger.problem)
    ledger.close()


def test_a_file_with_a_second_name_is_refused(path: Path, tmp_path: Path) -> None:
    path.touch(0o600)
    (tmp_path / "second").hardlink_to(path)
    ledger = Ledger(path, slots=SLOTS)
    assert "another name" in str(ledger.problem)
    ledger.close()


def test_a_pipe_is_refused(path: Path) -> None:
    os.mkfifo(path, 0o600)
    ledger = Ledger(path, slots=SLOTS)
    assert "regular file" in str(ledger.problem)
    ledger.close()


@pytest.mark.parametrize("where", ["missing/ledger", "."])
def test_a_place_for_no_file_leaves_a_ledger_that_works_alone(tmp_path: Path, where: str) -> None:
    ledger = Ledger(tmp_path / where, slots=SLOTS)
    assert reason(ledger, DELETED, 2) == "deleted"
    assert not ledger.is_shared
    assert ledger.problem
    ledger.close()


@pytest.mark.parametrize(
    "fault", [PermissionError(13, "Permission denied"), OSError(28, "No space left")]
)
def test_a_refusing_system_leaves_a_ledger_that_works_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch, fault: OSError
) -> None:
    def refuse(path: Path) -> int:
        raise fault

    monkeypatch.setattr(files, "open_shared", refuse)
    ledger = Ledger(path, slots=SLOTS)
    assert reason(ledger, DELETED, 2) == "deleted"
    assert str(fault.strerror) in str(ledger.problem)
    ledger.close()


def test_a_system_without_fcntl_has_a_ledger_for_each_process(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "FCNTL", None)
    ledger = Ledger(path, slots=SLOTS)
    assert reason(ledger, DELETED, 2) == "deleted"
    assert not ledger.is_shared
    assert "fcntl" in str(ledger.problem)
    assert not path.exists()
    ledger.close()


def test_a_ledger_that_another_thread_holds_is_busy(ledger: Ledger) -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with ledger._memory.hold():
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with pytest.raises(Busy):
        ledger.post(DELETED)
    with pytest.raises(Busy):
        reason(ledger, [], 2)
    done.set()
    thread.join()
    assert reason(ledger, DELETED, 2) == "deleted"
