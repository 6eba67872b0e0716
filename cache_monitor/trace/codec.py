"""Slices of the trace as the store keeps them, and samples of their keys.

A row is MessagePack, compressed, after a byte for the format: a list of slices, so that the slices
of many processes can be bundled unchanged. The events of a slice are columns of integers that refer
to tables of keys, groups and calls. Rows are untrusted: they are bounded in size, checked against
their types while they are read, and never executed.
"""

import zlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Container, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct, structs

from cache_monitor.stats import packed_ints
from cache_monitor.trace.events import (
    CLEAR,
    HASH_BITS,
    HIT,
    MISS,
    REFUSED,
    SECOND,
    UNTOLD,
    USE,
    Event,
    EvictionReading,
    Form,
    Key,
    Sweep,
    level_of,
)

MAX_BYTES = 16 * 1024 * 1024
"""Of a row, unpacked."""
_FORMAT = b"\x01"

T = TypeVar("T")


class Unreadable(ValueError):
    """Bytes that are not of this version."""


def unpack(payload: bytes, decoder: msgspec.msgpack.Decoder[T]) -> T:
    """What ``decoder`` makes of bytes that were compressed behind a version. Raises
    :class:`Unreadable` for anything else."""
    try:
        return decoder.decode(_inflated(payload))
    except (msgspec.DecodeError, RecursionError, OverflowError, UnicodeDecodeError) as error:
        raise Unreadable(str(error)) from error


def pack(value: object) -> bytes:
    """``value`` compressed, behind a byte for the version."""
    return _FORMAT + zlib.compress(_encoder.encode(value), 6)


def _inflated(payload: bytes) -> bytes:
    if payload[:1] != _FORMAT:
        raise Unreadable(f"version {payload[:1]!r}")
    try:
        inflater = zlib.decompressobj()
        found = inflater.decompress(memoryview(payload)[1:], MAX_BYTES)
        if not inflater.eof:
            raise Unreadable("cut, or too large")
    except zlib.error as error:
        raise Unreadable(str(error)) from error
    return found


_encoder = msgspec.msgpack.Encoder()
MOST_SWEEPS = 1000
MOST_READINGS = 200
MOST_VIEWS = 255
"""Whose writes and deletes are told apart; a byte for each of these."""
_LOW_BITS = 16
READS = frozenset({HIT, MISS, USE})


_Text = Annotated[str, Meta(max_length=512)]
_Count = Annotated[int, Meta(ge=0, le=2**53)]
_Time = Annotated[int, Meta(ge=0, le=253_000_000_000 * SECOND)]
_Version = Annotated[int, Meta(ge=-(2**53), le=2**53)] | _Text


