"""Looking into a FileBasedCache."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.filebased import FileBasedCache

import cache_monitor
from cache_monitor.scan import local
from cache_monitor.scan.backends import read_evictions, scanner_for
from cache_monitor.scan.base import LONGEST, Bounds, ScanLimits
from cache_monitor.scan.local import UNKNOWN_KEY, file_name, idle_for, read_head
from cache_monitor.scan.schedule import ScanScheduler, ScanState, advance
from cache_monitor.scan.snapshot import Snapshot
from cache_monitor.stats.codec import decode, encode
from cache_monitor.stores import base
from cache_monitor.stores.base import get_store
from tests.anew import begin_anew
from tests.scan.inspection import inspect_cache

DAY = 86400.0


def cache_in(directory: Path, **params: Any) -> FileBasedCache:
    return FileBasedCache(str(directory), params)


def look(cache: Any, alias: str = "default") -> Snapshot:
    return inspect_cache(alias, cache, limit=10_000, seconds=30, stale_after=60)


def test_entries_weigh_what_their_files_do(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    cache.set_many({"a": "x" * 5000, "b": [1], "c": None})
    found = look(cache)
    assert found.bytes == sum(each.stat().st_size for each in tmp_path.iterdir())
    assert (found.entries, found.limit_entries, found.evictions) == (3, 300, None)
    disk = os.statvfs(tmp_path)
    assert found.limit_bytes == pytest.approx(disk.f_frsize * disk.f_bavail, rel=0.2)


def test_a_key_that_nobody_recorded_is_known_by_its_digest_alone(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    cache.set("user:17", 1)
    found = look(cache)
    assert found.largest[0].key == f"{UNKNOWN_KEY} {file_name(cache, 'user:17')[:16]}"
    assert found.groups[0].group == f"{UNKNOWN_KEY} {{hash}}"


class SpreadCache(FileBasedCache):
    """A backend of the project's own that has a directory for each beginning of a digest."""

    def _key_to_file(self, key: str, version: Any = None) -> str:
        path = Path(super()._key_to_file(key, version))  # type: ignore[misc]  # not in the stubs
        return str(path.parent / path.name[:2] / path.name)

    def _createdir(self) -> None:
        for number in range(256):
            Path(vars(self)["_dir"], f"{number:02x}").mkdir(parents=True, exist_ok=True)


def test_a_class_that_names_its_files_itself_is_not_said_to_be_empty(tmp_path: Path) -> None:
    cache = SpreadCache(str(tmp_path), {})
    cache.set("menu", 1)
    found = look(cache)
    assert (cache.get("menu"), found.entries, found.exact) == (1, None, False)
    assert found.problem is not None
    assert "cannot be scanned" in found.problem


@pytest.fixture
def fresh(settings: Any) -> Iterator[None]:
    """A process that has recorded nothing: what earlier tests left waiting goes to no store of
    this one's, and may be more than one flush takes."""
    settings.CACHE_MONITOR = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}
    begin_anew()
    yield
    begin_anew()


@pytest.mark.django_db
def test_keys_are_known_from_the_recorded_calls(fresh: None) -> None:
    cache = caches["files"]
    cache.clear()
    cache.set("user:17", 1)
    cache.set("django.contrib.sessions.cachek7fz0q2m9x4b1v8c", {})
    assert cache_monitor.flush()
    found = look(cache, "files")
    groups = {each.group for each in found.groups}
    assert groups == {"user:{int}", f"{UNKNOWN_KEY} {{hash}}"}
    assert "user:17" in {each.key for each in found.largest}
    assert "k7fz" not in repr(found)
    # A scan that pauses for the site's threads meanwhile lets none wait for the names.
    locked: list[bool] = []
    limits = ScanLimits("files", 10, math.inf, 60)
    state = ScanState(scanned_at=time.time())
    names = local._file_names._values
    with_pauses, _ = advance(
        cache,
        limits,
        state,
        pace=lambda: locked.extend(each._lock.locked() for each in names.values()),
    )
    assert {each.group for each in with_pauses.groups} == groups
    # At the page, each row and the keys.
    assert len(locked) >= 3
    assert not any(locked)
    cache.clear()


