"""What LocMemCache has of a written value is told of that write and of no other."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache.backends.locmem import LocMemCache
from django.http import HttpResponse

from cache_monitor.trace import NEVER, SECOND, UNKNOWN_VALUE, WRITE, Value
from cache_monitor.worker.trace_events import MOST_BYTES, EntryAccess, stored_value

Written = Callable[..., Value]


@pytest.fixture
def cache() -> LocMemCache:
    return LocMemCache("stored values", {})


def write(cache: LocMemCache, value: Any, timeout: float | None = 60.0) -> EntryAccess:
    began = int(time.time() * SECOND)
    cache.set("key", value, timeout)
    ended = int(time.time() * SECOND) + 1
    lasts = NEVER if timeout is None else int(timeout * SECOND)
    return EntryAccess(WRITE, "key", "1", began, ended, lasts)


def test_the_same_value_has_the_same_fingerprint_and_another_has_another(
    cache: LocMemCache,
) -> None:
    first, again, other = (
        stored_value(cache, write(cache, each), UNKNOWN_VALUE) for each in ("one", "one", "two")
    )
    assert first == again
    assert first.size > 10
    assert len({first.fingerprint, other.fingerprint, 0}) == 3


def test_an_entry_without_expiry_is_told_too(cache: LocMemCache) -> None:
    assert stored_value(cache, write(cache, "one", None), UNKNOWN_VALUE).fingerprint


def test_of_a_write_in_whose_place_is_another_nothing_is_told(cache: LocMemCache) -> None:
    before = write(cache, "one", 60)
    after = write(cache, "two", 90)
    known = Value(compute_time=5)
    assert stored_value(cache, before, known) == known
    assert stored_value(cache, after, known).compute_time == 5
    cache.delete("key")
    assert stored_value(cache, after, known) == known


def test_of_a_page_the_content_counts_and_not_its_headers(cache: LocMemCache) -> None:
    def page(content: str, **headers: str) -> int:
        response = HttpResponse(content, headers=headers)
        return stored_value(cache, write(cache, response), UNKNOWN_VALUE).fingerprint

    assert page("text", Expires="Monday") == page("text", Expires="Tuesday") > 0
    assert page("text") != page("other")


def test_what_is_too_large_has_no_fingerprint(cache: LocMemCache) -> None:
    found = stored_value(cache, write(cache, "x" * MOST_BYTES), UNKNOWN_VALUE)
    assert found.fingerprint == 0
    assert found.size > MOST_BYTES


def test_a_pickle_is_not_unpickled(cache: LocMemCache) -> None:
    assert stored_value(cache, write(cache, Loud()), UNKNOWN_VALUE).size


class Loud:
    def __setstate__(self, state: object) -> None:
        raise AssertionError("unpickled")

    def __getstate__(self) -> object:
        return {"HttpResponse": 1}


def test_a_subclass_that_keeps_its_entries_elsewhere_tells_nothing() -> None:
    class Elsewhere(LocMemCache):
        @property
        def _expire_info(self) -> Any:
            raise AttributeError

        @_expire_info.setter
        def _expire_info(self, value: Any) -> None:
            pass

    access = EntryAccess(WRITE, "key", "1", 0, 1, NEVER)
    assert stored_value(Elsewhere("elsewhere", {}), access, UNKNOWN_VALUE) == UNKNOWN_VALUE