class Stored(Struct, array_like=True, gc=False):
    """A slice as bytes have it."""

    start: Annotated[int, Meta(ge=0, le=253_000_000_000)]
    seconds: Annotated[int, Meta(ge=1, le=86400)]
    process: Annotated[str, Meta(max_length=64)]
    host: _Count
    plan: _Count
    level: Annotated[int, Meta(ge=0, le=HASH_BITS)]
    gap: bool
    final: bool
    ended: bool
    base: _Time
    aliases: list[_Text]
    groups: list[tuple[_Text, _Text]]
    forms: list[
        tuple[
            Annotated[int, Meta(ge=HIT, le=REFUSED)],
            _Count,
            _Version,
            Annotated[int, Meta(ge=UNTOLD, le=2**53)],
        ]
    ]
    highs: bytes
    lows: bytes
    key_groups: bytes
    names: dict[_Count, _Text]
    keys: bytes
    event_forms: bytes
    at: bytes
    spans: bytes
    times: bytes
    computed: dict[_Count, _Count]
    sweeps: Annotated[
        list[tuple[_Time, _Time, _Count, _Text | None, _Version]], Meta(max_length=MOST_SWEEPS)
    ]
    readings: Annotated[list[EvictionReading], Meta(max_length=MOST_READINGS)]
    prints: dict[_Count, _Count] = {}
    """Fingerprints of written values, by the places of their events."""
    sizes: bytes = packed_ints.NONE
    """The bytes of the values, key by key; 0 where they are not known."""
    views: Annotated[list[_Text], Meta(max_length=MOST_VIEWS)] = []
    viewed: bytes = packed_ints.NONE
    """Whose calls the changes are, one by one: the places of ``views`` counted from 1; 0 where that
    is not known."""

    def __post_init__(self) -> None:
        """Refuse columns that do not fit together."""
        keys, events = packed_ints.length(self.lows), packed_ints.length(self.keys)
        columns = (self.event_forms, self.at, self.spans, self.times)
        if (
            packed_ints.length(self.highs) != keys
            or packed_ints.length(self.key_groups) != keys
            or packed_ints.length(self.sizes) not in (0, keys)
            or any(packed_ints.length(each) != events for each in columns)
            or _beyond(self.keys, keys)
            or _beyond(self.event_forms, len(self.forms))
            or _beyond(self.key_groups, len(self.groups))
            or any(form[1] >= len(self.aliases) for form in self.forms)
            or any(form[0] == CLEAR for form in self.forms)
            or max(packed_ints.unpack(self.lows), default=0) >> _LOW_BITS
            or sum(packed_ints.unpack(self.highs)) >> (HASH_BITS - _LOW_BITS)
            or any(place >= events for place in (*self.computed, *self.prints))
            or packed_ints.length(self.viewed) > events
            or _beyond(self.viewed, len(self.views) + 1)
        ):
            raise ValueError("columns that do not fit together")

    @property
    def who(self) -> int:
        """The process as a number."""
        return zlib.crc32(self.process.encode()) or 1

    @property
    def end(self) -> int:
        """When the bucket ends, in Unix time."""
        return self.start + self.seconds

    @property
    def count(self) -> int:
        """How many events there are."""
        return packed_ints.length(self.keys)

    def traced(self) -> list[Key]:
        """The keys, ascending by their hashes."""
        highs = accumulate(packed_ints.unpack(self.highs))
        groups = [self.groups[each] for each in packed_ints.unpack(self.key_groups)]
        return [
            Key(high << _LOW_BITS | low, *group, self.names.get(place, ""))
            for place, (high, low, group) in enumerate(
                zip(highs, packed_ints.unpack(self.lows), groups, strict=True)
            )
        ]

    def events(
        self, keys: Sequence[Key], hot: frozenset[int], places: Container[int] | None = None
    ) -> Iterator[Event]:
        """The events in the order that they were noted in; ``keys`` are those of :meth:`traced`.
        Where ``places`` are given, those of the keys in these places alone."""
        forms = [
            Form(kind, self.aliases[alias], version, lasts)
            for kind, alias, version, lasts in self.forms
        ]
        who, host, first = self.who, self.host, (self.start << 21) + 1
        weights = [1 if key.hash in hot else 1 << self.level for key in keys]
        sizes = packed_ints.unpack(self.sizes) or [0] * len(keys)
        columns = (self.keys, self.event_forms, self.spans, self.times)
        ended = unzigzag(packed_ints.unpack(self.at), self.base)
        views = ["", *self.views]
        viewed = iter(packed_ints.unpack(self.viewed))
        for order, (at, key, form, span, times) in enumerate(
            zip(ended, *map(packed_ints.unpack, columns), strict=True)
        ):
            view = 0 if forms[form].kind in READS else next(viewed, 0)
            if places is not None and key not in places:
                continue
            yield Event(
                keys[key].hash,
                forms[form],
                at - span,
                at,
                who,
                host,
                first + 2 * order,
                times,
                self.computed.get(order, 0),
                weights[key],
                self.prints.get(order, 0),
                sizes[key],
                views[view],
            )

    def swept(self) -> Iterator[Sweep]:
        """What was deleted at once."""
        for began, ended, order, pattern, version in self.sweeps:
            # Before the event of the same place.
            place = (self.start << 21) + 2 * order
            yield Sweep(began, ended, self.who, self.host, place, pattern, version)

    def read(self) -> Iterator[EvictionReading]:
        """What the backend said."""
        return iter(self.readings)


def encode_slices(slices: Iterable[Stored]) -> bytes:
    """``slices`` as a store keeps them, in one row."""
    return pack(list(slices))


def decode_slices(payload: bytes) -> list[Stored]:
    """The slices that :func:`encode_slices` made ``payload`` of. Raises :class:`Unreadable`."""
    return unpack(payload, _decoder)


def packed_keys(hashes: Sequence[int]) -> tuple[bytes, bytes]:
    """The columns of keys, whose ``hashes`` ascend: the steps of what is high of them, and the
    rest."""
    highs = [each >> _LOW_BITS for each in hashes]
    steps = [high - low for low, high in zip([0, *highs], highs, strict=False)]
    return packed_ints.pack(steps), packed_ints.pack(
        [each & (1 << _LOW_BITS) - 1 for each in hashes]
    )


