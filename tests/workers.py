"""How the tests are spread over the workers of pytest-xdist.

Tests that share what is slow to set up stay together on one worker, and so do those of a module;
what comes next goes to whoever is free. The groups come first and the quick modules last, so that
no worker has a long group before it when the others are done. Within that the order stays random.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from xdist.scheduler import LoadGroupScheduling

from tests import at_once

MOST_WORKERS: Final = 2
"""By default: enough for what a hosted machine has, and no burden for one that does more."""

SERVERS: Final = {
    "postgresql": ("postgresql",),
    "mariadb": ("mariadb",),
    "redis": ("redis", "sentinel", "cluster", "shard"),
    "memcached": ("memcached", "pylibmc"),
}
"""A group for each server that tests share, the costliest to start first: a test that needs
several of them is in the first one's. With each the words of which a parameter has one that asks
for it."""

GROUP_OF_FIXTURE: Final = {
    "demo_site": "demo in a browser",
    "gallery": "gallery",
    "prepared_demo": "demo",
    "built": "documentation",
    "elsewhere": "types",
}
"""What else runs for several tests, where no module says so by a mark of its own: the first that
a test asks for."""


def workers() -> int:
    """How many there are without ``-n``: two, where there are as many cores."""
    return min(MOST_WORKERS, len(os.sched_getaffinity(0)))


def on_server(parameter: str) -> list[pytest.MarkDecorator]:
    """The marker of the server that a parameter of this name asks for while the test runs."""
    return [
        getattr(pytest.mark, server)
        for server, words in SERVERS.items()
        if any(word in parameter for word in words)
    ]


def keep_together(item: pytest.Item) -> None:
    """Give a test its group, unless its module does."""
    if item.get_closest_marker("xdist_group"):
        return
    if group := at_once.group_of(item):
        item.add_marker(pytest.mark.xdist_group(group))
        return
    fixtures = set(getattr(item, "fixturenames", ()))
    groups = [group for name, group in GROUP_OF_FIXTURE.items() if name in fixtures]
    groups += [server for server in SERVERS if item.get_closest_marker(server)]
    if groups:
        item.add_marker(pytest.mark.xdist_group(groups[0]))


def order(items: list[pytest.Item]) -> None:
    """Groups first, then the modules with tests that take seconds, then those of many tests, then
    the rest. Of the groups that wait at once one begins and one ends, so that the one's processes
    are not the other's load."""
    sizes = Counter(item.path for item in items)
    items.sort(key=lambda item: _weight(item, sizes[item.path]))


MANY: Final = 40
"""Tests in a module that are best not begun last."""


def _weight(item: pytest.Item, size: int) -> int:
    if item.get_closest_marker("xdist_group"):
        return {"processes": 0, "demo": 2}.get(at_once.group_of(item) or "", 1)
    if item.get_closest_marker("slow"):
        return 3
    return 4 if size >= MANY else 5


class Scheduling(LoadGroupScheduling):  # type: ignore[misc]  # pytest-xdist tells no types
    """Hands out groups, and what is in none by modules: what a module sets up is set up once."""

    def _split_scope(self, nodeid: str) -> str:
        scope: str = super()._split_scope(nodeid)
        return nodeid.partition("::")[0] if scope == nodeid else scope


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A directory of this test run that the first worker who asks for it fills, for all of them to
    read."""
    own = factory.getbasetemp()
    root = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    target = root / name
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            begun = Path(tempfile.mkdtemp(prefix=name, dir=root))
            make(begun)
            begun.rename(target)
    return target
