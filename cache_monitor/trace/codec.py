"""Slices of the trace as the store keeps them, and samples of their keys.

A row is a list of slices, compressed, so that the slices of many processes can be bundled
unchanged. The events of a slice are columns of integers that refer to tables of keys, groups and
calls. Rows are untrusted: what they say is checked while they are read.
"""

import zlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Container, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Annotated, TypeVar

from msgspec import Meta, Struct, structs

from cache_monitor.stats.codec import NO_INTS, compress, decode, length_of, pack_ints, unpack_ints
from cache_monitor.trace import (
    CLEAR,
    HASH_BITS,
    HIT,
    MISS,
    MOST_READINGS,
    REFUSED,
    SECOND,
    UNKNOWN_TIME,
    USE,
    BulkDelete,
    CallType,
    Event,
    EvictionReading,
    Key,
    level_of,
)

H = TypeVar("H", bound=Hashable)

MOST_SWEEPS = 1000
MOST_VIEWS = 255
"""Views that are told apart in one slice: a byte for each change."""
_LOW_BITS = 16
READS = frozenset({HIT, MISS, USE})

_Text = Annotated[str, Meta(max_length=512)]
_Count = Annotated[int, Meta(ge=0, le=2**53)]
_Time = Annotated[int, Meta(ge=0, le=253_000_000_000 * SECOND)]
_Version = Annotated[int, Meta(ge=-(2**53), le=2**53)] | _Text