H = TypeVar("H", bound=Hashable)


_decoder = msgspec.msgpack.Decoder(list[Stored])


def numbered(values: Iterable[H]) -> dict[H, int]:
    """The different ``values`` in their order, each with its place."""
    return {value: place for place, value in enumerate(dict.fromkeys(values))}


def _beyond(column: bytes, most: int) -> bool:
    return packed_ints.length(column) > 0 and max(packed_ints.unpack(column)) >= most


def zigzag(times: Sequence[int], base: int) -> list[int]:
    """The steps from one time to the next, those back as odd numbers."""
    steps = [one - other for other, one in zip([base, *times], times, strict=False)]
    return [2 * step if step >= 0 else -2 * step - 1 for step in steps]


def unzigzag(steps: Iterable[int], base: int) -> Iterator[int]:
    """The times that :func:`zigzag` made ``steps`` of."""
    at = base
    for step in steps:
        at += step // 2 if not step % 2 else -(step + 1) // 2
        yield at


def level_for(
    parts: Sequence[Stored],
    limits: tuple[float, float],
    hot: Mapping[int, frozenset[int]],
    level: int,
) -> int:
    """The lowest level, from ``level`` on, at which ``parts`` have no more keys and events than
    ``limits`` say. ``hot`` are the keys that stay at each, by the numbers of their plans."""
    most_keys, most_events = limits
    if (
        sum(packed_ints.length(part.lows) for part in parts) <= most_keys
        and sum(part.count for part in parts) <= most_events
    ):
        return level
    counts: Counter[int] = Counter()
    seen: dict[int, int] = {}
    for part in parts:
        stay, keys = hot.get(part.plan, frozenset()), part.traced()
        for place, count in Counter(packed_ints.unpack(part.keys)).items():
            key = keys[place].hash
            at = seen[key] = HASH_BITS if key in stay else level_of(key)
            counts[at] += count
    keys_at = Counter(seen.values())

    def is_too_much(level: int) -> bool:
        return any(
            sum(n for at, n in found.items() if at >= level) > most
            for found, most in ((keys_at, most_keys), (counts, most_events))
        )

    while level < HASH_BITS and is_too_much(level):
        level += 1
    return level


def thinned(part: Stored, level: int, hot: frozenset[int]) -> Stored:
    """``part`` with the keys alone that are in at ``level``, or ``hot``, and all their events."""
    if part.level >= level:
        return part
    keys = part.traced()
    places = [
        place for place, key in enumerate(keys) if level_of(key.hash) >= level or key.hash in hot
    ]
    moved = {old: new for new, old in enumerate(places)}
    of_events, forms = packed_ints.unpack(part.keys), packed_ints.unpack(part.event_forms)
    events = [at for at, key in enumerate(of_events) if key in moved]
    new = {old: at for at, old in enumerate(events)}
    ended = list(unzigzag(packed_ints.unpack(part.at), part.base))
    sizes, groups = packed_ints.unpack(part.sizes), packed_ints.unpack(part.key_groups)
    changes = [at for at, form in enumerate(forms) if part.forms[form][0] not in READS]
    viewed = dict(zip(changes, packed_ints.unpack(part.viewed), strict=False))
    highs, lows = packed_keys([keys[place].hash for place in places])
    spans, times = packed_ints.unpack(part.spans), packed_ints.unpack(part.times)
    return structs.replace(
        part,
        level=level,
        highs=highs,
        lows=lows,
        key_groups=packed_ints.pack([groups[place] for place in places]),
        names={moved[place]: name for place, name in part.names.items() if place in moved},
        keys=packed_ints.pack([moved[of_events[at]] for at in events]),
        event_forms=packed_ints.pack([forms[at] for at in events]),
        at=packed_ints.pack(zigzag([ended[at] for at in events], part.base)),
        spans=packed_ints.pack([spans[at] for at in events]),
        times=packed_ints.pack([times[at] for at in events]),
        computed={new[at]: each for at, each in part.computed.items() if at in new},
        prints={new[at]: each for at, each in part.prints.items() if at in new},
        sweeps=[
            (began, end, bisect_left(events, order), pattern, version)
            for began, end, order, pattern, version in part.sweeps
        ],
        sizes=packed_ints.pack([sizes[place] for place in places]) if sizes else packed_ints.NONE,
        viewed=packed_ints.pack([viewed[at] for at in changes if at in new])
        if viewed
        else part.viewed,
    )
