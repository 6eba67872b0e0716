"""Slices as a store keeps them: the same after it, small, and never a danger to who reads them."""

import gc
import zlib
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_monitor.stats import codec as stats_codec
from cache_monitor.stats.codec import CorruptPayload
from cache_monitor.trace import (
    HIT,
    MISS,
    NEVER,
    SECOND,
    WRITE,
    CallType,
    EvictionReading,
    Key,
    Plan,
    Value,
    codec,
    hash_of,
    slices,
)
from cache_monitor.trace.codec import decode_slices, encode_slices, sampled
from cache_monitor.trace.slices import RUN, Slice

START = 1_700_000_000
SOURCES = st.tuples(
    st.sampled_from([HIT, MISS, WRITE]),
    st.sampled_from(["default", "other"]),
    st.integers(-3, 3) | st.sampled_from(["a", "b"]),
    st.sampled_from([NEVER, 0, 300 * SECOND]),
)


def slice_of(plan: Plan | None = None) -> Slice:
    return Slice(START, 10, "process", 7, plan)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 40),
            SOURCES,
            st.integers(-SECOND, 12 * SECOND),
            st.integers(0, SECOND),
            st.integers(0, 3 * SECOND),
        ),
        max_size=60,
    )
)
def test_events_come_back_as_they_were(
    events: list[tuple[int, tuple[int, str, int | str, int], int, int, int]],
) -> None:
    part = slice_of()
    expected = []
    for number, source, at, span, computed in events:
        key = Key(hash_of(f"key:{number}"), "key:{int}", "key", f"key:{number}")
        ended = START * SECOND + at
        call = CallType(*source)
        if call.kind != HIT:
            printed = computed % 5
            part.add(key, call, ended - span, ended, value=Value(computed, printed, number + 1))
            expected.append((key.hash, call, ended - span, ended, computed, printed, number + 1))
    part.add_delete(START * SECOND, START * SECOND + 5, "a*", 2)
    part.add_reading(EvictionReading(START * SECOND, 3, "boot"))
    [read] = decode_slices(encode_slices([part.stored()]))
    keys = read.decode_keys()
    found = [
        (e.key, e.call, e.began, e.ended, e.compute_time, e.fingerprint, e.size)
        for e in read.decode_events(keys, frozenset())
    ]
    assert found == expected
    assert {key.hash for key in keys} == {each[0] for each in expected}
    assert [each.pattern for each in read.bulk_deletes()] == ["a*"]
    assert list(read.readings) == [EvictionReading(START * SECOND, 3, "boot")]


def test_hits_in_a_row_are_one_event_until_something_else_happens_to_the_key() -> None:
    part, key = slice_of(), Key(hash_of("a"))
    hit, written = CallType(HIT, "default", 1), CallType(WRITE, "default", 1)
    at = START * SECOND
    part.add(key, hit, at, at + 5, times=2)
    part.add(key, hit, at + 10, at + 15, times=3)
    part.add(key, written, at + 20, at + 25)
    part.add(key, hit, at + 30, at + 35)
    part.add(key, hit, at + 30 + 2 * RUN, at + 35 + 2 * RUN)
    [read] = decode_slices(encode_slices([part.stored()]))
    events = list(read.decode_events(read.decode_keys(), frozenset()))
    assert [(each.call.kind, each.times) for each in events] == [
        (HIT, 5),
        (WRITE, 1),
        (HIT, 1),
        (HIT, 1),
    ]
    assert (events[0].began, events[0].ended) == (at, at + 15)


def test_too_many_events_raise_the_level_and_whole_keys_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "MOST_EVENTS", 1000)
    part, call = slice_of(), CallType(MISS, "default", 1)
    at = START * SECOND
    for turn in range(3):
        for number in range(2000):
            key = Key(hash_of(f"key:{number}"))
            if part.takes(key.hash):
                part.add(key, call, at + turn, at + turn)
    [read] = decode_slices(encode_slices([part.stored()]))
    assert part.level > 0
    assert len(part) <= 1000
    events = list(read.decode_events(read.decode_keys(), frozenset()))
    assert {each.weight for each in events} == {2**part.level}
    assert all(part.takes(each.key) for each in events)


