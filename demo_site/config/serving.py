"""Who serves the demo, as run.sh tells."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Serving:
    """The server's name and the number of its processes."""

    server: str
    processes: int

    @property
    def has_several_processes(self) -> bool:
        return self.processes > 1

    @property
    def pid(self) -> int:
        """The process that answers."""
        return os.getpid()


SERVING = Serving(
    server=os.environ.get("DEMO_SERVER", "runserver"),
    processes=int(os.environ.get("DEMO_WORKERS", "1")),
)
