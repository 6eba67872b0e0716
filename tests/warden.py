"""Ends the servers of a test run that was killed: ``python -I -S warden.py``, see ``services``.

It reads from its standard input which process groups were started (``+ 123``) and which were
ended (``- 123``). The input ends when the test run does, however that came about.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path


def left_behind(lines: Iterable[str]) -> list[int]:
    """The groups that were started and not ended."""
    groups: dict[int, str] = {}
    for line in lines:
        what, group = line.split()
        if what == "+":
            groups[int(group)] = began(int(group))
        else:
            groups.pop(int(group), None)
    # One that ended by itself may have left its number to somebody else.
    return [group for group, then in groups.items() if began(group) in {then, ""}]


def began(pid: int) -> str:
    """When the process began, and nothing where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # The newest first: a server is no use to who was started after it.
    for group in reversed(left_behind(sys.stdin)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
