"""A site with a store of its own, and what its caches did."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import caches
from django.test import Client, override_settings

from cache_monitor.endpoints import digest, make_token
from cache_monitor.stores.base import Store, get_store
from cache_monitor.stores.rows import DAY
from tests.anew import begin_anew

LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
TOKEN = make_token()


def wait_for_midnight(seconds: float) -> None:
    """Counters begin anew at midnight (UTC): let that be over if it is due within ``seconds``."""
    left = DAY - time.time() % DAY
    if left < seconds:
        time.sleep(left + 0.1)


@pytest.fixture
def store() -> Iterator[Store]:
    """The store, empty, of a site with two caches that has recorded nothing."""
    wait_for_midnight(15)
    conf = {
        "STORE": {"BACKEND": "cache_monitor.stores.memory.MemoryStore"},
        "EXPORT_TOKENS": [digest("another"), digest(TOKEN)],
    }
    other = {**LOCMEM, "LOCATION": "other"}
    with override_settings(CACHES={"default": LOCMEM, "other": other}, CACHE_MONITOR=conf):
        begin_anew()
        yield get_store()
        begin_anew()
        caches["default"].clear()


@pytest.fixture
def broken_store() -> Iterator[None]:
    """A site whose store cannot be opened."""
    conf = {"STORE": {"BACKEND": "nowhere.Store"}, "EXPORT_TOKENS": [digest(TOKEN)]}
    with override_settings(CACHE_MONITOR=conf):
        begin_anew()
        yield
        begin_anew()


@pytest.fixture
def program() -> Client:
    """A program with a token of the settings'."""
    return Client(headers={"Authorization": f"Bearer {TOKEN}"})


@pytest.fixture
def log_in(db: None) -> Callable[..., Client]:
    """A browser with the session of somebody."""

    def log_in(*, staff: bool = True, permitted: bool = True, active: bool = True) -> Client:
        user = User.objects.create(username="somebody", is_staff=staff, is_active=True)
        if permitted:
            user.user_permissions.add(Permission.objects.get(codename="view_dashboard"))
        client = Client()
        client.force_login(user)
        User.objects.update(is_active=active)
        return client

    return log_in
