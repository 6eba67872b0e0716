"""The store in a file of its own: made by itself, shared by processes, survived whatever befalls
it."""

import logging
import os
import shutil
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, contextmanager
from multiprocessing import get_context
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from cache_monitor.stores import base, sqlite
from cache_monitor.stores.base import Row, StoreError
from cache_monitor.stores.sqlite import SQLiteStore
from tests.stores.disks import filled, use_up

ROW = Row("window", "process", "default", 100, 10, b"payload")
forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no forks")
unprivileged = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
)


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The file as another program has it."""
    with closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def told(path: Path, question: str) -> list[Any]:
    with opened(path) as connection:
        return connection.execute(question).fetchall()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "statistics.sqlite3"


@pytest.fixture
def store(path: Path) -> SQLiteStore:
    store = SQLiteStore(path)
    store.put([ROW], now=1)
    return store


def _rows(store: SQLiteStore) -> list[Row]:
    return sorted(store.read("window", 0, 1000, None))


def test_the_file_is_made_by_the_first_use(path: Path) -> None:
    store = SQLiteStore(path)
    assert not path.exists()
    assert _rows(store) == []
    assert path.exists()


def test_it_has_a_write_ahead_log(store: SQLiteStore, path: Path) -> None:
    assert told(path, "PRAGMA journal_mode") == [("wal",)]


@pytest.mark.parametrize("folder", ["data", "a b", "données", "数据"])
def test_it_does_without_one_on_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    path = tmp_path / folder / "statistics.sqlite3"
    path.parent.mkdir()
    written = str(path.parent).replace(" ", "\\040")
    mounts = [
        "22 1 8:1 / / rw shared:1 - ext4 /dev/vda rw",
        f"36 22 0:52 / {written} rw shared:2 - nfs4 server:/site rw",
    ]
    monkeypatch.setattr(base, "_mounts", lambda: [*map(base.parse_mount, mounts)])
    store = SQLiteStore(path)
    store.put([ROW], now=1)
    assert told(path, "PRAGMA journal_mode") == [("delete",)]
    assert _rows(store) == [ROW]


@pytest.mark.parametrize("path", ["statistics.sqlite3", "", ":memory:", "file:x?mode=memory"])
def test_only_an_absolute_path_is_the_same_for_every_process(path: str) -> None:
    with pytest.raises(StoreError, match="write an absolute path"):
        SQLiteStore(path)


@pytest.mark.parametrize("name", ["a b.sqlite3", "a?b#c%20.sqlite3", "ü.sqlite3", "no suffix"])
def test_the_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    store = SQLiteStore(str(tmp_path / name))
    store.put([ROW], now=1)
    assert _rows(store) == [ROW]
    assert (tmp_path / name).exists()


def test_another_programs_database_is_left_alone(path: Path) -> None:
    with opened(path) as other:
        other.execute("CREATE TABLE rows (kind)")
        other.execute("PRAGMA user_version = 1")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program's database"):
        SQLiteStore(path).put([ROW], now=1)
    assert path.read_bytes() == before


def test_another_programs_file_is_left_alone(path: Path) -> None:
    path.write_text("some notes that somebody wants to keep" * 100)
    with pytest.raises(StoreError, match="name another file"):
        SQLiteStore(path).put([ROW], now=1)
    assert path.read_text().startswith("some notes")
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_file_of_a_newer_version_is_left_alone(store: SQLiteStore, path: Path) -> None:
    with opened(path) as newer:
        newer.execute("PRAGMA user_version = 1000")
    newer.close()
    with pytest.raises(StoreError, match="newer version"):
        store.put([ROW], now=1)


def test_an_older_file_is_upgraded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SQLiteStore(path).put([ROW], now=1)
    more = ("ALTER TABLE rows ADD COLUMN host TEXT",)
    monkeypatch.setattr(sqlite, "_VERSIONS", (*sqlite._VERSIONS, more))
    store = SQLiteStore(path)
    assert _rows(store) == [ROW]
    assert told(path, "SELECT host FROM rows") == [(None,)]


def test_what_is_pruned_makes_the_file_smaller(store: SQLiteStore, path: Path) -> None:
    store.put([ROW._replace(start=n, payload=bytes(100_000)) for n in range(50)], now=1)
    large = path.stat().st_size
    assert store.prune(2) == 51
    assert path.stat().st_size < large / 10


# Its permissions


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o664])
@pytest.mark.skipif(sys.platform == "win32", reason="permissions are others there")
def test_it_is_open_to_whom_the_sites_database_is(path: Path, mode: int) -> None:
    site = path.with_name("site.sqlite3")
    site.touch()
    site.chmod(mode)
    store = SQLiteStore(path, like=site)
    store.put([ROW], now=1)
    assert _mode(path) == mode
    site.chmod(0o600)
    store.put([ROW], now=1)
    assert _mode(path) == 0o600
    with opened(path) as reader:
        reader.execute("SELECT * FROM rows").fetchall()
        assert {_mode(each) for each in path.parent.glob("statistics*")} == {0o600}
    reader.close()


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are others there")
def test_it_is_not_open_to_everybody(path: Path) -> None:
    SQLiteStore(path).put([ROW], now=1)
    assert not _mode(path) & 0o007


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away"
)
def test_a_command_that_root_runs_leaves_the_file_to_the_site(path: Path) -> None:
    site = path.with_name("site.sqlite3")
    site.touch()
    os.chown(site, 65534, 65534)
    SQLiteStore(path, like=site).put([ROW], now=1)
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534)


# What befalls the file


def _corrupt(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100:] = b"\xff" * len(content[100:])
    path.write_bytes(content)


def _delete(path: Path) -> None:
    path.unlink()


def _overwrite(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def _replace(path: Path) -> None:
    SQLiteStore(path.with_name("other.sqlite3")).put([], now=1)
    _rows(SQLiteStore(path.with_name("other.sqlite3")))
    path.with_name("other.sqlite3").replace(path)


def _drop(path: Path) -> None:
    with opened(path) as other:
        other.execute("DROP TABLE rows")
    other.close()


@pytest.mark.parametrize("befall", [_corrupt, _delete, _overwrite, _empty, _cut, _replace, _drop])
def test_a_file_that_is_damaged_or_gone_is_made_anew(
    store: SQLiteStore, path: Path, befall: Callable[[Path], None]
) -> None:
    befall(path)
    other = ROW._replace(start=200)
    store.put([other], now=1)
    assert _rows(store) == [other]
    assert store.lock("roll-up", 60, now=1)


def test_a_file_that_another_process_is_just_making_is_no_strangers(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, store = SQLiteStore(path), SQLiteStore(path)
    connect = store._connect
    asked: list[str] = []

    def interrupted() -> sqlite3.Connection:
        connection = connect()
        connection.set_trace_callback(interrupt)
        return connection

    def interrupt(statement: str) -> None:
        if statement.startswith("SELECT"):
            asked.append(statement)
            if len(asked) == 2:
                other._once(lambda _: None)  # past the gate, as another process is

    monkeypatch.setattr(store, "_connect", interrupted)
    store.put([ROW._replace(process="two")], now=1)
    assert len(asked) >= 2
    assert len(_rows(store)) == 1


@pytest.mark.parametrize("befall", [_corrupt, _overwrite, _cut, _drop])
def test_a_damaged_file_is_kept_beside_the_new_one(
    store: SQLiteStore,
    path: Path,
    befall: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    befall(path)
    damaged = path.read_bytes()
    store.put([ROW], now=1)
    assert path.with_name(f"{path.name}.damaged").read_bytes() == damaged
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert "was damaged" in record.getMessage()


def test_a_disk_that_damages_every_file_is_no_endless_loop(
    store: SQLiteStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        _overwrite(path)
        try:
            store.put([ROW], now=1)
        except StoreError as error:
            assert "is damaged" in str(error)  # noqa: PT017 - the first time it is mended
    assert len(caplog.records) == 1


def test_the_file_of_a_quicker_process_is_not_put_aside(store: SQLiteStore, path: Path) -> None:
    own = store._file
    own.make()
    path.rename(path.with_name("elsewhere"))
    SQLiteStore(path).put([ROW], now=1)
    assert own.put_aside()
    assert _rows(store) == [ROW]


def test_a_folder_that_goes_and_comes_back(store: SQLiteStore, path: Path) -> None:
    elsewhere = path.parent.rename(path.parent.with_name("elsewhere"))
    with pytest.raises(StoreError, match=f"{path} cannot be used"):
        store.put([ROW], now=1)
    with pytest.raises(StoreError):
        store.read("window", 0, 1000, None)
    elsewhere.rename(path.parent)
    assert _rows(store) == [ROW]


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "FIFO"])
def test_what_is_no_file_is_refused(path: Path, make: Callable[[Path], None]) -> None:
    make(path)
    with pytest.raises(StoreError, match="cannot be used"):
        SQLiteStore(path).put([ROW], now=1)


def test_a_locked_file_is_waited_for_and_then_told(
    store: SQLiteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "LOCK_TIMEOUT", 0.1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="another connection has locked it"):
        store.put([ROW], now=1)
    # Whoever reads is not in the way of who writes.
    assert _rows(store) == [ROW]
    other.execute("ROLLBACK")
    other.close()
    store.put([ROW], now=1)


def test_a_full_disk_says_so(disk: Path) -> None:
    store = SQLiteStore(disk / "statistics.sqlite3")
    store.put([ROW], now=1)
    with filled(disk):

        def write(value: bytes) -> None:
            store.put([ROW._replace(start=len(value), payload=value)], now=1)

        use_up(write, 100_000, StoreError)
        with pytest.raises(StoreError, match="free some space"):
            store.put([ROW._replace(start=5, payload=bytes(100_000))], now=1)
    store.put([ROW._replace(start=5, payload=bytes(100_000))], now=1)
    assert ROW in _rows(store)


@unprivileged
def test_a_folder_that_is_not_writable_says_so(path: Path) -> None:
    path.parent.chmod(0o555)
    try:
        with pytest.raises(StoreError, match="let this user write to it"):
            SQLiteStore(path).put([ROW], now=1)
    finally:
        path.parent.chmod(0o755)


# Processes, threads and forks


def _put_many(path: Path, process: int) -> None:
    store = SQLiteStore(path)
    for start in range(100):
        store.put([ROW._replace(process=str(process), start=start)], now=1)


def test_processes_share_the_file_from_its_making_on(path: Path) -> None:
    with ProcessPoolExecutor(4, get_context("spawn")) as pool:
        for each in [pool.submit(_put_many, path, process) for process in range(4)]:
            each.result()
    assert len(_rows(SQLiteStore(path))) == 400


def test_threads_share_the_store(store: SQLiteStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        rows = [ROW._replace(start=start) for start in range(100)]
        list(pool.map(lambda row: store.put([row], now=1), rows))
        assert all(len(found) == 101 for found in pool.map(lambda _: _rows(store), range(8)))


def _in_child(work: Callable[[], bool]) -> bool:
    child = os.fork()
    if child == 0:
        # Nothing but this may happen here, whatever comes of it.
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@forking
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_uses_the_file_as_its_parent_does(store: SQLiteStore) -> None:
    def work() -> bool:
        store.put([ROW._replace(process="child")], now=1)
        return len(_rows(store)) == 2

    assert _in_child(work)
    store.put([ROW._replace(process="parent")], now=1)
    assert len(_rows(store)) == 3


@forking
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_fork_comes_between_uses(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the midst of one the child would take over locks that are its parent's."""
    monkeypatch.setattr(sqlite, "_FORK_WAITS", 60.0)
    entered, leave = Event(), Event()

    def use() -> None:
        with sqlite.gate.entered():
            entered.set()
            leave.wait(60)

    user = Thread(target=use)
    user.start()
    entered.wait(60)
    Thread(target=leave.set).start()
    assert _in_child(lambda: _rows(store) == [ROW])
    user.join()


@forking
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_child_that_was_forked_amid_a_use_leaves_the_file_alone(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No fork waits for long."""
    monkeypatch.setattr(sqlite, "_FORK_WAITS", 0.01)

    def refuses() -> bool:
        try:
            store.put([ROW], now=1)
        except StoreError as error:
            return "restart" in str(error)
        return False

    with sqlite.gate.entered():
        assert _in_child(refuses)
    assert _rows(store) == [ROW]


@forking
def test_a_child_of_which_python_was_not_told_leaves_it_alone_too(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = sqlite.ForkGate()
    with gate.entered():
        monkeypatch.setattr(gate, "_pid", -1)
        with pytest.raises(StoreError, match="restart"), gate.entered():
            pass


def test_nothing_is_left_open(store: SQLiteStore, path: Path) -> None:
    _rows(store)
    opened = Path("/proc/self/fd")
    if opened.is_dir():
        names = {str(each.readlink()) for each in opened.iterdir() if each.is_symlink()}
        assert not any(name.startswith(str(path)) for name in names)
    shutil.rmtree(path.parent)
