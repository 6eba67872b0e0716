import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from unittest.mock import patch

import pytest
from django.test import override_settings

from cache_monitor.stores import base
from cache_monitor.stores.base import Store, StoreError, get_store
from cache_monitor.stores.memory import MemoryStore

MEMORY = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}


@override_settings(CACHE_MONITOR=MEMORY)
def test_all_threads_have_the_same_store() -> None:
    barrier = Barrier(4)

    def get() -> Store:
        barrier.wait()
        return get_store()

    with ThreadPoolExecutor(4) as pool:
        stores = [each.result() for each in [pool.submit(get) for _ in range(4)]]
    assert len(set(map(id, stores))) == 1


@override_settings(CACHE_MONITOR=MEMORY)
def test_other_settings_are_another_store() -> None:
    before = get_store()
    with override_settings(CACHE_MONITOR={**MEMORY, "HOT_KEYS": 10}):
        assert get_store() is not before


@override_settings(CACHE_MONITOR=MEMORY)
def test_a_store_that_could_not_be_made_is_tried_again() -> None:
    with (
        patch.object(base, "make_store", side_effect=StoreError("Not now.")),
        pytest.raises(StoreError),
    ):
        get_store()
    assert isinstance(get_store(), MemoryStore)


@override_settings(CACHE_MONITOR=MEMORY)
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_shares_neither_rows_nor_locks_with_its_parent() -> None:
    store = get_store()
    assert isinstance(store, MemoryStore)
    with store._lock, base._current._lock:
        child = os.fork()
        if child == 0:
            # Nothing but this may happen here, whatever comes of it.
            try:
                other = get_store()
                os._exit(0 if other is not store and other.prune(2**40) == 0 else 1)
            finally:
                os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
