"""Sizes and fingerprints of the values in a LocMemCache, for the trace.

Its pickles are not unpickled: that would run the site's code. If an entry does not expire when the
write had it expire, another write has replaced it: then both stay unknown.
"""

import pickletools
from typing import Any

from msgspec.structs import replace

from cache_monitor.instrument.sizes import of_bytes
from cache_monitor.trace.events import NEVER, SECOND, Value
from cache_monitor.worker.trace_events import EntryAccess

MOST_BYTES = 1_000_000
"""The most bytes of a value of which a fingerprint is taken."""
_TOLERANCE = SECOND // 100
"""The greatest difference between the clock of calls and that of expiries."""
_CLASS = b"HttpResponse"
_MOST_STEPS = 2_000
"""The most steps of a pickle that are read."""


def stored_value(cache: Any, access: EntryAccess, value: Value) -> Value:
    """``value`` with the fingerprint and the bytes of what ``access`` has written to ``cache``."""
    try:
        name = cache.make_key(access.key, access.version)
        # The expiry on both sides: what is written meanwhile changes it.
        before, data = cache._expire_info.get(name), cache._cache.get(name)
        if cache._expire_info.get(name) != before or not _is_of(access, before):
            return value
    except AttributeError:
        return value  # a subclass that keeps its entries elsewhere
    if not isinstance(data, bytes):
        return value
    return replace(value, fingerprint=_fingerprint(data), size=len(data))


def _is_of(access: EntryAccess, expires: float | None) -> bool:
    if access.lasts < 0 or expires is None:
        return access.lasts == NEVER and expires is None
    written = int(expires * SECOND) - access.lasts
    return access.began - _TOLERANCE <= written <= access.ended + _TOLERANCE


def _fingerprint(data: bytes) -> int:
    if len(data) > MOST_BYTES:
        return 0
    if _CLASS in data[:200]:
        content = _content_of(data)
        return 0 if content is None else of_bytes(content, MOST_BYTES)
    return of_bytes(data, MOST_BYTES)


def _content_of(pickled: bytes) -> bytes | None:
    """The content of a pickled response without unpickling it: the list after the name
    ``_container``; None if unknown."""
    found: list[bytes] = []
    is_inside = is_there = False
    for step, (code, argument, _) in enumerate(pickletools.genops(pickled)):
        if step > _MOST_STEPS:
            return None
        if argument == "_container":
            is_inside = is_there = True
        elif is_inside and isinstance(argument, bytes):
            found.append(argument)
        elif is_inside and code.name not in _OF_LISTS:
            is_inside = False
    return b"".join(found) if is_there and found else None


_OF_LISTS = frozenset({"MEMOIZE", "EMPTY_LIST", "MARK", "APPEND", "APPENDS", "FRAME"})
