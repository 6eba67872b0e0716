"""Looking into memcached, when all is well and when it is not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.memcached import PyLibMCCache, PyMemcacheCache

from cache_monitor.scan import entries
from cache_monitor.scan.backends import scanner_for
from cache_monitor.scan.base import Bounds, ScanLimits
from cache_monitor.scan.memcached import Connection
from cache_monitor.scan.schedule import ScanState, advance
from cache_monitor.scan.snapshot import Snapshot
from cache_monitor.stats.codec import decode, encode
from tests.conftest import find_or_leave
from tests.scan.inspection import inspect_cache
from tests.services import LOOPBACK, MEMCACHED, Server, answers_line, free_port, run_process


@pytest.fixture
def made() -> Iterator[list[Any]]:
    """The caches of a test, hung up at its end."""
    caches: list[Any] = []
    yield caches
    for each in caches:
        each.close()


def cache_on(made: list[Any], *servers: str, backend: Any = PyMemcacheCache, **params: Any) -> Any:
    made.append(backend(list(servers), {"KEY_PREFIX": "mine", **params}))
    return made[-1]


def look(cache: Any) -> Snapshot:
    return inspect_cache("default", cache, limit=100_000, seconds=10, stale_after=60)


@contextmanager
def memcached(config: pytest.Config, *options: str) -> Iterator[Server]:
    """A server of one's own with ``options``."""
    server = Server("memcached", LOOPBACK, free_port())
    command = [find_or_leave(MEMCACHED, config), "-l", server.host, "-p", str(server.port)]
    argv = [*command, "-U", "0", "-u", "nobody", *options]
    with run_process(argv, lambda: answers_line(server, b"version", b"VERSION")):
        yield server


def test_a_server_that_was_restarted_counts_from_another_start(
    made: list[Any], pytestconfig: pytest.Config
) -> None:
    boots = []
    for _ in range(2):
        with memcached(pytestconfig) as server:
            boots.append([look(cache_on(made, server.address)).boot for _ in range(2)])
    (first, again), (other, _) = boots
    assert first == again != ""
    assert other != first


def test_the_servers_limits_and_evictions_are_told(
    made: list[Any], pytestconfig: pytest.Config
) -> None:
    with memcached(pytestconfig, "-m", "2") as server:
        cache = cache_on(made, server.address)
        for number in range(600):
            cache.set(f"a:{number}", "x" * 10_000)
        found = look(cache)
    assert found.limit_bytes == 2 * 1024 * 1024
    assert found.evictions
    assert 0 < (found.entries or 0) < 600
    assert found.exact


def test_several_servers_are_added_up(
    made: list[Any], memcached_server: Server, second_memcached: Server
) -> None:
    both = cache_on(made, memcached_server.address, second_memcached.address)
    both.clear()
    both.set_many({f"a:{number}": "x" for number in range(200)})
    singles = [
        look(cache_on(made, server.address)) for server in (memcached_server, second_memcached)
    ]
    found = look(both)
    assert all(each.entries for each in singles)
    assert found.entries == sum(each.entries or 0 for each in singles) == 200
    assert found.bytes == sum(each.bytes or 0 for each in singles)
    assert found.limit_bytes == sum(each.limit_bytes or 0 for each in singles)
    assert found.evictions == sum(each.evictions or 0 for each in singles)


def test_a_server_that_is_down_leaves_the_others_part(
    made: list[Any], memcached_server: Server
) -> None:
    down = f"{LOOPBACK}:{free_port()}"
    alone = cache_on(made, memcached_server.address)
    alone.clear()
    alone.set("a", "x")
    found = look(cache_on(made, down, memcached_server.address))
    assert (found.entries, found.exact) == (1, False)
    # Without its part the sum of the evictions would fall, as counters never do.
    assert found.limit_bytes
    assert found.evictions is None
    assert found.problem == "One of the servers cannot be asked (ConnectionRefusedError: " + (
        "Connection refused)."
    )


def test_the_only_server_being_down_is_told_and_raises_nothing(made: list[Any]) -> None:
    found = look(cache_on(made, f"{LOOPBACK}:{free_port()}"))
    assert (found.entries, found.bytes, found.exact, found.limit_bytes) == (None, None, False, None)
    assert found.problem == "ConnectionRefusedError: Connection refused"


