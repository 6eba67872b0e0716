from dataclasses import asdict
from typing import Any

import pytest

from cache_monitor.conf import Thresholds, problems


def test_a_setting_replaces_the_thresholds_that_it_names() -> None:
    thresholds = Thresholds.of({"LARGE_VALUE_BYTES": 1000, "LOST_SHARE": 0.5})
    assert (thresholds.large_value_bytes, thresholds.lost_share) == (1000, 0.5)
    assert thresholds.min_calls == Thresholds().min_calls


def test_the_defaults_are_a_setting_without_problems() -> None:
    defaults = {name.upper(): each for name, each in asdict(Thresholds()).items()}
    assert list(problems({"FINDINGS": defaults})) == []


@pytest.mark.parametrize(
    ("setting", "says", "hint"),
    [
        (None, "is None, not a dict", "LARGE_VALUE_BYTES"),
        ({"min_calls": 5}, "has no threshold 'min_calls'", "Write MIN_CALLS"),
        ({"COLOUR": 5}, "has no threshold 'COLOUR'", "write one of: MIN_CALLS"),
        ({5: 5}, "has no threshold 5", "write one of"),
        ({"MIN_CALLS": 0.5}, "['MIN_CALLS'] is 0.5", "a whole number from 0"),
        ({"MIN_CALLS": True}, "['MIN_CALLS'] is True", "a whole number"),
        ({"LOST_SHARE": 2}, "['LOST_SHARE'] is 2", "a number from 0 to 1 (default: 0.01)"),
        ({"AGED_AFTER": -1}, "['AGED_AFTER'] is -1", "from 0"),
        ({"AGED_AFTER": float("nan")}, "['AGED_AFTER'] is nan", "from 0"),
    ],
)
def test_a_bad_threshold_is_named_with_what_to_write(setting: Any, says: str, hint: str) -> None:
    [problem] = problems({"FINDINGS": setting})
    assert says in problem.message
    assert hint in problem.hint
