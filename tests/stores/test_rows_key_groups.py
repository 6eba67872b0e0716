"""Groups of keys that one process has learned are those of all, and stay for days."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core.cache import cache
from django.test import override_settings

import cache_monitor
from cache_monitor.keys.grouping import MOST_TEMPLATES
from cache_monitor.stats.codec import compress
from cache_monitor.stores.base import Row, get_store
from cache_monitor.stores.memory import MemoryStore
from cache_monitor.stores.rows import known_groups, share_groups
from cache_monitor.worker import jobs
from tests.anew import begin_anew
from tests.keys.test_grouping_learned import WORDS

DAY = 86400
SHIRTS, USERS = "api:product:{text}", "avatar-img-{text}"


def test_each_process_adds_what_it_has_learned_and_gets_what_all_have() -> None:
    store = MemoryStore()
    assert known_groups(store) == frozenset()
    assert share_groups(store, frozenset({SHIRTS}), 1) == {SHIRTS}
    assert share_groups(store, frozenset({USERS}), 2) == {SHIRTS, USERS}
    assert share_groups(store, frozenset(), 3) == known_groups(store) == {SHIRTS, USERS}


def test_what_nobody_has_learned_is_not_written() -> None:
    store = MemoryStore()
    share_groups(store, frozenset(), 10 * DAY)
    assert list(store.read("groups", 0, 1, None)) == []


def test_they_stay_as_long_as_a_process_works_and_go_with_the_site() -> None:
    store = MemoryStore()
    share_groups(store, frozenset({SHIRTS}), 0)
    for day in range(1, 30):
        share_groups(store, frozenset(), day * DAY)
        store.prune((day - 7) * DAY)
    assert known_groups(store) == {SHIRTS}
    store.prune(40 * DAY)
    assert known_groups(store) == frozenset()


def test_they_are_bounded_and_the_same_in_whatever_order_they_come() -> None:
    names = [f"group-{number:03d}:{{text}}" for number in range(2 * MOST_TEMPLATES)]
    kept = []
    for order in (names, names[::-1]):
        store = MemoryStore()
        for name in order:
            share_groups(store, frozenset({name}), 1)
        kept.append(known_groups(store))
    assert len(kept[0]) == MOST_TEMPLATES
    assert kept[0] == kept[1]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x01other",
        compress([1, ["no such place"]]),
        compress([1, ["{text}" * 100]]),
        compress([1, [f"{n}{{text}}" for n in range(MOST_TEMPLATES + 1)]]),
    ],
)
def test_a_row_that_cannot_be_read_is_as_if_there_was_none(payload: bytes) -> None:
    store = MemoryStore()
    store.put([Row("groups", "", "", 0, 0, payload)], 1)
    assert known_groups(store) == frozenset()
    assert share_groups(store, frozenset({SHIRTS}), 2) == {SHIRTS}


@contextmanager
def _site() -> Iterator[None]:
    """A process that has recorded and learned nothing, before an empty store."""
    memory = {"STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"}}
    with override_settings(CACHE_MONITOR=memory):
        begin_anew()
        yield
        begin_anew()


def _groups() -> set[str]:
    assert cache_monitor.flush()
    return {each.group for each in cache_monitor.report().caches["default"].key_groups}


@pytest.mark.django_db
def test_a_new_process_draws_the_groups_of_one_whose_rows_are_gone() -> None:
    with _site():
        for word in WORDS:
            cache.get(f"api:product:{word}-shirt")
        assert _groups() == {SHIRTS}
        jobs._share_groups(get_store())
        [row] = get_store().read("groups", 0, 1, None)
    with _site():
        get_store().put([row], int(time.time()))
        cache.get("api:product:one-more-shirt")
        assert _groups() == {SHIRTS}
    with _site():
        cache.get("api:product:one-more-shirt")
        assert _groups() == {"api:product:one-more-shirt"}