def test_without_the_crawler_the_servers_own_figures_are_told(
    made: list[Any], pytestconfig: pytest.Config
) -> None:
    with memcached(pytestconfig, "-m", "5", "-o", "no_lru_crawler") as server:
        cache = cache_on(made, server.address)
        cache.set("a", "x")
        found = look(cache)
    assert (found.entries, found.exact) == (None, False)
    assert (found.limit_bytes, found.evictions) == (5 * 1024 * 1024, 0)
    assert found.problem == "The server refuses lru_crawler."


MANY = 30_000


@pytest.fixture
def crowded(pytestconfig: pytest.Config) -> Iterator[Server]:
    """More entries than the least that is listed."""
    with memcached(pytestconfig, "-m", "64") as server:
        with socket.create_connection((server.host, server.port)) as connection:
            stored = [b"set mine:1:item:%d 0 0 1 noreply\r\nx\r\n" % each for each in range(MANY)]
            connection.sendall(b"".join([*stored, b"version\r\n"]))
            assert connection.recv(64).startswith(b"VERSION")
        yield server


def test_a_listing_that_takes_too_long_is_cut_and_stands_for_the_rest(
    made: list[Any], crowded: Server
) -> None:
    cache = cache_on(made, crowded.address)
    found = inspect_cache("default", cache, limit=100_000, seconds=0, stale_after=60)
    assert 0 < found.examined < MANY
    assert not found.exact
    assert found.entries == pytest.approx(MANY, rel=0.3)
    assert found.problem is not None
    assert "no time to list all entries" in found.problem


def test_a_pass_of_listings_that_were_cut_ends_with_an_estimate(
    made: list[Any], crowded: Server
) -> None:
    cache, looks = cache_on(made, crowded.address), 1
    no_time = ScanLimits("default", 100_000, 0.0, 60)
    snapshot, progress = advance(cache, no_time, ScanState(scanned_at=time.time()))
    while progress.cursor:
        snapshot, progress = advance(cache, no_time, decode(encode(progress), ScanState))
        looks += 1
        assert looks < 20
    assert snapshot.examined < MANY
    assert (snapshot.exact, progress.whole) == (False, None)
    assert snapshot.entries == pytest.approx(MANY, rel=0.3)


