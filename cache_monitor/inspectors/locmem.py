"""Look into a LocMemCache: the dicts of this very process."""

import time
from collections.abc import Iterator
from itertools import chain
from typing import Any

from django.core.cache.backends.locmem import LocMemCache

from cache_monitor.inspectors.ownkeys import key_form
from cache_monitor.inspectors.snapshot import Snapshot
from cache_monitor.inspectors.tally import Entry, Tally, share
from cache_monitor.inspectors.terms import Terms

# A prime: keys are often written in turns of a few kinds, which it never keeps step with.
_STRIDE = 61


def inspect_locmem(cache: LocMemCache, terms: Terms) -> Snapshot:
    """What ``cache`` holds in this process; an entry's size is the length of its pickle.

    The cache's lock is never taken, for the site waits on it. Copying the keys of a plain dict and
    reading one item are each one step to other threads, and an entry that goes in between is left
    out. The cache's own ``get`` would move the entry to the front of the order of eviction.
    """
    stored: Any = cache
    form, tally = key_form(cache), Tally(terms, {"expired", "no_expiry"})
    raws, seen = list(stored._expire_info), 0
    for raw in _spread(raws):
        if terms.spent(tally.looked_at):
            break
        seen += 1
        if (key := form.user_key(str(raw))) is not None:
            _add(tally, stored, raw, key)
    return tally.snapshot("per process", share(tally.looked_at, seen, len(raws)))


def _spread(keys: list[object]) -> Iterator[object]:
    """``keys`` in an order of which every part stands for the whole."""
    return chain.from_iterable(keys[start::_STRIDE] for start in range(_STRIDE))


def _add(tally: Tally, stored: Any, raw: object, key: str) -> None:
    pickled = stored._cache.get(raw)
    # What has no record of its expiry counts as expired there.
    expires_at = stored._expire_info.get(raw, 0.0)
    if pickled is None:
        return
    if expires_at is None:
        tally.add(Entry(key, len(pickled), no_expiry=True))
    else:
        tally.add(Entry(key, len(pickled), expires_in=expires_at - time.time()))