class StoredSlice(Struct, array_like=True, gc=False):
    """A :class:`~cache_monitor.trace.slices.Slice` in the store.

    Columns with a value for each key: ``highs`` and ``lows`` (of its hash), ``key_groups``,
    ``sizes`` (bytes of its value). With a value for each event: ``keys``, ``event_calls``, ``ends``
    (steps from ``base``), ``spans``, ``times``. ``event_views`` has a value for each change: the
    index in ``views`` plus 1; 0 if unknown. ``compute_times`` and ``fingerprints`` are by the index
    of the event, ``names`` by that of the key.
    """

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
    calls: list[
        tuple[
            Annotated[int, Meta(ge=HIT, le=REFUSED)],
            _Count,
            _Version,
            Annotated[int, Meta(ge=UNKNOWN_TIME, le=2**53)],
        ]
    ]
    highs: bytes
    lows: bytes
    key_groups: bytes
    names: dict[_Count, _Text]
    keys: bytes
    event_calls: bytes
    ends: bytes
    spans: bytes
    times: bytes
    compute_times: dict[_Count, _Count]
    deletes: Annotated[
        list[tuple[_Time, _Time, _Count, _Text | None, _Version]], Meta(max_length=MOST_SWEEPS)
    ]
    readings: Annotated[list[EvictionReading], Meta(max_length=MOST_READINGS)]
    fingerprints: dict[_Count, _Count] = {}
    sizes: bytes = NO_INTS
    views: Annotated[list[_Text], Meta(max_length=MOST_VIEWS)] = []
    event_views: bytes = NO_INTS

    def __post_init__(self) -> None:
        """Refuse columns that do not fit together."""
        keys, events = length_of(self.lows), length_of(self.keys)
        columns = (self.event_calls, self.ends, self.spans, self.times)
        if (
            length_of(self.highs) != keys
            or length_of(self.key_groups) != keys
            or length_of(self.sizes) not in (0, keys)
            or any(length_of(each) != events for each in columns)
            or _exceeds(self.keys, keys)
            or _exceeds(self.event_calls, len(self.calls))
            or _exceeds(self.key_groups, len(self.groups))
            or any(call[1] >= len(self.aliases) for call in self.calls)
            or any(call[0] == CLEAR for call in self.calls)
            or max(unpack_ints(self.lows), default=0) >> _LOW_BITS
            or sum(unpack_ints(self.highs)) >> (HASH_BITS - _LOW_BITS)
            or any(index >= events for index in (*self.compute_times, *self.fingerprints))
            or length_of(self.event_views) > events
            or _exceeds(self.event_views, len(self.views) + 1)
        ):
            raise ValueError("columns that do not fit together")

    @property
    def process_number(self) -> int:
        """A number for the process."""
        return zlib.crc32(self.process.encode()) or 1

    @property
    def end(self) -> int:
        """The end of the time bucket, in Unix time."""
        return self.start + self.seconds

    @property
    def count(self) -> int:
        """The number of events."""
        return length_of(self.keys)

    def decode_keys(self) -> list[Key]:
        """The keys, ascending by their hashes."""
        highs = accumulate(unpack_ints(self.highs))
        groups = [self.groups[each] for each in unpack_ints(self.key_groups)]
        return [
            Key(high << _LOW_BITS | low, *group, self.names.get(index, ""))
            for index, (high, low, group) in enumerate(
                zip(highs, unpack_ints(self.lows), groups, strict=True)
            )
        ]

    def decode_events(
        self,
        keys: Sequence[Key],
        hot: frozenset[int] = frozenset(),
        only: Container[int] | None = None,
    ) -> Iterator[Event]:
        """The events, in the order in which they were recorded. ``keys`` is the result of
        :meth:`decode_keys`. ``only``: the indexes of the keys whose events are wanted; None for
        all. The weight of a key in ``hot`` is 1."""
        calls = [
            CallType(kind, self.aliases[alias], version, timeout)
            for kind, alias, version, timeout in self.calls
        ]
        process, host, first = self.process_number, self.host, (self.start << 21) + 1
        weights = [1 if key.hash in hot else 1 << self.level for key in keys]
        sizes = unpack_ints(self.sizes) or [0] * len(keys)
        columns = (self.keys, self.event_calls, self.spans, self.times)
        ends = unzigzag(unpack_ints(self.ends), self.base)
        views = ["", *self.views]
        event_views = iter(unpack_ints(self.event_views))
        for index, (ended, key, call, span, times) in enumerate(
            zip(ends, *map(unpack_ints, columns), strict=True)
        ):
            view = 0 if calls[call].kind in READS else next(event_views, 0)
            if only is not None and key not in only:
                continue
            yield Event(
                keys[key].hash,
                calls[call],
                ended - span,
                ended,
                process,
                host,
                first + 2 * index,
                times,
                self.compute_times.get(index, 0),
                weights[key],
                self.fingerprints.get(index, 0),
                sizes[key],
                views[view],
            )

    def bulk_deletes(self) -> Iterator[BulkDelete]:
        """The deletes of many entries at once."""
        for began, ended, index, pattern, version in self.deletes:
            # Just before the event of that index.
            order = (self.start << 21) + 2 * index
            yield BulkDelete(began, ended, self.process_number, self.host, order, pattern, version)

    def clears(self) -> Iterator[Event]:
        """The deletes of all entries, as events without a key."""
        for each in self.bulk_deletes():
            if each.pattern is None:
                call = CallType(CLEAR, "", each.version)
                yield Event(0, call, each.began, each.ended, 0, 0, each.order)


def encode_slices(slices: Iterable[StoredSlice]) -> bytes:
    """``slices`` as the payload of one row."""
    return compress(list(slices))


def decode_slices(payload: bytes) -> list[StoredSlice]:
    """The slices in a row's payload. Raises :class:`CorruptPayload`."""
    return decode(payload, list[StoredSlice])


def packed_keys(hashes: Sequence[int]) -> tuple[bytes, bytes]:
    """The columns of ascending ``hashes``: steps from one to the next of the high bits, and the low
    bits."""
    highs = [each >> _LOW_BITS for each in hashes]
    steps = [high - low for low, high in zip([0, *highs], highs, strict=False)]
    lows = [each & (1 << _LOW_BITS) - 1 for each in hashes]
    return pack_ints(steps), pack_ints(lows)


def numbered(values: Iterable[H]) -> dict[H, int]:
    """The index of each different value, in the order of their first use."""
    return {value: index for index, value in enumerate(dict.fromkeys(values))}


def _exceeds(column: bytes, limit: int) -> bool:
    return length_of(column) > 0 and max(unpack_ints(column)) >= limit


