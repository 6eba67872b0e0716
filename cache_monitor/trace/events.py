"""What the trace records of calls, and which keys a delete by pattern matches.

Times are integers: microseconds of Unix time. An entry is identified by the hash of its key and by
its version; what changes the version of a key concerns both entries.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, Struct

Reason = Literal[
    "never_set",
    "expired",
    "evicted",
    "lost",
    "deleted",
    "cleared",
    "version_changed",
    "unknown",
]
"""``evicted``: gone without a cause on record, and the backend evicted meanwhile. ``lost``: the
same, and the backend evicted nothing. ``unknown``: the record does not reach."""

Version = int | str

SECOND = 1_000_000

HIT, MISS, WRITE, TOUCH, DELETE, MOVE, COMPUTE, CLEAR, PATTERN_DELETE, FAILED, USE, REFUSED = range(
    12
)
"""Kinds of calls.

``TOUCH``: an entry that was there gets a new expiry. ``MOVE``: an entry is moved to another
version, which gets a ``TOUCH``. ``COMPUTE``: a value was computed and not stored, as when ``add``
came too late. ``CLEAR``: the store was emptied. ``PATTERN_DELETE``: all keys were deleted that
match a pattern. ``FAILED``: a write or delete raised; whether it took effect is unknown. ``USE``:
another call needed the entry, as ``incr`` and ``has_key`` do. ``REFUSED``: the server answered a
write with an error, so it took no effect.
"""

NEVER, UNKNOWN_TIME = -1, -2
"""In place of a timeout or an expiry: there is none; it is unknown."""

HASH_BITS = 48


def hash_of(name: str) -> int:
    """The hash of a key: the same in every process, of ``HASH_BITS`` bits, never 0."""
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=HASH_BITS // 8).digest()
    return int.from_bytes(digest) or 1


def level_of(key: int) -> int:
    """The highest sampling level at which the key with this hash is traced: one key of two is at
    level 1 or above, one of four at level 2 or above, and so on."""
    return HASH_BITS - key.bit_length()


class Key(Struct, frozen=True, gc=False):
    """A traced key. ``name`` is empty if it must not be kept.

    Like the next classes, and the changes and misses of a replay, it is hidden from the garbage
    collector: there may be one for each call, and a collection would visit all of them. A
    ``NamedTuple`` is not, whatever it holds.
    """

    hash: int
    group: str = ""
    kind: str = "key"
    name: str = ""


class CallType(Struct, frozen=True, gc=False):
    """What many events have in common. ``timeout`` is that of a write, in microseconds."""

    kind: int
    alias: str
    version: Version
    timeout: int = NEVER


class Value(Struct, frozen=True, gc=False):
    """A written value: microseconds of its computation, fingerprint, bytes. Each is 0 if
    unknown."""

    compute_time: int = 0
    fingerprint: int = 0
    size: int = 0


UNKNOWN_VALUE = Value()


class Event(Struct, frozen=True, gc=False):
    """What a call did to an entry, or found.

    A run of hits is one event: from the first to the last of ``times``. ``order`` sorts the events
    of one process. ``weight`` is the number of keys that the key stands for. ``compute_time``,
    ``fingerprint`` and ``size`` are those of the value, 0 if unknown. ``view`` made the call, as
    far as known.
    """

    key: int
    call: CallType
    began: int
    ended: int
    process: int
    host: int
    order: int = 0
    times: int = 1
    compute_time: int = 0
    weight: int = 1
    fingerprint: int = 0
    size: int = 0
    view: str = ""


def hit_times(event: Event) -> Iterator[int]:
    """The times of a run's hits, spread evenly between the first and the last."""
    span = event.ended - event.began
    return (event.began + span * number // event.times for number in range(event.times))


class BulkDelete(NamedTuple):
    """The delete of all keys of one version that match ``pattern``, or, if it is None, of every
    entry."""

    began: int
    ended: int
    process: int
    host: int
    order: int
    pattern: str | None = None
    version: Version = 1


NOT_ONLY = "~"
"""First character of a ``boot`` that another server's start may have as well."""


class EvictionReading(NamedTuple):
    """What a backend said of its evictions: its counter since the start that ``boot`` identifies,
    or whether it was ``full`` if it has no counter. ``behind``: the replica that is read lagged."""

    at: Annotated[int, Meta(ge=0, le=253_000_000_000 * SECOND)]
    evictions: Annotated[int, Meta(ge=0, le=2**53)] | None
    boot: Annotated[str, Meta(max_length=512)] = ""
    full: bool | None = None
    behind: bool = False

    def same(self, other: "EvictionReading") -> bool:
        """Whether both say the same, at whatever time."""
        return self[1:] == other[1:]


def latest_readings(readings: Iterable[EvictionReading], limit: int) -> list[EvictionReading]:
    """``readings`` in the order of time: the latest ``limit`` that say something new. Of several
    equal ones the first and the last are kept."""
    kept: list[EvictionReading] = []
    for each in sorted(readings):
        if len(kept) > 1 and kept[-1].same(each) and kept[-2].same(each):
            kept[-1] = each
        else:
            kept.append(each)
    return kept[-limit:]


SHOWN = "\2"
"""Prefix of a key of which only the display name is known: no pattern can be matched against it."""


def takes(pattern: str, name: str) -> bool | None:
    """Whether ``pattern`` matches the key, both with their prefix; None if unknown."""
    if not name:
        return None
    own, _, text = pattern.rpartition("\0")
    prefix, _, key = name.rpartition("\0")
    if prefix == SHOWN:
        return None
    return prefix == own and _compiled(text).match(key) is not None


_TOKEN = re.compile(
    r"\\(?P<escaped>.)|\[(?P<set>(?:\\.|[^\]\\])*)\]|(?P<any>\?)|(?P<other>.)", re.DOTALL
)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    """The glob pattern as a regular expression. Between two stars the first match suffices, so an
    atomic group forbids further tries: no pattern takes exponential time."""
    first, *others = [
        "".join(map(_expression, _TOKEN.finditer(text))) for text in _between_stars(pattern)
    ]
    if not others:
        return re.compile(rf"{first}\Z", re.DOTALL)
    *middle, last = others
    inner = "".join(f"(?>.*?{text})" for text in middle if text)
    return re.compile(rf"{first}{inner}.*{last}\Z", re.DOTALL)


def _between_stars(pattern: str) -> list[str]:
    """The texts between the stars that are neither escaped nor in a set."""
    texts = [""]
    for token in _TOKEN.finditer(pattern):
        if token[0] == "*":
            texts.append("")
        else:
            texts[-1] += token[0]
    return texts


def _expression(token: re.Match[str]) -> str:
    if token["any"]:
        return "."
    if token["set"] is None:
        return re.escape(token["escaped"] or token["other"] or "")
    return _set_expression(token["set"])


def _set_expression(members: str) -> str:
    is_negated = members.startswith("^")
    found = re.findall(r"(\\.|[^\\])(?:-(\\.|[^\\]))?", members[is_negated:], re.DOTALL)
    ranges = ""
    for each in found:
        low, high = (member[-1:] for member in each)
        low, high = sorted((low, high or low))
        ranges += f"{re.escape(low)}-{re.escape(high)}"
    if not ranges:
        return "." if is_negated else "(?!)"
    return f"[{'^' if is_negated else ''}{ranges}]"
