"""What finished calls tell the trace: what they did to entries, and of the values they wrote.

Sizes and fingerprints of the values in a ``LocMemCache`` are read from the cache. Its pickles are
not unpickled: that would run the site's code. If an entry does not expire when the write had it
expire, another write has replaced it: then both stay unknown.
"""

import pickletools
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.core.cache.backends.base import DEFAULT_TIMEOUT, default_key_func
from msgspec.structs import replace

from cache_monitor import trace
from cache_monitor.calls import (
    EFFECT,
    ERROR,
    KEY,
    LOOKUPS,
    OUTCOME,
    PRODUCED,
    SECONDS,
    SIZE,
    SOURCE,
    STARTED,
    VERSION,
    RawCall,
    actual_timeout,
    entries_of,
    keys_of,
    prints_of,
)
from cache_monitor.instrument.probes import of_bytes
from cache_monitor.keys.grouping import printable
from cache_monitor.trace import NEVER, SECOND, UNKNOWN_TIME, Value

_KINDS: Mapping[str, int] = {
    "set": trace.WRITE,
    "add": trace.WRITE,
    "set_many": trace.WRITE,
    "get_or_set": trace.WRITE,
    "touch": trace.TOUCH,
    "delete": trace.DELETE,
    "delete_many": trace.DELETE,
    "delete_pattern": trace.PATTERN_DELETE,
    "expire": trace.TOUCH,
    "pexpire": trace.TOUCH,
    "expire_at": trace.TOUCH,
    "pexpire_at": trace.TOUCH,
    "persist": trace.TOUCH,
}
_UNITS = {"pexpire": 0.001, "pexpire_at": 0.001}
"""The measure, in seconds, of timeouts and times that are given in another."""
_POINTS_IN_TIME = frozenset({"expire_at", "pexpire_at"})
_VERSION_STEPS = {"incr_version": 1, "decr_version": -1}
_RENEWING = frozenset({"incr", "decr", *_VERSION_STEPS})
"""Operations that write an entry anew, with the default timeout unless the backend gave another."""
_ASKED_FIRST = frozenset({"add", "touch", "delete", "expire", "pexpire", "persist"})
"""Operations that do nothing where they answer no."""


_REFUSALS = frozenset({"MemcacheServerError", "TooBig", "OutOfMemoryError", "ReadOnlyError"})
"""The errors by which memcached (pymemcache, pylibmc) and Redis say that they do not store a value:
it is too large, there is no room and nothing may be evicted, or the server is a replica."""

_ASIDE = frozenset({"ttl", "pttl", "keys", "iter_keys", "scan", "lock", "get_lock", "close"})
"""Operations that do not need the value of the key that they are given."""


class CacheIdentity(NamedTuple):
    """What must be known of a cache to trace it.

    ``store`` names whose entries these are, the same for all aliases and processes that share
    them; ``is_own`` tells that no other process does. Caches of one store that differ in their
    ``prefix`` are cleared together. ``incr_renews`` tells that ``incr`` writes the entry anew, with
    the default timeout, and ``moves_renew`` that ``incr_version`` does. ``whole_seconds`` tells
    that the backend cuts timeouts to whole seconds. ``is_full`` is asked of a cache in this
    process: whether it may have evicted more than was noted, None if unknown. ``evicts`` is False
    for one that keeps nothing: there is nothing to expire either.
    ``own_keys`` tells that a function of the project's makes its keys: calls bring along what it
    made of theirs. ``stored`` looks into a cache of this process for what else is to be known of a
    value that was just written.
    """

    store: str
    default_timeout: float | None
    version: str
    prefix: str = ""
    is_own: bool = False
    incr_renews: bool = False
    moves_renew: bool = True
    is_full: Callable[[], bool | None] | None = None
    evicts: bool = True
    whole_seconds: bool = False
    own_keys: bool = False
    stored: "Callable[[EntryAccess, Value], Value] | None" = None


class EntryAccess(NamedTuple):
    """What a call did to one entry, or found. Times are microseconds of Unix time. ``final`` is
    the key that the cache made of ``key``, where that takes a function of the project's own."""

    kind: int
    key: str
    version: str
    began: int
    ended: int
    lasts: int = NEVER
    final: str = ""


def entry_identity(identity: CacheIdentity, key: str, final: str = "") -> str:
    """What tells an entry from all others of its store."""
    if not final or final == default_key_func(key, identity.prefix, identity.version):
        return f"{identity.prefix}\0{key}"
    return f"\0{final}"