def test_whoever_has_had_enough_of_a_long_listing_can_end_it_and_go_on_later(
    made: list[Any], crowded: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cache_monitor.scan.memcached._HEARTBEAT", 0.0)
    cache = cache_on(made, crowded.address)
    asked: list[int] = []

    def enough(scanned: int, _: object) -> bool:
        asked.append(scanned)
        return False

    terms = ScanLimits("default", 100_000, time.monotonic() + 600, 60)
    snapshot, progress = advance(cache, terms, ScanState(scanned_at=time.time()), enough)
    assert (asked, snapshot.examined, snapshot.exact) == ([0], 0, False)
    snapshot, progress = advance(cache, terms, progress)
    assert (snapshot.entries, snapshot.exact, snapshot.problem) == (MANY, True, None)


def test_a_step_of_a_deletion_finds_what_to_delete_however_long_the_listing_takes(
    crowded: Server, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr("cache_monitor.scan.memcached._HEARTBEAT", 0.0)
    backend = "django.core.cache.backends.memcached.PyMemcacheCache"
    settings.CACHES = {
        "default": {"BACKEND": backend, "LOCATION": crowded.address, "KEY_PREFIX": "mine"}
    }
    step = entries.delete_step("default", entries.Selection(), seconds=0)
    assert (step.entries, step.problem) == (250, None)
    assert step.cursor is not None
    step = entries.delete_step("default", entries.Selection(), cursor=step.cursor, seconds=0)
    assert step.entries == 250
    whole = entries.measure("default", entries.Selection(), seconds=60)
    assert whole.entries == MANY - 500
    caches["default"].close()


def test_keys_of_any_bytes_are_listed(made: list[Any], memcached_server: Server) -> None:
    cache = cache_on(made, memcached_server.address)
    cache.clear()
    address = (memcached_server.host, memcached_server.port)
    with socket.create_connection(address) as connection:
        connection.sendall(b"set mine:1:\xff\xfe<b> 0 0 1\r\nx\r\n")
        assert connection.recv(64) == b"STORED\r\n"
    found = look(cache)
    assert (found.entries, found.problem) == (1, None)
    assert [each.key for each in found.largest] == [r"\xff\xfe<b>"]
    opened = scanner_for("default", cache, Bounds())
    assert opened is not None
    assert [each.known for page in opened.pages("", 100) for each in page.entries] == [False]
    opened.close()


def test_a_server_that_does_not_answer_is_given_up(
    made: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cache_monitor.scan.base.ANSWER_SECONDS", 0.2)
    with socket.create_server((LOOPBACK, 0)) as silent:
        found = look(cache_on(made, f"{LOOPBACK}:{silent.getsockname()[1]}"))
    assert found.entries is None
    assert found.problem is not None
    assert found.problem.startswith("TimeoutError")


def test_a_server_that_hangs_up_is_told(made: list[Any]) -> None:
    with socket.create_server((LOOPBACK, 0)) as rude:

        def hang_up() -> None:
            connection, _ = rude.accept()
            connection.recv(64)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        found = look(cache_on(made, f"{LOOPBACK}:{rude.getsockname()[1]}"))
        thread.join()
    assert found.problem is not None
    assert "ended the connection" in found.problem


@pytest.mark.parametrize("prefix", ["", "unix:"])
def test_a_unix_socket_is_reached(
    made: list[Any], pytestconfig: pytest.Config, tmp_path: Path, prefix: str
) -> None:
    path = tmp_path / "socket"
    argv = [find_or_leave(MEMCACHED, pytestconfig), "-s", str(path), "-a", "0777", "-u", "root"]
    with run_process(argv, path.exists):
        cache = cache_on(made, f"{prefix}{path}")
        cache.set("a", "x")
        found = look(cache)
    assert (found.entries, found.problem) == (1, None)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_pylibmc_is_looked_into_as_well(made: list[Any], memcached_server: Server) -> None:
    pytest.importorskip("pylibmc")
    cache = cache_on(made, memcached_server.address, backend=PyLibMCCache)
    cache.clear()
    cache.set("a", "x", None)
    found = look(cache)
    assert (found.entries, found.no_expiry, found.never_read) == (1, 1, 1)


def test_a_prefix_of_the_library_is_taken_off(made: list[Any], memcached_server: Server) -> None:
    cache = cache_on(made, memcached_server.address, OPTIONS={"key_prefix": b"lib:"})
    cache.clear()
    cache.set("user:17", "x")
    cache_on(made, memcached_server.address).set("other", "x")
    found = look(cache)
    assert [each.key for each in found.largest] == ["user:17"]


def test_a_key_function_that_hides_whose_a_key_is_is_told(
    made: list[Any], memcached_server: Server
) -> None:
    cache = cache_on(made, memcached_server.address, KEY_FUNCTION=lambda key, *_: key)
    found = look(cache)
    assert found.entries is None
    assert found.problem is not None
    assert "KEY_FUNCTION" in found.problem


@pytest.mark.parametrize(
    "server", ["no host:x", "::::", ("127.0.0.1", 1), "127.0.0.1:1", "[::1]:1", "inet6:[::1]:1"]
)
def test_no_location_raises(made: list[Any], server: Any) -> None:
    cache = cache_on(made, "127.0.0.1:1")
    assert cache._cache is not None  # the library's client is made of what it takes
    cache._servers = [server]
    assert look(cache).problem


def test_looking_at_an_entry_leaves_the_next_answers_readable(
    made: list[Any], memcached_server: Server
) -> None:
    cache = cache_on(made, memcached_server.address)
    cache.set("a", "x", 500)
    connection = Connection(memcached_server.address)
    assert connection.entry(b"mine:1:a") is not None
    assert connection.entry(b"mine:1:missing") is None
    assert "curr_items" in connection.stats()
    assert any(line.startswith(b"key=mine%3A1%3Aa ") for line in connection.dump())
    connection.close()
