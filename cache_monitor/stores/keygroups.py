"""Where a store keeps the groups of keys that the site's processes have learned.

A process that begins has seen no keys, and a report of the last minutes only few: without what was
learned before, the groups of a site would be others after each deployment, and others for each
period. So there is one row that all processes add to and take from. Two that add at once may
overwrite each other; each looks again with its next flush, so that nothing stays out.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from cache_monitor.keys.learned import MOST_TEMPLATES
from cache_monitor.stores.base import Row, Store
from cache_monitor.trace.coding import Unreadable, packed, read

SHARED = ""
_DAY = 86400
Name = Annotated[str, Meta(max_length=200, pattern=r"\{text\}")]


class _Kept(Struct, array_like=True, gc=False, frozen=True):
    """``day`` is when it was last written, in days of Unix time: rows that grow old are pruned."""

    day: Annotated[int, Meta(ge=0)] = 0
    templates: Annotated[frozenset[Name], Meta(max_length=MOST_TEMPLATES)] = frozenset()


_decoder = msgspec.msgpack.Decoder(_Kept)


def known_groups(store: Store) -> frozenset[str]:
    """What all processes have learned. Raises :class:`StoreError`."""
    return _kept(store).templates


def share_groups(store: Store, learned: frozenset[str], now: int) -> frozenset[str]:
    """Add what this process has ``learned``; what all have. Raises :class:`StoreError`."""
    kept = _kept(store)
    # The same ones in every process, where there are too many.
    whole = frozenset(sorted(kept.templates | learned)[:MOST_TEMPLATES])
    day = now // _DAY
    if whole and (whole != kept.templates or day > kept.day):
        row = Row("groups", SHARED, SHARED, 0, 0, packed(_Kept(day, whole)))
        store.put([row], now)
    return whole


def _kept(store: Store) -> _Kept:
    for row in store.read("groups", 0, 1, None):
        try:
            return read(row.payload, _decoder)
        except Unreadable:
            break
    return _Kept()
