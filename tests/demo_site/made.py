"""The demo as ``make demo`` runs it: every process of it, and the Ctrl-C that ends them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from tests.demo_site.site import ROOT, Demo, RunningDemo
from tests.services import LOOPBACK, free_port, kill, start

START_DEADLINE: Final = 120.0
END_DEADLINE: Final = 60.0
READY: Final = "Ctrl-C ends it"


def installed(directory: Path, python: str = sys.executable) -> Path:
    """What ``make`` takes for an environment in which all is installed: that of the tests."""
    interpreter = directory / "venv" / "bin" / "python"
    interpreter.parent.mkdir(parents=True)
    interpreter.write_text(f'#!/bin/sh\nexec "{python}" "$@"\n')
    interpreter.chmod(0o755)
    (directory / "venv" / ".installed-demo").touch()
    return directory / "venv"


@contextmanager
def no_longer_than(process: subprocess.Popen[str], seconds: float) -> Iterator[None]:
    """Kill all processes of a demo that takes longer, which ends what reads from them."""
    late = threading.Event()

    def kill() -> None:
        late.set()
        os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(seconds, kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    assert not late.is_set(), f"still running after {seconds} s"


@dataclass(frozen=True)
class MadeDemo(RunningDemo):
    """A demo that ``make`` runs, and what it has said so far."""

    process: subprocess.Popen[str]
    said: str

    def interrupt(self) -> str:
        """Press Ctrl-C: the terminal sends it to all in the foreground. All that they printed, once
        the last of them has closed its end of the pipe, and so has ended."""
        os.killpg(self.process.pid, signal.SIGINT)
        with no_longer_than(self.process, END_DEADLINE):
            return self.said + printed(self.process).read()


def printed(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def make(demo: Demo, venv: Path, port: int, **choices: str) -> subprocess.Popen[str]:
    """Start ``make demo`` with ``choices`` such as WORKERS."""
    words = [f"{name}={value}" for name, value in {"PORT": str(port), **choices}.items()]
    return start(
        ["make", "demo", f"VENV={venv}", *words],
        cwd=ROOT,
        env=demo.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def refused(demo: Demo, venv: Path, port: int, **choices: str) -> str:
    """What ``make demo`` says where it does not begin."""
    process = make(demo, venv, port, **choices)
    try:
        with no_longer_than(process, START_DEADLINE):
            output, _ = process.communicate()
        assert process.returncode != 0
        return str(output)
    finally:
        kill(process)


@contextmanager
def made(demo: Demo, venv: Path, **choices: str) -> Iterator[MadeDemo]:
    """``make demo`` from the moment when it says where it is until the block ends."""
    port = free_port()
    process = make(demo, venv, port, **choices)
    try:
        with no_longer_than(process, START_DEADLINE):
            said = said_until_ready(process)
        yield MadeDemo(demo, f"http://{LOOPBACK}:{port}", process, said)
    finally:
        kill(process)
        printed(process).close()


def said_until_ready(process: subprocess.Popen[str]) -> str:
    said = ""
    for line in printed(process):
        said += line
        if READY in line:
            return said
    raise AssertionError(f"the demo ended; it printed:\n{said}")
