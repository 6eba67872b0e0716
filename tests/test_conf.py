from typing import Any

import pytest
from django.test import override_settings

from cache_monitor.conf import Conf, defaults, get_conf, problems


def test_the_defaults_are_a_setting_without_problems() -> None:
    assert list(problems(defaults())) == []


def test_every_setting_is_known_by_its_upper_case_name() -> None:
    assert {name.lower() for name in defaults()} == set(Conf.__dataclass_fields__)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ([], "must be a dict"),
        ({"ENABLE": True}, "has no key 'ENABLE'"),
        ({5: True}, "has no key 5"),
        ({"ENABLED": "yes"}, "['ENABLED'] is 'yes'"),
        ({"ENABLED": 1}, "['ENABLED'] is 1"),
        ({"INSTRUMENT": "some"}, "['INSTRUMENT'] is 'some'"),
        ({"FLUSH_INTERVAL": "10"}, "['FLUSH_INTERVAL'] is '10'"),
        ({"FLUSH_INTERVAL": 0}, "['FLUSH_INTERVAL'] is 0"),
        ({"FLUSH_INTERVAL": float("nan")}, "['FLUSH_INTERVAL'] is nan"),
        ({"BUFFER_SIZE": 5000.5}, "['BUFFER_SIZE'] is 5000.5"),
        ({"HOT_KEYS": True}, "['HOT_KEYS'] is True"),
        ({"MAX_KEY_GROUPS": 5}, "['MAX_KEY_GROUPS'] is 5"),
        ({"KEY_GROUPS": 200}, "['KEY_GROUPS'] is 200, not a dict"),
        ({"KEY_GROUPS": {"[": "x"}}, "['KEY_GROUPS'] has a pattern"),
        ({"KEY_SANITIZER": 5}, "['KEY_SANITIZER'] is 5"),
        ({"KEY_SANITIZER": "plain"}, "['KEY_SANITIZER'] is 'plain'"),
        ({"FINDINGS": 5}, "['FINDINGS'] is 5, not a dict"),
        ({"FINDINGS": {"MIN_CALL": 5}}, "['FINDINGS'] has no threshold 'MIN_CALL'"),
        ({"FINDINGS": {"LOST_SHARE": "1 %"}}, "['FINDINGS']['LOST_SHARE'] is '1 %'"),
        ({"STORE": "memory"}, "['STORE'] is 'memory', not a dict"),
        ({"STORE": {"PATH": "x"}}, "['STORE'] has no key 'PATH'"),
        ({"STORE": {"BACKEND": None}}, "must be a dotted path"),
        ({"STORE": {"OPTIONS": []}}, "['OPTIONS'] must be a dict"),
    ],
)
def test_a_bad_setting_is_named_with_what_to_write(setting: Any, says: str) -> None:
    [problem] = problems(setting)
    assert says in problem.message
    assert problem.hint


def test_a_key_that_is_nearly_right_is_told_how_it_is_written() -> None:
    [nearly], [unlike] = problems({"FLUSH_INTERVALL": 5}), problems({"COLOUR": 5})
    assert "Write FLUSH_INTERVAL," in nearly.hint
    assert "MAX_KEY_GROUPS" in unlike.hint


@override_settings(CACHE_MONITOR={"KEY_GROUPS": {"(": "x", "^a": "a"}})
def test_groups_that_cannot_all_be_used_are_left_out() -> None:
    assert get_conf().key_groups == {}


@override_settings(CACHE_MONITOR={"FLUSH_INTERVAL": 2, "HOT_KEYS": "many", "COLOUR": "red"})
def test_what_cannot_be_used_keeps_its_default() -> None:
    conf = get_conf()
    assert conf.flush_interval == 2
    assert conf.hot_keys == Conf().hot_keys


@override_settings(CACHE_MONITOR=None)
def test_a_setting_that_is_no_dict_leaves_all_defaults() -> None:
    assert get_conf() == Conf()


def test_overridden_settings_are_in_force_at_once() -> None:
    with override_settings(CACHE_MONITOR={"ENABLED": False}):
        assert not get_conf().enabled
    assert get_conf().enabled
