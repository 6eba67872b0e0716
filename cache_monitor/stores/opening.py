"""Open the store that the settings name."""

from functools import cache

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from cache_monitor.conf import SETTING, StoreConf, get_conf
from cache_monitor.stores.base import Store, StoreError


def make_store(conf: StoreConf) -> Store:
    """The store that ``conf`` describes.

    Raises :class:`StoreError` where it cannot be imported or refuses its options.
    """
    try:
        store: Store = import_string(conf.backend)(**conf.options)
    except ImportError as error:
        raise StoreError(
            f"CACHE_MONITOR['STORE']['BACKEND'] names {conf.backend!r}, which cannot be imported: "
            f"{error}."
        ) from error
    except TypeError as error:
        raise StoreError(
            f"CACHE_MONITOR['STORE']['OPTIONS'] do not fit {conf.backend!r}: {error}."
        ) from error
    return store


@cache
def _current() -> Store:
    return make_store(get_conf().store)


def get_store() -> Store:
    """The store in force, one for the process. Raises :class:`StoreError`."""
    return _current()


def _forget(*, setting: str, **_: object) -> None:
    if setting == SETTING:
        _current.cache_clear()


setting_changed.connect(_forget, dispatch_uid="cache_monitor.stores")
