"""Open the store that the settings name."""

from threading import Lock

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from cache_monitor.conf import SETTING, StoreConf, get_conf
from cache_monitor.forks import call_in_forked_children
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


class _Current:
    """The store in force."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Open it anew when it is next asked for."""
        self._store: Store | None = None
        self._lock = Lock()

    def get(self) -> Store:
        """The one store, whichever thread is first to ask: two would share no memory."""
        with self._lock:
            if self._store is None:
                self._store = make_store(get_conf().store)
            return self._store


_current = _Current()
# A forked child has its parent's connections, and locks that nobody will release.
call_in_forked_children(_current.forget)


def get_store() -> Store:
    """The store in force, one for the process. Raises :class:`StoreError`."""
    return _current.get()


def _forget(*, setting: str, **_: object) -> None:
    if setting == SETTING:
        _current.forget()


setting_changed.connect(_forget, dispatch_uid="cache_monitor.stores")