def name_of(identity: CacheIdentity, key: str, final: str = "") -> str:
    """The key of an entry behind what it shares with the patterns that may match it."""
    if not final or final == default_key_func(key, identity.prefix, identity.version):
        return f"{identity.prefix}\0{key}"
    before, found, after = final.rpartition(key) if key else (final, "", "")
    return f"\0{before}\1{after}\0{key}" if found else f"\0{final}\0{key}"


def shown_name(shown: str, kind: str) -> str:
    """What tells a key apart that is shown in other words: a cached page by its digest. What is
    masked may be many keys in one."""
    return f"{trace.SHOWN}\0{shown}" if kind in {"page", "page_headers"} else ""


def tells_entries(call: RawCall, identity: CacheIdentity) -> bool:
    """Whether it is known to which entries ``call`` did something."""
    if not identity.own_keys or call[KEY] is None:
        return True
    made = entries_of(call)
    if made is None:
        return False
    if len(made[0]) < len(keys_of(call)):
        # The cache does not take such a key: nothing was done, where the call failed as well.
        return call[ERROR] is not None
    # Of a key that was made beyond recognition no pattern tells anything.
    return not is_pattern(call) or str(call[KEY]) in made[0][0]


def finals_of(call: RawCall) -> Mapping[str, str]:
    """What a function of the project's made of the keys of ``call``."""
    names, _ = entries_of(call) or ((), True)
    return dict(zip(keys_of(call), names, strict=False))


def accesses_of(call: RawCall, identity: CacheIdentity, offset: int) -> Iterator[EntryAccess]:
    """What ``call`` did to entries, and found: one for each key, the lookup before the write. A
    ``CLEAR`` has no key, a ``PATTERN_DELETE`` of ``delete_pattern`` the pattern instead.
    ``offset``, in microseconds, makes Unix time of the clock's readings."""
    accesses = _accesses(call, identity, offset)
    return _with_finals(call, identity, accesses) if identity.own_keys else accesses


def _with_finals(
    call: RawCall, identity: CacheIdentity, accesses: Iterator[EntryAccess]
) -> Iterator[EntryAccess]:
    _, varies = entries_of(call) or ((), True)
    finals = finals_of(call)
    for access in accesses:
        if access.kind == trace.CLEAR:
            yield access
        elif access.key in finals:
            final = finals[access.key]
            if varies:
                yield access._replace(final=final)
            else:
                # One entry whatever its version: where that changes, who knows what it did.
                kind = trace.FAILED if call[SOURCE].operation in _VERSION_STEPS else access.kind
                yield access._replace(final=final, kind=kind, version=identity.version)


def _accesses(call: RawCall, identity: CacheIdentity, offset: int) -> Iterator[EntryAccess]:
    operation = call[SOURCE].operation
    began = int(call[STARTED] * SECOND) + offset
    ended = int((call[STARTED] + call[SECONDS]) * SECOND) + offset
    if operation == "clear":
        yield EntryAccess(trace.CLEAR, "", identity.version, began, ended)
    elif operation in _VERSION_STEPS:
        yield from _moved(call, identity, began, ended)
    elif operation in LOOKUPS:
        yield from _looked_up(call, identity, began, ended)
    else:
        yield from _changed(call, identity, began, ended)


def _looked_up(
    call: RawCall, identity: CacheIdentity, began: int, ended: int
) -> Iterator[EntryAccess]:
    version, found = call_version(call, identity), call[OUTCOME]
    if call[ERROR] is not None:
        if call[SOURCE].operation == "get_or_set" and call[ERROR] in _REFUSALS:
            for key in keys_of(call):
                yield EntryAccess(
                    trace.REFUSED, key, version, began, ended, _lasts(call, identity, ended)
                )
        return
    if call[SOURCE].operation == "get_or_set" and found is False:
        yield from _filled(call, identity, began, ended)
        return
    outcomes = found if isinstance(found, tuple) else (found,)
    for key, hit in zip(keys_of(call), outcomes, strict=False):
        if hit is not None:
            yield EntryAccess(trace.HIT if hit else trace.MISS, key, version, began, ended)


def _filled(
    call: RawCall, identity: CacheIdentity, began: int, ended: int
) -> Iterator[EntryAccess]:
    """The miss of a ``get_or_set`` and its write. Both were made outside of the time that it took
    to compute the value."""
    version, asked = (
        call_version(call, identity),
        ended - began - int((call[PRODUCED] or 0.0) * SECOND),
    )
    since = max(began, ended - asked)
    # Where the two may overlap they end together: their order tells which was first.
    until = began + asked if began + asked <= since else ended
    for key in keys_of(call):
        yield EntryAccess(trace.MISS, key, version, began, until)
        yield EntryAccess(trace.WRITE, key, version, since, ended, _lasts(call, identity, ended))


