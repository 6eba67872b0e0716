"""Open the store that the settings name."""

from django.utils.functional import Promise
from django.utils.module_loading import import_string

from cache_monitor.conf import SETTING, StoreConf, get_conf
from cache_monitor.forks import call_in_forked_children, new_lock
from cache_monitor.interruptions import let_pass
from cache_monitor.setting_changes import forget_on_change
from cache_monitor.stores.base import Store, StoreError
from cache_monitor.stores.choice import chosen_store, in_memory
from cache_monitor.stores.surroundings import is_testing


def make_store(conf: StoreConf) -> Store:
    """The store that ``conf`` describes.

    Raises :class:`StoreError` where it cannot be imported or refuses its options.
    """
    path = str(conf.backend)
    try:
        store: Store = import_string(path)(**conf.options)
    except ImportError as error:
        raise StoreError(
            f"CACHE_MONITOR['STORE']['BACKEND'] names {path!r}, which cannot be imported: {error}."
        ) from error
    except TypeError as error:
        raise StoreError(
            f"CACHE_MONITOR['STORE']['OPTIONS'] do not fit {path!r}: {error}."
        ) from error
    return store


def import_store() -> None:
    """Import the store in force while the site starts, and no later: the thread that opens it may
    do so at the process's end, or while another thread forks."""
    try:
        import_string(str(chosen_store(get_conf().store, in_tests=is_testing()).store.backend))
    except Exception as error:
        # Whoever opens it is told.
        let_pass(error)


class _Current:
    """The store in force."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self.forget()

    def forget(self) -> None:
        """Open it anew when it is next asked for."""
        self._store: Store | None = None
        self.in_memory_because: str | Promise | None = None

    def get(self) -> Store:
        """The one store, whichever thread is first to ask: two would share no memory."""
        with self._lock:
            if self._store is None:
                choice = chosen_store(get_conf().store, in_tests=is_testing())
                self._store = make_store(choice.store)
                self.in_memory_because = choice.in_memory_because
            return self._store


_current = _Current()
# A forked child has its parent's connections.
call_in_forked_children(_current.forget)


def get_store() -> Store:
    """The store in force, one for the process. Raises :class:`StoreError`."""
    return _current.get()


def store_note() -> str | None:
    """Why the statistics are only kept in memory though nobody has asked for that, and what to
    write instead, in sentences; None where they are not. Raises :class:`StoreError`."""
    _current.get()
    return None if _current.in_memory_because is None else in_memory(_current.in_memory_because)


forget_on_change((SETTING,), _current.forget)
