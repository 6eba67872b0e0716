"""Evicted takes evidence, and so does lost."""

import pytest

from cache_monitor import trace
from cache_monitor.trace import NOT_ONLY, EvictionReading, latest_readings, uncertain_stores
from cache_monitor.trace.miss_reasons import LossCause, loss_cause, why_gone


def counted(*readings: tuple[int, int], boot: str = "a") -> list[EvictionReading]:
    return [EvictionReading(at, evictions, boot) for at, evictions in readings]


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ([], None),
        (counted((0, 5), (15, 5)), None),
        (counted((0, 5), (25, 5)), "lost"),
        (counted((0, 5), (25, 6)), "evicted"),
        (counted((0, 5), (15, 6), (25, 6)), "evicted"),
        (counted((0, 5), (5, 6), (25, 6)), "lost"),
        (counted((0, 5), (25, 5), (35, 9)), "lost"),
        # CONFIG RESETSTAT, or memcached's "stats reset".
        (counted((0, 5), (25, 0)), "unknown"),
        (counted((0, 5), (15, 0), (25, 2)), "evicted"),
        (counted((25, 0)), "lost"),
        (counted((25, 3)), "unknown"),
        (counted((15, 3), (25, 4)), "evicted"),
        (counted((0, 5)) + counted((25, 0), boot="b"), "lost"),
        (counted((0, 5)) + counted((25, 1), boot="b"), "unknown"),
        ([EvictionReading(0, None, "", False), EvictionReading(25, None, "", False)], "lost"),
        ([EvictionReading(0, None, "", False), EvictionReading(25, None, "", True)], "evicted"),
        ([EvictionReading(25, None, "", False)], "unknown"),
        ([EvictionReading(25, None, "", True)], "evicted"),
        ([EvictionReading(0, None), EvictionReading(25, None)], "unknown"),
        # Each of two hosts has a server of its own by the same name.
        (counted((0, 5)) + counted((2, 5), boot="b") + counted((25, 5)), "unknown"),
        (
            counted((-5, 5), boot="b") + counted((0, 5), (25, 5)) + counted((26, 5), boot="b"),
            "unknown",
        ),
        ([EvictionReading(0, 5), EvictionReading(25, 5, behind=True)], "lost"),
        ([EvictionReading(0, None, "", False), EvictionReading(25, None, "b", True)], "evicted"),
        # A place that may be made anew, and lose its entries by that.
        ([EvictionReading(0, None, "a", False), EvictionReading(15, None, "", True)], None),
        (
            [
                EvictionReading(0, None, "a", False),
                EvictionReading(15, None, "", True),
                EvictionReading(25, None, "b", False),
            ],
            "unknown",
        ),
        ([EvictionReading(15, None, "", True)], "evicted"),
        # Either may have been the cause.
        ([EvictionReading(0, None, "a", False), EvictionReading(25, None, "b", True)], "unknown"),
        ([EvictionReading(0, 5), EvictionReading(25, 6, behind=True)], "unknown"),
    ],
)
def test_an_entry_that_went_between_10_and_20(
    readings: list[EvictionReading], expected: str | None
) -> None:
    assert why_gone(10, 20, readings) == expected


FIRST, OTHER, NONE = counted((0, 5)), counted((0, 5), boot="b"), list[EvictionReading]()
WEAK = counted((0, 5), boot=f"{NOT_ONLY}a")
SWITCHING = counted((0, 5)) + counted((1, 5), boot="b") + counted((2, 5))


@pytest.mark.parametrize(
    ("told", "names", "more"),
    [
        # Each host has a server, and each is another.
        ({"x.s1": FIRST, "x.s2": OTHER}, "", {}),
        # Both lead to one.
        ({"x.s1": FIRST, "x.s2": FIRST, "x.s3": OTHER}, "x.s1 x.s2", {"merged": {"x"}}),
        # They began in the same second.
        ({"x.s1": WEAK, "x.s2": WEAK}, "x.s1 x.s2", {}),
        # One does not tell, and did not before.
        ({"x.s1": FIRST, "x.s2": NONE}, "x.s1 x.s2", {}),
        ({"x.s1": NONE}, "", {}),
        ({"x.s1": FIRST, "x.silent": NONE}, "x.s1 x.silent", {}),
        ({"x.s1": FIRST, "x.soft": NONE}, "", {}),
        # Places that prove that they are two, and such of which nobody can tell.
        ({"x.p1": FIRST, "x.p2": FIRST}, "", {}),
        ({"x.u1": FIRST, "x.u2": OTHER}, "x.u1 x.u2", {}),
        ({"x.u1": FIRST}, "", {}),
        ({"x.01": FIRST, "x.02": FIRST}, "", {}),
        # Two addresses of one server, or place.
        ({"x": FIRST, "y.s1": FIRST, "z": OTHER}, "", {"shared": {"x", "y"}}),
        ({"x.p1": NONE, "y.p1": NONE, "z.p2": NONE}, "", {"shared": {"x", "y"}}),
        ({"x": WEAK, "y": WEAK}, "", {}),
        # A name that leads to one server here, to another there.
        ({"x": SWITCHING, "y": FIRST + counted((1, 5), boot="c")}, "x", {"shared": {"x", "y"}}),
        ({"m": SWITCHING}, "m", {"split": {"m"}}),
        # Processes that have not heard yet that their servers are one.
        ({"m": FIRST, "m.s1": FIRST}, "m m.s1", {}),
        ({"m.s1": FIRST}, "m m.s1", {}),
        ({"m": FIRST}, "", {}),
    ],
)
def test_whose_stores_hosts_have(
    told: dict[str, list[EvictionReading]], names: str, more: dict[str, set[str]]
) -> None:
    before = {"x.soft": OTHER}
    doubt = uncertain_stores(told, {"m"}, lambda name: before.get(name, []))
    expected = {"merged": set(), "split": set(), "shared": set(), **more}
    assert doubt._asdict() == {"names": {*names.split()}, **expected}


def test_of_readings_that_say_the_same_the_first_and_the_last_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    readings = counted((0, 1), (1, 1), (2, 1), (3, 2), (4, 2), (5, 1))
    assert latest_readings(readings) == counted((0, 1), (2, 1), (3, 2), (4, 2), (5, 1))
    monkeypatch.setattr(trace, "MOST_READINGS", 2)
    assert latest_readings(readings) == counted((4, 2), (5, 1))


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        (counted((0, 5), (25, 5)), None),
        (counted((0, 5)) + counted((25, 0), boot="b"), LossCause("restart", 25)),
        (
            [EvictionReading(0, 5), EvictionReading(15, 5, behind=True), EvictionReading(25, 5)],
            LossCause("replica", 15),
        ),
        ([EvictionReading(0, 5, "a", behind=True), EvictionReading(25, 0, "b")], None),
        # A directory that was not there yet, or was not there for a while.
        ([EvictionReading(0, None, "", False), EvictionReading(25, None, "b", False)], None),
        (counted((0, 5)) + counted((35, 0)) + counted((45, 0), boot="b"), None),
    ],
)
def test_what_took_away_an_entry_between_10_and_20(
    readings: list[EvictionReading], expected: LossCause | None
) -> None:
    assert loss_cause(10, 20, readings) == expected
