"""Write a file whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write to and to read from, which becomes the file ``path`` at the end: whoever
    reads that finds the old content or the new.

    A symbolic link is followed. Raises ``OSError``. Whatever is raised, inside or here, the file is
    then as it was.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise OSError(f"{path} is not a file.")
    # Beside the target, for a rename does not cross file systems.
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Put ``content`` into the file ``path`` as :func:`whole_file` does."""
    with whole_file(path) as file:
        file.write(content)
