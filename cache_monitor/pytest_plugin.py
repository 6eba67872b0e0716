"""Fixtures for pytest. They need neither pytest-django nor, until one is used, the app.

The plugin is loaded in every project that has the package, so it imports nothing before that.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cache_monitor.testing import CapturedCalls

__all__ = ["assert_cache_calls", "cache_calls"]


@pytest.fixture
def cache_calls() -> "Iterator[CapturedCalls]":
    """The cache calls made so far in this test: see ``cache_monitor.testing``."""
    from cache_monitor.testing import capture_cache_calls  # noqa: PLC0415 - needs Django's settings

    with capture_cache_calls() as captured:
        yield captured


@pytest.fixture
def assert_cache_calls() -> "Callable[..., AbstractContextManager[CapturedCalls]]":
    """``cache_monitor.testing.assert_cache_calls``."""
    from cache_monitor import testing  # noqa: PLC0415 - needs Django's settings

    return testing.assert_cache_calls