def zigzag(times: Sequence[int], base: int) -> list[int]:
    """The steps from one time to the next; those back are odd."""
    steps = [one - other for other, one in zip([base, *times], times, strict=False)]
    return [2 * step if step >= 0 else -2 * step - 1 for step in steps]


def unzigzag(steps: Iterable[int], base: int) -> Iterator[int]:
    """The times of which :func:`zigzag` made ``steps``."""
    at = base
    for step in steps:
        at += step // 2 if not step % 2 else -(step + 1) // 2
        yield at


def level_for(
    slices: Sequence[StoredSlice],
    limits: tuple[float, float],
    hot: Mapping[int, frozenset[int]],
    level: int,
) -> int:
    """The lowest level, from ``level`` up, at which ``slices`` have no more keys and events than
    ``limits``. ``hot``: the keys that stay at every level, by the numbers of plans."""
    most_keys, most_events = limits
    if (
        sum(length_of(each.lows) for each in slices) <= most_keys
        and sum(each.count for each in slices) <= most_events
    ):
        return level
    events_at: Counter[int] = Counter()
    levels: dict[int, int] = {}
    for each in slices:
        stay, keys = hot.get(each.plan, frozenset()), each.decode_keys()
        for index, count in Counter(unpack_ints(each.keys)).items():
            key = keys[index].hash
            at = levels[key] = HASH_BITS if key in stay else level_of(key)
            events_at[at] += count
    keys_at = Counter(levels.values())

    def is_too_much(level: int) -> bool:
        return any(
            sum(n for at, n in found.items() if at >= level) > most
            for found, most in ((keys_at, most_keys), (events_at, most_events))
        )

    while level < HASH_BITS and is_too_much(level):
        level += 1
    return level


def sampled(stored: StoredSlice, level: int, hot: frozenset[int]) -> StoredSlice:
    """``stored`` with all events of the keys that are traced at ``level`` or are ``hot``, and no
    others."""
    if stored.level >= level:
        return stored
    keys = stored.decode_keys()
    kept = [
        index for index, key in enumerate(keys) if level_of(key.hash) >= level or key.hash in hot
    ]
    new_key = {old: new for new, old in enumerate(kept)}
    of_events, calls = unpack_ints(stored.keys), unpack_ints(stored.event_calls)
    events = [index for index, key in enumerate(of_events) if key in new_key]
    new_event = {old: new for new, old in enumerate(events)}
    ends = list(unzigzag(unpack_ints(stored.ends), stored.base))
    changes = [index for index, call in enumerate(calls) if stored.calls[call][0] not in READS]
    kept_changes = [at for at, index in enumerate(changes) if index in new_event]
    highs, lows = packed_keys([keys[index].hash for index in kept])
    return structs.replace(
        stored,
        level=level,
        highs=highs,
        lows=lows,
        key_groups=_picked(stored.key_groups, kept),
        names={new_key[index]: name for index, name in stored.names.items() if index in new_key},
        keys=pack_ints([new_key[of_events[index]] for index in events]),
        event_calls=_picked(stored.event_calls, events),
        ends=pack_ints(zigzag([ends[index] for index in events], stored.base)),
        spans=_picked(stored.spans, events),
        times=_picked(stored.times, events),
        compute_times=_renumbered(stored.compute_times, new_event),
        fingerprints=_renumbered(stored.fingerprints, new_event),
        deletes=[
            (began, end, bisect_left(events, index), pattern, version)
            for began, end, index, pattern, version in stored.deletes
        ],
        sizes=_picked(stored.sizes, kept),
        event_views=_picked(stored.event_views, kept_changes),
    )


def _picked(column: bytes, indexes: Iterable[int]) -> bytes:
    """The values at ``indexes``, as far as the column has them: it may be empty."""
    values = unpack_ints(column)
    return pack_ints([values[index] for index in indexes if index < len(values)])


def _renumbered(values: Mapping[int, int], new: Mapping[int, int]) -> dict[int, int]:
    return {new[old]: value for old, value in values.items() if old in new}
