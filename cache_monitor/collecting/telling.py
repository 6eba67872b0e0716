"""What finished calls tell the ledger: what they did to entries, what they found and missed."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from cache_monitor.calls import RawCall
from cache_monitor.ledger import Event, Hit, Kind, Miss

LOOKUP_SECONDS = 0.01
"""Seconds at the beginning of a ``get_or_set`` in which it looks; the rest produces the value."""

_KINDS: Mapping[str, Kind] = {
    "set": "written",
    "add": "written",
    "set_many": "written",
    "get_or_set": "written",
    "touch": "touched",
    "delete": "deleted",
    "delete_many": "deleted",
    "delete_pattern": "swept",
    "expire": "touched",
    "pexpire": "touched",
    "expire_at": "touched",
    "pexpire_at": "touched",
    "persist": "touched",
}
_UNITS = {"pexpire": 0.001, "pexpire_at": 0.001}
"""The measure, in seconds, of timeouts and times that are given in another."""
_POINTS_IN_TIME = frozenset({"expire_at", "pexpire_at"})
_VERSION_STEPS = {"incr_version": 1, "decr_version": -1}
_LOOKUPS = frozenset({"get", "get_many", "get_or_set"})
_TELLING = frozenset({*_KINDS, *_LOOKUPS, *_VERSION_STEPS, "clear", "incr", "decr"})


class Facts(NamedTuple):
    """What must be known of a cache to judge its misses.

    ``space`` names whose entries these are; caches of one space that differ in their ``prefix``
    are cleared together. ``is_own`` tells that no other process sees them. ``incr_renews`` tells
    that ``incr`` writes the entry anew, with the default timeout.
    """

    space: str
    default_timeout: float | None
    version: int | str
    prefix: str = ""
    is_own: bool = False
    incr_renews: bool = False


class Missed(NamedTuple):
    """A key that ``miss`` was about, as the caller wrote it; ``ended`` is a Unix time."""

    key: str
    ended: float
    miss: Miss


def is_telling(call: RawCall) -> bool:
    """Whether the ledger can learn from ``call``, or be asked about it."""
    return call[8] is None and call[0].operation in _TELLING


def misses_of(call: RawCall, facts: Facts, clock_offset: float) -> Iterator[Missed]:
    """The misses of a lookup."""
    source, started, seconds, key, outcome, *_ = call
    at, ended = started + clock_offset, started + seconds + clock_offset
    if source.operation == "get_or_set":
        seconds = min(seconds, LOOKUP_SECONDS)
    version = _version(call, facts)
    found = outcome if isinstance(outcome, tuple) else (outcome,)
    for each, hit in zip(_keys(key), found, strict=False):
        if hit is False:
            yield Missed(each, ended, Miss(facts.space, _named(each, facts), version, at, seconds))


def hits_of(call: RawCall, facts: Facts, clock_offset: float) -> Iterator[tuple[str, Hit]]:
    """The hits of a lookup, each with its key as the caller wrote it."""
    _, started, _, key, outcome, *_ = call
    version = _version(call, facts)
    found = outcome if isinstance(outcome, tuple) else (outcome,)
    for each, hit in zip(_keys(key), found, strict=False):
        if hit is True:
            yield each, Hit(facts.space, _named(each, facts), version, started + clock_offset)


def events_of(call: RawCall, facts: Facts, clock_offset: float) -> Sequence[Event]:
    """What a call did to entries."""
    source, started, seconds, key, outcome, *_ = call
    operation = source.operation
    at = started + seconds + clock_offset
    if operation == "clear":
        return [Event(facts.space, "cleared", at, seconds=seconds)]
    if operation in _VERSION_STEPS:
        return _moved(call, facts, at)
    kind = _KINDS.get(operation)
    timeout = call[6]
    if kind is None:
        if operation in _LOOKUPS or not facts.incr_renews:
            return ()
        kind, timeout = "written", DEFAULT_TIMEOUT
    if not _took_place(call) or (operation == "get_or_set" and outcome is not False):
        return ()
    version, expiry = _version(call, facts), _expiry(operation, timeout, facts, at)
    return [
        Event(facts.space, kind, at, _named(each, facts), version, expiry, seconds)
        for each in _keys(key)
    ]


def _moved(call: RawCall, facts: Facts, at: float) -> Sequence[Event]:
    """Both ends of a change of version."""
    source, _, seconds, key, *_ = call
    before, after = _version(call, facts), call[9]
    gone = [
        Event(facts.space, "moved", at, _named(each, facts), before, seconds=seconds)
        for each in _keys(key)
    ]
    if after is None or isinstance(after, bool):
        try:
            after = int(before) + _VERSION_STEPS[source.operation]
        except ValueError:
            return gone
    # Django writes the entry anew, without the timeout that it had. The value is as old as before.
    expiry = _expiry("", DEFAULT_TIMEOUT, facts, at)
    come = [each._replace(kind="touched", version=after, expires_at=expiry) for each in gone]
    return [*gone, *come]


def _took_place(call: RawCall) -> bool:
    """Whether the call did what it is for, as far as is known."""
    return call[9] is not False


def _keys(key: object) -> tuple[str, ...]:
    if type(key) is str:
        return (key,)
    if isinstance(key, tuple):
        return cast("tuple[str, ...]", key)
    return () if key is None else (str(key),)


def _named(key: str, facts: Facts) -> str:
    return f"{facts.prefix}\0{key}" if facts.prefix else key


def _version(call: RawCall, facts: Facts) -> int | str:
    given = call[7]
    return facts.version if given is None else cast("int | str", given)


def _expiry(operation: str, timeout: Any, facts: Facts, at: float) -> float | None:
    """The Unix time of the expiry; None for an entry without, or with one that cannot be read."""
    given = facts.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
    if given is None:
        return None
    try:
        if isinstance(given, datetime):
            return given.timestamp()
        if isinstance(given, timedelta):
            return at + given.total_seconds()
        seconds = float(given) * _UNITS.get(operation, 1.0)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return seconds if operation in _POINTS_IN_TIME else at + seconds
