"""A disk so small that a test can fill it."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_BALLAST = 64 * 1024
_SMALLEST = 100


class NoDisk(Exception):
    """None can be had here, for the reason given."""


@contextmanager
def small_disk(directory: Path, megabytes: int) -> Iterator[None]:
    """A file system of its own at ``directory``, as large as that. Raises :class:`NoDisk`."""
    options = f"size={megabytes}m,mode=0777"
    _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory))
    try:
        yield
    finally:
        # Lazily: a server may not have closed all its files yet.
        _run("umount", "--lazy", str(directory))


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise NoDisk(f"there is no {command[0]}") from error
    except subprocess.CalledProcessError as error:
        raise NoDisk(error.stderr.strip()) from error


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """No byte more goes onto the ``disk``."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"\0" * _BALLAST):
            pass
    try:
        yield
    finally:
        ballast.unlink()


def use_up(write: Callable[[bytes], object], largest: int, refusals: type[Exception]) -> None:
    """Call ``write`` with ever smaller values until it takes none: a server on a full disk still
    has the room that it took before."""
    size = largest
    while size >= _SMALLEST:
        with suppress(refusals):
            while True:
                write(os.urandom(size))
        size //= 20