@pytest.mark.django_db
def test_each_alias_of_a_directory_knows_its_own_keys(fresh: None, settings: Any) -> None:
    files = settings.CACHES["files"]
    settings.CACHES = {**settings.CACHES, "more": {**files, "KEY_PREFIX": "more"}}
    caches["files"].clear()
    caches["files"].set("menu", 1)
    caches["more"].set("news", 1)
    assert cache_monitor.flush()
    found = ScanScheduler().scan_due("p", get_store())
    keys = {alias: {each.key for each in found[alias].largest} for alias in ("files", "more")}
    assert [key for key in keys["files"] if UNKNOWN_KEY not in key] == ["menu"]
    assert [key for key in keys["more"] if UNKNOWN_KEY not in key] == ["news"]
    caches["files"].clear()


def test_a_directory_that_is_gone_holds_nothing_and_is_told(tmp_path: Path) -> None:
    cache = cache_in(tmp_path / "cache")
    (tmp_path / "cache").rmdir()
    found = look(cache)
    assert (found.entries, found.bytes) == (0, 0)
    assert found.problem is not None
    assert "gone" in found.problem
    assert not (tmp_path / "cache").exists()


def test_a_file_that_was_cut_midway_is_counted_and_told(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    cache.set_many({"a": "x", "b": "y"})
    cut = tmp_path / file_name(cache, "a")
    cut.write_bytes(cut.read_bytes()[:9])
    found = look(cache)
    assert (found.entries, found.expired, found.no_expiry) == (2, 0, 0)
    assert found.problem is not None
    assert "damaged" in found.problem


def test_an_empty_file_is_one_that_has_expired(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    (tmp_path / file_name(cache, "a")).touch()
    assert look(cache).expired == 1


_AS_NOBODY = """
import json, os, sys
import django
from django.conf import settings
settings.configure(CACHES={})
django.setup()
from django.core.cache.backends.filebased import FileBasedCache
from tests.scan.inspection import inspect_cache
cache = FileBasedCache(sys.argv[1], {})
os.setgid(65534)
os.setuid(65534)
found = inspect_cache("default", cache, limit=9, seconds=9, stale_after=9)
print(json.dumps([found.entries, found.problem]))
"""


def as_nobody(directory: Path) -> str:
    """What a user without any rights finds."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody without rights")
    root = Path(__file__).resolve().parents[2]
    run = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, str(directory)],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@pytest.fixture
def reachable() -> Iterator[Path]:
    """Not pytest's own, which each session that begins closes to others."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


def test_a_directory_that_may_not_be_read_is_told_and_raises_nothing(reachable: Path) -> None:
    closed = reachable / "cache"
    cache_in(closed).set("a", 1)
    closed.chmod(0o700)
    assert as_nobody(closed) == '[null, "PermissionError: Permission denied"]'


def test_files_that_may_not_be_read_are_counted_and_told(reachable: Path) -> None:
    cache = cache_in(reachable)
    cache.set("a", 1)
    (reachable / file_name(cache, "a")).chmod(0o600)
    assert as_nobody(reachable) == '[1, "Some files cannot be read (Permission denied)."]'


@pytest.mark.parametrize(
    ("read", "written", "idle"),
    [
        (100.0, 100.0, 10 * DAY - 100),  # never read since it was written
        (50.0, 100.0, 10 * DAY - 100),
        (9.5 * DAY, 100.0, None),  # it may have been read since, without a trace
        (8.5 * DAY, 100.0, 0.5 * DAY),
    ],
)
def test_access_times_that_are_written_once_a_day_tell_what_is_certain(
    read: float, written: float, idle: float | None
) -> None:
    assert idle_for(10 * DAY, read, written, "daily") == idle
    assert idle_for(10 * DAY, read, written, "each") == 10 * DAY - max(read, written)
    assert idle_for(10 * DAY, read, written, "none") is None


def test_on_a_network_access_times_tell_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client answers reads from its memory, of which the server knows nothing."""
    line = f"36 22 0:52 / {tmp_path} rw,relatime shared:2 - nfs4 server:/site rw"
    monkeypatch.setattr(base, "_mounts", lambda: [base.parse_mount(line)])
    cache = cache_in(tmp_path)
    cache.set("a", 1)
    found = look(cache)
    assert (found.entries, found.never_read, found.idle) == (1, None, None)


@pytest.mark.django_db
def test_evictions_are_asked_for_without_the_names_of_files(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_use(*_: object, **__: object) -> None:
        raise AssertionError("the store was read")

    monkeypatch.setattr(get_store(), "read", no_use)
    reading = read_evictions("files")
    assert reading is not None
    assert reading.full is False


def test_the_age_is_the_time_since_the_write(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    cache.set("a", 1, None)
    then = time.time() - 5000
    os.utime(tmp_path / file_name(cache, "a"), (then, then))
    (stale,) = look(cache).stale
    assert stale.age == pytest.approx(5000, abs=60)
    assert stale.idle == pytest.approx(5000, abs=60)
    assert set(stale.why) == {"idle", "never_read", "no_expiry"}


@pytest.fixture
def crowded(tmp_path: Path) -> FileBasedCache:
    """Two entries among things that are called like entries."""
    cache = cache_in(tmp_path)
    cache.set_many({"a": "x", "b": "y"}, 300)
    return cache


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _directory(path: Path) -> None:
    path.mkdir()


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        # By its name alone: the whole path may be too long for one.
        before = Path.cwd()
        os.chdir(path.parent)
        try:
            made.bind(path.name)
        finally:
            os.chdir(before)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _to_nothing(path: Path) -> None:
    path.symlink_to(path.parent / "nothing")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (_fifo, "is called like a file"),
        (_directory, "is called like a file"),
        (_socket, "is called like a file"),
        (_device, "is called like a file"),
        (_loop, "Too many levels of symbolic links"),
        (_to_nothing, None),
    ],
)
def test_what_is_no_file_is_no_entry_and_waited_for_by_nobody(
    crowded: FileBasedCache, tmp_path: Path, make: Callable[[Path], None], problem: str | None
) -> None:
    make(tmp_path / file_name(crowded, "odd"))
    found = look(crowded)
    assert (found.entries, found.no_expiry, found.exact) == (2, 0, True)
    assert (problem is None) == (found.problem is None)
    assert problem is None or problem in str(found.problem)


def test_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="Invalid argument"):
        read_head(str(pipe))


def test_a_link_to_a_file_is_one_as_for_django(crowded: FileBasedCache, tmp_path: Path) -> None:
    crowded.set("c", 1)
    stored = tmp_path / file_name(crowded, "c")
    stored.rename(tmp_path / "elsewhere")
    stored.symlink_to(tmp_path / "elsewhere")
    assert crowded.get("c") == 1
    found = look(crowded)
    assert (found.entries, found.problem) == (3, None)


def test_a_directory_that_is_emptied_meanwhile_has_only_what_is_left(
    crowded: FileBasedCache,
) -> None:
    source = scanner_for("default", crowded, Bounds())
    assert source is not None
    pages = source.pages("", 100)
    found = list(next(pages).entries)
    crowded.clear()
    found += [entry for page in pages for entry in page.entries]
    assert len(found) == 1
    assert source.problem is None


def test_of_a_huge_value_only_the_beginning_is_read(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    cache.set("a", 1, None)
    stored = tmp_path / file_name(cache, "a")
    with stored.open("r+b") as file:
        file.truncate(1 << 40)
    found = look(cache)
    assert (found.entries, found.bytes, found.no_expiry) == (1, 1 << 40, 1)


@pytest.mark.parametrize("timeout", [math.inf, math.nan, 1e300, 1e12])
def test_what_expires_in_thousands_of_years_never_does(tmp_path: Path, timeout: float) -> None:
    cache = cache_in(tmp_path)
    cache.set("a", 1, timeout)
    assert cache.get("a") == 1
    found = look(cache)
    assert (found.no_expiry, found.expired) == (1, 0)
    assert [(each.why, each.expires_in) for each in found.stale] == [(["no_expiry"], None)]
    assert decode(encode(found), Snapshot) == found


def test_what_expired_ever_so_long_ago_has_a_time(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)
    cache.set("a", 1, -math.inf)
    found = look(cache)
    assert found.expired == 1
    assert [each.expires_in for each in found.stale] == [-LONGEST]
