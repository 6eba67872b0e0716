"""A ledger of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cache_monitor.ledger import Ledger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    ledger = Ledger(path, slots=1024)
    yield ledger
    ledger.close()
