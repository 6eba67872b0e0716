"""The one collector of this process, joined to the recorder, the store and the inspectors."""

from collections.abc import Hashable

from django.core import mail
from django.core.cache import caches

from cache_monitor.backends.sizes import stored_size
from cache_monitor.collector import Collector
from cache_monitor.conf import get_conf
from cache_monitor.looks import Looker
from cache_monitor.recorder import recorder
from cache_monitor.stores.opening import get_store


def _measure(alias: str, key: Hashable, version: Hashable) -> int | None:
    return stored_size(caches[alias], key, version)


def _is_testing() -> bool:
    """Whether Django's test runner is at work. Its database is not ours to write to on our own:
    a second connection would meet the tests' locks, and keep the database from being dropped."""
    return hasattr(mail, "outbox")


collector = Collector(
    recorder,
    get_conf=get_conf,
    open_store=get_store,
    measure=_measure,
    look=Looker().look,
    is_testing=_is_testing,
)