def test_hot_keys_are_in_at_every_level_and_stand_for_themselves() -> None:
    hot = hash_of("hot")
    part = slice_of(Plan(1, 30, frozenset({hot})))
    assert part.takes(hot)
    assert not part.takes(hash_of("cold"))
    part.add(Key(hot), CallType(MISS, "default", 1), START * SECOND, START * SECOND)
    [read] = decode_slices(encode_slices([part.stored()]))
    [event] = read.decode_events(read.decode_keys(), frozenset({hot}))
    assert event.weight == 1


def test_what_there_is_for_each_call_is_out_of_the_garbage_collectors_sight() -> None:
    """To visit it in every collection took as long as all else that is done for a miss."""
    event = (START * SECOND, "store", Key(1, "a"), CallType(MISS, "default", 1), 1, 1, Value(1))
    gc.collect()
    assert not gc.is_tracked(event)


def test_an_event_takes_a_few_bytes() -> None:
    random = Random(1)
    part = slice_of()
    at = START * SECOND
    for _ in range(5000):
        at += random.randint(500, 3000)
        number = int(random.paretovariate(0.8)) % 2000
        kind = random.choice([HIT] * 8 + [MISS, WRITE])
        key = Key(hash_of(f"user:{number}"), "user:{int}", "key")
        part.add(key, CallType(kind, "default", 1), at, at + random.randint(20, 200))
    assert len(encode_slices([part.stored()])) < 10 * len(part)


def _payload() -> bytes:
    part = slice_of()
    for number in range(20):
        key = Key(hash_of(f"a{number}"), "a", "key", f"a{number}")
        part.add(key, CallType(MISS, "default", 1), START * SECOND, START * SECOND + number)
    return encode_slices([part.stored()])


