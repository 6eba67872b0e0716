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

HIT, MISS, WRITE, TOUCH, DELETE, MOVE, COMPUTE, CLEAR, SWEEP, FAILED, USE, REFUSED = range(12)
"""``TOUCH`` gives a value that was there a new expiry; ``MOVE`` takes an entry to another version,
which gets a ``TOUCH``. ``COMPUTE`` is a value that was computed and not stored, as where ``add``
came too late. ``CLEAR`` empties the store; ``SWEEP`` deletes what matches a pattern. ``FAILED``
is a write or delete that raised: whether it took place is not known. ``USE`` is whatever else needs
an entry, as ``incr`` and ``has_key`` do: it is neither a lookup nor a write. ``REFUSED`` is a write
that the server answered with an error: it is known not to have taken place."""

NEVER, UNTOLD = -1, -2
"""Instead of the time from a write to the entry's expiry: it has none; nobody knows."""

HASH_BITS = 48


def hash_of(name: str) -> int:
    """The hash of a key, the same in every process; of ``HASH_BITS`` bits, never 0."""
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=HASH_BITS // 8).digest()
    return int.from_bytes(digest) or 1


def level_of(key: int) -> int:
    """The highest level of sampling at which the key with this hash is in: one key of two is at
    level 1, one of four at level 2, and so on."""
    return HASH_BITS - key.bit_length()


class Key(Struct, frozen=True, gc=False):
    """A key that is in the trace. ``name`` is empty where it must not be kept.

    Like the next two out of the garbage collector's sight, and with it the events of a batch, of
    which there may be one for each call.
    """

    hash: int
    group: str = ""
    kind: str = "key"
    name: str = ""


class Form(Struct, frozen=True, gc=False):
    """What many events have in common. ``lasts`` is the time to the expiry of what is written."""

    kind: int
    alias: str
    version: Version
    lasts: int = NEVER


class Value(Struct, frozen=True, gc=False):
    """What is known of a value: the microseconds that it took to compute, its fingerprint, and its
    bytes. Each is 0 where it is not known."""

    computed: int = 0
    print: int = 0
    size: int = 0


UNKNOWN = Value()


class Event(NamedTuple):
    """Something that a call did to an entry, or found.

    A run of hits is one event: from the first to the last of ``times``. ``computed`` is the time
    that the value written took to compute, ``print`` its fingerprint, ``size`` the bytes that the
    entry's value took about then: each 0 where it is not known. ``order`` says which of the events
    of one process came first, ``view`` which view made the call, where that is known.
    """

    key: int
    form: Form
    began: int
    ended: int
    process: int
    host: int
    order: int = 0
    times: int = 1
    computed: int = 0
    weight: int = 1
    print: int = 0
    size: int = 0
    view: str = ""


def moments(event: Event) -> Iterator[int]:
    """When the hits of a run were, as far as that is known: spread evenly."""
    span = event.ended - event.began
    return (event.began + span * number // event.times for number in range(event.times))


class Sweep(NamedTuple):
    """All entries that went at once: those of a pattern of keys in one version, or every one where
    ``pattern`` is None."""

    began: int
    ended: int
    process: int
    host: int
    order: int
    pattern: str | None = None
    version: Version = 1


NOT_ONLY = "~"
"""Before the name of a start that another backend's start may have as well."""


class EvictionReading(NamedTuple):
    """What a backend said of its evictions: what its counter stood at since its start, which
    ``boot`` names, or whether it was ``full`` where it has no counter. ``behind`` says that
    a replica that is read from had not yet what had been written."""

    at: Annotated[int, Meta(ge=0, le=253_000_000_000 * SECOND)]
    evictions: Annotated[int, Meta(ge=0, le=2**53)] | None
    boot: Annotated[str, Meta(max_length=512)] = ""
    full: bool | None = None
    behind: bool = False

    def same(self, other: "EvictionReading") -> bool:
        """Whether ``other`` says the same, whenever."""
        return self[1:] == other[1:]


def thinned(readings: Iterable[EvictionReading], most: int) -> list[EvictionReading]:
    """``readings`` in their order, those of the latest ``most`` that say something new: of several
    that say the same the first and the last are enough."""
    kept: list[EvictionReading] = []
    for each in sorted(readings):
        if len(kept) > 1 and kept[-1].same(each) and kept[-2].same(each):
            kept[-1] = each
        else:
            kept.append(each)
    return kept[-most:]


_SIGN = re.compile(
    r"\\(?P<escaped>.)|\[(?P<set>(?:\\.|[^\]\\])*)\]|(?P<any>\?)|(?P<other>.)", re.DOTALL
)


def matches(pattern: str, key: str) -> bool:
    """Whether ``key`` is one of those that ``pattern`` means."""
    return _compiled(pattern).match(key) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    """``pattern`` as an expression. Between two stars the first match will do, for which an atomic
    group does not try again: the time does not explode, whatever the pattern."""
    first, *others = [_expression(part) for part in _parts(pattern)]
    if not others:
        return re.compile(rf"{first}\Z", re.DOTALL)
    *middle, last = others
    inner = "".join(f"(?>.*?{part})" for part in middle if part)
    return re.compile(rf"{first}{inner}.*{last}\Z", re.DOTALL)


def _parts(pattern: str) -> list[str]:
    """What stands between the stars that are neither escaped nor in a set."""
    parts = [""]
    for sign in _SIGN.finditer(pattern):
        if sign[0] == "*":
            parts.append("")
        else:
            parts[-1] += sign[0]
    return parts


def _expression(part: str) -> str:
    return "".join(map(_sign_expression, _SIGN.finditer(part)))


def _sign_expression(sign: re.Match[str]) -> str:
    if sign["any"]:
        return "."
    if sign["set"] is None:
        return re.escape(sign["escaped"] or sign["other"] or "")
    return _set_expression(sign["set"])


def _set_expression(members: str) -> str:
    is_negated = members.startswith("^")
    found = re.findall(r"(\\.|[^\\])(?:-(\\.|[^\\]))?", members[is_negated:], re.DOTALL)
    ranges = ""
    for each in found:
        low, high = (part[-1:] for part in each)
        low, high = sorted((low, high or low))
        ranges += f"{re.escape(low)}-{re.escape(high)}"
    if not ranges:
        return "." if is_negated else "(?!)"
    return f"[{'^' if is_negated else ''}{ranges}]"


THIS_KEY = ""
"""The pattern of a delete of one key: it matches that, whatever it is called."""


SHOWN = "\2"
"""Before the name of a key that has only what is shown of it: no pattern is compared to that."""


def takes(pattern: str, name: str) -> bool | None:
    """Whether ``pattern`` matches the key, both with their prefix; None where that is unknown."""
    if pattern == THIS_KEY:
        return True
    if not name:
        return None
    own, _, text = pattern.rpartition("\0")
    prefix, _, key = name.rpartition("\0")
    if prefix == SHOWN:
        return None
    return prefix == own and matches(text, key)
