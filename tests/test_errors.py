"""Faults of the monitor's own are logged by kind, at a bounded rate."""

import logging
from collections.abc import Callable

import pytest

from cache_monitor.errors import INTERVAL, MOST_KINDS, Faults, type_and_line


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def faults(clock: Clock, caplog: pytest.LogCaptureFixture) -> Faults:
    caplog.set_level(logging.INFO, "cache_monitor")
    return Faults(clock)


def _caught(kind: type[Exception], raising: Callable[[type[Exception]], None]) -> Exception:
    try:
        raising(kind)
    except Exception as error:
        return error
    raise AssertionError


def _here(kind: type[Exception]) -> None:
    raise kind("of ours")


def _there(kind: type[Exception]) -> None:
    raise kind("of ours")


def _told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage().partition("\n")[0] for record in caplog.records]


def test_a_fault_is_logged_with_its_place_type_and_traceback(
    faults: Faults, caplog: pytest.LogCaptureFixture
) -> None:
    faults.note(_caught(KeyError, _here))
    assert caplog.records == []
    faults.log()
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert "KeyError at tests.test_errors:" in record.getMessage()
    assert 'raise kind("of ours")' in record.getMessage()
    assert record.exc_info is None


def test_each_kind_is_told_and_not_the_first_alone(
    faults: Faults, caplog: pytest.LogCaptureFixture
) -> None:
    for kind in (KeyError, ValueError):
        for raising in (_here, _there):
            for _ in range(3):
                faults.note(_caught(kind, lambda kind, raising=raising: raising(kind)))  # type: ignore[misc]  # bound now
    faults.log()
    # All came through one line of ours last, the lambda's callee differing in none of it.
    assert len(_told(caplog)) == len(set(_told(caplog))) >= 2


def test_of_a_kind_one_is_logged_a_minute_with_how_many_were_left_out(
    faults: Faults, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        faults.note(_caught(KeyError, _here))
        faults.log()
    assert len(caplog.records) == 1
    clock.now += INTERVAL
    faults.note(_caught(KeyError, _here))
    faults.log()
    assert len(caplog.records) == 2
    assert "4 more of the kind were not logged" in caplog.records[1].getMessage()
    clock.now += INTERVAL
    faults.note(_caught(KeyError, _here))
    faults.log()
    assert "were not logged" not in caplog.records[2].getMessage()


def test_kinds_beyond_a_number_are_one(faults: Faults, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(MOST_KINDS + 20):
        faults.note(_caught(type(f"Fault{number}", (Exception,), {}), _here))
    faults.log()
    assert len(caplog.records) == MOST_KINDS + 1
    assert "faults at other places" in _told(caplog)[-1]


def test_a_fault_keeps_nothing_of_what_the_site_had_in_its_hands(faults: Faults) -> None:
    import gc
    import weakref

    class Value:
        pass

    def with_a_value(kind: type[Exception]) -> None:
        value = Value()
        gone.append(weakref.ref(value))
        raise kind("of ours")

    gone: list[weakref.ref[Value]] = []
    faults.note(_caught(KeyError, with_a_value))
    gc.collect()
    assert gone[0]() is None


def test_a_fault_is_described_by_its_type_and_place_and_not_by_its_message() -> None:
    with pytest.raises(ValueError, match="ann") as caught:
        int("ann@example.com")
    said = type_and_line(caught.value)
    assert said.startswith("ValueError in test_errors.py, line ")
    assert "ann" not in said


def test_a_fault_that_nobody_raised_has_no_place() -> None:
    assert type_and_line(KeyError("ann")) == "KeyError"
