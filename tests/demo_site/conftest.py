"""A demo site that is set up once, and one that runs for all tests which only visit it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dashboard.visiting import axe_script
from tests.demo_site.site import Demo, RunningDemo, Visitor

__all__ = ["axe_script"]


@pytest.fixture(scope="session")
def running_demo(
    prepared_demo: Demo, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningDemo]:
    demo = prepared_demo.copy(tmp_path_factory.mktemp("running") / "var")
    with demo.running() as running:
        yield running


@pytest.fixture
def visitor(running_demo: RunningDemo) -> Visitor:
    return running_demo.visitor()
