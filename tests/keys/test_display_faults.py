"""What is said of somebody else's faults."""

import pytest

from cache_monitor.keys.display import describe_error


def test_a_fault_is_described_by_its_type_and_place_and_not_by_its_message() -> None:
    with pytest.raises(ValueError, match="ann") as caught:
        int("ann@example.com")
    said = describe_error(caught.value)
    assert said.startswith("ValueError in test_display_faults.py, line ")
    assert "ann" not in said


def test_a_fault_that_nobody_raised_has_no_place() -> None:
    assert describe_error(KeyError("ann")) == "KeyError"
