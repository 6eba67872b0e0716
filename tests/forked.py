"""Commands of Django in processes that need not import it first, which is most of what one takes.

A server that has imported Django, and nothing of a project, forks a child for each command. It is
for commands that prepare or read something: how a process begins and ends is not theirs to show.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import json
import os
import runpy
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from tests.services import kill, start

ROOT: Final = Path(__file__).resolve().parents[1]
DEADLINE: Final = 300.0
"""For a command that would never end; how long one takes is not what is tested."""
NOTHING: Final[Mapping[str, str]] = {}
IMPORTED: Final = (
    "asyncio",
    "django.contrib.admin",
    "django.contrib.auth.management",
    "django.contrib.contenttypes.management",
    "django.contrib.staticfiles.finders",
    "django.core.cache.backends.db",
    "django.core.cache.backends.filebased",
    "django.core.cache.backends.locmem",
    "django.core.cache.backends.redis",
    "django.core.management.commands.migrate",
    "django.core.management.commands.shell",
    "django.db.backends.sqlite3.base",
    "django.template.backends.django",
    "django.test.client",
    "django.views.debug",
    "msgspec",
    "redis",
)
"""What most commands need and no settings are needed for."""


def run(
    command: Sequence[str], environment: Mapping[str, str] = NOTHING, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run what ``python`` could be given: ``-m`` and a module, ``-c`` and code, or a script, each
    with its arguments. The ``environment`` is added to that of this process."""
    whole = {**os.environ, **environment}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE)
        connection.connect(_server())
        with connection.makefile("rw", encoding="utf-8") as file:
            file.write(json.dumps([command, whole, str(cwd)]) + "\n")
            file.flush()
            code, out, err = json.loads(file.readline())
    return subprocess.CompletedProcess(command, code, out, err)


def printed(
    command: Sequence[str], environment: Mapping[str, str] = NOTHING, cwd: Path = ROOT
) -> str:
    """What a command prints that succeeds."""
    done = run(command, environment, cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _server() -> str:
    """The address of the server, which this process starts at its first command."""
    with _LOCK:
        return _started(os.getpid())


_LOCK: Final = threading.Lock()


@functools.cache
def _started(pid: int) -> str:
    """The server of the process ``pid``, which ends with it."""
    directory = tempfile.TemporaryDirectory(prefix="forked-")
    address = f"{directory.name}/socket"
    argv = [sys.executable, "-m", "tests.forked", address]
    process = start(argv, cwd=ROOT, stdout=subprocess.PIPE)
    atexit.register(directory.cleanup)
    atexit.register(kill, process)
    assert process.stdout is not None
    with process.stdout as begun:
        assert begun.read(1), "the server of commands has ended"
    return address


class _Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    request_queue_size = 64
    max_children = 64


class _Command(socketserver.StreamRequestHandler):
    """One command, in a child of its own."""

    def handle(self) -> None:
        asked = json.loads(self.rfile.readline())
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            code = _run(*asked)
            told = json.dumps([code, _written(out), _written(err)])
        self.wfile.write(told.encode() + b"\n")


def _written(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _run(command: list[str], environment: dict[str, str], cwd: str) -> int:
    """Be what ``python`` with this command would be; its exit status."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    kind = command[0] if command[0] in {"-m", "-c"} else ""
    what, *sys.argv[1:] = command[1:] if kind else command
    sys.argv[0] = kind if kind == "-c" else what
    paths = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [cwd if kind else str(Path(what).parent), *filter(None, paths)]
    try:
        if kind == "-c":
            exec(what, {"__name__": "__main__"})  # noqa: S102 - a test's own code
        elif kind:
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(what, run_name="__main__")
    except SystemExit as ending:
        return _status(ending.code)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _status(code: Any) -> int:
    if code is None or isinstance(code, int):
        return code or 0
    sys.stderr.write(f"{code}\n")
    return 1


def main() -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    with _Server(sys.argv[1], _Command) as server:
        sys.stdout.write("!")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