def _changed(
    call: RawCall, identity: CacheIdentity, began: int, ended: int
) -> Iterator[EntryAccess]:
    operation, effect = call[SOURCE].operation, call[EFFECT]
    kind = _KINDS.get(operation)
    if kind is None:
        if operation in _ASIDE or call[ERROR] is not None or effect is False:
            return
        kind = trace.USE
        if operation in {"incr", "decr"} and identity.incr_renews:
            yield from _counted(call, identity, began, ended)
            return
    elif call[ERROR] is not None or (effect is False and operation not in _ASKED_FIRST):
        # It may have taken place all the same, unless the server says that it did not. An ``add``
        # might have found an entry that is there.
        kind = trace.REFUSED if operation == "set" and call[ERROR] in _REFUSALS else trace.FAILED
    elif effect is False:
        return
    elif kind == trace.DELETE and effect is not True:
        # Nobody knows whether it was there.
        kind = trace.PATTERN_DELETE
    lasts = (
        _lasts(call, identity, ended)
        if kind in (trace.WRITE, trace.TOUCH, trace.REFUSED)
        else NEVER
    )
    for key in keys_of(call):
        yield EntryAccess(kind, key, call_version(call, identity), began, ended, lasts)


def _counted(
    call: RawCall, identity: CacheIdentity, began: int, ended: int
) -> Iterator[EntryAccess]:
    """A counter that is written anew, and whose value the caller is given."""
    version, lasts = call_version(call, identity), _lasts(call, identity, ended)
    for key in keys_of(call):
        yield EntryAccess(trace.WRITE, key, version, began, ended, lasts)
        yield EntryAccess(trace.USE, key, version, ended, ended)


def _moved(call: RawCall, identity: CacheIdentity, began: int, ended: int) -> Iterator[EntryAccess]:
    """Both ends of a change of version."""
    if call[ERROR] is not None:
        return
    before, after = call_version(call, identity), call[EFFECT]
    # Django writes the entry anew, without the timeout that it had. The value is as old as before.
    lasts = _lasts(call, identity, ended) if identity.moves_renew else UNKNOWN_TIME
    for key in keys_of(call):
        yield EntryAccess(trace.MOVE, key, before, began, ended)
        if after is None or isinstance(after, bool):
            try:
                after = int(before) + _VERSION_STEPS[call[SOURCE].operation]
            except ValueError:
                continue
        yield EntryAccess(trace.TOUCH, key, str(after), began, ended, lasts)


def values_of(call: RawCall) -> Mapping[str, Value]:
    """What ``call`` tells of the values that it wrote, by their keys."""
    keys, size, prints = keys_of(call), call[SIZE] or 0, prints_of(call)
    if len(keys) == 1:
        return {keys[0]: Value(0, prints[0] if prints else 0, size)}
    # The size of several values tells nothing of each.
    return {key: Value(0, each) for key, each in zip(keys, prints, strict=False)}


def is_pattern(call: RawCall) -> bool:
    """Whether ``call`` deletes by a pattern, which is its key."""
    return call[SOURCE].operation == "delete_pattern"


def call_version(call: RawCall, identity: CacheIdentity) -> str:
    """The version of the entries that ``call`` named, as text that can be stored: 2 and "2" make
    the same key."""
    given = call[VERSION]
    return identity.version if given is None else printable(str(given))


def _lasts(call: RawCall, identity: CacheIdentity, ended: int) -> int:
    """The time to the expiry; ``UNKNOWN_TIME`` where it cannot be read."""
    if not identity.evicts:
        return NEVER
    operation, timeout = call[SOURCE].operation, actual_timeout(call)
    if timeout is None and operation in _RENEWING:
        timeout = DEFAULT_TIMEOUT
    given: Any = identity.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
    if operation in _POINTS_IN_TIME:
        return UNKNOWN_TIME if given is None else _until(given, _UNITS.get(operation, 1.0), ended)
    if isinstance(given, timedelta):
        return _microseconds(given.total_seconds())
    lasts = _microseconds(given, _UNITS.get(operation, 1.0))
    return lasts - lasts % SECOND if identity.whole_seconds and lasts > 0 else lasts


def _until(given: Any, unit: float, ended: int) -> int:
    """How long it is from ``ended`` to a point in time."""
    try:
        at = given.timestamp() if isinstance(given, datetime) else float(given) * unit
        return max(int(at * SECOND) - ended, 0)
    except (TypeError, ValueError, OverflowError, OSError):
        return UNKNOWN_TIME


def _microseconds(seconds: Any, unit: float = 1.0) -> int:
    if seconds is None:
        return NEVER
    try:
        return max(min(int(float(seconds) * unit * SECOND), 2**52), 0)
    except (TypeError, ValueError, OverflowError):
        return UNKNOWN_TIME


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
