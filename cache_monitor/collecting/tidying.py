"""What one of the site's processes does for all of them once a minute: tidy the store up, and let
somebody look at what is in it."""

import time
from collections.abc import Callable

from cache_monitor.collecting.rollup import roll_up
from cache_monitor.conf import Conf
from cache_monitor.stores.base import Store, StoreError

INTERVAL = 60.0


class Tidying:
    """Does it in whichever process comes first. ``failed`` takes note of a fault of ours."""

    def __init__(self, get_conf: Callable[[], Conf], failed: Callable[[Exception], None]) -> None:
        self._get_conf = get_conf
        self._failed = failed
        self._next = 0.0

    def work(self, store: Store, watch: Callable[[Store], None] | None) -> None:
        """Roll up and prune where it is time for that, and then let ``watch`` look at ``store``.

        Raises :class:`StoreError`; any other fault of ``watch`` is none of the store's.
        """
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + INTERVAL
        now = int(time.time())
        if not store.lock("tidy", int(INTERVAL), now):
            return
        roll_up(store, now)
        store.prune(int(now - self._get_conf().retention))
        try:
            if watch is not None:
                watch(store)
        except StoreError:
            raise
        except Exception as error:
            self._failed(error)
