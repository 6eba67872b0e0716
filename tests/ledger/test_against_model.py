"""Whatever happens, the ledger says what full knowledge of the past would say, or that it does
not know.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from cache_monitor.ledger import Event, Kind, Ledger, Miss, sweeps
from cache_monitor.ledger.history import DEPTH, HORIZON
from tests.ledger.model import Model
from tests.ledger.test_reasons import NOW

KEYLESS = {"cleared", "swept"}
TICKS = 64
"""A second's worth of the times used here, which every float holds exactly."""

keys = st.sampled_from(["a", "b", "c"])
patterns = st.sampled_from(["*", "a", "[bc]", "b?"])
spaces = st.sampled_from(["shared", "locmem 1"])
versions = st.sampled_from([1, 2])
times = st.integers(0, 20 * TICKS).map(lambda ticks: NOW + ticks / TICKS)
spans = st.integers(0, TICKS).map(lambda ticks: ticks / TICKS)
timeouts = st.none() | st.sampled_from([0.5, 1.0, 2.0, 5.0, 300.0])


def few_of_each_sweep(found: Iterable[Event]) -> list[Event]:
    """No more uses of a pattern than are remembered of it."""
    uses = Counter[tuple[object, ...]]()
    few = []
    for event in found:
        name = (event.kind, event.space, event.version, event.key)
        uses[name] += event.kind == "swept"
        if uses[name] < sweeps.DEPTH:
            few.append(event)
    return few


@st.composite
def events(draw: st.DrawFn, kinds: Sequence[Kind] = ("written", "touched", "deleted")) -> Event:
    kind = draw(st.sampled_from(kinds))
    at, timeout = draw(times), draw(timeouts)
    expires_at = None if timeout is None else at + timeout
    key = draw(patterns if kind == "swept" else keys)
    return Event(draw(spaces), kind, at, key, draw(versions), expires_at, draw(spans))


misses = st.builds(Miss, spaces, keys, versions, times, spans)
everything = st.lists(
    events(("written", "written", "touched", "deleted", "moved", "swept", "cleared")), max_size=30
).map(lambda found: few_of_each_sweep({event.at: event for event in found}.values()))
"""In any order, but no two at the same time: which of those is first, nobody knows."""


def few_of_each_key(found: list[Event]) -> list[Event]:
    """No more of a key than its history holds."""
    seen: dict[tuple[str, str], int] = {}
    few = []
    for event in found:
        name = (event.space, event.key)
        if event.kind in KEYLESS:
            few.append(event)
            continue
        seen[name] = seen.get(name, 0) + 1
        if seen[name] <= DEPTH:
            few.append(event)
    return few


@given(everything.map(few_of_each_key), st.lists(misses, min_size=1))
def test_with_room_enough_every_reason_is_right(found: list[Event], asked: list[Miss]) -> None:
    model, ledger = Model(), Ledger(None, slots=64)
    model.post(found)
    ledger.post(found)
    assert ledger.judge(asked) == model.judge(asked)
    ledger.close()


@given(everything, st.lists(misses, min_size=1))
def test_the_last_seconds_of_a_busy_key_are_known(found: list[Event], asked: list[Miss]) -> None:
    found.sort(key=lambda event: event.at)
    model, ledger = Model(), Ledger(None, slots=64)
    model.post(found)
    ledger.post(found)
    newest = {(event.space, event.key): event.at for event in found if event.kind not in KEYLESS}
    for miss, reason in zip(asked, ledger.judge(asked), strict=True):
        if newest.get((miss.space, miss.key), 0) - miss.at <= HORIZON:
            assert reason == model.reason(miss)
    ledger.close()


@given(everything.map(few_of_each_key), st.lists(misses, min_size=1), st.integers(0, 200))
@settings(max_examples=50)
def test_with_too_few_slots_a_reason_is_right_or_unknown(
    found: list[Event], asked: list[Miss], others: int
) -> None:
    model, ledger = Model(), Ledger(None, slots=8)
    model.post(found)
    for number in range(others):
        ledger.post([Event("shared", "written", NOW + number / 10, f"other {number}")])
        ledger.post(found[number : number + 1])
    ledger.post(found[others:])
    for miss, reason in zip(asked, ledger.judge(asked), strict=True):
        assert reason in {"unknown", model.reason(miss)}
    ledger.close()


def test_a_full_table_forgets_and_says_so() -> None:
    ledger = Ledger(None, slots=64)
    written = [Event("shared", "written", NOW + n / 100, f"key {n}") for n in range(1000)]
    ledger.post(written)
    reasons = ledger.judge([Miss("shared", event.key, 1, NOW + 20) for event in written])
    assert set(reasons) == {"evicted", "unknown"}
    assert reasons.count("evicted") == 64
    ledger.close()


def test_new_keys_are_told_from_forgotten_ones_while_few_are_forgotten() -> None:
    ledger = Ledger(None, slots=1024)
    ledger.post([Event("shared", "written", NOW + n / 100, f"key {n}") for n in range(3000)])
    reasons = ledger.judge([Miss("shared", f"new {n}", 1, NOW + 40) for n in range(1000)])
    assert set(reasons) == {"never_set", "unknown"}
    assert reasons.count("never_set") > 950
    ledger.close()


def test_more_spaces_than_have_room_make_older_clears_unknown() -> None:
    ledger = Ledger(None, slots=1024)
    count = 1000
    ledger.post([Event(f"locmem {n}", "written", NOW, "key") for n in range(count)])
    ledger.post([Event(f"locmem {n}", "cleared", NOW + 1 + n) for n in range(count)])
    misses = [Miss(f"locmem {n}", "key", 1, NOW + 2000) for n in range(count)]
    reasons = ledger.judge(misses)
    assert set(reasons) == {"cleared", "unknown"}
    assert reasons[-1] == "cleared"
    ledger.close()
