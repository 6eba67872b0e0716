"""A Redis Sentinel: the same program as a Redis server, in another mode."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.services import LOOPBACK, Server, answers_line, free_port, run_process

SERVICE: Final = "contract"
"""The name under which the sentinel knows the server that it watches."""


@contextmanager
def run_sentinel(command: str, watched: Server) -> Iterator[Server]:
    """A sentinel that watches the server ``watched``."""
    server = Server("sentinel", LOOPBACK, free_port())
    with tempfile.TemporaryDirectory(prefix="sentinel-") as directory:
        configuration = Path(directory) / "sentinel.conf"
        configuration.write_text(
            f"bind {server.host}\nport {server.port}\ndir {directory}\n"
            f"sentinel monitor {SERVICE} {watched.host} {watched.port} 1\n"
        )
        argv = [command, str(configuration), "--sentinel"]
        with run_process(argv, lambda: answers_line(server, b"PING", b"+PONG")):
            yield server
