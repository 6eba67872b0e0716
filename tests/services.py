"""Starts the real servers that tests talk to, and finds the programs that this takes."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

LOOPBACK: Final = "127.0.0.1"
POLL_INTERVAL: Final = 0.05
STOP_DEADLINE: Final = 10.0


@dataclass(frozen=True)
class Program:
    """Something the machine may have installed, under one of several command names."""

    name: str
    commands: tuple[str, ...]
    debian_package: str

    def find(self) -> str | None:
        return next((path for name in self.commands if (path := shutil.which(name))), None)

    @property
    def how_to_get_it(self) -> str:
        return f"apt-get install {self.debian_package}"


REDIS: Final = Program("Redis", ("redis-server",), "redis-server")
MEMCACHED: Final = Program("memcached", ("memcached",), "memcached")
CHROMIUM: Final = Program("Chromium", ("chromium", "chromium-browser", "google-chrome"), "chromium")
PROMETHEUS: Final = Program("Prometheus", ("prometheus",), "prometheus")
PROMTOOL: Final = Program("promtool", ("promtool",), "prometheus")
TMUX: Final = Program("tmux", ("tmux",), "tmux")


@dataclass(frozen=True)
class Server:
    """Where a started server listens."""

    scheme: str
    host: str
    port: int

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.address}"


class ServerFailedError(AssertionError):
    """A server ended, or did not answer in time; the message holds what it printed."""


@dataclass(frozen=True)
class RunningProcess:
    """A process that a test started, and what it has printed so far."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")


_FIRST_PORT: Final = 15_000
_PORTS: Final = itertools.count(_FIRST_PORT + os.getpid() * 61 % 10_000)
_LEASES: Final[list[int]] = []
"""The descriptors by which this process holds ports until it ends."""


def free_port() -> int:
    """A port of the loopback interface that nothing listens on, and that is this process's own: no
    other test run on the machine is given it meanwhile, nor does the system give it to a client,
    for which it has higher ones."""
    return next(port for port in _PORTS if _lease(port) and _is_free(port))


def _lease(port: int) -> bool:
    """Hold a name for the port, which no two processes can have and which goes with ours."""
    if sys.platform != "linux":
        return True
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0django-cache-monitor-tests-{port}")
    except OSError:
        name.close()
        return False
    _LEASES.append(name.detach())
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


@contextmanager
def run_server(
    argv: Sequence[str],
    env: Mapping[str, str],
    url: str,
    *,
    cwd: Path | None = None,
    deadline: float = 30.0,
) -> Iterator[RunningProcess]:
    """Run an HTTP server in a process of its own, from its first answer until the block ends.

    ``env`` is added to this process's environment.
    """
    with run_process(argv, lambda: answers_http(url), env=env, cwd=cwd, deadline=deadline) as it:
        yield it


@contextmanager
def run_process(
    argv: Sequence[str],
    answers: Callable[[], bool],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    deadline: float = 30.0,
) -> Iterator[RunningProcess]:
    """Run a process from the moment ``answers`` is true until the block ends."""
    # A file, not a pipe: nobody would read a pipe while the test runs, and it would fill up.
    with tempfile.NamedTemporaryFile(prefix="server-", suffix=".log") as log:
        process = start(
            argv,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        running = RunningProcess(process, Path(log.name))
        try:
            _wait_until(answers, running, deadline)
            yield running
        finally:
            stop(process)


def start(argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """A process in a group of its own, so that ``stop()`` reaches the processes that it starts. If
    this one is killed, those are too."""
    process = subprocess.Popen(argv, start_new_session=True, **options)
    _tell_warden(f"+ {process.pid}")
    return process


@functools.cache
def _warden(pid: int) -> subprocess.Popen[str]:
    """The warden of the process ``pid``: it waits for it to end, and outlives it for a moment."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(__file__).with_name("warden.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


_WARDENS_LOCK: Final = threading.Lock()


def _tell_warden(line: str) -> None:
    with _WARDENS_LOCK:
        told = _warden(os.getpid()).stdin
        assert told is not None
        told.write(f"{line}\n")
        told.flush()


def _wait_until(answers: Callable[[], bool], running: RunningProcess, deadline: float) -> None:
    ends = time.monotonic() + deadline
    while not answers():
        if running.process.poll() is not None:
            msg = f"{running.process.args!r} ended with {running.process.returncode}"
        elif time.monotonic() > ends:
            msg = f"{running.process.args!r} did not answer within {deadline} s"
        else:
            time.sleep(POLL_INTERVAL)
            continue
        raise ServerFailedError(f"{msg}; it printed:\n{running.output}")


def stop(process: subprocess.Popen[Any]) -> None:
    """End the process and those it started: politely, then by force."""
    _signal_group(process, signal.SIGTERM)
    try:
        process.wait(STOP_DEADLINE)
    except subprocess.TimeoutExpired:
        pass
    finally:
        kill(process)


def wait_for_group(process: subprocess.Popen[Any], seconds: float = 60.0) -> None:
    """Until the process has ended, and those that it started: on a busy machine they may still be
    at what they do at their end."""
    process.wait(seconds)
    ends = time.monotonic() + seconds
    while _group_is_running(process.pid):
        assert time.monotonic() < ends, f"a child of {process.args!r} runs on"
        time.sleep(POLL_INTERVAL)


def _group_is_running(group: int) -> bool:
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group, *_ = path.read_text().rpartition(")")[2].split()
            if int(its_group) == group and state not in {"Z", "X"}:
                return True
    return False


def kill(process: subprocess.Popen[Any]) -> None:
    """End the process and those it started by force."""
    _signal_group(process, signal.SIGKILL)
    process.wait()
    _tell_warden(f"- {process.pid}")


def _signal_group(process: subprocess.Popen[Any], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def answers_http(url: str) -> bool:
    """Whether a server answers there, whatever the status."""
    try:
        urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - a URL of the test's own
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        return False
    return True


def answers_line(server: Server, question: bytes, expected: bytes) -> bool:
    """Whether a server with a line protocol gives the expected answer."""
    try:
        with socket.create_connection((server.host, server.port), timeout=1) as connection:
            connection.sendall(question + b"\r\n")
            return connection.recv(64).startswith(expected)
    except OSError:
        return False


COPIED_AT_ONCE: Final = ("--repl-diskless-sync-delay", "0")
"""A Redis server waits five seconds for further replicas before it sends the first its data."""


@contextmanager
def run_redis(command: str) -> Iterator[Server]:
    """A Redis server that keeps nothing on disk."""
    server = Server("redis", LOOPBACK, free_port())
    with tempfile.TemporaryDirectory(prefix="redis-") as directory:
        argv = [command, "--bind", server.host, "--port", str(server.port), "--dir", directory]
        argv += ["--save", "", "--appendonly", "no", *COPIED_AT_ONCE]
        with run_process(argv, lambda: answers_line(server, b"PING", b"+PONG")):
            yield server


@contextmanager
def run_memcached(command: str, *options: str) -> Iterator[Server]:
    """A memcached server on TCP alone."""
    server = Server("memcached", LOOPBACK, free_port())
    argv = [command, "-l", server.host, "-p", str(server.port), "-U", "0", *options]
    if os.geteuid() == 0:
        argv += ["-u", "nobody"]  # it refuses to run as root
    with run_process(argv, lambda: answers_line(server, b"version", b"VERSION")):
        yield server