@given(st.data())
def test_damaged_bytes_are_unreadable_or_events(data: st.DataObject) -> None:
    payload = bytearray(_payload())
    body = bytearray(zlib.decompress(payload[1:]))
    for _ in range(data.draw(st.integers(1, 6))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(payload[:1]) + zlib.compress(bytes(body))
    try:
        parts = decode_slices(damaged)
        for part in parts:
            list(part.decode_events(part.decode_keys(), frozenset()))
            list(part.bulk_deletes())
            list(part.readings)
    except CorruptPayload:
        pass


@given(st.binary(max_size=200))
def test_any_other_bytes_are_unreadable(payload: bytes) -> None:
    with pytest.raises(CorruptPayload):
        decode_slices(b"\x81" + payload)
    with pytest.raises(CorruptPayload):
        decode_slices(b"\x02" + payload)


def test_what_is_cut_or_too_large_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = _payload()
    with pytest.raises(CorruptPayload):
        decode_slices(payload[:-3])
    monkeypatch.setattr(stats_codec, "MAX_INFLATED", 100)
    with pytest.raises(CorruptPayload):
        decode_slices(payload)


def test_what_is_known_of_values_stays_with_its_keys_where_others_go() -> None:
    part = slice_of()
    for number in range(slices.MOST_EVENTS // 2 + 1):
        at = START * SECOND + number
        key = Key(hash_of(f"key:{number}"))
        value = Value(0, key.hash % 1000 + 1, key.hash % 77 + 1)
        part.add(key, CallType(WRITE, "default", 1), at, at + 1, value=value)
        part.add(key, CallType(MISS, "default", 1), at, at + 1)
        part.note_view(key.hash, at + 1, f"view {key.hash % 7}")
    assert part.level > 0
    [read] = decode_slices(encode_slices([part.stored()]))
    events = [
        each
        for each in read.decode_events(read.decode_keys(), frozenset())
        if each.call.kind == WRITE
    ]
    assert len(events) > 1000
    assert [each.view for each in events[:-1]] == [f"view {each.key % 7}" for each in events[:-1]]
    assert all(each.fingerprint == each.key % 1000 + 1 for each in events)
    assert all(each.size == each.key % 77 + 1 for each in events)


def test_of_more_views_than_are_told_apart_the_rest_is_not_known() -> None:
    part = slice_of()
    for number in range(codec.MOST_VIEWS + 2):
        key = Key(hash_of(f"key:{number}"))
        part.add(key, CallType(WRITE, "default", 1), START * SECOND, START * SECOND + number)
        part.note_view(key.hash, START * SECOND + number, f"view {number}")
        part.note_view(key.hash, START * SECOND - 1, "of another call")
    [read] = decode_slices(encode_slices([part.stored()]))
    views = [each.view for each in read.decode_events(read.decode_keys(), frozenset())]
    assert views == [*[f"view {number}" for number in range(codec.MOST_VIEWS)], "", ""]


def test_a_slice_that_is_final_takes_no_view_any_more() -> None:
    part, key = slice_of(), Key(hash_of("a"))
    part.add(key, CallType(WRITE, "default", 1), START * SECOND, START * SECOND + 1)
    before = part.revision
    part.final = True
    part.note_view(key.hash, START * SECOND + 1, "late")
    part.final = False
    assert part.revision == before
    part.note_view(key.hash, START * SECOND + 1, "in time")
    assert part.revision != before


@given(
    st.lists(
        st.tuples(st.integers(0, 30), SOURCES, st.integers(0, 9 * SECOND), st.booleans()),
        min_size=1,
        max_size=60,
    ),
    st.integers(1, 4),
    st.sets(st.integers(0, 30), max_size=3),
)
def test_what_is_thinned_is_as_if_it_had_been_traced_at_that_level(
    events: list[tuple[int, tuple[int, str, int | str, int], int, bool]],
    level: int,
    hottest: set[int],
) -> None:
    hot = frozenset(hash_of(f"key:{number}") for number in hottest)
    whole, wanted = slice_of(Plan(1, 0, hot)), slice_of(Plan(1, level, hot))
    for number, source, at, is_sweep in events:
        key = Key(hash_of(f"key:{number}"), f"group:{number % 3}", "key", f"key:{number}")
        ended = START * SECOND + at
        for part in (whole, wanted):
            if part.takes(key.hash) and source[0] != HIT:  # whose runs may be longer
                part.add(
                    key, CallType(*source), ended - 5, ended, value=Value(at % 7, at % 5, at % 3)
                )
                part.note_view(key.hash, ended, f"view {number % 4}")
            if is_sweep:
                part.add_delete(ended, ended, None)
    found, expected = sampled(whole.stored(), level, hot), wanted.stored()
    assert found.decode_keys() == expected.decode_keys()
    assert list(found.decode_events(found.decode_keys(), hot)) == list(
        expected.decode_events(found.decode_keys(), hot)
    )
    assert list(found.bulk_deletes()) == list(expected.bulk_deletes())
    [read] = decode_slices(encode_slices([found]))
    assert list(read.decode_events(read.decode_keys(), hot)) == list(
        found.decode_events(found.decode_keys(), hot)
    )


def test_hits_of_keys_that_are_always_in_make_longer_runs_where_others_are_sampled() -> None:
    hot, hit = Key(hash_of("hot")), CallType(HIT, "default", 1)
    for level, runs in ((0, 4), (20, 1)):
        part = slice_of(Plan(1, level, frozenset({hot.hash})))
        for second in range(8):
            at = (START + second) * SECOND
            part.add(hot, hit, at, at + 5)
        assert len(part) == runs
        [read] = decode_slices(encode_slices([part.stored()]))
        assert sum(each.times for each in read.decode_events(read.decode_keys(), frozenset())) == 8
